//! One immutable generation of the tables: what a packet that was classified by it will meet, to its end.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

pub use onvm_bundle::tables::{At, Hop, HopIndex, NO_HOP, PortTable, Way, Wish};
use onvm_bundle::{
    Bundle,
    tables::{ChainTable, Tables},
};

use crate::reason::Reason;

#[derive(Debug)]
pub struct Generation {
    /// Rises from 1 with each apply.
    pub number: u64,
    /// The bundle's generation id.
    pub id: String,
    pub max_hops: u8,
    pub hops: Vec<Hop>,
    pub chains: Vec<ChainTable>,
    /// By port id.
    pub tables: Vec<PortTable>,
    /// By worker.
    pub counters: Vec<HopCounters>,
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
        let Tables { hops, chains, ports } = Tables::new(manager, &bundle.flows, slots);
        let counters = (0..workers).map(|_| HopCounters::new(hops.len())).collect();
        Self {
            number,
            id: bundle.index.generation.clone(),
            max_hops: manager.max_hops,
            hops,
            chains,
            tables: ports,
            counters,
        }
    }
}
