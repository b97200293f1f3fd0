//! A packet for a route: its headers by sets, its payload by patterns, the last word by the NFs themselves.

use onvm_bundle::filter::Expr;
use serde::Serialize;

use super::{
    aligned::Aligned,
    routes::{Decision, Route, Routes, Through},
    scanner::Scanner,
    side::{Liked, Side},
};
use crate::models::{Model, Outcome};
use crate::sets::{Answer, Budget, Effective, Fields, Frame, Set, Taker, Witness, common};

/// For one route of one rule.
const ROUTE_BUDGET: u64 = 300_000;
/// What trying one packet on the NFs costs of it.
const TRY: u64 = 500;
/// Patterns that are tried for each NF.
const MAX_PATTERNS: usize = 64;
/// Without a demand on the payload: nothing, or what is hardly a pattern.
const PLAIN: [&[u8]; 2] = [b"", b"onvm"];
/// Payloads are made this long where short ones do not do, in bytes.
const LENGTHS: [usize; 2] = [200, 1400];

/// What was found for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Packet(Witness),
    None(Certainty),
}

/// How sure it is that there is nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Not everything was looked at.
    Partial,
    /// All was looked at by what standard NFs say that they decide by, which leaves out malformed packets, and payloads
    /// behind more than one VLAN tag.
    Modelled,
    /// There is nothing else.
    Proved,
}

/// Looks for packets that go from an old side to a new one; of one side alone, give it twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finder<'f, 'a> {
    pub(crate) fields: &'f Fields,
    pub(crate) old: &'f Side<'a>,
    pub(crate) new: &'f Side<'a>,
    pub(crate) preferred: &'f Liked<'a>,
}

impl<'f, 'a> Finder<'f, 'a> {
    /// A packet that all of `taken` take and that `confirm` accepts, on the given route.
    pub(crate) fn find(
        &self,
        taken: Vec<Effective<'f, 'a>>,
        route: &Route<'a>,
        budget: &mut Budget,
        confirm: &mut dyn FnMut(&Frame) -> bool,
    ) -> Found {
        budget.part(ROUTE_BUDGET, |budget| {
            if common(self.fields, &taken, &[], budget) == Answer::No {
                return Found::None(Certainty::Proved);
            }
            let payloads = match self.payloads(&route.decisions) {
                None => None,
                Some(none) if none.is_empty() => return Found::None(Certainty::Modelled),
                payloads => payloads,
            };
            let modelled = route.decisions.iter().any(|d| self.is_modelled(d));
            let certainty = if modelled {
                Certainty::Modelled
            } else {
                Certainty::Proved
            };
            let mut attempt = Attempt {
                finder: self,
                sets: payloads.iter().map(|_| &self.preferred.with_payload).collect(),
                payloads: payloads.unwrap_or_default(),
                taken,
                confirm,
                certainty,
            };
            if let Some(packet) = attempt.run(&route.decisions, budget) {
                return Found::Packet(packet);
            }
            let certainty = attempt.certainty;
            // A packet was refused: another may do.
            for kind in self
                .preferred
                .kinds
                .iter()
                .filter(|_| certainty == Certainty::Partial)
            {
                attempt.sets.push(kind);
                if let Some(packet) = attempt.run(&route.decisions, budget) {
                    return Found::Packet(packet);
                }
                attempt.sets.pop();
            }
            Found::None(certainty)
        })
    }

    /// The routes on which two chains part, and how sure it is that there are no others.
    pub(crate) fn partings(&self, old: Through<'_, 'a>, new: Through<'_, 'a>) -> (Vec<Route<'a>>, Certainty) {
        if old.is_as(&new) {
            return (Vec::new(), Certainty::Proved);
        }
        let Routes { mut routes, more } = Routes::new(old, new);
        let modelled = routes
            .iter()
            .flat_map(|route| &route.decisions)
            .any(|d| self.is_modelled(d));
        routes.retain(|route| route.differs);
        let certainty = match (more, modelled) {
            (true, _) => Certainty::Partial,
            (false, true) => Certainty::Modelled,
            (false, false) => Certainty::Proved,
        };
        (routes, certainty)
    }

    /// A model may leave packets out, so that nothing is proved by it.
    pub(crate) fn is_modelled(&self, decision: &Decision<'a>) -> bool {
        let models = [self.old.model(decision.nf), self.new.model(decision.nf)];
        models
            .iter()
            .any(|model| matches!(model, Model::Rules { .. } | Model::Payload { .. }))
    }

