//! An NF's own counters, gauges and histograms: 64-bit words in its region, written by the NF alone, read by the manager at any
//! time.

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

    /// Begins again from another value. What goes up and down is a [`Gauge`].
    pub fn set(&self, n: u64) {
        self.word().store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }
}

/// A value that goes up and down, such as the number of entries in a table. `/metrics` shows it as a gauge.
#[derive(Debug)]
pub struct Gauge(Counter);

impl Gauge {
    pub(crate) fn new(word: Counter) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.set(value);
    }

    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.add(n);
    }

    /// Down to zero at most.
    #[inline(always)]
    pub fn sub(&self, n: u64) {
        self.0.set(self.get().saturating_sub(n));
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// How many values fell into each of a few ranges, and their sum: a counter for each range.
#[derive(Debug)]
pub struct Histogram {
    /// The largest value of each range except the last, ascending.
    bounds: Box<[u64]>,
    /// One more than bounds.
    ranges: Box<[Counter]>,
    sum: Counter,
}

impl Histogram {
    /// `ranges` has one more than `bounds`, which ascend.
    pub(crate) fn new(bounds: &[u64], ranges: Vec<Counter>, sum: Counter) -> Self {
        Self {
            bounds: bounds.into(),
            ranges: ranges.into(),
            sum,
        }
    }

    /// Counts a value. Takes a search by halves among the bounds.
    #[inline]
    pub fn record(&self, value: u64) {
        let range = self.bounds.partition_point(|bound| *bound < value);
        if let Some(counter) = self.ranges.get(range) {
            counter.add(1);
        }
        self.sum.add(value);
    }

    /// Values in each range, in the order of the bounds; those above the last bound come last.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().map(Counter::get)
    }

    /// Of all values; wraps around.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}
