//! Ways through a chain, by all that its NFs can decide; and through two chains in step.

use onvm_bundle::{Chain, Hop, Target};

use super::side::Side;
use crate::models::{Outcome, To, follow};

/// Of more routes through a pair of chains, no more are looked at.
const MAX_ROUTES: usize = 1024;

/// What an NF decided on a packet, before and after an edit; none where the packet does not meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision<'a> {
    pub(crate) nf: &'a str,
    pub(crate) old: Option<Outcome>,
    pub(crate) new: Option<Outcome>,
}

/// One place of a way, and how the packet left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit<'a> {
    pub(crate) at: &'a str,
    pub(crate) by: Outcome,
}

#[derive(Debug, Clone)]
pub(crate) struct Route<'a> {
    /// In the order in which the NFs are met; of an NF that is met twice, once.
    pub(crate) decisions: Vec<Decision<'a>>,
    pub(crate) old: Vec<Visit<'a>>,
    pub(crate) new: Vec<Visit<'a>>,
    pub(crate) differs: bool,
}

/// The routes through two chains, in step from their beginnings to where they part, then through what is left of each.
#[derive(Debug)]
pub(crate) struct Routes<'a> {
    pub(crate) routes: Vec<Route<'a>>,
    /// There are more.
    pub(crate) more: bool,
}

/// A side and a chain of it; without a chain, all packets are dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Through<'s, 'a> {
    pub(crate) side: &'s Side<'a>,
    pub(crate) chain: Option<&'a Chain>,
}

/// Where a packet is.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Nf(&'a str, &'a Hop),
    Port(&'a str),
    /// At the rules of its port again. Its headers cannot be known then: routes end here.
    Rules,
    Dropped,
}

impl<'a> Routes<'a> {
    pub(crate) fn new(old: Through<'_, 'a>, new: Through<'_, 'a>) -> Self {
        let mut walk = Walk {
            old,
            new,
            found: Self {
                routes: Vec::new(),
                more: false,
            },
        };
        let route = Route {
            decisions: Vec::new(),
            old: Vec::new(),
            new: Vec::new(),
            differs: false,
        };
        walk.step((To::Hop(0), To::Hop(0)), route);
        walk.found
    }
}

impl<'a> Through<'_, 'a> {
    fn place(&self, at: To) -> Place<'a> {
        let hop = match at {
            To::Hop(at) => self.chain.and_then(|chain| chain.hops.get(usize::from(at))),
            To::Rules => return Place::Rules,
            To::Nowhere => None,
        };
        match hop.map(|hop| (&hop.at, hop)) {
            Some((Target::Nf(name), hop)) => Place::Nf(name, hop),
            Some((Target::Port(name), _)) => Place::Port(name),
            Some((Target::Drop, _)) | None => Place::Dropped,
        }
    }

    /// The hops are the same, and the NFs there decide alike.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let hops = |through: &Self| {
            through
                .chain
                .map(|chain| chain.hops.as_slice())
                .unwrap_or_default()
        };
        let same = |(a, b): (&Hop, &Hop)| {
            let alike = !matches!(&a.at, Target::Nf(nf) if !self.side.decides_alike(other.side, nf));
            alike
                && a.at == b.at
                && a.next == b.next
                && a.outputs == b.outputs
                && a.steers == b.steers
                && a.lookup == b.lookup
        };
        let (own, others) = (hops(self), hops(other));
        self.side.contents.manager.max_hops == other.side.contents.manager.max_hops
            && own.len() == others.len()
            && own.iter().zip(others).all(same)
    }

    /// The way so far is as long as any way of NFs may be.
    fn is_at_limit(&self, way: &[Visit<'a>]) -> bool {
        way.len() >= usize::from(self.side.contents.manager.max_hops)
    }
}

struct Walk<'s, 'a> {
    old: Through<'s, 'a>,
    new: Through<'s, 'a>,
    found: Routes<'a>,
}

