//! Assertions. What each form means stands in `docs/language/assertions.md`.
//!
//! A claim fails when some chain has a faulty path ([`super::faults`]) and some packet of the assertion enters that chain and is
//! sent along that path by the firewalls on it. NFs without a model may do anything with it that the chain permits.
//! Header fields that such an NF may have rewritten can have any value for the firewalls behind it whose rules ask for them: a path
//! is shown where the packet takes it as it came, and is excluded where the other firewalls suffice for that. Where neither
//! holds, nothing is said to be proved. Only a permitted lookup makes the chain depend on the packet again: see [`super::lookups`].
//!
//! Where an NF may program the port, each packet of an arm may enter each of the arm's chains, whatever the rules say: a claim has to
//! hold for each such [`Way`], too. Where such packets can be looked up again, that may lead anywhere: what can go wrong from
//! some chain on then leaves the claim unproved.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use onvm_lang::{Diagnostic, syntax::Claim};

use super::{
    ASSERTIONS_BUDGET, Beside, PACKET_BUDGET,
    faults::{Decision, Faults, Faulty, Rewriting},
    firewalls::Firewalls,
    lookups::{Found, Lookups, World},
    paths::{self, Fault},
};
use crate::{
    diagnostics::{empty_filter, first_fragments_only, refuted, unproved, untagged_only},
    lower::{
        claims::Assertion,
        steering::{Block, Steering},
    },
    sets::{Answer, Budget, Choice, Decided, Fields, Frame, RuleTable, Set, Taker, Witness, decided},
    source::{context::Context, sources::Place},
};

/// Faulty paths already looked for, by claim and chain, with and without VLAN tags.
pub(super) type Known = HashMap<(String, usize, bool), Rc<Faults>>;

/// An assertion that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) place: Place,
    /// `wan: tcp never reaches lan`
    pub(crate) text: String,
    /// The NFs whose rules it rests on.
    pub(crate) rests_on: BTreeSet<String>,
}

impl Proved {
    fn new(cx: &Context<'_>, assertion: &Assertion<'_>, rests_on: BTreeSet<String>) -> Self {
        let text = |place| cx.sources.text(place);
        Self {
            place: assertion.place,
            text: format!(
                "{}: {} {}",
                assertion.port,
                text(assertion.packets),
                text(assertion.place)
            ),
            rests_on,
        }
    }
}

