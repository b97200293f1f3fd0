//! Paths through hop tables: whatever an NF may do with a packet, by outputs, permitted steers and permitted lookups included. Where the
//! chain has packets go on while no instance of an NF runs, they can go around it, too: without its decision, and without a visit.

use std::collections::{HashMap, VecDeque};

use onvm_bundle::{Chain, Hop, Target};
use onvm_lang::syntax::Claim;

use super::firewalls::Models;
use crate::{models::Outcome, sets::Written};

/// Of more sets of rewritten fields at one hop, all others count as everything.
const MAX_WRITTEN: usize = 32;

/// The forbidden paths: come to a goal without having visited the NF of `avoid`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault<'c> {
    pub(super) goal: Goal<'c>,
    pub(super) avoid: Option<&'c str>,
    /// Paths around NFs that are lost count.
    pub(super) around: bool,
}

/// Where a packet can go from a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) to: usize,
    /// By which decision, if the NF is one that rules take.
    pub(super) outcome: Option<Outcome>,
    /// Around the NF.
    pub(super) around: bool,
}

impl Lead {
    pub(super) fn to(to: usize, outcome: Option<Outcome>) -> Self {
        Self {
            to,
            outcome,
            around: false,
        }
    }

    fn around(hop: &Hop) -> Option<Self> {
        let next = hop.next.filter(|_| hop.bypass)?;
        Some(Self {
            to: next.into(),
            outcome: None,
            around: true,
        })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Goal<'c> {
    /// This NF or port.
    Node(&'c str),
    AnyPort,
    /// The end of a path that is not this node.
    EndBut(&'c str),
}

impl<'c> Fault<'c> {
    /// The breach of the claim.
    pub(super) fn of(claim: &'c Claim) -> Self {
        let (goal, avoid) = match claim {
            Claim::Passes { nf, before: None } => (Goal::AnyPort, Some(nf)),
            Claim::Passes {
                nf,
                before: Some(node),
            } => (Goal::Node(&node.node), Some(nf)),
            Claim::NeverPasses { nf: node } | Claim::NeverReaches { node } => (Goal::Node(&node.node), None),
            Claim::Reaches { node } => (Goal::EndBut(&node.node), Some(node)),
            Claim::Dropped => (Goal::AnyPort, None),
        };
        let avoid = avoid.map(|name| name.node.as_str());
        Self {
            goal,
            avoid,
            around: true,
        }
    }

    pub(super) fn is_goal(&self, at: &Target) -> bool {
        match (self.goal, at) {
            (Goal::Node(name), Target::Nf(n) | Target::Port(n)) => n == name,
            (Goal::AnyPort, Target::Port(_)) => true,
            (Goal::EndBut(name), Target::Port(n)) => n != name,
            (Goal::EndBut(_), Target::Drop) => true,
            _ => false,
        }
    }

    pub(super) fn avoids(&self, at: &Target) -> bool {
        matches!(at, Target::Nf(n) | Target::Port(n) if self.avoid == Some(n.as_str()))
    }

    /// Where packets can go from a hop: by what is known of the NF there, else by all that the hop permits. From an avoided one they can
    /// only go around it.
    pub(super) fn leads(&self, hop: &Hop, models: &Models) -> Leads {
        let around = Lead::around(hop).filter(|_| self.around);
        if self.avoids(&hop.at) {
            return Leads {
                leads: around.into_iter().collect(),
                visited: false,
                known: false,
            };
        }
        let known = models.ways(hop);
        let is_known = known.is_some();
        let mut leads = known.unwrap_or_else(|| ways(hop).map(|to| Lead::to(to, None)).collect());
        // Where the NF itself can send it on whatever it is, going around it adds nothing.
        leads.extend(around.filter(|around| !leads.contains(&Lead::to(around.to, None))));
        Leads {
            leads,
            visited: true,
            known: is_known,
        }
    }

    /// Whether a path comes to an NF that may look packets up.
    pub(super) fn reaches_lookup(&self, chain: &Chain, models: &Models) -> bool {
        let mut alone = OneChain {
            looked_up: false,
            models,
        };
        // Nothing ends this search early.
        let endless = Self {
            goal: Goal::Node(""),
            ..*self
        };
        endless.search(&[chain], 0, &mut alone);
        alone.looked_up
    }

    /// The shortest path with this fault from the beginning of a chain.
    pub(super) fn search<J>(
        &self,
        chains: &[&Chain],
        start: usize,
        beyond: &mut dyn Beyond<Jump = J>,
    ) -> Option<Vec<Stop<J>>> {
        let mut stops = vec![Stop {
            chain: start,
            hop: 0,
            jump: None,
            around: false,
        }];
        let mut marks = vec![Mark {
            before: None,
            visits: 0,
            written: Written::NOTHING,
        }];
        let mut seen = HashMap::from([((start, 0), vec![Written::NOTHING])]);
        let mut open = VecDeque::from([0]);
        while let Some(at) = open.pop_front() {
            let (chain, from) = (stops[at].chain, stops[at].hop);
            let Some(hop) = chains.get(chain).and_then(|chain| chain.hops.get(from)) else {
                continue;
            };
            let Mark { visits, written, .. } = marks[at];
            let visits = visits + usize::from(matches!(hop.at, Target::Nf(_)));
            if visits > beyond.max_hops() {
                continue;
            }
            if self.is_goal(&hop.at) {
                return Some(path(stops, &marks, at));
            }
            let Leads {
                leads,
                visited,
                known,
            } = self.leads(hop, beyond.models());
            let written = match visited {
                true => written.and(beyond.written(&hop.at)),
                false => written,
            };
            let jumps = match hop.lookup && visited && !known {
                true => beyond.jumps(written),
                false => Vec::new(),
            };
            let within = leads.into_iter().map(|lead| (chain, lead.to, None, lead.around));
            let jumps = jumps
                .into_iter()
                .map(|(chain, jump)| (chain, 0, Some(jump), false));
            for (chain, hop, jump, around) in within.chain(jumps) {
                let known = seen.entry((chain, hop)).or_default();
                // NFs that can be passed by in any combination make too many sets of what is rewritten.
                let written = if known.len() < MAX_WRITTEN {
                    written
                } else {
                    Written::ANYTHING
                };
                if known.iter().any(|more| more.includes(written)) {
                    continue;
                }
                known.push(written);
                stops.push(Stop {
                    chain,
                    hop,
                    jump,
                    around,
                });
                marks.push(Mark {
                    before: Some(at),
                    visits,
                    written,
                });
                open.push_back(stops.len() - 1);
            }
        }
        None
    }
}

/// The ways of packets from a hop.
pub(super) struct Leads {
    pub(super) leads: Vec<Lead>,
    /// The NF there meets those that do not go around it.
    pub(super) visited: bool,
    /// It has a model.
    pub(super) known: bool,
}

/// The knowledge of a search beside the chains.
pub(super) trait Beyond {
    type Jump;

    /// What the NF there may rewrite.
    fn written(&self, at: &Target) -> Written;

    /// The chains that a packet may come to that is looked up after so much was rewritten.
    fn jumps(&mut self, written: Written) -> Vec<(usize, Self::Jump)>;

    /// The models of standard NFs.
    fn models(&self) -> &Models;

    /// NFs that a packet may visit.
    fn max_hops(&self) -> usize;
}

/// Lookups lead nowhere; whether one was met is kept.
struct OneChain<'m> {
    looked_up: bool,
    models: &'m Models,
}

impl Beyond for OneChain<'_> {
    type Jump = ();

    fn written(&self, _: &Target) -> Written {
        Written::NOTHING
    }

    fn jumps(&mut self, _: Written) -> Vec<(usize, ())> {
        self.looked_up = true;
        Vec::new()
    }

    fn models(&self) -> &Models {
        self.models
    }

    fn max_hops(&self) -> usize {
        usize::MAX
    }
}

/// A place of a path, and the lookup by which it was come to, or whether it was around the NF before.
#[derive(Debug, Clone)]
pub(super) struct Stop<J> {
    pub(super) chain: usize,
    pub(super) hop: usize,
    pub(super) jump: Option<J>,
    pub(super) around: bool,
}

/// A hop of a path within a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) hop: usize,
    /// It was come to around the NF before.
    pub(super) around: bool,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    before: Option<usize>,
    /// NFs visited before this place.
    visits: usize,
    written: Written,
}

