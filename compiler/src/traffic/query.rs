//! Where packets of a filter can go.

use std::collections::HashMap;

use onvm_bundle::{diff::Contents, filter::Expr};
use serde::Serialize;

use super::{
    changes::{Condition, GONE_AROUND, given},
    routes::{Route, Routes, Through, describe, names},
    search::{Certainty, Finder, Found},
    side::{Models, ProgramWay, Side},
    which::{Taken, Which, which},
};
use crate::{
    interpret::{Interpreter, StoryRule},
    models::{Model, Outcome},
    sets::{Answer, Budget, Fields, Frame, RuleTable, Taker, Witness, common},
};

/// For one question; a few seconds.
const BUDGET: u64 = 60_000_000;
/// For writing the packets of all ways as filters.
const WRITE_BUDGET: u64 = 60_000_000;
/// For whether packets of the filter come to a rule at all.
const RULE_BUDGET: u64 = 300_000;
/// For what NFs may program.
const PROGRAM_BUDGET: u64 = 3_000_000;
/// More ways than these are not reported.
const MAX_WAYS: usize = 1000;

/// The question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Where the packets arrive.
    pub port: String,
    pub filter: Expr,
}

/// The ways of the packets that were asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    pub ways: Vec<Reached>,
    /// Besides, whatever the rules say.
    pub programmable: Vec<Programmable>,
    /// That they go no other way.
    pub certainty: Certainty,
}

/// Packets that come to an end by one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The port where they leave, or `drop`.
    pub end: String,
    /// The NF or the port where they were last, if they are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_at: Option<String>,
    /// The rule that takes them.
    pub rule: StoryRule,
    /// `fw -> ids -(match)-> drop`
    pub path: String,
    /// Decisions of firewalls on the packet shown, and the rules.
    pub decided: Vec<Decided>,
    /// All that go this way; if `given` says anything, those of them of which that holds.
    #[serde(flatten)]
    pub which: Which,
    /// What NFs have to do with them that decide on more than headers, or on what they do not know.
    pub given: Vec<Condition>,
    /// One of them.
    #[serde(serialize_with = "as_text")]
    pub packet: Witness,
}

/// Packets that an NF may have enter a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Programmable {
    pub nf: String,
    /// What permits it.
    pub rule: StoryRule,
    /// The chain's main line: `mon -> lan`
    pub path: String,
    /// One of them. None: whether there are any was not found out.
    #[serde(serialize_with = "as_text_if_any")]
    pub packet: Option<Witness>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    pub nf: String,
    /// `lets it on`, `drops it`, `puts it out on denied`
    pub does: String,
    /// As the NF names it: `rule_3`
    pub rule: String,
}

fn as_text<S: serde::Serializer>(packet: &Witness, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(packet)
}

fn as_text_if_any<S: serde::Serializer>(packet: &Option<Witness>, s: S) -> Result<S::Ok, S::Error> {
    packet.as_ref().map(ToString::to_string).serialize(s)
}

/// Looks for every way that packets of the question can go; with `to`, only for those that end there. The interpreter is of the
/// same contents as the models.
pub fn query<'a>(
    contents: Contents<'a>,
    models: &'a Models,
    interpreter: &mut Interpreter<'a>,
    question: &'a Question,
    to: Option<&str>,
) -> Answers {
    let mut fields = Fields::default();
    let side = Side::new(contents, models, &mut fields).with_ways_around();
    let preferred = models.preferred(&mut fields);
    let mut asked = RuleTable::default();
    asked.push(&mut fields, &question.filter);
    let finder = Finder {
        fields: &fields,
        old: &side,
        new: &side,
        preferred: &preferred,
    };
    let mut search = Search {
        finder,
        asked: &asked,
        interpreter,
        budget: Budget::new(BUDGET),
        certainty: Certainty::Proved,
        found: Vec::new(),
    };
    search.port(&question.port, to);
    let (found, certainty) = (search.found, search.certainty);
    let programmable = programmable(&fields, &side, &asked, &question.port, to);
    let Some(steering) = side.steering(&question.port) else {
        return Answers {
            ways: Vec::new(),
            programmable,
            certainty,
        };
    };
    let ports = &contents.manager.ports;
    let mut budget = Budget::new(WRITE_BUDGET);
    let ways = found.into_iter().map(|mut way| {
        let taken = Taken {
            steering,
            rule: way.taker,
            asked: &question.filter,
            untagged: ports.iter().any(|p| p.name == question.port && p.ignore_tags),
        };
        way.reached.which = which(&mut fields, &side, &taken, &way.route.decisions, &mut budget);
        way.reached
    });
    Answers {
        ways: ways.collect(),
        programmable,
        certainty,
    }
}