/// Returns those that are proved. `warned` gets the ports of claims that do not hold for packets beside theirs.
pub(super) fn check<'a>(
    cx: &Context<'_>,
    common: &Common<'_, 'a, '_, '_>,
    tables: &[(&'a Block, RuleTable<'a>)],
    assertions: &[Assertion<'_>],
    packets: &[Set<'a>],
    beside: &[Vec<(Beside, Set<'a>)>],
    warned: &mut Vec<(String, Beside)>,
) -> Vec<Proved> {
    let mut budget = Budget::new(ASSERTIONS_BUDGET);
    let mut of_others = Budget::new(ASSERTIONS_BUDGET);
    let mut known = Known::new();
    let mut proved = Vec::new();
    let entries: Vec<OnceCell<Vec<Entry>>> = tables.iter().map(|_| OnceCell::new()).collect();
    for ((assertion, packets), beside) in assertions.iter().zip(packets).zip(beside) {
        if packets.is_empty() {
            cx.report(empty_filter::empty_filter(assertion.packets, "assertion"));
            continue;
        }
        let of_port = tables.iter().zip(&entries);
        match of_port
            .into_iter()
            .find(|((block, _), _)| block.port.as_deref() == Some(assertion.port))
        {
            Some(((block, table), entries)) if block.complete => {
                let ways: Vec<&Way<'a>> = common
                    .ways
                    .iter()
                    .filter(|way| way.block.name == assertion.port)
                    .collect();
                let proof = Proof {
                    ways: &ways,
                    by: None,
                    fields: common.fields,
                    steering: common.steering,
                    world: common.world,
                    firewalls: match common.steering.ignores_tags(assertion.port) {
                        false => common.firewalls,
                        true => common.untagged,
                    },
                    block,
                    table,
                    assertion,
                    packets,
                };
                let entries = entries.get_or_init(|| proof.entries());
                match proof.attempt(entries, &mut known, &mut budget) {
                    Err(found) => cx.report(*found),
                    Ok(rests_on) => {
                        proved.push(Proved::new(cx, assertion, rests_on));
                        for (kind, packets) in beside {
                            let proof = Proof { packets, ..proof };
                            if proof.warn_of(cx, *kind, entries, &mut known, &mut of_others) {
                                warned.push((assertion.port.to_owned(), *kind));
                            }
                        }
                    }
                }
            }
            // Mistakes in the block have been reported.
            Some(_) => {}
            None if matches!(assertion.claim, Claim::Reaches { .. }) => {
                cx.report(refuted::nothing_enters(assertion.place, assertion.port));
            }
            // All that the port receives is dropped.
            None => proved.push(Proved::new(cx, assertion, BTreeSet::new())),
        }
    }
    proved
}

/// What all assertions have in common.
pub(super) struct Common<'p, 'a, 'g, 's> {
    pub(super) fields: &'p Fields,
    pub(super) steering: &'p Steering<'g, 's>,
    pub(super) world: &'p World,
    pub(super) firewalls: &'p Firewalls<'a>,
    /// The same for packets of ports that ignore tags.
    pub(super) untagged: &'p Firewalls<'a>,
    pub(super) ways: &'p [Way<'a>],
}

/// A chain that an NF may have packets enter, as a block of one rule.
pub(super) struct Way<'a> {
    pub(super) nf: &'a str,
    pub(super) block: &'a Block,
    pub(super) table: RuleTable<'a>,
}

/// A chain, and the rules of a port that send packets there.
pub(super) struct Entry {
    chain: usize,
    first: Taker,
    choice: Choice,
}

pub(super) struct Proof<'p, 'a, 'g, 's> {
    pub(super) fields: &'p Fields,
    pub(super) steering: &'p Steering<'g, 's>,
    pub(super) world: &'p World,
    pub(super) firewalls: &'p Firewalls<'a>,
    pub(super) block: &'p Block,
    pub(super) table: &'p RuleTable<'a>,
    pub(super) assertion: &'p Assertion<'p>,
    pub(super) packets: &'p Set<'a>,
    /// What NFs may make of the port's table.
    pub(super) ways: &'p [&'p Way<'a>],
    /// The NF that has the packets go this way; none: the rules do.
    by: Option<&'p str>,
}

impl<'a> Proof<'_, 'a, '_, '_> {
    /// The NFs whose rules a proof rests on; or what is to be said against the assertion.
    fn attempt(
        &self,
        entries: &[Entry],
        known: &mut Known,
        budget: &mut Budget,
    ) -> Result<BTreeSet<String>, Box<Diagnostic>> {
        let mut rests_on = self.attempt_entries(entries, known, budget)?;
        for way in self.ways {
            let proof = Proof {
                block: way.block,
                table: &way.table,
                by: Some(way.nf),
                ..*self
            };
            rests_on.extend(proof.attempt_entries(&proof.entries(), known, budget)?);
        }
        Ok(rests_on)
    }

    fn attempt_entries(
        &self,
        entries: &[Entry],
        known: &mut Known,
        budget: &mut Budget,
    ) -> Result<BTreeSet<String>, Box<Diagnostic>> {
        let mut doubt = None;
        let mut rests_on = BTreeSet::new();
        for entry in entries {
            let faults = self.faults(known, entry.chain);
            let describe = |way: &Faulty| paths::describe(&self.steering.chains[entry.chain], &way.path);
            let asks_firewalls = |way: &Faulty| !way.decisions.is_empty();
            if (faults.ways.iter().any(asks_firewalls) || !faults.closed.is_empty())
                && self.enters(entry, budget) == Answer::No
            {
                continue;
            }
            for way in &faults.ways {
                match self.packet(entry, way, budget) {
                    Answer::No => rests_on.extend(way.decisions.iter().map(|d| d.nf.clone())),
                    Answer::Yes(packet) => return Err(Box::new(self.refute(entry, way, &packet))),
                    Answer::Unknown => {
                        let rewritten = way.decisions.iter().find(|d| d.rewritten);
                        let nf = rewritten.map(|d| d.nf.clone());
                        doubt = doubt.or_else(|| Some((entry.first, describe(way), nf)));
                    }
                }
            }
            if faults.more && doubt.is_none() {
                doubt = faults.ways.last().map(|way| (entry.first, describe(way), None));
            }
            rests_on.extend(faults.closed.iter().cloned());
        }
        if self.world.permits_lookups() && !self.ways.is_empty() {
            doubt = doubt.or_else(|| self.looked_up_anywhere(entries, known, budget));
        } else if self.world.permits_lookups() {
            let mut lookups = Lookups::new(self, known);
            for taker in self.takers() {
                match lookups.find(taker, budget) {
                    Found::Nothing => {}
                    Found::Fault(fault) => return Err(Box::new(self.refute_beyond(taker, &fault))),
                    Found::Doubt(path) => doubt = doubt.or(Some((taker, path, None))),
                }
            }
        }
        let Some((taker, path, rewritten)) = doubt else {
            return Ok(rests_on);
        };
        // A rule that could not be read has been reported, and its packets go nowhere.
        match self.place(taker) {
            Some(rule) => Err(Box::new(unproved::unproved(
                self.assertion.place,
                rule,
                &path,
                rewritten.as_deref(),
            ))),
            None => Ok(rests_on),
        }
    }

    /// A lookup that packets can come to may lead into any chain of the port: the first from which the claim can fail.
    fn looked_up_anywhere(
        &self,
        entries: &[Entry],
        known: &mut Known,
        budget: &mut Budget,
    ) -> Option<(Taker, String, Option<String>)> {
        let fault = Fault::of(self.assertion.claim);
        let models = self.firewalls.models;
        let mut looked_up = |entry: &&Entry| {
            fault.reaches_lookup(&self.steering.chains[entry.chain], models)
                && self.enters(entry, budget) != Answer::No
        };
        let from = entries.iter().find(&mut looked_up)?;
        let all = (0..self.steering.chains.len()).find_map(|chain| {
            let faults = self.faults(known, chain);
            let chain = &self.steering.chains[chain];
            let way = || faults.ways.first().map(|way| paths::describe(chain, &way.path));
            faults
                .is_possible()
                .then(|| way().unwrap_or_else(|| chain.name.clone()))
        })?;
        Some((from.first, all, None))
    }

    /// Warns where packets beside those of the assertion break the claim; whether they do.
    fn warn_of(
        &self,
        cx: &Context<'_>,
        kind: Beside,
        entries: &[Entry],
        known: &mut Known,
        budget: &mut Budget,
    ) -> bool {
        let Err(found) = self.attempt(entries, known, budget) else {
            return false;
        };
        if found.code != refuted::PAGE.code {
            return false;
        }
        let Assertion { packets, port, .. } = self.assertion;
        cx.report(match kind {
            Beside::Tagged => untagged_only::untagged_only(*packets, port, &found),
            Beside::Fragments => {
                first_fragments_only::first_fragments_only(*packets, cx.sources.text(*packets), &found)
            }
        });
        true
    }

    /// A packet of the assertion that enters the chain.
    fn enters(&self, entry: &Entry, budget: &mut Budget) -> Answer {
        let entering = Decided {
            table: self.table,
            choice: &entry.choice,
        };
        budget.part(PACKET_BUDGET, |b| {
            decided(self.fields, &[entering], &[self.packets], &|_| true, b)
        })
    }

    /// A packet of the assertion that enters the chain and takes the path.
    fn packet(&self, entry: &Entry, way: &Faulty, budget: &mut Budget) -> Answer {
        let entering = Decided {
            table: self.table,
            choice: &entry.choice,
        };
        let ask = |decisions: &[&Decision], budget: &mut Budget| {
            let on_the_way = decisions
                .iter()
                .filter_map(|d| self.firewalls.decided(&d.nf, &d.outcome));
            let all: Vec<Decided<'_, 'a>> = [entering].into_iter().chain(on_the_way).collect();
            let tried = |frame: &Frame| {
                let mut decisions = decisions.iter();
                decisions.all(|d| self.firewalls.tried(&d.nf, frame).as_ref() == Some(&d.outcome))
            };
            budget.part(PACKET_BUDGET, |b| {
                decided(self.fields, &all, &[self.packets], &tried, b)
            })
        };
        let all: Vec<&Decision> = way.decisions.iter().collect();
        let answer = ask(&all, budget);
        let first: Vec<&Decision> = all.iter().copied().filter(|d| !d.rewritten).collect();
        if first.len() == all.len() || matches!(answer, Answer::Yes(_)) {
            return answer;
        }
        match ask(&first, budget) {
            Answer::No => Answer::No,
            Answer::Yes(_) | Answer::Unknown => Answer::Unknown,
        }
    }

    /// The chains that packets of the port enter, in the order of the rules.
    fn entries(&self) -> Vec<Entry> {
        let mut takers: Vec<(usize, Vec<Taker>)> = Vec::new();
        let mut at = HashMap::new();
        for taker in self.takers() {
            let Some(chain) = self.chain(taker) else { continue };
            let at = *at.entry(chain).or_insert_with(|| {
                takers.push((chain, Vec::new()));
                takers.len() - 1
            });
            takers[at].1.push(taker);
        }
        let entry = |(chain, takers): (usize, Vec<Taker>)| Entry {
            chain,
            first: takers.first().copied().flatten(),
            choice: Choice::new(self.table, &takers),
        };
        takers.into_iter().map(entry).collect()
    }

    /// Every rule, and `else`.
    pub(super) fn takers(&self) -> impl Iterator<Item = Taker> + use<> {
        (0..self.block.rules.len()).map(Some).chain([None])
    }

    pub(super) fn chain(&self, taker: Taker) -> Option<usize> {
        let name = match taker {
            Some(rule) => Some(self.block.rules[rule].chain.as_str()),
            None => self
                .block
                .otherwise
                .as_ref()
                .and_then(|(_, chain)| chain.as_deref()),
        };
        self.steering.chain_index(name?)
    }

    fn place(&self, taker: Taker) -> Option<Place> {
        match taker {
            Some(rule) => self.block.places.get(rule).copied(),
            None => self.block.otherwise.as_ref().map(|(place, _)| *place),
        }
    }

    pub(super) fn faults(&self, known: &mut Known, chain: usize) -> Rc<Faults> {
        let claim = self.assertion.claim;
        let key = (key(claim), chain, self.firewalls.ignore_tags);
        let faults = known.entry(key).or_insert_with(|| {
            let rewriting = Rewriting {
                written: &|nf| self.world.written_by(nf),
                touches: &|nf, written| self.world.touches(self.fields, self.firewalls, nf, written),
            };
            let chain = &self.steering.chains[chain];
            Rc::new(Faults::new(
                &Fault::of(claim),
                chain,
                self.firewalls.models,
                &rewriting,
            ))
        });
        Rc::clone(faults)
    }

    fn refute(&self, entry: &Entry, way: &Faulty, packet: &Witness) -> Diagnostic {
        let end = (entry.chain, way.path.last().map_or(0, |step| step.hop));
        let path = paths::describe(&self.steering.chains[entry.chain], &way.path);
        let decided: Vec<refuted::Decided<'_>> = way
            .decisions
            .iter()
            .filter_map(|d| {
                Some(refuted::Decided {
                    nf: &d.nf,
                    outcome: &d.outcome,
                    rule: self.firewalls.rule(&d.nf, &packet.frame)?,
                })
            })
            .collect();
        let taker = self.table.taker(&packet.frame);
        self.refuted(taker, end, packet, (&decided, &[]), &path)
    }

    fn refute_beyond(&self, taker: Taker, fault: &super::lookups::Fault) -> Diagnostic {
        let again = fault.lookups.iter();
        let again: Vec<_> = again
            .map(|lookup| refuted::LookedUp {
                nf: &lookup.nf,
                packet: lookup.packet.to_string(),
                rule: self.place(lookup.taker),
            })
            .collect();
        self.refuted(taker, fault.end, &fault.packet, (&[], &again), &fault.path)
    }

    /// `end` is a hop of a chain.
    fn refuted(
        &self,
        taker: Taker,
        (chain, end): (usize, usize),
        packet: &Witness,
        (decided, again): (&[refuted::Decided<'_>], &[refuted::LookedUp<'_>]),
        path: &str,
    ) -> Diagnostic {
        let places = &self.steering.places[chain];
        let hop = self.steering.chains[chain].hops.get(end);
        let (message, label) = words(self.assertion.claim, hop.map_or("", |hop| paths::name(&hop.at)));
        refuted::refuted(
            self.assertion.place,
            message,
            (self.place(taker), self.by),
            decided,
            again,
            places.get(end).map(|place| (*place, label)),
            &refuted::Broken {
                packet: &packet.to_string(),
                path,
            },
        )
    }
}

