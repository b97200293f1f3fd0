//! What workers know of flow entries: immutable but for the counters.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use nflib::flows::FlowMatch;
pub use onvm_bundle::entries::Grant;
use onvm_bundle::{
    entries::Precedence,
    filter::{Classifier, Expr, Fields},
};

use crate::generation::add;

/// A flow entry.
#[derive(Debug)]
pub struct Entry {
    /// Rises with each new entry.
    pub id: u64,
    /// Its place in the workers' tables.
    pub slot: u32,
    /// Id of the port that the packets come in by.
    pub port: u16,
    pub matches: FlowMatch,
    pub priority: u16,
    /// Index of its [`Grant`] among the port's.
    pub grant: u16,
    pub counts: Arc<Counts>,
    /// Those of all entries of the grant, also of former ones.
    pub total: Arc<Counts>,
}

impl Entry {
    /// Of those that take a packet, the least decides.
    pub fn precedence(&self) -> Precedence {
        Precedence::new(self.priority, &self.matches, self.id)
    }

    #[inline]
    pub fn count(&self, worker: usize, packets: u64, bytes: u64) {
        self.counts.count(worker, packets, bytes);
        self.total.count(worker, packets, bytes);
    }
}

/// The packets that an entry took, by worker: each writes its own.
#[derive(Debug)]
pub struct Counts(Box<[Count]>);

#[derive(Debug, Default)]
struct Count {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    pub fn new(workers: usize) -> Self {
        Self(std::iter::repeat_with(Count::default).take(workers).collect())
    }

    #[inline]
    pub fn count(&self, worker: usize, packets: u64, bytes: u64) {
        if let Some(count) = self.0.get(worker) {
            add(&count.packets, packets);
            add(&count.bytes, bytes);
        }
    }

    /// Packets and bytes of all workers.
    pub fn total(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        self.0.iter().fold((0, 0), |(packets, bytes), count| {
            (packets + load(&count.packets), bytes + load(&count.bytes))
        })
    }
}

/// What NFs may make of one port's table, and the entries by filter that there are.
#[derive(Debug, Default)]
pub struct Program {
    /// An index stays that of the same NF and chain over edits.
    pub grants: Vec<Grant>,
    pub wilds: Arc<Wilds>,
    /// Bytes that the arms read.
    pub reach: u16,
    /// What the arms say is the same for all packets of a flow.
    pub by_flow: bool,
}

impl Program {
    pub fn new(grants: Vec<Grant>, wilds: Arc<Wilds>) -> Self {
        let arms = || grants.iter().flat_map(|grant| &grant.arms);
        let (by_flow, reach) = reads(arms());
        Self {
            by_flow,
            reach,
            wilds,
            grants,
        }
    }
}

/// Whether what filters say is the same for all packets of a flow, and how many bytes they read.
fn reads<'a>(filters: impl Iterator<Item = &'a Expr> + Clone) -> (bool, u16) {
    let uses = filters
        .clone()
        .fold(Fields::NONE, |uses, filter| uses | filter.uses());
    let reach = filters.map(Expr::reach).max().unwrap_or(0);
    (uses.flow_key_only(), reach.try_into().unwrap_or(u16::MAX))
}

/// A port's entries by filter: the highest priority first, and of the same priority the oldest.
#[derive(Debug, Default)]
pub struct Wilds {
    entries: Vec<Arc<Entry>>,
    index: Classifier,
    pub reach: u16,
    pub by_flow: bool,
}

impl Wilds {
    pub fn new(mut entries: Vec<Arc<Entry>>) -> Self {
        entries.retain(|entry| entry.matches.filter().is_some());
        entries.sort_by_key(|entry| entry.precedence());
        let filters: Vec<&Expr> = entries
            .iter()
            .filter_map(|entry| entry.matches.filter())
            .collect();
        let (by_flow, reach) = reads(filters.iter().copied());
        Self {
            index: Classifier::new(filters),
            by_flow,
            reach,
            entries,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry that takes a frame, of those that may. That is asked first, so that nobody pays for a filter whose packets are
    /// not its own.
    pub fn first(
        &self,
        frame: &[u8],
        wire_length: u32,
        may: impl Fn(&Arc<Entry>) -> bool,
    ) -> Option<&Arc<Entry>> {
        if self.is_empty() {
            return None;
        }
        let takes = |n: usize| {
            self.entries.get(n).is_some_and(|entry| {
                may(entry)
                    && entry
                        .matches
                        .filter()
                        .is_some_and(|filter| filter.matches(frame, wire_length))
            })
        };
        let found = self.index.first_by(takes, frame, wire_length)?;
        self.entries.get(found)
    }
}

/// Changes that workers carry out together.
#[derive(Debug)]
pub struct Changes {
    /// What the worker reports when it has done so.
    pub number: u64,
    /// In order.
    pub steps: Vec<Change>,
    /// The ports whose entries by filter are others now.
    pub wilds: Vec<(u16, Arc<Wilds>)>,
}

#[derive(Debug)]
pub enum Change {
    /// Takes the place of the one in its slot, which has the same port and match.
    Put(Arc<Entry>),
    Remove(Arc<Entry>),
}