/// The ways that NFs may program for packets that are asked of; with `to`, those through chains that lead there.
fn programmable<'a>(
    fields: &Fields,
    side: &Side<'a>,
    asked: &RuleTable<'a>,
    port: &str,
    to: Option<&str>,
) -> Vec<Programmable> {
    let mut budget = Budget::new(PROGRAM_BUDGET);
    let leads = |way: &&ProgramWay<'_>| {
        let hops = || way.chain.iter().flat_map(|chain| &chain.hops);
        to.is_none_or(|to| hops().any(|hop| hop.at.name() == to))
    };
    let ways = side.programs(port).iter().filter(leads);
    let found = ways.filter_map(|way| {
        let taken = [asked.effective(Some(0)), way.table.effective(Some(0))];
        let packet = match common(fields, &taken, &[], &mut budget) {
            Answer::Yes(packet) => Some(packet),
            Answer::No => return None,
            Answer::Unknown => None,
        };
        Some(Programmable {
            nf: way.nf.to_owned(),
            rule: way.rule(),
            path: way.path(),
            packet,
        })
    });
    found.collect()
}

/// A way, and what brings packets onto it.
struct Way<'a> {
    reached: Reached,
    taker: Taker,
    /// Without decisions on what other NFs may have made of the packet.
    route: Route<'a>,
}

struct Search<'s, 'a> {
    finder: Finder<'s, 'a>,
    /// One rule: the filter.
    asked: &'s RuleTable<'a>,
    interpreter: &'s mut Interpreter<'a>,
    budget: Budget,
    certainty: Certainty,
    found: Vec<Way<'a>>,
}