    /// The alternatives by which the NF's rules come to this decision: what each is taken by, on either side.
    fn alternatives(&self, decision: &Decision<'a>) -> Box<dyn Iterator<Item = Vec<Effective<'f, 'a>>> + 'f> {
        let (finder, nf) = (*self, decision.nf);
        let rules = |side: &'f Side<'a>, outcome: &Option<Outcome>| match side.model(nf) {
            Model::Rules {
                filters, outcomes, ..
            } => outcome.clone().map(|wanted| (filters, outcomes, wanted)),
            _ => None,
        };
        let single = |side: &'f Side<'a>, outcome: &Outcome| {
            let takers = side.takers(nf, outcome).into_iter();
            takers.filter_map(move |taker| Some(vec![side.taken(nf, taker)?]))
        };
        match (rules(self.old, &decision.old), rules(self.new, &decision.new)) {
            (None, None) => Box::new(self.searched(decision).into_iter()),
            (Some((_, _, old)), None) => Box::new(single(self.old, &old)),
            (None, Some((_, _, new))) => Box::new(single(self.new, &new)),
            (Some((_, _, old)), Some(_)) if self.old.decides_alike(self.new, nf) => {
                Box::new(single(self.old, &old))
            }
            (Some((before, from, old)), Some((after, to, new))) => {
                let filters = |list: &'a [Expr]| list.iter().collect::<Vec<_>>();
                let aligned = Aligned::new(&filters(before), &filters(after));
                let is = |outcomes: &[Outcome], taker: Taker, outcome: &Outcome| {
                    outcomes.get(taker.unwrap_or(outcomes.len() - 1)) == Some(outcome)
                };
                let pairs: Vec<(Taker, Taker)> = aligned
                    .candidates()
                    .filter(|(a, b)| is(from, *a, &old) && is(to, *b, &new))
                    .collect();
                Box::new(
                    pairs.into_iter().filter_map(move |(a, b)| {
                        Some(vec![finder.old.taken(nf, a)?, finder.new.taken(nf, b)?])
                    }),
                )
            }
        }
    }

    /// Where a scanner comes to a decision: what its filter takes, if it has found something, and else anything.
    fn searched(&self, decision: &Decision<'a>) -> Vec<Vec<Effective<'f, 'a>>> {
        let nf = decision.nf;
        let found = |side: &'f Side<'a>, outcome: &Option<Outcome>| match side.model(nf) {
            Model::Payload { found, .. } => outcome.as_ref().map(|outcome| outcome == found),
            _ => None,
        };
        let (was, now) = (found(self.old, &decision.old), found(self.new, &decision.new));
        match (was, now) {
            (Some(true), Some(false)) => return self.parted(nf, self.old, self.new),
            (Some(false), Some(true)) => return self.parted(nf, self.new, self.old),
            _ => {}
        }
        let sides = [(was, self.old), (now, self.new)].into_iter();
        let found = sides.filter(|(found, _)| *found == Some(true));
        vec![found.filter_map(|(_, side)| side.taken(nf, Some(0))).collect()]
    }

    /// Where a scanner finds something on one side and not on the other: what only the first one searches, and, where that one
    /// knows other patterns, what both search.
    fn parted(&self, nf: &str, finds: &'f Side<'a>, misses: &'f Side<'a>) -> Vec<Vec<Effective<'f, 'a>>> {
        let (
            Model::Payload { scanner, .. },
            Model::Payload {
                scanner: other, only, ..
            },
        ) = (finds.model(nf), misses.model(nf))
        else {
            return Vec::new();
        };
        let mut beside = Vec::new();
        if only.is_some() {
            beside.push(misses.taken(nf, None));
        }
        if !scanner.beyond(other, 1).is_empty() {
            beside.push(misses.taken(nf, Some(0)));
        }
        let with = |other: Option<_>| finds.taken(nf, Some(0)).into_iter().chain(other).collect();
        beside.into_iter().map(with).collect()
    }

    /// Payloads that may bring these decisions about: an empty list where nothing can, none where any will do.
    fn payloads(&self, decisions: &[Decision<'a>]) -> Option<Vec<Vec<u8>>> {
        let demands: Vec<Vec<Vec<u8>>> = decisions.iter().filter_map(|d| self.demand(d)).collect();
        if demands.iter().any(Vec::is_empty) {
            return Some(Vec::new());
        }
        let most = demands.iter().map(Vec::len).max()?;
        let together = |n: usize| demands.iter().flat_map(|d| d[n % d.len()].clone()).collect();
        let alone = demands.iter().flatten().take(MAX_PATTERNS).cloned();
        Some((0..most).map(together).chain(alone).collect())
    }

    /// Patterns of which the decision asks for one.
    fn demand(&self, decision: &Decision<'a>) -> Option<Vec<Vec<u8>>> {
        let scanner = |side: &Side<'a>| match side.model(decision.nf) {
            Model::Payload { scanner, only, found } => Some(((scanner, only), found)),
            _ => None,
        };
        let (before, after) = (scanner(self.old), scanner(self.new));
        let is = |scanner: &Option<(_, &Outcome)>, decided: &Option<Outcome>| {
            decided
                .as_ref()
                .zip(scanner.as_ref())
                .map(|(o, (_, found))| o == *found)
        };
        let all = |of: &Scanner| of.patterns.iter().take(MAX_PATTERNS).cloned().collect::<Vec<_>>();
        // What one finds and the other does not: another pattern, or any where it searches other packets.
        let beyond = |(finds, here): (&Scanner, &Option<Expr>),
                      (misses, there): (&Scanner, &Option<Expr>)| {
            let mut patterns = finds.beyond(misses, MAX_PATTERNS);
            if there.is_some() && here != there {
                patterns.extend(all(finds));
            }
            patterns
        };
        let (was, now) = (is(&before, &decision.old), is(&after, &decision.new));
        let (before, after) = (before.map(|b| b.0), after.map(|a| a.0));
        match (was, now, before, after) {
            (Some(true), Some(true), Some((before, _)), Some((after, _))) => {
                Some(all(before).into_iter().chain(all(after)).collect())
            }
            (Some(true), Some(false), Some(before), Some(after)) => Some(beyond(before, after)),
            (Some(false), Some(true), Some(before), Some(after)) => Some(beyond(after, before)),
            (Some(true), None, Some((scanner, _)), _) | (None, Some(true), _, Some((scanner, _))) => {
                Some(all(scanner))
            }
            _ => None,
        }
    }
}

struct Attempt<'t, 'f, 'a> {
    finder: &'t Finder<'f, 'a>,
    sets: Vec<&'f Set<'a>>,
    /// Empty: any will do.
    payloads: Vec<Vec<u8>>,
    taken: Vec<Effective<'f, 'a>>,
    confirm: &'t mut dyn FnMut(&Frame) -> bool,
    /// What can be said where nothing is found.
    certainty: Certainty,
}

