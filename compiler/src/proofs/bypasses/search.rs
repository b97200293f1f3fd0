//! The search for packets that are dropped while those beside them get out.

use std::{cell::OnceCell, collections::HashMap};

use onvm_bundle::{Hop, Target, filter::Expr};

use super::Bypass;
use crate::{
    lower::steering::{Block, Steering},
    models::Outcome,
    proofs::{
        Beside,
        faults::{Decision, Faults, Rewriting},
        firewalls::Firewalls,
        paths::{Fault, Goal},
    },
    sets::{Answer, Budget, Choice, Decided, Fields, Frame, RuleTable, Set, Taker, decided},
    source::sources::Place,
};

/// For one question.
const ASK_BUDGET: u64 = 200_000;
/// Of more pairs of routes, not all are looked at one by one.
const MAX_ROUTES: usize = 1000;

/// Whether a rule of the port, or of a firewall on its chains, drops anything.
pub(super) fn may_drop(steering: &Steering<'_, '_>, block: &Block, firewalls: &Firewalls<'_>) -> bool {
    let mut chains: Vec<&str> = block.rules.iter().map(|rule| rule.chain.as_str()).collect();
    chains.sort_unstable();
    chains.dedup();
    let otherwise = block.otherwise.iter().filter_map(|(_, chain)| chain.as_deref());
    let mut chains = chains.into_iter().chain(otherwise);
    let drops = |hop: &Hop| match &hop.at {
        Target::Nf(nf) => firewalls
            .rules(nf)
            .iter()
            .any(|(_, outcome, _)| **outcome != Outcome::Next),
        Target::Drop => true,
        Target::Port(_) => false,
    };
    chains.any(|chain| {
        let chain = steering.chain_index(chain);
        chain.is_some_and(|chain| steering.chains[chain].hops.iter().any(drops))
    })
}

/// The rules that decide on one of each pair.
#[derive(Clone, Copy)]
pub(super) struct Side<'t, 'm> {
    pub(super) table: &'t RuleTable<'t>,
    pub(super) firewalls: &'t Firewalls<'m>,
}

/// A rule of the port or of a firewall.
pub(super) struct Rule<'r> {
    filter: &'r Expr,
    /// It drops what it takes, or may do so.
    drops: bool,
    place: Place,
    /// As its firewall names it.
    said: &'r str,
}

/// A firewall, and a step of a chain where it stands.
#[derive(Clone, Copy)]
pub(super) struct Standing<'s> {
    pub(super) name: &'s str,
    place: Place,
}

/// A port and its packets.
pub(super) struct Port<'s, 'g, 'a, 'm> {
    fields: &'s Fields,
    pub(super) steering: &'s Steering<'g, 'a>,
    pub(super) block: &'s Block,
    pub(super) kind: Beside,
    /// The frames that are searched for, and what is made of each.
    frames: &'s Set<'s>,
    pub(super) found: Side<'s, 'm>,
    made: Side<'s, 'm>,
    /// The chains, each with the rules that lead there; those that only drop are left out.
    chains: Vec<(usize, Vec<Taker>)>,
    /// By rule, `else` last: packets cannot leave the chain that it leads to.
    drops: Vec<bool>,
    routes_out: OnceCell<Vec<RouteOut<'s>>>,
}

/// A route that ends at a port, as decisions of tables.
struct RouteOut<'t> {
    all: Vec<(&'t RuleTable<'t>, Choice)>,
    /// Without rules that say what the packets of a pair differ in; none: there are no such rules.
    unnamed: Option<Vec<(&'t RuleTable<'t>, Choice)>>,
}

/// A route of packets of some rules through a chain.
struct Route {
    takers: Vec<Taker>,
    decisions: Vec<Decision>,
}

impl<'s, 'g, 'a, 'm> Port<'s, 'g, 'a, 'm> {
    /// `found` and `made`: of the frames searched for, and of what is made of each.
    pub(super) fn new(
        fields: &'s Fields,
        steering: &'s Steering<'g, 'a>,
        block: &'s Block,
        (kind, frames): (Beside, &'s Set<'s>),
        (found, made): (Side<'s, 'm>, Side<'s, 'm>),
    ) -> Self {
        let mut port = Self {
            fields,
            steering,
            block,
            kind,
            frames,
            found,
            made,
            chains: Vec::new(),
            drops: Vec::new(),
            routes_out: OnceCell::new(),
        };
        let mut at: HashMap<usize, Option<usize>> = HashMap::new();
        for taker in (0..block.rules.len()).map(Some).chain([None]) {
            let place = port.chain(taker).and_then(|chain| {
                *at.entry(chain).or_insert_with(|| {
                    port.has_exit(chain).then(|| {
                        port.chains.push((chain, Vec::new()));
                        port.chains.len() - 1
                    })
                })
            });
            port.drops.push(place.is_none());
            if let Some(place) = place {
                port.chains[place].1.push(taker);
            }
        }
        port
    }

    pub(super) fn chain(&self, taker: Taker) -> Option<usize> {
        let name = match taker {
            Some(rule) => self.block.rules.get(rule)?.chain.as_str(),
            None => self.block.otherwise.as_ref()?.1.as_deref()?,
        };
        self.steering.chain_index(name)
    }