fn path<J>(stops: Vec<Stop<J>>, marks: &[Mark], end: usize) -> Vec<Stop<J>> {
    let mut on_path = vec![false; stops.len()];
    let mut at = Some(end);
    while let Some(here) = at {
        on_path[here] = true;
        at = marks[here].before;
    }
    // A stop comes after the one that leads to it.
    let stops = stops.into_iter().zip(on_path);
    stops.filter(|(_, on)| *on).map(|(stop, _)| stop).collect()
}

/// All that a hop permits.
pub(super) fn ways(hop: &Hop) -> impl Iterator<Item = usize> {
    let table = hop.outputs.values().chain(hop.steers.values());
    hop.next.iter().chain(table).map(|to| usize::from(*to))
}

/// `fw -> ids -(match)-> scrub -> drop`
pub(super) fn describe(chain: &Chain, path: &[Step]) -> String {
    let stops = path
        .iter()
        .map(|step| (chain, step.hop, special(false, step.around)));
    text(stops)
}

/// `j -(looks up)-> fw -> lan`
pub(super) fn describe_stops<J>(chains: &[&Chain], path: &[Stop<J>]) -> String {
    let stops = path.iter();
    text(stops.filter_map(|stop| {
        let by = special(stop.jump.is_some(), stop.around);
        Some((*chains.get(stop.chain)?, stop.hop, by))
    }))
}

/// How a place is come to, other than by what the NF before it says.
fn special(looked_up: bool, around: bool) -> Option<&'static str> {
    match (looked_up, around) {
        (true, _) => Some(" -(looks up)-> "),
        (false, true) => Some(" -(bypassed)-> "),
        (false, false) => None,
    }
}

fn text<'c>(stops: impl Iterator<Item = (&'c Chain, usize, Option<&'static str>)>) -> String {
    let mut text = String::new();
    let mut before: Option<&Hop> = None;
    for (chain, at, by) in stops {
        let Some(hop) = chain.hops.get(at) else { break };
        match (before, by) {
            (Some(_), Some(by)) => text += by,
            (Some(from), None) => text += &arrow(from, at),
            (None, _) => {}
        }
        text += name(&hop.at);
        before = Some(hop);
    }
    text
}

fn arrow(from: &Hop, to: usize) -> String {
    let leads = |(_, at): &(&String, &u16)| usize::from(**at) == to;
    if from.next.is_some_and(|next| usize::from(next) == to) {
        " -> ".to_owned()
    } else if let Some((output, _)) = from.outputs.iter().find(leads) {
        format!(" -({output})-> ")
    } else {
        " -(steers)-> ".to_owned()
    }
}

pub(super) fn name(target: &Target) -> &str {
    match target {
        Target::Nf(name) | Target::Port(name) => name,
        Target::Drop => "drop",
    }
}