/// Equal for equal claims.
fn key(claim: &Claim) -> String {
    match claim {
        Claim::Passes { nf, before: None } => format!("passes {}", nf.node),
        Claim::Passes {
            nf,
            before: Some(node),
        } => format!("passes {} before {}", nf.node, node.node),
        Claim::NeverPasses { nf } => format!("never {}", nf.node),
        Claim::Reaches { node } => format!("reaches {}", node.node),
        Claim::NeverReaches { node } => format!("never {}", node.node),
        Claim::Dropped => "dropped".to_owned(),
    }
}

/// The message, and what is to be said of the hop where the path ends.
fn words(claim: &Claim, at: &str) -> (String, String) {
    match claim {
        Claim::Passes { nf, before: None } => (
            format!("a packet can leave by `{at}` without passing `{}`", nf.node),
            format!("leaves here without having passed `{}`", nf.node),
        ),
        Claim::Passes {
            nf,
            before: Some(node),
        } => (
            format!(
                "a packet can come to `{}` without having passed `{}`",
                node.node, nf.node
            ),
            format!("comes here without having passed `{}`", nf.node),
        ),
        Claim::NeverPasses { nf } => (
            format!("a packet can pass `{}`", nf.node),
            "passes here".to_owned(),
        ),
        Claim::NeverReaches { node } => (
            format!("a packet can reach `{}`", node.node),
            "comes here".to_owned(),
        ),
        Claim::Reaches { node } => {
            let end = if at == "drop" {
                "be dropped".to_owned()
            } else {
                format!("leave by `{at}`")
            };
            (
                format!("a packet can {end} without reaching `{}`", node.node),
                "its path can end here".to_owned(),
            )
        }
        Claim::Dropped => (format!("a packet can leave by `{at}`"), "leaves here".to_owned()),
    }
}