    /// Packets can leave the chain by a port.
    fn has_exit(&self, chain: usize) -> bool {
        let mut hops = self.steering.chains[chain].hops.iter();
        hops.any(|hop| matches!(hop.at, Target::Port(_)))
    }

    pub(super) fn drops(&self, taker: Taker) -> bool {
        let at = taker.unwrap_or(self.block.rules.len());
        self.drops.get(at).copied().unwrap_or(true)
    }

    /// Those of the port.
    pub(super) fn rules(&self) -> Vec<Rule<'s>> {
        let rules = self.block.rules.iter().zip(&self.block.places).enumerate();
        let rules = rules.map(|(n, (rule, place))| Rule {
            filter: &rule.filter,
            drops: self.drops(Some(n)),
            place: *place,
            said: "",
        });
        rules.collect()
    }

    /// The firewalls on chains of the port.
    pub(super) fn firewalls(&self) -> Vec<Standing<'s>> {
        let mut met: Vec<Standing<'_>> = Vec::new();
        for (chain, _) in &self.chains {
            let hops = self.steering.chains[*chain].hops.iter();
            for (hop, place) in hops.zip(&self.steering.places[*chain]) {
                if let Target::Nf(name) = &hop.at
                    && !met.iter().any(|nf| nf.name == name)
                {
                    met.push(Standing { name, place: *place });
                }
            }
        }
        met
    }

    /// Those of a firewall.
    pub(super) fn rules_of(&self, nf: Standing<'s>) -> Vec<Rule<'m>> {
        let rules = self.found.firewalls.rules(nf.name).into_iter();
        let rules = rules.map(|(filter, outcome, said)| Rule {
            filter,
            drops: *outcome != Outcome::Next,
            place: nf.place,
            said,
        });
        rules.collect()
    }

    /// The first of the rules that drops packets and lets those beside them out, and how many there are.
    pub(super) fn first(
        &self,
        by: Option<Standing<'s>>,
        rules: &[Rule<'_>],
        budget: &mut Budget,
    ) -> Option<Bypass> {
        let own = rules.iter().enumerate();
        let own = own.filter(|(_, rule)| rule.drops && !self.kind.is_named(rule.filter));
        let own: Vec<usize> = own.map(|(n, _)| n).collect();
        let nf = by.map(|nf| nf.name);
        let (plain, beside) = self.sides();
        let entered = self.takers(|chain| nf.is_none_or(|nf| self.has(chain, nf)));
        let entered = Choice::new(plain.table, &entered);
        let out = Choice::new(beside.table, &self.takers(|_| true));
        let ends =
            [(plain.table, &entered), (beside.table, &out)].map(|(table, choice)| Decided { table, choice });
        if own.is_empty() || !matches!(self.find(nf, &own, ends, budget), Answer::Yes(_)) {
            return None;
        }
        let mut bypass: Option<Bypass> = None;
        for n in own {
            if budget.is_spent() {
                break;
            }
            let Answer::Yes(witness) = self.find(nf, &[n], ends, budget) else {
                continue;
            };
            match &mut bypass {
                Some(bypass) => bypass.more += 1,
                None => {
                    let (rule, hole) = (rules.get(n)?, self.hole(nf, &[n], &witness.frame)?);
                    let place = match hole.taker {
                        Some(taker) => self.block.places.get(taker).copied(),
                        None => self.block.otherwise.as_ref().map(|(place, _)| *place),
                    };
                    bypass = Some(Bypass {
                        place: rule.place,
                        by: nf.map(|nf| (nf.to_owned(), rule.said.to_owned())),
                        around: place.filter(|_| hole.around),
                        port: self.block.name.clone(),
                        to: hole.to.to_owned(),
                        packet: self.shown(hole),
                        more: 0,
                    });
                }
            }
        }
        bypass
    }

    /// A frame of which one of a pair is dropped by one of the rules, and the other gets out. `by`: whose rules these are; none:
    /// the port's. Packets that the firewall may drop are decided by the rules of `entered`, those that may get out by those of `out`.
    fn find(
        &self,
        by: Option<&str>,
        rules: &[usize],
        [entered, out]: [Decided<'_, '_>; 2],
        budget: &mut Budget,
    ) -> Answer {
        let (plain, beside) = self.sides();
        let rules_taken: Vec<Taker> = rules.iter().copied().map(Some).collect();
        let also = |frame: &Frame| self.hole(by, rules, frame).is_some();
        let Some(table) = by.map_or(Some(plain.table), |nf| plain.firewalls.table(nf)) else {
            return Answer::No;
        };
        let own = Choice::new(table, &rules_taken);
        let own = Decided { table, choice: &own };
        let own: Vec<Decided<'_, '_>> = [own].into_iter().chain(by.map(|_| entered)).collect();
        let answer = self.ask(&own, &[out], &also, budget);
        if answer != Answer::Unknown {
            return answer;
        }
        // What happens in the chains is known only of a frame that is found; by routes it is known beforehand.
        let to_firewall = match by {
            Some(nf) => self.routes(&Goal::Node(nf)),
            None => vec![Route {
                takers: rules_taken,
                decisions: Vec::new(),
            }],
        };
        let routes_out = self.routes_out.get_or_init(|| self.routes_out(beside));
        let mut doubtful = to_firewall.len() * routes_out.len() > MAX_ROUTES;
        let pairs = to_firewall
            .iter()
            .flat_map(|to| routes_out.iter().map(move |out| (to, out)));
        for (to, out) in pairs.take(MAX_ROUTES) {
            let entered = Choice::new(plain.table, &to.takers);
            let mut come = vec![Decided {
                table: plain.table,
                choice: &entered,
            }];
            come.extend(plain.of(&to.decisions));
            for go in out.unnamed.iter().chain([&out.all]) {
                let go = go.iter().map(|(table, choice)| Decided { table, choice });
                let both: Vec<Decided<'_, '_>> = come.iter().copied().chain(go).collect();
                match self.ask(&own, &both, &also, budget) {
                    Answer::No => {}
                    Answer::Unknown => doubtful = true,
                    yes => return yes,
                }
            }
        }
        match doubtful {
            true => Answer::Unknown,
            false => Answer::No,
        }
    }

    fn ask<'d>(
        &self,
        own: &[Decided<'d, 'd>],
        more: &[Decided<'d, 'd>],
        also: &dyn Fn(&Frame) -> bool,
        budget: &mut Budget,
    ) -> Answer {
        let all: Vec<Decided<'d, 'd>> = own.iter().chain(more).copied().collect();
        budget.part(ASK_BUDGET, |budget| {
            decided(self.fields, &all, &[self.frames], also, budget)
        })
    }

    /// The rules of the packets that are dropped, and of those beside them.
    fn sides(&self) -> (Side<'s, 'm>, Side<'s, 'm>) {
        match self.kind.is_of_beside() {
            true => (self.made, self.found),
            false => (self.found, self.made),
        }
    }

    /// The rules that lead to such chains.
    fn takers(&self, wanted: impl Fn(usize) -> bool) -> Vec<Taker> {
        let chains = self.chains.iter().filter(|(chain, _)| wanted(*chain));
        let mut takers: Vec<Taker> = chains.flat_map(|(_, takers)| takers).copied().collect();
        // `else` comes last.
        takers.sort_by_key(|taker| taker.unwrap_or(usize::MAX));
        takers
    }

    fn has(&self, chain: usize, nf: &str) -> bool {
        let mut hops = self.steering.chains[chain].hops.iter();
        hops.any(|hop| matches!(&hop.at, Target::Nf(name) if name == nf))
    }

    /// The routes to a goal. NFs are taken to leave packets as they are.
    fn routes(&self, goal: &Goal<'_>) -> Vec<Route> {
        let fault = Fault {
            goal: *goal,
            avoid: None,
        };
        let models = self.found.firewalls.models;
        let of = |(chain, takers): &(usize, Vec<Taker>)| {
            let faults = Faults::new(&fault, &self.steering.chains[*chain], models, &Rewriting::NONE);
            let route = |decisions| Route {
                takers: takers.clone(),
                decisions,
            };
            let ways = faults.ways.into_iter();
            ways.map(|found| route(found.decisions.into_iter().collect()))
                .collect::<Vec<_>>()
        };
        self.chains.iter().flat_map(of).collect()
    }

    fn routes_out(&self, side: Side<'s, 'm>) -> Vec<RouteOut<'s>> {
        let of = |route: Route| {
            let tables = |named: bool| {
                let is_wanted =
                    |filter: Option<&Expr>| named || !filter.is_some_and(|f| self.kind.is_named(f));
                let of_port = |taker: &Taker| {
                    is_wanted(taker.and_then(|rule| Some(&self.block.rules.get(rule)?.filter)))
                };
                let takers: Vec<Taker> = route.takers.iter().copied().filter(of_port).collect();
                let mut all = vec![(side.table, Choice::new(side.table, &takers))];
                for Decision { nf, outcome, .. } in &route.decisions {
                    let Some(table) = side.firewalls.table(nf) else {
                        continue;
                    };
                    let firewalls = self.found.firewalls;
                    let mut takers = firewalls.takers(nf, outcome);
                    takers.retain(|taker| is_wanted(taker.and_then(|rule| firewalls.filter(nf, rule))));
                    all.push((table, Choice::new(table, &takers)));
                }
                all
            };
            let all = tables(true);
            let unnamed = tables(false);
            let differ = unnamed.iter().zip(&all).any(|((_, few), (_, all))| few != all);
            RouteOut {
                unnamed: differ.then_some(unnamed),
                all,
            }
        };
        self.routes(&Goal::AnyPort).into_iter().map(of).collect()
    }
}

impl<'t, 'm> Side<'t, 'm> {
    /// The packets of which firewalls decide so.
    fn of(self, decisions: &[Decision]) -> impl Iterator<Item = Decided<'t, 't>> {
        let known = decisions.iter();
        known.filter_map(move |decision| self.firewalls.decided(&decision.nf, &decision.outcome))
    }
}