impl<'a> Walk<'_, 'a> {
    /// Both chains, as long as the same NF stands in both.
    fn step(&mut self, at: (To, To), mut route: Route<'a>) {
        match (self.old.place(at.0), self.new.place(at.1)) {
            (Place::Nf(a, old), Place::Nf(b, new)) if a == b && !self.old.is_at_limit(&route.old) => {
                for decision in self.decisions(a, old, new, &route) {
                    let to = |hop, outcome: &Option<Outcome>| match outcome {
                        Some(outcome) => follow(hop, outcome),
                        None => To::Nowhere,
                    };
                    let at = (to(old, &decision.old), to(new, &decision.new));
                    self.step(at, route.visit(decision));
                }
            }
            (old, new) => {
                route.differs = match (old, new) {
                    (Place::Nf(a, _), Place::Nf(b, _)) | (Place::Port(a), Place::Port(b)) => a != b,
                    (Place::Dropped, Place::Dropped) | (Place::Rules, Place::Rules) => false,
                    _ => true,
                };
                self.finish(Which::Old, at, route);
            }
        }
    }

    /// What is left of the old chain, then of the new one.
    fn finish(&mut self, which: Which, at: (To, To), mut route: Route<'a>) {
        if self.found.routes.len() >= MAX_ROUTES {
            self.found.more = true;
            return;
        }
        let (through, here) = match which {
            Which::Old => (self.old, at.0),
            Which::New => (self.new, at.1),
        };
        let end = match through.place(here) {
            Place::Nf(nf, hop) if !through.is_at_limit(route.way(which)) => {
                for outcome in self.choices(which, nf, hop, &route) {
                    let to = follow(hop, &outcome);
                    let at = match which {
                        Which::Old => (to, at.1),
                        Which::New => (at.0, to),
                    };
                    let decision = match which {
                        Which::Old => (Some(outcome), None),
                        Which::New => (None, Some(outcome)),
                    };
                    let (old, new) = decision;
                    self.finish(which, at, route.visit(Decision { nf, old, new }));
                }
                return;
            }
            Place::Port(name) => name,
            Place::Rules => "steer",
            Place::Nf(..) | Place::Dropped => "drop",
        };
        route.way(which).push(Visit {
            at: end,
            by: Outcome::Next,
        });
        match which {
            Which::Old => self.finish(Which::New, at, route),
            Which::New => self.found.routes.push(route),
        }
    }

    /// What an NF that stands in both chains can decide of a packet that has come by this route.
    fn decisions(&mut self, nf: &'a str, old: &Hop, new: &Hop, route: &Route<'a>) -> Vec<Decision<'a>> {
        if let Some(before) = route.decision(nf) {
            self.found.more |= self.is_opaque(nf);
            return vec![before.clone()];
        }
        let opaque = self.is_opaque(nf);
        let alike = opaque || self.old.side.decides_alike(self.new.side, nf);
        let (before, after) = (self.old.side.outcomes(nf, old), self.new.side.outcomes(nf, new));
        let both = |old: &Outcome, new: &Outcome| Decision {
            nf,
            old: Some(old.clone()),
            new: Some(new.clone()),
        };
        let mut all = Vec::new();
        for a in &before {
            all.extend(after.iter().filter(|b| !alike || *b == a).map(|b| both(a, b)));
        }
        // Steers and lookups that only one of the two permits.
        if opaque {
            all.extend(before.iter().filter(|o| !after.contains(o)).map(|o| both(o, o)));
            all.extend(after.iter().filter(|o| !before.contains(o)).map(|o| both(o, o)));
        }
        all
    }

    /// What an NF that only one of the two meets here can decide.
    fn choices(&mut self, which: Which, nf: &str, hop: &Hop, route: &Route<'a>) -> Vec<Outcome> {
        let opaque = self.is_opaque(nf);
        let before = route.decision(nf);
        let (own, others) = match which {
            Which::Old => (
                before.and_then(|d| d.old.as_ref()),
                before.and_then(|d| d.new.as_ref()),
            ),
            Which::New => (
                before.and_then(|d| d.new.as_ref()),
                before.and_then(|d| d.old.as_ref()),
            ),
        };
        // It may decide otherwise the second time, and the other chain may permit other steers and lookups.
        self.found.more |= opaque && (own.is_some() || !hop.steers.is_empty() || hop.lookup);
        if let Some(own) = own {
            return vec![own.clone()];
        }
        if let Some(others) = others
            && (opaque || self.old.side.decides_alike(self.new.side, nf))
        {
            return vec![others.clone()];
        }
        let side = match which {
            Which::Old => self.old.side,
            Which::New => self.new.side,
        };
        side.outcomes(nf, hop)
    }

    /// What it decides on cannot be known; in both programs it is taken to be the same.
    fn is_opaque(&self, nf: &str) -> bool {
        self.old.side.is_opaque(nf) || self.new.side.is_opaque(nf)
    }
}

/// One of the two chains.
#[derive(Debug, Clone, Copy)]
enum Which {
    Old,
    New,
}

impl<'a> Route<'a> {
    fn decision(&self, nf: &str) -> Option<&Decision<'a>> {
        self.decisions.iter().find(|d| d.nf == nf)
    }

    fn way(&mut self, which: Which) -> &mut Vec<Visit<'a>> {
        match which {
            Which::Old => &mut self.old,
            Which::New => &mut self.new,
        }
    }

    /// The route goes on by this decision.
    fn visit(&self, decision: Decision<'a>) -> Self {
        let mut route = self.clone();
        let Decision { nf, old, new } = decision;
        let visit = |by: &Outcome| Visit {
            at: nf,
            by: by.clone(),
        };
        route.old.extend(old.as_ref().map(visit));
        route.new.extend(new.as_ref().map(visit));
        match route.decisions.iter_mut().find(|d| d.nf == nf) {
            Some(known) => {
                known.old = known.old.take().or(old);
                known.new = known.new.take().or(new);
            }
            None => route.decisions.push(Decision { nf, old, new }),
        }
        route
    }
}

/// `fw -> ids -(match)-> scrub -(drops)-> drop`
pub(crate) fn describe(way: &[Visit<'_>]) -> String {
    let mut text = String::new();
    for (n, visit) in way.iter().enumerate() {
        text += visit.at;
        if n + 1 < way.len() {
            text += &match &visit.by {
                Outcome::Output(name) => format!(" -({name})-> "),
                Outcome::To(_) => " -(steers)-> ".to_owned(),
                Outcome::Lookup => " -(looks up)-> ".to_owned(),
                Outcome::Drop => " -(drops)-> ".to_owned(),
                Outcome::Around => " -(bypassed)-> ".to_owned(),
                Outcome::Next => " -> ".to_owned(),
            };
        }
    }
    text
}

/// What is visited in order, as `expect` writes it.
pub(crate) fn names<'a>(way: &[Visit<'a>]) -> Vec<&'a str> {
    way.iter().map(|visit| visit.at).collect()
}
