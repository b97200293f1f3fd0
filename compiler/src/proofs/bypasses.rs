//! Rules that drop packets and let the same ones through with a VLAN tag, or later fragments of them: what such a rule says of ports
//! it says of first fragments, and what it says of the rest of a packet, of packets without a tag.
//!
//! Only what gets out counts: a packet that another rule or another firewall drops is where it should be. It is sent along the chain
//! that its port's rules give it, through the standard NFs themselves; third-party NFs are assumed to pass it on. Rules that lead elsewhere
//! are not looked at, as what is not dropped may well go another way; nor are rules of firewalls for later fragments.

use onvm_bundle::{Target, filter::Expr};

use super::{Beside, firewalls::Firewalls};
use crate::{
    diagnostics::{drops_first_fragments_only, drops_untagged_only},
    lower::steering::{Block, Steering},
    models::{Outcome, To, follow},
    sets::{Answer, Budget, Choice, Decided, Fields, Frame, Set, Table, Taker, Witness, decided},
    source::{context::Context, sources::Place},
};

/// For all rules, and for one of them.
const BUDGET: u64 = 10_000_000;
const RULE_BUDGET: u64 = 200_000;

/// A rule that lets packets through which are beside what it drops.
struct Bypassed {
    place: Place,
    /// The firewall whose rule it is, and how it names it.
    by: Option<(String, String)>,
    /// One that gets through, where it leaves, and as what it comes in.
    packet: Witness,
    to: String,
    port: String,
    /// So many rules of the same port or firewall are like it.
    more: usize,
}