impl<'f, 'a> Attempt<'_, 'f, 'a> {
    fn ask(&self, budget: &mut Budget) -> Answer {
        common(self.finder.fields, &self.taken, &self.sets, budget)
    }

    fn run(&mut self, decisions: &[Decision<'a>], budget: &mut Budget) -> Option<Witness> {
        let first = self.ask(budget);
        self.go(decisions, first, budget)
    }

    /// Chooses a way to bring each of the decisions about, after those that are in `taken` already, as `answer`
    /// reports.
    fn go(&mut self, decisions: &[Decision<'a>], answer: Answer, budget: &mut Budget) -> Option<Witness> {
        let packet = match answer {
            Answer::No => return None,
            Answer::Unknown => {
                self.certainty = Certainty::Partial;
                return None;
            }
            Answer::Yes(packet) => packet,
        };
        let Some((decision, rest)) = decisions.split_first() else {
            return self.settle(packet, budget);
        };
        let finder = self.finder;
        for alternative in finder.alternatives(decision) {
            let before = self.taken.len();
            let answer = if alternative.is_empty() {
                Answer::Yes(packet.clone())
            } else {
                self.taken.extend(alternative);
                self.ask(budget)
            };
            let found = self.go(rest, answer, budget);
            self.taken.truncate(before);
            if found.is_some() {
                return found;
            }
            if budget.is_spent() {
                self.certainty = Certainty::Partial;
                return None;
            }
        }
        None
    }

    /// Gives the packet a payload with which it goes the right way.
    fn settle(&mut self, packet: Witness, budget: &mut Budget) -> Option<Witness> {
        let mut accepted = |frame: &Frame| budget.spend(TRY) && (self.confirm)(frame);
        let whole = packet.frame.whole();
        let as_it_is = whole.iter().chain([&packet.frame]);
        let mut as_it_is = as_it_is.filter(|_| self.payloads.is_empty());
        if let Some(frame) = as_it_is.find(|frame| accepted(frame)) {
            return Some(Witness { frame: frame.clone() });
        }
        let payloads = self.payloads.iter().map(Vec::as_slice);
        let plain = PLAIN.into_iter().filter(|_| self.payloads.is_empty());
        let payloads: Vec<&[u8]> = payloads.chain(plain).collect();
        let longer = LENGTHS
            .iter()
            .flat_map(|length| payloads.iter().take(2).map(|p| padded(p, *length)));
        // A rule may ask for what the payload begins with.
        let begun = payloads.iter().map(|p| [packet.frame.payload(), p].concat());
        let payloads = payloads.iter().map(|p| p.to_vec()).chain(longer).chain(begun);
        for frame in payloads.filter_map(|payload| packet.frame.with_payload(&payload)) {
            if accepted(&frame) {
                return Some(Witness { frame });
            }
        }
        self.certainty = Certainty::Partial;
        None
    }
}

fn padded(payload: &[u8], length: usize) -> Vec<u8> {
    let mut padded = payload.to_vec();
    padded.resize(length.max(payload.len()), 0);
    padded
}