impl<'a> Search<'_, 'a> {
    fn port(&mut self, port: &str, to: Option<&str>) {
        let side = self.finder.old;
        let Some(steering) = side.steering(port) else {
            return;
        };
        let mut routes: HashMap<Option<&str>, Vec<Route<'a>>> = HashMap::new();
        for taker in steering.takers() {
            let Some(rule) = steering.rule(taker) else {
                continue;
            };
            if !self.comes_to(port, taker) {
                continue;
            }
            let chain = steering.chain(taker);
            let through = Through { side, chain };
            let ways = routes.entry(chain.map(|c| c.name.as_str())).or_insert_with(|| {
                let Routes { routes, more } = Routes::new(through, through);
                if more {
                    self.certainty = Certainty::Partial;
                }
                routes
            });
            for route in ways.iter() {
                if self.found.len() >= MAX_WAYS || self.budget.is_spent() {
                    self.certainty = Certainty::Partial;
                    return;
                }
                self.route(port, taker, &rule, route);
            }
        }
        self.found.retain(|way| to.is_none_or(|to| way.reached.end == to));
    }

    /// Packets of the filter come to the rule, or that is not known.
    fn comes_to(&mut self, port: &str, taker: Taker) -> bool {
        let (finder, asked) = (self.finder, self.asked);
        let Some(steering) = finder.old.steering(port) else {
            return false;
        };
        let taken = [steering.table.effective(taker), asked.effective(Some(0))];
        let answer = self
            .budget
            .part(RULE_BUDGET, |budget| common(finder.fields, &taken, &[], budget));
        if answer == Answer::Unknown {
            self.certainty = Certainty::Partial;
        }
        answer != Answer::No
    }

    fn route(&mut self, port: &str, taker: Taker, rule: &StoryRule, route: &Route<'a>) {
        let side = self.finder.old;
        let (Some(steering), Some(id)) = (side.steering(port), self.interpreter.port(port)) else {
            return;
        };
        let mut given = given(&[side], route);
        let route = &self.known(route, &mut given);
        let interpreter = &mut *self.interpreter;
        let mut confirm = |frame: &Frame| {
            let whole = frame.bytes.len() == frame.wire_len as usize;
            let goes = |interpreter: &mut Interpreter<'a>| {
                let path = interpreter.send(id, &frame.bytes, frame.wire_len);
                interpreter.tell(&path, &[]).names() == names(&route.old)
            };
            whole && (!given.is_empty() || goes(interpreter))
        };
        let taken = vec![steering.table.effective(taker), self.asked.effective(Some(0))];
        match self.finder.find(taken, route, &mut self.budget, &mut confirm) {
            Found::Packet(packet) => {
                let end = route.old.last().map_or("drop", |visit| visit.at);
                let nfs = route.old.iter().rev().map(|visit| visit.at);
                let last = nfs.into_iter().find(|at| *at != "drop").unwrap_or(port);
                given.extend(self.payloads(route));
                if route.decisions.iter().any(|d| self.finder.is_modelled(d)) {
                    self.certainty = self.certainty.min(Certainty::Modelled);
                }
                let reached = Reached {
                    end: end.to_owned(),
                    dropped_at: (end == "drop").then(|| last.to_owned()),
                    rule: rule.clone(),
                    path: describe(&route.old),
                    decided: self.decided(route, &packet.frame),
                    which: Which::default(),
                    given,
                    packet,
                };
                self.found.push(Way {
                    reached,
                    taker,
                    route: route.clone(),
                });
            }
            Found::None(certainty) => self.certainty = self.certainty.min(certainty),
        }
    }

    /// The route without what NFs decide by headers that others before them may have rewritten, and without those that it goes around:
    /// that is said.
    fn known(&self, route: &Route<'a>, given: &mut Vec<Condition>) -> Route<'a> {
        let side = self.finder.old;
        let mut writers: Vec<&str> = Vec::new();
        let mut unknown: Vec<&str> = Vec::new();
        for visit in &route.old {
            if visit.by == Outcome::Around {
                if !side.is_opaque(visit.at) && !unknown.contains(&visit.at) {
                    unknown.push(visit.at);
                    given.push(Condition {
                        nf: visit.at.to_owned(),
                        does: GONE_AROUND.to_owned(),
                    });
                }
                continue;
            }
            let by_rules = matches!(side.model(visit.at), Model::Rules { .. } | Model::Payload { .. });
            if !writers.is_empty() && by_rules && !unknown.contains(&visit.at) {
                unknown.push(visit.at);
                given.push(Condition {
                    nf: visit.at.to_owned(),
                    does: format!(
                        "{} of what {} has made of them",
                        does(&visit.by),
                        quoted(&writers)
                    ),
                });
            } else if side.rewrites(visit.at) && !writers.contains(&visit.at) {
                writers.push(visit.at);
            }
        }
        let mut route = route.clone();
        route.decisions.retain(|decision| !unknown.contains(&decision.nf));
        route
    }

    /// What scanners have to find in the payload, or not.
    fn payloads(&self, route: &Route<'a>) -> Vec<Condition> {
        let one = |decision: &super::routes::Decision<'a>| {
            let Model::Payload { found, only, .. } = self.finder.old.model(decision.nf) else {
                return None;
            };
            let does = match (decision.old.as_ref()? == found, only) {
                (true, _) => "finds one of its patterns in them",
                (false, None) => "finds none of its patterns in them",
                (false, Some(_)) => "does not search them or finds none of its patterns",
            };
            Some(Condition {
                nf: decision.nf.to_owned(),
                does: does.to_owned(),
            })
        };
        route.decisions.iter().filter_map(one).collect()
    }

    fn decided(&self, route: &Route<'a>, frame: &Frame) -> Vec<Decided> {
        let side = self.finder.old;
        let one = |decision: &super::routes::Decision<'a>| {
            let Model::Rules { said, .. } = side.model(decision.nf) else {
                return None;
            };
            let rule = match side.rules(decision.nf)?.taker(frame) {
                Some(rule) => said.get(rule)?.clone(),
                None => "its default, as no rule takes it".to_owned(),
            };
            Some(Decided {
                nf: decision.nf.to_owned(),
                does: does(decision.old.as_ref()?),
                rule,
            })
        };
        route.decisions.iter().filter_map(one).collect()
    }
}

fn does(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Output(name) => format!("puts it out on {name}"),
        Outcome::Drop => "drops it".to_owned(),
        _ => "lets it on".to_owned(),
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" and ")
}