/// Reports one rule for each port and for each firewall, unless a claim about the port has been reported for the same reason, as
/// `warned` says.
pub(super) fn check(
    cx: &Context<'_>,
    fields: &mut Fields,
    steering: &Steering<'_, '_>,
    tables: &[(&Block, Table<'_>)],
    firewalls: [&Firewalls<'_>; 2],
    warned: &[(String, Beside)],
) {
    let mut budget = Budget::new(BUDGET);
    let mut reported: Vec<String> = Vec::new();
    for (block, table) in tables {
        let Some(port) = block
            .port
            .as_deref()
            .filter(|p| steering.is_live(p) && block.complete)
        else {
            continue;
        };
        let [plain, untagged] = firewalls;
        let search = Search {
            steering,
            block,
            table,
            port,
            firewalls: if steering.ignores_tags(port) {
                untagged
            } else {
                plain
            },
        };
        let kinds = [
            (Beside::Tagged, steering.carries_tags(port)),
            (Beside::Fragments, steering.carries_fragments(port)),
        ];
        for (kind, _) in kinds.into_iter().filter(|(_, carries)| *carries) {
            if warned.iter().any(|(of, beside)| of == port && *beside == kind) {
                continue;
            }
            if let Some(found) = search.steering_rules(fields, kind, &mut budget) {
                report(cx, kind, &found);
            }
            // Most firewalls that accept by default let later fragments through, and hosts do nothing with these alone.
            let firewalls = match kind {
                Beside::Tagged => search.met(),
                Beside::Fragments => Vec::new(),
            };
            for (nf, place) in firewalls {
                let known = reported.iter().any(|name| name == nf);
                if !known && let Some(found) = search.firewall(fields, kind, (nf, place), &mut budget) {
                    reported.push(nf.to_owned());
                    report(cx, kind, &found);
                }
            }
        }
    }
}

fn report(cx: &Context<'_>, kind: Beside, found: &Bypassed) {
    let rule = match &found.by {
        Some((nf, rule)) => format!("{rule} of `{nf}`"),
        None => "this rule".to_owned(),
    };
    let more = match found.more {
        0 => String::new(),
        1 => "; so does 1 more rule".to_owned(),
        n => format!("; so do {n} more rules"),
    };
    let packet = format!("the packet: {}\nit leaves by `{}`{more}", found.packet, found.to);
    cx.report(match kind {
        Beside::Tagged => drops_untagged_only::drops_untagged_only(found.place, &rule, &found.port, &packet),
        Beside::Fragments => drops_first_fragments_only::drops_first_fragments_only(found.place, &packet),
    });
}

/// The packets beside those of a filter.
fn beside(kind: Beside, filter: &Expr) -> Option<Expr> {
    match kind {
        Beside::Tagged => filter.behind_tag(),
        Beside::Fragments => filter.later_fragments(),
    }
}

/// Whether a filter takes the packet, or one that it is beside of.
fn concerns(kind: Beside, filter: &Expr, frame: &Frame) -> bool {
    let takes = |filter: &Expr| filter.matches(&frame.bytes, frame.wire_len);
    takes(filter) || beside(kind, filter).is_some_and(|filter| takes(&filter))
}

struct Search<'s, 'g, 'a, 'm> {
    steering: &'s Steering<'g, 'a>,
    block: &'s Block,
    table: &'s Table<'s>,
    port: &'s str,
    firewalls: &'s Firewalls<'m>,
}

impl<'s> Search<'s, '_, '_, '_> {
    fn chain(&self, taker: Taker) -> Option<usize> {
        let name = match taker {
            Some(rule) => self.block.rules.get(rule)?.chain.as_str(),
            None => self.block.otherwise.as_ref()?.1.as_deref()?,
        };
        self.steering.chain_index(name)
    }

    fn takers(&self) -> impl Iterator<Item = Taker> + use<> {
        (0..self.block.rules.len()).map(Some).chain([None])
    }

    fn drops(&self, taker: Taker) -> bool {
        let first = self
            .chain(taker)
            .and_then(|chain| self.steering.chains.get(chain)?.hops.first());
        first.is_none_or(|hop| hop.at == Target::Drop)
    }

    /// The firewalls on the chains of the port, each with one place where it stands.
    fn met(&self) -> Vec<(&'s str, Place)> {
        let mut met: Vec<(&str, Place)> = Vec::new();
        for chain in self.takers().filter_map(|taker| self.chain(taker)) {
            let hops = self.steering.chains[chain].hops.iter();
            for (hop, place) in hops.zip(&self.steering.places[chain]) {
                if let Target::Nf(nf) = &hop.at
                    && !met.iter().any(|(name, _)| name == nf)
                {
                    met.push((nf, *place));
                }
            }
        }
        met
    }

    /// The port by which a packet leaves, and the NFs that it meets. None: it is dropped.
    fn leaves(&self, frame: &Frame) -> Option<(&'s str, Vec<&'s str>)> {
        let chain = self.chain(self.table.taker(frame))?;
        let hops = &self.steering.chains[chain].hops;
        let (mut at, mut met) = (0, Vec::new());
        // NFs drop what is malformed.
        let whole = frame.mended();
        // A chain without a circle has no more steps than hops.
        for _ in 0..hops.len() {
            let hop = hops.get(at)?;
            let nf = match &hop.at {
                Target::Port(port) => return Some((port, met)),
                Target::Drop => return None,
                Target::Nf(nf) => nf.as_str(),
            };
            met.push(nf);
            let outcome = self.firewalls.tried(nf, &whole).unwrap_or(Outcome::Next);
            match follow(hop, &outcome) {
                To::Hop(next) => at = usize::from(next),
                To::Rules | To::Nowhere => return None,
            }
        }
        None
    }

    /// A rule of the port.
    fn steering_rules(&self, fields: &mut Fields, kind: Beside, budget: &mut Budget) -> Option<Bypassed> {
        let open: Vec<Taker> = self.takers().filter(|taker| !self.drops(*taker)).collect();
        let choice = Choice::new(self.table, &open);
        let tables = [Decided {
            table: self.table,
            choice: &choice,
        }];
        let rules = self.block.rules.iter().zip(&self.block.places).enumerate();
        let rules = rules.map(|(n, (rule, place))| Rule {
            filter: &rule.filter,
            drops: self.drops(Some(n)),
            place: *place,
            by: None,
        });
        self.first(fields, kind, &rules.collect::<Vec<_>>(), &tables, budget)
    }

    /// A rule of a firewall.
    fn firewall(
        &self,
        fields: &mut Fields,
        kind: Beside,
        (nf, place): (&str, Place),
        budget: &mut Budget,
    ) -> Option<Bypassed> {
        let passed = self.firewalls.decided(nf, &Outcome::Next)?;
        let leads = |taker: &Taker| {
            let chain = self.chain(*taker);
            let mut hops = chain
                .into_iter()
                .flat_map(|chain| &self.steering.chains[chain].hops);
            hops.any(|hop| matches!(&hop.at, Target::Nf(name) if name == nf))
        };
        let takers: Vec<Taker> = self.takers().filter(leads).collect();
        let choice = Choice::new(self.table, &takers);
        let tables = [
            passed,
            Decided {
                table: self.table,
                choice: &choice,
            },
        ];
        let rules = self.firewalls.rules(nf).into_iter();
        let rules = rules.map(|(filter, outcome, said)| Rule {
            filter,
            drops: *outcome != Outcome::Next,
            place,
            by: Some((nf, said)),
        });
        self.first(fields, kind, &rules.collect::<Vec<_>>(), &tables, budget)
    }

    /// The first rule that drops packets and lets those beside them out, of rules in order, and how many there are. `tables` are to
    /// decide so that packets can get out.
    fn first(
        &self,
        fields: &mut Fields,
        kind: Beside,
        rules: &[Rule<'_>],
        tables: &[Decided<'_, '_>],
        budget: &mut Budget,
    ) -> Option<Bypassed> {
        let mut found: Option<Bypassed> = None;
        for (n, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.drops) {
            let Some(filter) = beside(kind, rule.filter) else {
                continue;
            };
            let set = Set::new(fields, &filter);
            let also = |frame: &Frame| {
                let meets = |met: &[&str]| rule.by.is_none_or(|(nf, _)| met.contains(&nf));
                // What an earlier rule is about, this one is not.
                let mut earlier = rules[..n].iter();
                self.leaves(frame).is_some_and(|(_, met)| meets(&met))
                    && !earlier.any(|rule| concerns(kind, rule.filter, frame))
            };
            let Some(packet) = ask(fields, tables, &set, &also, budget) else {
                continue;
            };
            match &mut found {
                Some(found) => found.more += 1,
                None => {
                    found = Some(Bypassed {
                        place: rule.place,
                        by: rule.by.map(|(nf, said)| (nf.to_owned(), said.to_owned())),
                        to: self.leaves(&packet.frame)?.0.to_owned(),
                        port: self.port.to_owned(),
                        packet,
                        more: 0,
                    });
                }
            }
        }
        found
    }
}

/// A rule of a port or of a firewall.
struct Rule<'r> {
    filter: &'r Expr,
    drops: bool,
    /// Its own, or where its firewall stands on a chain.
    place: Place,
    /// The firewall, and how it names the rule.
    by: Option<(&'r str, &'r str)>,
}

fn ask(
    fields: &Fields,
    tables: &[Decided<'_, '_>],
    set: &Set<'_>,
    also: &dyn Fn(&Frame) -> bool,
    budget: &mut Budget,
) -> Option<Witness> {
    let answer = budget.part(RULE_BUDGET, |budget| {
        decided(fields, tables, &[set], also, budget)
    });
    match answer {
        Answer::Yes(packet) => Some(packet),
        Answer::No | Answer::Unknown => None,
    }
}
