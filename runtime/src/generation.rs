//! One immutable generation of the tables: the whole further path of a packet that was classified by it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicU64, Ordering},
};

use nflib::Run;
use onvm_api::Reason;
pub use onvm_bundle::tables::{At, Hop, HopIndex, NO_HOP, PortTable, Request, Resolved};
use onvm_bundle::{
    Bundle, Flows,
    tables::{ChainTable, Tables},
};

use crate::director::Program;

const _: () = assert!(
    onvm_bundle::MAX_FUSED == Run::MEMBERS,
    "descriptors name as many NFs of a process as bundles may fuse"
);

#[derive(Debug)]
pub struct Generation {
    /// Rises from 1 with each apply.
    pub number: u64,
    /// The bundle's generation id.
    pub id: String,
    pub max_hops: u8,
    pub hops: Vec<Hop>,
    /// By hop: the NFs that handle a packet there in one go, where they share a process.
    pub runs: Vec<Run>,
    pub chains: Vec<ChainTable>,
    /// By port id.
    pub tables: Vec<PortTable>,
    /// By port id: slots of the services that packets of the port may come to and do not go around.
    pub reach: Vec<Vec<u16>>,
    /// By hop: slots of the services on the chain's main line behind it, whose pressure is heeded.
    pub ahead: Vec<Vec<u16>>,
    /// By port id, then rule, `else` last; nothing for a port without rules.
    pub rules: Vec<Vec<RuleName>>,
    /// What NFs may make of the tables, by port id.
    pub programs: Vec<Program>,
    /// By worker.
    pub counters: Vec<HopCounters>,
}

/// The identity of a steering rule, the same in each generation that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// The filter as it was written, or `else`.
    pub text: String,
    pub chain: String,
    /// Rules of the port with the same text and chain before it.
    pub before: usize,
}

/// Counters of one worker, which alone writes them.
#[derive(Debug)]
pub struct HopCounters {
    pub arrived: Vec<AtomicU64>,
    /// Packets that went on without the NF of the hop.
    pub bypassed: Vec<AtomicU64>,
    /// Packets that were copied into the security domain of the NF of the hop.
    pub crossings: Vec<AtomicU64>,
    /// By hop, then reason.
    pub dropped: Vec<[AtomicU64; Reason::COUNT]>,
    /// By port id, then rule, `else` last: packets that were classified by it.
    pub hits: Vec<Vec<AtomicU64>>,
}

impl HopCounters {
    pub fn new(hops: usize, tables: &[PortTable]) -> Self {
        let zeroes = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            hits: tables.iter().map(|table| zeroes(table.rules.len() + 1)).collect(),
            arrived: zeroes(hops),
            bypassed: zeroes(hops),
            crossings: zeroes(hops),
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
    /// Builds the tables of a verified bundle. `slots` gives the runtime's slot of each service; `programs` what NFs may make of
    /// them, by the first hops of chains.
    pub fn new(
        number: u64,
        bundle: &Bundle,
        slots: &HashMap<String, u16>,
        workers: usize,
        programs: impl FnOnce(&HashMap<&str, HopIndex>) -> Vec<Program>,
    ) -> Self {
        let manager = &bundle.manager;
        let Tables { hops, chains, ports } = Tables::new(manager, &bundle.flows, slots);
        // Not while packets wait for it.
        for table in &ports {
            table.prepare();
        }
        let counters = (0..workers)
            .map(|_| HopCounters::new(hops.len(), &ports))
            .collect();
        let rules = manager
            .ports
            .iter()
            .map(|port| rule_names(&bundle.flows, &port.name))
            .collect();
        let firsts = chains.iter().map(|c| (c.name.as_str(), c.first)).collect();
        let programs = programs(&firsts);
        let reach = ports
            .iter()
            .zip(&programs)
            .map(|(table, program)| reach(table, program, &hops));
        let reach = reach.collect();
        let ahead = match manager.backpressure {
            true => ahead(&hops),
            false => vec![Vec::new(); hops.len()],
        };
        Self {
            number,
            id: bundle.index.generation.clone(),
            max_hops: manager.max_hops,
            runs: hops.iter().map(|hop| Run::new(&hop.run)).collect(),
            hops,
            chains,
            tables: ports,
            reach,
            ahead,
            rules,
            programs,
            counters,
        }
    }
}

impl Generation {
    /// The last step of the run of fused NFs that begins at a hop, and the hop behind it.
    pub fn behind(&self, from: HopIndex) -> (u8, HopIndex) {
        let last = self.runs[usize::from(from)].steps().saturating_sub(1);
        let next = |at: HopIndex| self.hops.get(usize::from(at)).map_or(NO_HOP, |hop| hop.next);
        (last, (0..=last).fold(from, |at, _| next(at)))
    }

