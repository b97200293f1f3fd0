//! One immutable generation of the tables: what a packet that was classified by it will meet, to its end.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use onvm_bundle::{
    Bundle, ManagerConfig, Target,
    filter::{Expr, Fields},
};

use crate::reason::Reason;

/// Index of a hop in the generation's one table of all chains' hops.
pub type HopIndex = u16;

/// The mark of "no such way" among hop indices; a bundle has fewer hops than this.
pub const NO_HOP: HopIndex = HopIndex::MAX;

#[derive(Debug)]
pub struct Generation {
    /// Rises from 1 with each apply.
    pub number: u64,
    /// The bundle's generation id.
    pub id: String,
    pub max_hops: u8,
    pub hops: Vec<Hop>,
    pub chains: Vec<Chain>,
    /// By port id.
    pub tables: Vec<PortTable>,
    /// By worker.
    pub counters: Vec<HopCounters>,
}

/// One place that a packet can be at.
#[derive(Debug)]
pub struct Hop {
    pub at: At,
    pub next: HopIndex,
    /// By output index of the NF's manifest; `next` where the chain does not name the output.
    pub outputs: Vec<HopIndex>,
    /// Permitted steers by service id.
    pub steers: Vec<(u16, HopIndex)>,
    /// Permitted ways out by port id.
    pub outs: Vec<(u16, HopIndex)>,
    /// Index into `chains`.
    pub chain: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The runtime's slot of the service.
    Service(u16),
    /// Port id.
    Port(u16),
    Drop,
}

#[derive(Debug)]
pub struct Chain {
    pub name: String,
    /// Its first hop; the others follow it.
    pub first: HopIndex,
    pub length: u16,
    /// Names of what stands at each hop, for status.
    pub places: Vec<String>,
}

/// The steering rules of one port.
#[derive(Debug)]
pub struct PortTable {
    pub rules: Vec<(Expr, HopIndex)>,
    /// [`NO_HOP`] for a port without `steer`: what it receives is dropped as `chain`.
    pub otherwise: HopIndex,
    /// The decision is the same for all packets of a flow, so that a flow cache may keep it.
    pub by_flow: bool,
}

impl PortTable {
    /// The first hop of the chain that the frame takes.
    pub fn classify(&self, frame: &[u8], wire_length: u32) -> HopIndex {
        let matching = self
            .rules
            .iter()
            .find(|(filter, _)| filter.matches(frame, wire_length));
        matching.map_or(self.otherwise, |&(_, hop)| hop)
    }
}

/// Counters of one worker, which alone writes them.
#[derive(Debug)]
pub struct HopCounters {
    pub arrived: Vec<AtomicU64>,
    /// By hop, then reason.
    pub dropped: Vec<[AtomicU64; Reason::COUNT]>,
}

impl HopCounters {
    fn new(hops: usize) -> Self {
        Self {
            arrived: (0..hops).map(|_| AtomicU64::new(0)).collect(),
            dropped: (0..hops)
                .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
                .collect(),
        }
    }
}

/// Adds to a counter that only the calling thread writes: no locked operation.
#[inline(always)]
pub fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Generation {
    /// Builds the tables of a verified bundle. `slots` gives the runtime's slot of each service.
    pub fn new(number: u64, bundle: &Bundle, slots: &HashMap<String, u16>, workers: usize) -> Self {
        let manager = &bundle.manager;
        let mut hops = Vec::new();
        let mut chains = Vec::new();
        let names = Names::new(manager, slots);
        for (c, chain) in manager.chains.iter().enumerate() {
            let first = hops.len() as HopIndex;
            hops.extend(chain.hops.iter().map(|hop| names.hop(hop, c as u16, first)));
            chains.push(Chain {
                name: chain.name.clone(),
                first,
                length: chain.hops.len() as u16,
                places: chain.hops.iter().map(|h| place(&h.at)).collect(),
            });
        }
        let first_of: HashMap<&str, HopIndex> = chains.iter().map(|c| (c.name.as_str(), c.first)).collect();
        let table = |port: &onvm_bundle::Port| port_table(bundle, &port.name, &first_of);
        let tables = manager.ports.iter().map(table).collect();
        let counters = (0..workers).map(|_| HopCounters::new(hops.len())).collect();
        Self {
            number,
            id: bundle.index.generation.clone(),
            max_hops: manager.max_hops,
            hops,
            chains,
            tables,
            counters,
        }
    }
}

fn place(at: &Target) -> String {
    match at {
        Target::Nf(name) | Target::Port(name) => name.clone(),
        Target::Drop => "drop".into(),
    }
}

fn port_table(bundle: &Bundle, port: &str, first_of: &HashMap<&str, HopIndex>) -> PortTable {
    let chain = |name: &String| first_of.get(name.as_str()).copied().unwrap_or(NO_HOP);
    let Some(table) = bundle.flows.tables.iter().find(|t| t.port == port) else {
        return PortTable {
            rules: Vec::new(),
            otherwise: NO_HOP,
            by_flow: true,
        };
    };
    let rules: Vec<_> = table
        .rules
        .iter()
        .map(|r| (r.filter.clone(), chain(&r.chain)))
        .collect();
    let uses = rules
        .iter()
        .fold(Fields::NONE, |uses, (filter, _)| uses | filter.uses());
    PortTable {
        otherwise: chain(&table.otherwise),
        by_flow: uses.flow_key_only(),
        rules,
    }
}

/// Resolves the names of a bundle to numbers. Every name is known: the bundle was verified.
struct Names<'a> {
    slots: &'a HashMap<String, u16>,
    service_ids: HashMap<&'a str, u16>,
    ports: HashMap<&'a str, u16>,
    outputs: HashMap<&'a str, &'a [String]>,
}

impl<'a> Names<'a> {
    fn new(manager: &'a ManagerConfig, slots: &'a HashMap<String, u16>) -> Self {
        Self {
            slots,
            service_ids: manager.services.iter().map(|s| (s.name.as_str(), s.id)).collect(),
            ports: manager.ports.iter().map(|p| (p.name.as_str(), p.id)).collect(),
            outputs: manager
                .services
                .iter()
                .map(|s| (s.name.as_str(), s.outputs.as_slice()))
                .collect(),
        }
    }

    fn hop(&self, hop: &onvm_bundle::Hop, chain: u16, first: HopIndex) -> Hop {
        let next = hop.next.map_or(NO_HOP, |n| first + n);
        let (at, outputs) = match &hop.at {
            Target::Nf(name) => {
                let names = self.outputs.get(name.as_str()).copied().unwrap_or_default();
                let way = |output: &String| hop.outputs.get(output).map_or(next, |&n| first + n);
                let at = self.slots.get(name).map_or(At::Drop, |&slot| At::Service(slot));
                (at, names.iter().map(way).collect())
            }
            Target::Port(name) => (
                self.ports.get(name.as_str()).map_or(At::Drop, |&id| At::Port(id)),
                Vec::new(),
            ),
            Target::Drop => (At::Drop, Vec::new()),
        };
        let by_id = |ids: &HashMap<&str, u16>| {
            hop.steers
                .iter()
                .filter_map(|(name, &n)| Some((*ids.get(name.as_str())?, first + n)))
                .collect()
        };
        Hop {
            at,
            next,
            outputs,
            steers: by_id(&self.service_ids),
            outs: by_id(&self.ports),
            chain,
        }
    }
}
