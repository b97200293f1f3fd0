//! One packet for each way of a program.

use std::collections::BTreeSet;

use onvm_bundle::diff::Contents;
use serde::Serialize;

use super::{
    routes::{Route, Routes, Through, describe, names},
    search::{Certainty, Finder, Found},
    side::{Models, Side},
};
use crate::{
    interpret::{Interpreter, Path, Steered, Story, StoryRule},
    models::Outcome,
    sets::{Answer, Budget, Fields, Frame, Taker, Witness},
};

/// For all ways of a program; some seconds.
const BUDGET: u64 = 200_000_000;
/// For the question whether any packet comes to a rule.
const RULE_BUDGET: u64 = 300_000;
/// More packets are not made.
const MAX_PACKETS: usize = 50_000;

/// A packet for each way.
#[derive(Debug, Default)]
pub struct Witnesses {
    pub ways: Vec<Way>,
    pub missing: Vec<Missing>,
    /// Third-party NFs that can do more than pass a packet on: what makes them do so cannot be known.
    pub undecided: BTreeSet<String>,
    /// There are more ways than were looked at.
    pub more: bool,
}

/// A way, with a packet that goes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Where it arrives.
    pub port: String,
    pub packet: Witness,
    pub path: Path,
    pub story: Story,
    /// `fw -> ids -(match)-> drop`
    pub way: String,
    /// The bytes that its exit sees.
    pub leaves: Vec<u8>,
}

/// A way for which there is no packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub port: String,
    pub rule: StoryRule,
    /// `fw -> ids -(match)-> drop`; none: no packet comes to the rule at all.
    pub path: Option<String>,
    /// How certain it is that there is no packet.
    pub certainty: Certainty,
}

/// Looks for a packet for every rule of every port and every way through its chain. The interpreter is of the same contents as
/// the models; where it only assumes what an NF does, that is the way.
pub fn witnesses<'a>(
    contents: Contents<'a>,
    models: &'a Models,
    interpreter: &mut Interpreter<'a>,
) -> Witnesses {
    let mut fields = Fields::default();
    let side = Side::new(contents, models, &mut fields);
    let preferred = models.preferred(&mut fields);
    let finder = Finder {
        fields: &fields,
        old: &side,
        new: &side,
        preferred: &preferred,
    };
    let mut search = Search {
        finder,
        interpreter,
        budget: Budget::new(BUDGET),
        found: Witnesses::default(),
    };
    for port in &contents.manager.ports {
        search.port(&port.name);
    }
    search.found
}

struct Search<'s, 'a> {
    finder: Finder<'s, 'a>,
    interpreter: &'s mut Interpreter<'a>,
    budget: Budget,
    found: Witnesses,
}

impl<'a> Search<'_, 'a> {
    /// Ports without a `steer` block take nothing in, and have no ways.
    fn port(&mut self, port: &str) {
        let side = self.finder.old;
        let Some(steering) = side.steering(port) else {
            return;
        };
        for taker in steering.takers() {
            let Some(rule) = steering.rule(taker) else {
                continue;
            };
            if let Some(certainty) = self.is_idle(port, taker) {
                self.miss(port, rule, None, certainty);
                continue;
            }
            let chain = steering.chain(taker);
            let through = Through { side, chain };
            let Routes { routes, more } = Routes::new(through, through);
            self.found.more |= more;
            for route in routes {
                if self.found.ways.len() >= MAX_PACKETS || self.budget.is_spent() {
                    self.found.more = true;
                    return;
                }
                self.route(port, taker, &rule, &route);
            }
        }
    }

    /// No packet comes to the rule.
    fn is_idle(&mut self, port: &str, taker: Taker) -> Option<Certainty> {
        let Finder { fields, old, .. } = self.finder;
        let effective = old.steering(port)?.table.effective(taker);
        let answer = self
            .budget
            .part(RULE_BUDGET, |b| effective.meets(fields, None, b));
        match answer {
            Answer::Yes(_) => None,
            Answer::No => Some(Certainty::Proved),
            Answer::Unknown => Some(Certainty::Partial),
        }
    }

    fn route(&mut self, port: &str, taker: Taker, rule: &StoryRule, route: &Route<'a>) {
        let side = self.finder.old;
        let opaque = route
            .decisions
            .iter()
            .find(|d| side.is_opaque(d.nf) && d.old != Some(Outcome::Next));
        if let Some(decision) = opaque {
            self.found.undecided.insert(decision.nf.to_owned());
            return;
        }
        let (Some(steering), Some(id)) = (side.steering(port), self.interpreter.port(port)) else {
            return;
        };
        let interpreter = &mut *self.interpreter;
        let mut way = None;
        let mut confirm = |frame: &Frame| {
            // What a port cannot receive is not a packet for it.
            if frame.bytes.len() != frame.wire_len as usize {
                return false;
            }
            let mut leaves = frame.bytes.clone();
            let path = interpreter.send_through(id, &mut leaves);
            let story = interpreter.tell(&path, &[]);
            let goes = steered_by(&path) == Some(taker) && route.is_told_by(&story);
            way = goes.then_some((path, story, leaves));
            goes
        };
        let taken = vec![steering.table.effective(taker)];
        let found = self.finder.find(taken, route, &mut self.budget, &mut confirm);
        match (found, way) {
            (Found::Packet(packet), Some((path, story, leaves))) => self.found.ways.push(Way {
                port: port.to_owned(),
                packet,
                path,
                story,
                way: describe(&route.old),
                leaves,
            }),
            (Found::None(certainty), _) => {
                self.miss(port, rule.clone(), Some(describe(&route.old)), certainty);
            }
            (Found::Packet(_), None) => {}
        }
    }

    fn miss(&mut self, port: &str, rule: StoryRule, path: Option<String>, certainty: Certainty) {
        self.found.missing.push(Missing {
            port: port.to_owned(),
            rule,
            path,
            certainty,
        });
    }
}

fn steered_by(path: &Path) -> Option<Taker> {
    match path.steered {
        Steered::Rule(rule) => Some(Some(rule)),
        Steered::Else => Some(None),
        Steered::Entry(_) | Steered::Nowhere => None,
    }
}

impl Route<'_> {
    /// The packet of this story went this route, and each NF said so.
    fn is_told_by(&self, story: &Story) -> bool {
        let said = |outcome: &Outcome| match outcome {
            Outcome::Next => "next".to_owned(),
            Outcome::Output(name) => format!("output {name}"),
            Outcome::To(name) => format!("steer {name}"),
            Outcome::Lookup => "lookup".to_owned(),
            Outcome::Drop => "drop".to_owned(),
            Outcome::Around => "around".to_owned(),
        };
        let mut told = self.old.iter().zip(&story.hops);
        names(&self.old) == story.names()
            && told.all(|(visit, hop)| hop.verdict.as_ref().is_none_or(|v| *v == said(&visit.by)))
    }
}
