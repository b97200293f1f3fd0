//! The search for packets that are dropped while those beside them get out.

use std::{cell::OnceCell, collections::HashMap};

use onvm_bundle::{Hop, Target, filter::Expr};

use super::{
    Bypass,
    routes::{Decisions, RouteOut},
    walk::Look,
};
use crate::{
    lower::steering::{Block, Chains},
    models::Outcome,
    proofs::{Beside, firewalls::Firewalls},
    sets::{Budget, Choice, Decided, Fields, Found, Frame, RuleTable, Set, Taker, Witness, find},
    source::sources::Place,
};

/// For one search.
const ASK_BUDGET: u64 = 200_000;
/// So many rules of which nothing can be shown use up what there is for one question.
const RULES: u64 = 16;
/// For counting the rules like one that was found.
const COUNT: u64 = 50_000;
/// For the ways of the packets that show one of these.
const WALKS: u64 = 25;
/// Of more pairs of routes, not all are looked at one by one.
const MAX_ROUTES: usize = 1000;

/// Whether a rule of the port, or of a firewall on its chains, drops anything.
pub(super) fn may_drop(chains: Chains<'_>, block: &Block, firewalls: &Firewalls<'_>) -> bool {
    let mut names: Vec<&str> = block.rules.iter().map(|rule| rule.chain.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let otherwise = block.otherwise.iter().filter_map(|(_, chain)| chain.as_deref());
    let mut names = names.into_iter().chain(otherwise);
    let drops = |hop: &Hop| match &hop.at {
        Target::Nf(nf) => firewalls
            .rules(nf)
            .iter()
            .any(|(_, outcome, _)| **outcome != Outcome::Next),
        Target::Drop => true,
        Target::Port(_) => false,
    };
    names.any(|name| {
        let chain = chains.index(name);
        chain.is_some_and(|chain| chains.all[chain].hops.iter().any(drops))
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
pub(super) struct Port<'s, 'm> {
    pub(super) fields: &'s Fields,
    pub(super) program: Chains<'s>,
    pub(super) block: &'s Block,
    pub(super) kind: Beside,
    /// The frames that are searched for, and what is made of each.
    pub(super) frames: &'s Set<'s>,
    pub(super) found: Side<'s, 'm>,
    made: Side<'s, 'm>,
    /// The chains, each with the rules that lead there; those that only drop are left out.
    pub(super) chains: Vec<(usize, Vec<Taker>)>,
    /// By rule, `else` last: packets cannot leave the chain that it leads to.
    drops: Vec<bool>,
    routes_out: OnceCell<Vec<RouteOut<'s>>>,
}

/// What is asked of rules of one firewall, or of those of the port.
struct Question<'s, 't> {
    /// The firewall.
    by: Option<&'s str>,
    /// The rules of the port for packets that the firewall may drop.
    entered: Choice,
    /// Those for packets that may get out.
    out: Choice,
    routes_in: OnceCell<Vec<Decisions<'t>>>,
}

impl<'s, 'm> Port<'s, 'm> {
    /// `found` and `made`: of the frames searched for, and of what is made of each.
    pub(super) fn new(
        fields: &'s Fields,
        program: Chains<'s>,
        block: &'s Block,
        (kind, frames): (Beside, &'s Set<'s>),
        (found, made): (Side<'s, 'm>, Side<'s, 'm>),
    ) -> Self {
        let mut port = Self {
            fields,
            program,
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
        self.program.index(name)
    }

    /// Packets can leave the chain by a port.
    fn has_exit(&self, chain: usize) -> bool {
        let mut hops = self.program.all[chain].hops.iter();
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
            let hops = self.program.all[*chain].hops.iter();
            for (hop, place) in hops.zip(&self.program.places[*chain]) {
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
        if own.is_empty() {
            return None;
        }
        let question = Question::new(self, by.map(|nf| nf.name));
        let some = match budget.part(budget.share(2), |part| self.find(&question, &own, part)) {
            Found::No => return None,
            Found::Frame(frame) => Some(frame),
            Found::Unknown => None,
        };
        let each = budget.share(RULES);
        let mut rest = own.iter();
        let mut bypass = None;
        while bypass.is_none()
            && !budget.is_spent()
            && let Some(n) = rest.next()
        {
            if let Found::Frame(frame) = budget.part(each, |part| self.find(&question, &[*n], part)) {
                bypass = self.bypass(by, rules, &[*n], frame);
            }
        }
        // What was found of all of them is one rule's, also where nothing could be said of that rule alone.
        let bypass = bypass.or_else(|| self.bypass(by, rules, &own, some?))?;
        let (more, all) = budget.part(COUNT, |part| self.count(&question, rest.as_slice(), part));
        Some(Bypass { more, all, ..bypass })
    }

    /// How many of the rules are like it, and whether all were looked at.
    fn count(&self, question: &Question<'s, 's>, rules: &[usize], budget: &mut Budget) -> (usize, bool) {
        let each = budget.share(RULES);
        let mut found = 0;
        for rule in rules {
            if budget.is_spent() {
                return (found, false);
            }
            let one = budget.part(each, |part| self.find(question, &[*rule], part));
            if matches!(one, Found::Frame(_)) {
                found += 1;
                budget.spend(WALKS);
            }
        }
        (found, true)
    }

    /// The bypass that a frame shows, by one of the rules `own`. None: the rules themselves do not confirm it.
    fn bypass(
        &self,
        by: Option<Standing<'s>>,
        rules: &[Rule<'_>],
        own: &[usize],
        frame: Frame,
    ) -> Option<Bypass> {
        let nf = by.map(|nf| nf.name);
        let of = |frame: &Frame| self.hole(Look::Rules, nf, own, frame);
        let hole = of(&Witness::new(frame, &|frame| of(frame).is_some()).frame)?;
        let rule = rules.get(hole.rule)?;
        let place = match hole.taker {
            Some(taker) => self.block.places.get(taker).copied(),
            None => self.block.otherwise.as_ref().map(|(place, _)| *place),
        };
        Some(Bypass {
            place: rule.place,
            by: nf.map(|nf| (nf.to_owned(), rule.said.to_owned())),
            around: place.filter(|_| hole.around),
            port: self.block.name.clone(),
            to: hole.to.to_owned(),
            packet: self.shown(hole),
            more: 0,
            all: true,
        })
    }

    /// A frame of which one of a pair is dropped by one of the rules, and the other gets out.
    fn find(&self, question: &Question<'s, 's>, rules: &[usize], budget: &mut Budget) -> Found {
        let (plain, beside) = self.sides();
        let rules_taken: Vec<Taker> = rules.iter().copied().map(Some).collect();
        let confirm = |frame: &Frame| self.hole(Look::Cubes, question.by, rules, frame).is_some();
        let Some(table) = question
            .by
            .map_or(Some(plain.table), |nf| plain.firewalls.table(nf))
        else {
            return Found::No;
        };
        let own = Choice::new(table, &rules_taken);
        let own = Decided { table, choice: &own };
        let entered = question.by.map(|_| Decided {
            table: plain.table,
            choice: &question.entered,
        });
        let own: Vec<Decided<'_, '_>> = [own].into_iter().chain(entered).collect();
        let out = Decided {
            table: beside.table,
            choice: &question.out,
        };
        let found = self.ask(&own, &[out], &confirm, budget);
        if found != Found::Unknown {
            return found;
        }
        // What happens in the chains is known only of a frame that is found; by routes it is known beforehand.
        let routes_in = question.routes_in.get_or_init(|| match question.by {
            Some(nf) => self.routes_in(nf, plain),
            None => vec![Vec::new()],
        });
        let routes_out = self.routes_out.get_or_init(|| self.routes_out(beside));
        let mut doubtful = routes_in.len() * routes_out.len() > MAX_ROUTES;
        let pairs = routes_in
            .iter()
            .flat_map(|come| routes_out.iter().map(move |out| (come, out)));
        for (come, out) in pairs.take(MAX_ROUTES) {
            for go in out.unnamed.iter().chain([&out.all]) {
                let both = come.iter().chain(go);
                let both: Vec<Decided<'_, '_>> =
                    both.map(|(table, choice)| Decided { table, choice }).collect();
                match self.ask(&own, &both, &confirm, budget) {
                    Found::No => {}
                    Found::Unknown => doubtful = true,
                    found @ Found::Frame(_) => return found,
                }
            }
        }
        match doubtful {
            true => Found::Unknown,
            false => Found::No,
        }
    }

    fn ask<'d>(
        &self,
        own: &[Decided<'d, 'd>],
        more: &[Decided<'d, 'd>],
        confirm: &dyn Fn(&Frame) -> bool,
        budget: &mut Budget,
    ) -> Found {
        let all: Vec<Decided<'d, 'd>> = own.iter().chain(more).copied().collect();
        budget.part(ASK_BUDGET, |budget| {
            find(self.fields, &all, &[self.frames], confirm, budget)
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
        let mut hops = self.program.all[chain].hops.iter();
        hops.any(|hop| matches!(&hop.at, Target::Nf(name) if name == nf))
    }
}

impl<'s> Question<'s, 's> {
    fn new(port: &Port<'s, '_>, by: Option<&'s str>) -> Self {
        let (plain, beside) = port.sides();
        let entered = port.takers(|chain| by.is_none_or(|nf| port.has(chain, nf)));
        Self {
            by,
            entered: Choice::new(plain.table, &entered),
            out: Choice::new(beside.table, &port.takers(|_| true)),
            routes_in: OnceCell::new(),
        }
    }
}
