//! A counter for each of many things that parameters list: rules, patterns.

use std::collections::BTreeMap;

use nflib::{Counter, Setup, SetupError};

/// Things with a counter of their own, at most; the instance's region holds 4096 counters in all.
const MAX: usize = 1024;
/// The shared counter's place.
const OTHERS: usize = 0;

/// The counters, by name.
#[derive(Debug)]
pub(crate) struct Counters<T> {
    /// The first is shared by what has none of its own.
    slots: Vec<Slot<T>>,
    by_name: BTreeMap<String, usize>,
    /// Whether there were more things at the start than there are counters.
    overflow: bool,
}

#[derive(Debug)]
struct Slot<T> {
    counter: Counter,
    /// None when there is nothing of the name at present.
    counts: Option<T>,
}

/// For each thing, in order, the place of its counter.
pub(crate) type Places = Vec<usize>;

impl<T: PartialEq + Clone> Counters<T> {
    /// Makes a counter for each name, and one named `others` for those beyond the most that there can be.
    pub(crate) fn new(setup: &mut Setup, others: &str, all: &[(String, T)]) -> Result<Self, SetupError> {
        let mut counters = Self {
            slots: vec![Slot {
                counter: setup.counter(others)?,
                counts: None,
            }],
            by_name: BTreeMap::new(),
            overflow: false,
        };
        for (name, counts) in all.iter().take(MAX) {
            match setup.counter(name.clone()) {
                Ok(counter) => {
                    counters.by_name.insert(name.clone(), counters.slots.len());
                    counters.slots.push(Slot {
                        counter,
                        counts: Some(counts.clone()),
                    });
                }
                // The region is full: the remaining ones share a counter.
                Err(SetupError::Counters(_)) => break,
                Err(e) => return Err(e),
            }
        }
        counters.overflow = counters.by_name.len() < all.len();
        Ok(counters)
    }

    /// None: one of them needs a counter that this instance does not have.
    pub(crate) fn places(&self, all: &[(String, T)]) -> Option<Places> {
        let place = |(name, _): &(String, T)| match self.by_name.get(name) {
            Some(place) => Some(*place),
            None => self.overflow.then_some(OTHERS),
        };
        all.iter().map(place).collect()
    }

    /// A counter goes on where its name stands for the same as before, and starts from zero where it is another.
    pub(crate) fn now_count(&mut self, all: &[(String, T)]) {
        let all: BTreeMap<&str, &T> = all.iter().map(|(name, counts)| (name.as_str(), counts)).collect();
        for (name, &place) in &self.by_name {
            let counts = all.get(name.as_str()).copied();
            if let Some(slot) = self.slots.get_mut(place)
                && slot.counts.as_ref() != counts
            {
                slot.counter.set(0);
                slot.counts = counts.cloned();
            }
        }
    }

    #[inline]
    pub(crate) fn hit(&self, place: usize) {
        if let Some(slot) = self.slots.get(place) {
            slot.counter.add(1);
        }
    }
}

#[cfg(test)]
impl<T> Counters<T> {
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.slots[self.by_name[name]].counter.get()
    }

    pub(crate) fn others(&self) -> u64 {
        self.slots[OTHERS].counter.get()
    }
}
