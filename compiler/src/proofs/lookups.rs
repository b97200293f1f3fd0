//! Faulty paths that go through the port's rules again.
//!
//! A permitted lookup classifies a packet by what its headers are then. Which header fields NFs on the path may have rewritten
//! their manifests say; where that is none, the packet gets the rule that it had. Otherwise each rule is possible that takes what
//! some rewriting of a packet of the assertion can be. Fields once rewritten may have any value from then on: what the rules of
//! earlier lookups say of them is not used, which leaves more paths possible than there are.
//!
//! Decisions of firewalls on a packet that is looked up are ignored while paths are searched, which leaves more of
//! them possible than there are; of a path that is shown it is.
//!
//! A path that is shown has its packets: one before, and one for each lookup, each differing from the one before it in fields
//! that may have been rewritten between them, and taken by the rule that is named. Where they are not found, nothing is said
//! to be refuted, and nothing to be proved.

use std::{cell::RefCell, collections::HashMap};

use onvm_bundle::{Chain, Target};

use super::{
    PACKET_BUDGET,
    asserts::{Known, Proof},
    firewalls::{Firewalls, Models},
    paths::{self, Beyond, Stop},
};
use crate::{
    lower::steering::Steering,
    sets::{Answer, Budget, Fields, Frame, Rewriting, Rewritten, Shape, Taker, Witness, Written, shapes},
};

/// The assumptions of proofs where lookups are permitted.
#[derive(Debug)]
pub(super) struct World {
    shapes: Vec<Shape>,
    /// By the name of an NF.
    written: HashMap<String, Written>,
    permits_lookups: bool,
    /// NFs whose rules ask for what others may have rewritten, with and without VLAN tags.
    touched: RefCell<HashMap<(String, bool, Written), bool>>,
}

impl World {
    pub(super) fn new(fields: &mut Fields, steering: &Steering<'_, '_>) -> Self {
        let hops = || steering.chains.iter().flat_map(|chain| &chain.hops);
        let permits_lookups = hops().any(|hop| hop.lookup);
        let mut written = HashMap::new();
        for hop in hops() {
            if let Target::Nf(name) = &hop.at {
                let of = || steering.effects(name).map_or(Written::ANYTHING, Written::by);
                written.entry(name.clone()).or_insert_with(of);
            }
        }
        let in_part = |written: &Written| !written.is_nothing() && !written.is_anything();
        let shapes = match permits_lookups || written.values().any(in_part) {
            true => shapes(fields),
            false => Vec::new(),
        };
        Self {
            shapes,
            written,
            permits_lookups,
            touched: RefCell::default(),
        }
    }

    /// What an NF may rewrite.
    pub(super) fn written_by(&self, nf: &str) -> Written {
        self.written.get(nf).copied().unwrap_or(Written::ANYTHING)
    }

    /// Whether the rules of an NF ask for what may have been rewritten.
    pub(super) fn touches(
        &self,
        fields: &Fields,
        firewalls: &Firewalls<'_>,
        nf: &str,
        written: Written,
    ) -> bool {
        let Some(table) = firewalls.table(nf) else {
            return true;
        };
        let key = (nf.to_owned(), firewalls.ignore_tags, written);
        let mut known = self.touched.borrow_mut();
        *known
            .entry(key)
            .or_insert_with(|| table.is_touched(written, (fields, &self.shapes)))
    }

    pub(super) fn permits_lookups(&self) -> bool {
        self.permits_lookups
    }

    fn written(&self, at: &Target) -> Written {
        match at {
            Target::Nf(name) => self.written_by(name),
            Target::Port(_) | Target::Drop => Written::NOTHING,
        }
    }
}

/// The result for the packets of one rule.
pub(super) enum Found {
    Nothing,
    Fault(Box<Fault>),
    /// Packets may take this path.
    Doubt(String),
}

pub(super) struct Fault {
    pub(super) packet: Witness,
    pub(super) lookups: Vec<Lookup>,
    pub(super) path: String,
    /// Chain and hop.
    pub(super) end: (usize, usize),
}

