//! Faulty paths through one chain, with what the firewalls on the way have to decide on a packet that takes them.
//!
//! ```text
//! fw1 { denied -> jail } -> fw2 -> lan        never reaches lan:   fw1 next, fw2 next
//!                                             never reaches jail:  fw1 output denied
//! ```
//!
//! An NF decides on a packet as often as it meets it in the same way, unless header fields that its rules ask for were rewritten in
//! between. What is decided behind an NF that may do so is kept apart: that is decided of another packet.

use std::collections::{BTreeSet, VecDeque};

use onvm_bundle::{Chain, Target};

use super::{
    firewalls::Models,
    paths::{Fault, Lead, Leads, Step, name, ways},
};
use crate::{models::Outcome, sets::Written};

/// Of more faulty paths of a chain, not all are looked at one by one.
const MAX_FAULTY: usize = 256;
/// Places with what was decided before them, at most.
const MAX_STATES: usize = 1024;

/// The required decision of an NF.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decision {
    pub(super) nf: String,
    pub(super) outcome: Outcome,
    /// By header fields that may have been rewritten since the packet came.
    pub(super) rewritten: bool,
}

/// A faulty path, as hops, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Faulty {
    pub(super) path: Vec<Step>,
    pub(super) decisions: BTreeSet<Decision>,
}

/// All faulty paths of a chain that differ in what they take; short ones first.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) ways: Vec<Faulty>,
    /// There may be more.
    pub(super) more: bool,
    /// NFs that have ways in the chain which their rules never send a packet.
    pub(super) closed: BTreeSet<String>,
}

impl Faults {
    pub(super) fn is_possible(&self) -> bool {
        self.more || !self.ways.is_empty()
    }
}

#[derive(Debug, Clone)]
struct State {
    hop: usize,
    around: bool,
    before: Option<usize>,
    decisions: BTreeSet<Decision>,
    written: Written,
}

/// What NFs may do to packets, and what that means to others.
pub(super) struct Rewriting<'r> {
    /// The header fields that an NF may rewrite.
    pub(super) written: &'r dyn Fn(&str) -> Written,
    /// Whether the rules of an NF ask for any of these.
    pub(super) touches: &'r dyn Fn(&str, Written) -> bool,
}

impl Rewriting<'_> {
    /// NFs leave packets as they are.
    pub(super) const NONE: Self = Self {
        written: &|_| Written::NOTHING,
        touches: &|_, _| false,
    };
}

impl State {
    /// A packet that can go on from the other state can go on from this.
    fn includes(&self, other: &Self) -> bool {
        self.hop == other.hop
            && self.written.includes(other.written)
            && self.decisions.is_subset(&other.decisions)
    }
}

impl Faults {
    pub(super) fn new(fault: &Fault<'_>, chain: &Chain, models: &Models, rewriting: &Rewriting<'_>) -> Self {
        let mut found = Self::default();
        let mut states = vec![State {
            hop: 0,
            around: false,
            before: None,
            decisions: BTreeSet::new(),
            written: Written::NOTHING,
        }];
        let mut open = VecDeque::from([0]);
        while let Some(at) = open.pop_front() {
            if states.len() > MAX_STATES || found.ways.len() > MAX_FAULTY {
                found.more = true;
                break;
            }
            let state = states[at].clone();
            let Some(hop) = chain.hops.get(state.hop) else {
                continue;
            };
            if fault.is_goal(&hop.at) {
                let known = found.ways.iter();
                if !known
                    .map(|way| &way.decisions)
                    .any(|d| d.is_subset(&state.decisions))
                {
                    found.ways.push(Faulty {
                        path: path(&states, at),
                        decisions: state.decisions,
                    });
                }
                continue;
            }
            let Leads {
                leads,
                visited,
                known,
            } = fault.leads(hop, models);
            if known && ways(hop).any(|to| !leads.iter().any(|lead| lead.to == to)) {
                found.closed.insert(name(&hop.at).to_owned());
            }
            let at_hop = name(&hop.at);
            let written = match &hop.at {
                Target::Nf(nf) if visited => state.written.and((rewriting.written)(nf)),
                Target::Nf(_) | Target::Port(_) | Target::Drop => state.written,
            };
            let rewritten = !state.written.is_nothing() && (rewriting.touches)(at_hop, state.written);
            for Lead { to, outcome, around } in leads {
                let Some(decisions) = state.and(at_hop, outcome, rewritten) else {
                    continue;
                };
                let next = State {
                    hop: to,
                    around,
                    before: Some(at),
                    decisions,
                    written,
                };
                if !states.iter().any(|known| known.includes(&next)) {
                    states.push(next);
                    open.push_back(states.len() - 1);
                }
            }
        }
        found
    }
}

impl State {
    /// None: of the same packet, the NF has decided otherwise before. `rewritten`: it is not the same to the NF.
    fn and(&self, nf: &str, outcome: Option<Outcome>, rewritten: bool) -> Option<BTreeSet<Decision>> {
        let mut all = self.decisions.clone();
        if let Some(outcome) = outcome {
            let otherwise = |d: &Decision| d.nf == nf && !d.rewritten && d.outcome != outcome;
            if !rewritten && all.iter().any(otherwise) {
                return None;
            }
            all.insert(Decision {
                nf: nf.to_owned(),
                outcome,
                rewritten,
            });
        }
        Some(all)
    }
}

fn path(states: &[State], end: usize) -> Vec<Step> {
    let mut path = Vec::new();
    let mut at = Some(end);
    while let Some(state) = at.and_then(|at| states.get(at)) {
        path.push(Step {
            hop: state.hop,
            around: state.around,
        });
        at = state.before;
    }
    path.reverse();
    path
}
