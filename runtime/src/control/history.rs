//! Generations that drain, and the counts of those that are gone.

use std::sync::Arc;

use super::totals::Totals;
use crate::{generation::Generation, worker::GENERATION_SLOTS};

/// Counts of generations that are gone, and generations that drain.
#[derive(Debug, Default)]
pub(super) struct History {
    draining: Vec<Arc<Generation>>,
    totals: Totals,
}

impl History {
    /// The generation is not the current one any more.
    pub(super) fn retire(&mut self, generation: Arc<Generation>) {
        self.draining.push(generation);
    }

    /// Its last packet has left, so its counts are final.
    pub(super) fn drained(&mut self, number: u64) {
        let Self { draining, totals } = self;
        draining.retain(|g| {
            if g.number == number {
                totals.add(g);
            }
            g.number != number
        });
    }

    pub(super) fn is_drained(&self, number: u64) -> bool {
        self.draining.iter().all(|g| g.number != number)
    }

    /// The number of the generation after `last`: one whose slot in the workers' tables no draining one has.
    pub(super) fn next_number(&self, last: u64) -> u64 {
        let slot = |number: u64| number % GENERATION_SLOTS as u64;
        let mut number = last + 1;
        while slot(number) == slot(last) || self.draining.iter().any(|g| slot(g.number) == slot(number)) {
            number += 1;
        }
        number
    }

    /// Generations that still have packets inside.
    pub(super) fn draining(&self) -> usize {
        self.draining.len()
    }

    pub(super) fn up_to(&self, current: &Generation) -> Totals {
        let mut totals = self.totals.clone();
        self.draining.iter().for_each(|g| totals.add(g));
        totals.add(current);
        totals
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Empty tables.
    pub(in crate::control) fn generation(number: u64) -> Generation {
        Generation {
            number,
            id: String::new(),
            max_hops: 1,
            hops: Vec::new(),
            runs: Vec::new(),
            chains: Vec::new(),
            tables: Vec::new(),
            reach: Vec::new(),
            rules: Vec::new(),
            ahead: Vec::new(),
            programs: Vec::new(),
            counters: Vec::new(),
        }
    }

    #[test]
    fn a_new_generation_never_takes_the_slot_of_one_that_drains() {
        let slot = |n: u64| n % GENERATION_SLOTS as u64;
        let mut history = History::default();
        let mut current = 1;
        let stuck = [1, 5];
        for _ in 0..100 {
            let next = history.next_number(current);
            assert!(next > current && slot(next) != slot(current));
            assert!(
                history.draining.iter().all(|g| slot(g.number) != slot(next)),
                "{next}"
            );
            history.retire(Arc::new(generation(current)));
            if !stuck.contains(&current) {
                history.drained(current);
            }
            current = next;
        }
        assert_eq!(history.draining(), 2);
    }
}