pub(super) struct Lookup {
    /// The NF that had the packet looked up.
    pub(super) nf: String,
    /// The packet at that time.
    pub(super) packet: Witness,
    pub(super) taker: Taker,
}

/// The search for one assertion.
pub(super) struct Lookups<'l, 'p, 'a, 'g, 's> {
    proof: &'l Proof<'p, 'a, 'g, 's>,
    fault: paths::Fault<'p>,
    chains: Vec<&'p Chain>,
    /// By chain: a lookup can be come to.
    goes_on: Vec<bool>,
    /// Chains from which a fault is possible, and the rules that lead there.
    targets: Vec<(usize, Vec<Taker>)>,
    possible: bool,
}

/// A lookup that leads to a rule.
#[derive(Debug, Clone)]
struct Jump {
    taker: Taker,
    written: Written,
    /// None: whether it does is not known.
    shown: Option<Box<Rewriting>>,
}

impl<'l, 'p, 'a, 'g, 's> Lookups<'l, 'p, 'a, 'g, 's> {
    pub(super) fn new(proof: &'l Proof<'p, 'a, 'g, 's>, known: &mut Known) -> Self {
        let fault = paths::Fault::of(proof.assertion.claim);
        let chains: Vec<&Chain> = proof.steering.chains.iter().collect();
        let mut goes_on = vec![false; chains.len()];
        let mut targets: Vec<(usize, Vec<Taker>)> = Vec::new();
        let mut place: HashMap<usize, Option<usize>> = HashMap::new();
        let mut possible = false;
        for taker in proof.takers() {
            let Some(chain) = proof.chain(taker) else { continue };
            let at = *place.entry(chain).or_insert_with(|| {
                goes_on[chain] = fault.reaches_lookup(chains[chain], proof.firewalls.models);
                let faulty = proof.faults(known, chain).is_possible();
                possible |= faulty;
                (faulty || goes_on[chain]).then(|| {
                    targets.push((chain, Vec::new()));
                    targets.len() - 1
                })
            });
            if let Some(at) = at {
                targets[at].1.push(taker);
            }
        }
        Self {
            proof,
            fault,
            chains,
            goes_on,
            targets,
            possible,
        }
    }

    /// A faulty path of packets that `taker` takes first.
    pub(super) fn find(&mut self, taker: Taker, budget: &mut Budget) -> Found {
        let proof = self.proof;
        let start = proof.chain(taker).filter(|chain| self.goes_on[*chain]);
        let Some(start) = start.filter(|_| self.possible) else {
            return Found::Nothing;
        };
        let first = proof.table.effective(taker);
        let any = budget.part(PACKET_BUDGET, |b| {
            first.meets(proof.fields, Some(proof.packets), b)
        });
        if any == Answer::No {
            return Found::Nothing;
        }
        let mut ways = Ways {
            lookups: self,
            taker,
            budget,
            known: HashMap::new(),
            doubtful: false,
        };
        let certain = self.fault.search(&self.chains, start, &mut ways);
        if let Some(fault) = certain.as_deref().and_then(|path| self.shown(path)) {
            return Found::Fault(Box::new(fault));
        }
        ways.doubtful = true;
        let path = certain.or_else(|| self.fault.search(&self.chains, start, &mut ways));
        match path {
            Some(path) => Found::Doubt(paths::describe_stops(&self.chains, &path)),
            None => Found::Nothing,
        }
    }

    /// The path with its packets, if there are such.
    fn shown(&self, path: &[Stop<Jump>]) -> Option<Fault> {
        let proof = self.proof;
        let last = path.iter().rev().find_map(|stop| stop.jump.as_ref())?;
        let last = last.shown.as_ref()?;
        let mut now = last.before.frame.clone();
        let mut since = Written::NOTHING;
        let mut lookups = Vec::new();
        let mut nf = "";
        let mut before: Option<&Stop<Jump>> = None;
        for stop in path {
            if before.is_some_and(|from| !self.lets_on(from, stop, &now)) {
                return None;
            }
            before = Some(stop);
            if let Some(jump) = &stop.jump {
                let then = jump.written.applied(&now, &jump.shown.as_ref()?.after.frame);
                let allowed = since.applied(&now, &then) == then;
                if !allowed || proof.table.taker(&then) != jump.taker {
                    return None;
                }
                now = then;
                since = Written::NOTHING;
                lookups.push(Lookup {
                    nf: nf.to_owned(),
                    packet: Witness { frame: now.clone() },
                    taker: jump.taker,
                });
            }
            let hop = self.chains.get(stop.chain)?.hops.get(stop.hop)?;
            since = since.and(proof.world.written(&hop.at));
            nf = paths::name(&hop.at);
        }
        let end = path.last()?;
        Some(Fault {
            packet: last.before.clone(),
            lookups,
            path: paths::describe_stops(&self.chains, path),
            end: (end.chain, end.hop),
        })
    }
}

