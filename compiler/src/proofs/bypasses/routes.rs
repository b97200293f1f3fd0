//! Routes through the chains of a port, and what its rules and the firewalls decide of packets that take them.

use onvm_bundle::filter::Expr;

use super::search::{Port, Side};
use crate::{
    proofs::{
        faults::{Decision, Faults, Rewriting},
        paths::{Fault, Goal},
    },
    sets::{Choice, RuleTable, Taker},
};

/// What tables decide.
pub(super) type Decisions<'t> = Vec<(&'t RuleTable<'t>, Choice)>;

/// A route that ends at a port.
pub(super) struct RouteOut<'t> {
    pub(super) all: Decisions<'t>,
    /// Without rules that say what the packets of a pair differ in; none: there are no such rules.
    pub(super) unnamed: Option<Decisions<'t>>,
}

/// A route of packets of some rules through a chain.
struct Route {
    takers: Vec<Taker>,
    decisions: Vec<Decision>,
}

impl<'s, 'm> Port<'s, 'm> {
    /// The routes to a goal. NFs are taken to leave packets as they are.
    fn routes(&self, goal: &Goal<'_>) -> Vec<Route> {
        let fault = Fault {
            goal: *goal,
            avoid: None,
            around: false,
        };
        let models = self.found.firewalls.models;
        let of = |(chain, takers): &(usize, Vec<Taker>)| {
            let faults = Faults::new(&fault, &self.program.all[*chain], models, &Rewriting::NONE);
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

    /// The routes to a firewall.
    pub(super) fn routes_in(&self, nf: &str, side: Side<'s, 'm>) -> Vec<Decisions<'s>> {
        let of = |route: Route| {
            let mut all = vec![(side.table, Choice::new(side.table, &route.takers))];
            let known = route.decisions.iter();
            let known = known.filter_map(|d| side.firewalls.decided(&d.nf, &d.outcome));
            all.extend(known.map(|decided| (decided.table, decided.choice.clone())));
            all
        };
        self.routes(&Goal::Node(nf)).into_iter().map(of).collect()
    }

    pub(super) fn routes_out(&self, side: Side<'s, 'm>) -> Vec<RouteOut<'s>> {
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
