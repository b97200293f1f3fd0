//! Sums over generations and workers, and how fast they rise.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use onvm_api::Reason;
use onvm_bundle::tables::ChainTable;

use crate::{
    generation::{Generation, RuleName},
    worker::Workers,
};

/// Counts by place; places of the same name in different generations are one.
#[derive(Debug, Default, Clone)]
pub(super) struct Totals {
    /// By chain, index and name of what stands there.
    pub(super) hops: BTreeMap<(String, usize, String), AtHop>,
    pub(super) drops: BTreeMap<(Reason, String), u64>,
    /// By port id and rule.
    pub(super) hits: BTreeMap<(usize, RuleName), u64>,
}

/// Packets at a chain's hop.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct AtHop {
    pub(super) arrived: u64,
    pub(super) dropped: u64,
    pub(super) bypassed: u64,
    pub(super) crossings: u64,
}

impl Totals {
    pub(super) fn add(&mut self, generation: &Generation) {
        for (port, rules) in generation.rules.iter().enumerate() {
            for (i, rule) in rules.iter().enumerate() {
                let hits = sum(generation.counters.iter().map(|c| &c.hits[port][i]));
                *self.hits.entry((port, rule.clone())).or_default() += hits;
            }
        }
        for chain in &generation.chains {
            for (i, place) in chain.places.iter().enumerate() {
                let hop = usize::from(chain.first) + i;
                let mut dropped = 0;
                for reason in Reason::ALL {
                    let n = sum(generation
                        .counters
                        .iter()
                        .map(|c| &c.dropped[hop][reason as usize]));
                    dropped += n;
                    if n > 0 {
                        *self.drops.entry((reason, label(chain, i, place))).or_default() += n;
                    }
                }
                let arrived = sum(generation.counters.iter().map(|c| &c.arrived[hop]));
                let entry = self
                    .hops
                    .entry((chain.name.clone(), i, place.clone()))
                    .or_default();
                entry.arrived += arrived;
                entry.dropped += dropped;
                entry.bypassed += sum(generation.counters.iter().map(|c| &c.bypassed[hop]));
                entry.crossings += sum(generation.counters.iter().map(|c| &c.crossings[hop]));
            }
        }
    }
}

/// A hop's name among the places of drops, e.g. `fast/0 fw`.
fn label(chain: &ChainTable, index: usize, place: &str) -> String {
    format!("{}/{index} {place}", chain.name)
}

fn sum<'a>(counters: impl Iterator<Item = &'a AtomicU64>) -> u64 {
    counters.map(|c| c.load(Ordering::Relaxed)).sum()
}

/// Packets a second, from two samples a second apart.
#[derive(Debug)]
pub(super) struct Rates {
    at: Instant,
    /// Received and sent by port, handed to an instance by slot: last seen.
    seen: (Vec<(u64, u64)>, Vec<u64>),
    pub(super) ports: Vec<(f64, f64)>,
    pub(super) instances: Vec<f64>,
}

const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

impl Rates {
    pub(super) fn new(ports: usize, instances: usize) -> Self {
        Self {
            at: Instant::now(),
            seen: (vec![(0, 0); ports], vec![0; instances]),
            ports: vec![(0.0, 0.0); ports],
            instances: vec![0.0; instances],
        }
    }

    /// Looks at the counters if a second has passed since it last did.
    pub(super) fn sample(&mut self, workers: &Workers) {
        let seconds = self.at.elapsed().as_secs_f64();
        if seconds < SAMPLE_PERIOD.as_secs_f64() {
            return;
        }
        self.at = Instant::now();
        for (i, (seen, rate)) in self.seen.0.iter_mut().zip(&mut self.ports).enumerate() {
            let now = (
                workers.sum(|c| &c.ports[i].rx_packets),
                workers.sum(|c| &c.ports[i].tx_packets),
            );
            let was = std::mem::replace(seen, now);
            *rate = ((now.0 - was.0) as f64 / seconds, (now.1 - was.1) as f64 / seconds);
        }
        for (i, (seen, rate)) in self.seen.1.iter_mut().zip(&mut self.instances).enumerate() {
            let now = workers.sum(|c| &c.instances[i].rx_packets);
            let was = std::mem::replace(seen, now);
            // A slot that went to another instance counts anew.
            *rate = now.saturating_sub(was) as f64 / seconds;
        }
    }
}

#[cfg(test)]
impl Totals {
    /// At all hops.
    pub(super) fn arrived(&self) -> u64 {
        self.hops.values().map(|hop| hop.arrived).sum()
    }
}
