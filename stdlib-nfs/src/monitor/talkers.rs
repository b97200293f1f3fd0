//! The busiest senders in bounded memory.
//!
//! Space-saving (Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k elements in data streams",
//! 2005): a table of fixed size counts senders; a sender that is not in it takes the place of the one with the smallest
//! count, inherits that count, and remembers it as its possible error. So a count is never too low, and too high by its
//! error at most. Here the table is made of sets of eight entries found by a hash, so that a packet costs one set and no
//! heap; the bound then holds in each set: of n packets that fell to a set, every sender with more than n/8 is there.
//!
//! With two entries: `a a b c` gives `a: 2`, then `b: 1`, then `c` replaces `b` as `c: 2, error 1`.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

const WAYS: usize = 8;
/// Entries for each sender that will be shown; more make errors smaller.
const ENTRIES_PER_RANK: usize = 16;
const MIN_SETS: usize = 64;

#[derive(Debug)]
pub(super) struct Talkers {
    sets: Vec<[Talker; WAYS]>,
    /// Drawn at the start, so that an outsider cannot choose addresses that fall into one set.
    seed: u64,
    top: usize,
    ranking: Vec<Talker>,
}

/// A sender; with zero packets, a free entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Talker {
    /// IPv6, or IPv4 as `::ffff:a.b.c.d`.
    pub(super) address: u128,
    pub(super) packets: u64,
    /// `packets` is too high by at most this.
    pub(super) error: u64,
}

impl Talkers {
    pub(super) fn new(top: usize) -> Self {
        let sets = (top * ENTRIES_PER_RANK / WAYS).next_power_of_two().max(MIN_SETS);
        let seed = RandomState::new().build_hasher().finish();
        Self {
            sets: vec![[Talker::default(); WAYS]; sets],
            seed,
            top,
            ranking: Vec::new(),
        }
    }

    /// Counts a packet of a sender.
    #[inline]
    pub(super) fn add(&mut self, address: u128) {
        let index = hash(address, self.seed) as usize & (self.sets.len() - 1);
        let Some(set) = self.sets.get_mut(index) else {
            return;
        };
        let mut least = 0;
        for i in 0..WAYS {
            if set[i].address == address && set[i].packets > 0 {
                set[i].packets += 1;
                return;
            }
            if set[i].packets < set[least].packets {
                least = i;
            }
        }
        let inherited = set[least].packets;
        set[least] = Talker {
            address,
            packets: inherited + 1,
            error: inherited,
        };
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.sets.fill(<[Talker; WAYS]>::default());
    }

    /// The senders with the most packets, busiest first; equals by address.
    pub(super) fn busiest(&mut self) -> impl Iterator<Item = Talker> {
        self.ranking.clear();
        self.ranking
            .extend(self.sets.iter().flatten().filter(|t| t.packets > 0));
        self.ranking
            .sort_unstable_by_key(|t| (std::cmp::Reverse(t.packets), t.address));
        self.ranking.truncate(self.top);
        self.ranking.iter().copied()
    }
}

/// Multiplies and folds each half, as wyhash does.
#[inline(always)]
fn hash(address: u128, seed: u64) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let high = fold((address >> 64) as u64 ^ seed, 0xa076_1d64_78bd_642f);
    fold(
        address as u64 ^ seed.rotate_left(32) ^ high,
        0xe703_7ed1_a0b4_28db,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// More senders than entries, some far busier than others.
        #[test]
        fn counts_are_never_too_low_and_too_high_by_the_error_at_most(
            stream in prop::collection::vec((0..12u32, any::<u64>()), 0..6000),
        ) {
            let mut talkers = Talkers::new(20);
            let mut truth = HashMap::<u128, u64>::new();
            for (bits, value) in stream {
                let address = u128::from(value & ((1 << bits) - 1));
                talkers.add(address);
                *truth.entry(address).or_default() += 1;
            }
            let total: u64 = truth.values().sum();
            let entries: u64 = talkers.sets.iter().flatten().map(|t| t.packets).sum();
            prop_assert_eq!(entries, total, "every packet is counted once");
            for talker in talkers.sets.iter().flatten().filter(|t| t.packets > 0) {
                let true_count = truth[&talker.address];
                prop_assert!(talker.packets >= true_count);
                prop_assert!(talker.packets - talker.error <= true_count);
            }
        }
    }

    #[test]
    fn ranks_by_packets_without_error_while_there_is_room() {
        let mut talkers = Talkers::new(3);
        for address in 1..=5u128 {
            (0..address * 10).for_each(|_| talkers.add(address));
        }
        let ranking: Vec<_> = talkers
            .busiest()
            .map(|t| (t.address, t.packets, t.error))
            .collect();
        assert_eq!(ranking, [(5, 50, 0), (4, 40, 0), (3, 30, 0)]);
    }
}
