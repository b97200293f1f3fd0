//! An NF's own counters: 64-bit words in its region, written by the NF alone, read by the manager at any time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::memory::Mapping;

/// The counter words of one region.
#[derive(Debug, Clone)]
pub struct CounterSet {
    mapping: Arc<Mapping>,
    offset: usize,
    count: usize,
}

impl CounterSet {
    pub(crate) fn new(mapping: Arc<Mapping>, offset: usize, count: usize) -> Self {
        Self {
            mapping,
            offset,
            count,
        }
    }

    /// Counters that there is room for.
    pub fn capacity(&self) -> usize {
        self.count
    }

    /// The counter at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Counter> {
        (index < self.count).then(|| Counter {
            mapping: self.mapping.clone(),
            offset: self.offset + 8 * index,
        })
    }

    /// The present value of a counter; zero for one that does not exist.
    pub fn value(&self, index: usize) -> u64 {
        self.get(index).map_or(0, |c| c.get())
    }
}

/// One counter. Only its NF adds to it, so adding is a load and a store, not a locked operation.
#[derive(Debug)]
pub struct Counter {
    mapping: Arc<Mapping>,
    offset: usize,
}

impl Counter {
    #[inline(always)]
    fn word(&self) -> &AtomicU64 {
        &self
            .mapping
            .u64s_at(self.offset, 1)
            .unwrap_or_else(|| unreachable!("counters lie inside the mapping"))[0]
    }

    #[inline(always)]
    pub fn add(&self, n: u64) {
        let word = self.word();
        word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For gauges such as a table's size.
    pub fn set(&self, n: u64) {
        self.word().store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }
}