    /// Counts packets that went on along the main line within a run; gives the hop that they have come to.
    pub fn pass(&self, worker: usize, from: HopIndex, steps: u8, packets: u64) -> HopIndex {
        let mut at = from;
        for _ in 0..steps {
            at = self.hops[usize::from(at)].next;
            add(&self.counters[worker].arrived[usize::from(at)], packets);
        }
        at
    }
}

/// By hop: slots of the services on the main line behind it.
pub fn ahead(hops: &[Hop]) -> Vec<Vec<u16>> {
    let mut all: Vec<Vec<u16>> = Vec::with_capacity(hops.len());
    for first in hops {
        let (mut services, mut at) = (Vec::new(), first.next);
        // A main line visits no hop twice.
        for _ in 0..hops.len() {
            let Some(hop) = hops.get(usize::from(at)) else {
                break;
            };
            if let At::Service(service) = hop.at
                && !services.contains(&service)
            {
                services.push(service);
            }
            at = hop.next;
        }
        all.push(services);
    }
    all
}

fn rule_names(flows: &Flows, port: &str) -> Vec<RuleName> {
    let Some(table) = flows.tables.iter().find(|table| table.port == port) else {
        return Vec::new();
    };
    let rules = table
        .rules
        .iter()
        .map(|rule| (rule.text.as_str(), rule.chain.as_str()));
    let mut seen: HashMap<_, usize> = HashMap::new();
    let names = rules.chain([("else", table.otherwise.as_str())]);
    names
        .map(|name| {
            let times = seen.entry(name).or_default();
            *times += 1;
            RuleName {
                text: name.0.to_owned(),
                chain: name.1.to_owned(),
                before: *times - 1,
            }
        })
        .collect()
}

/// Slots of the services that packets classified by the table may come to, also when NFs program it. A new look at the rules
/// leads to their chains again.
fn reach(table: &PortTable, program: &Program, hops: &[Hop]) -> Vec<u16> {
    let first = table.rules.iter().map(|(_, hop)| *hop);
    let granted = program.grants.iter().map(|grant| grant.hop);
    let mut ahead: Vec<HopIndex> = first.chain(granted).chain([table.otherwise]).collect();
    let (mut seen, mut services) = (vec![false; hops.len()], BTreeSet::new());
    while let Some(index) = ahead.pop() {
        // One that is none of the table's is the end of a chain.
        let (Some(hop), Some(seen)) = (hops.get(usize::from(index)), seen.get_mut(usize::from(index))) else {
            continue;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        if let (At::Service(service), false) = (hop.at, hop.bypass) {
            services.insert(service);
        }
        let permitted = hop.steers.iter().chain(&hop.outs).map(|(_, to)| to);
        ahead.extend(hop.outputs.iter().chain(permitted).chain([&hop.next]));
    }
    services.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::director::Grant;

    fn hop(at: At, next: HopIndex) -> Hop {
        Hop {
            at,
            next,
            outputs: Vec::new(),
            steers: Vec::new(),
            outs: Vec::new(),
            lookup: false,
            bypass: false,
            chain: 0,
            run: Vec::new(),
        }
    }

    #[test]
    fn a_port_reaches_what_its_packets_may_come_to_and_nothing_else() {
        let mut hops = vec![
            hop(At::Service(5), 1),
            hop(At::Port(0), NO_HOP),
            hop(At::Service(6), 1),
            hop(At::Service(7), 1),
            hop(At::Service(8), 4),
        ];
        hops[0].outputs.push(2);
        hops[2].steers.push((0, 3));
        let table = |otherwise| PortTable::new(Vec::new(), otherwise);
        let none = Program::default();
        assert_eq!(reach(&table(0), &none, &hops), [5, 6, 7]);
        assert_eq!(reach(&table(3), &none, &hops), [7]);
        hops[2].bypass = true;
        assert_eq!(reach(&table(0), &none, &hops), [5, 7], "6 is not waited for");
        // A way back ends, too.
        assert_eq!(reach(&table(4), &none, &hops), [8]);
        assert_eq!(reach(&table(NO_HOP), &none, &hops), [0; 0]);
        let grant = |hop| Grant { hop, ..Grant::NONE };
        let granted = Program::new(vec![grant(4), grant(NO_HOP)], Arc::default());
        assert_eq!(reach(&table(3), &granted, &hops), [7, 8]);
        assert_eq!(ahead(&hops), [vec![], vec![], vec![], vec![], vec![8]]);
        (hops[0].next, hops[4].next) = (3, NO_HOP);
        assert_eq!(ahead(&hops)[0], [7]);
    }
}