impl Lookups<'_, '_, '_, '_, '_> {
    /// Whether an NF with a model sends the packet, as it is, from one place of a path to the next.
    fn lets_on(&self, from: &Stop<Jump>, to: &Stop<Jump>, now: &Frame) -> bool {
        let hop = self
            .chains
            .get(from.chain)
            .and_then(|chain| chain.hops.get(from.hop));
        let firewalls = self.proof.firewalls;
        if to.around {
            return true;
        }
        let Some((hop, ways)) = hop.and_then(|hop| Some((hop, firewalls.models.ways(hop)?))) else {
            return true;
        };
        ways.iter().any(|lead| {
            let decides = lead
                .outcome
                .as_ref()
                .is_none_or(|outcome| firewalls.tried(hop.at.name(), now).as_ref() == Some(outcome));
            to.jump.is_none() && lead.to == to.hop && decides
        })
    }
}

/// Where lookups lead the packets that one rule takes first.
struct Ways<'w, 'l, 'p, 'a, 'g, 's> {
    lookups: &'w Lookups<'l, 'p, 'a, 'g, 's>,
    taker: Taker,
    budget: &'w mut Budget,
    known: HashMap<Written, Vec<(usize, Jump)>>,
    /// Anything not known to be impossible counts as possible.
    doubtful: bool,
}

impl Beyond for Ways<'_, '_, '_, '_, '_, '_> {
    type Jump = Jump;

    fn written(&self, at: &Target) -> Written {
        self.lookups.proof.world.written(at)
    }

    fn jumps(&mut self, written: Written) -> Vec<(usize, Jump)> {
        // The packet is what it was, and gets the rule that it had.
        if written.is_nothing() {
            return Vec::new();
        }
        if !self.known.contains_key(&written) {
            let jumps = self.lookups.targets.iter();
            let jumps = jumps.filter_map(|(chain, takers)| {
                Some((
                    *chain,
                    jump(self.lookups, self.taker, written, takers, self.budget)?,
                ))
            });
            let jumps = jumps.collect();
            self.known.insert(written, jumps);
        }
        let all = self.known.get(&written).into_iter().flatten();
        all.filter(|(_, jump)| self.doubtful || jump.shown.is_some())
            .cloned()
            .collect()
    }

    fn models(&self) -> &Models {
        self.lookups.proof.firewalls.models
    }

    fn max_hops(&self) -> usize {
        self.lookups.proof.steering.max_hops()
    }
}

/// The first of the rules to which a lookup can lead.
fn jump(
    lookups: &Lookups<'_, '_, '_, '_, '_>,
    first: Taker,
    written: Written,
    takers: &[Taker],
    budget: &mut Budget,
) -> Option<Jump> {
    let proof = lookups.proof;
    let from = proof.table.effective(first);
    let world = (proof.fields, proof.world.shapes.as_slice());
    let mut doubtful = None;
    for taker in takers {
        let to = proof.table.effective(*taker);
        let answer = budget.part(PACKET_BUDGET, |b| {
            from.becomes(&to, proof.packets, written, world, b)
        });
        let jump = |shown| Jump {
            taker: *taker,
            written,
            shown,
        };
        match answer {
            Rewritten::No => {}
            Rewritten::Yes(shown) => return Some(jump(Some(shown))),
            Rewritten::Unknown => doubtful = doubtful.or(Some(jump(None))),
        }
    }
    doubtful
}
