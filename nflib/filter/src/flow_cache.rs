//! The flow cache: the decision on each flow that was seen lately.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::flow::{FlowKey, KEY_WORDS};

/// Sets in use at first, and how many times as many after each time that one was full.
const FIRST_SETS: usize = 1 << 9;
const GROWTH: usize = 8;

/// Places that a flow can have. Where half of all places are taken, a set overflows for one flow of 150.
const WAYS: usize = 8;

/// A line of the processor's cache: the key; decision, whether it was met again, epoch; a word of nothing.
type Place = [u64; PLACE_WORDS];
const PLACE_WORDS: usize = 8;
const STATE: usize = KEY_WORDS;
const MET_AGAIN: u64 = 1 << 31;

/// Sets of [`WAYS`] places, one of which each key's hash chooses. A flow that finds its set full takes the place of one that
/// was not met again; where all were, they count as not met from then on ("not recently used", as in A. Tanenbaum, "Modern
/// Operating Systems"). So flows without end that come once push out each other, and not those that go on.
///
/// An entry is a function of the key alone: the answer of rules that depend on the key alone, for a private copy of a
/// packet with that key. Whatever an NF writes into packets, no entry can be wrong, so none is forgotten when an NF
/// is lost.
#[derive(Debug, Default)]
pub struct FlowCache {
    /// Zeroes that the kernel gives memory to when they are first written; none before [`Self::reserve`].
    words: Box<[u64]>,
    /// Words before the first place, so that each place is one line.
    skip: usize,
    /// Sets in use, a power of two. It begins with a few, which lie close together, and takes more when one is full: flows whose set
    /// is another one then are classified anew.
    sets: usize,
    most_sets: usize,
    hasher: DefaultHashBuilder,
    /// Places of another epoch are free. 0 is that of places never used.
    epoch: u32,
    /// Where the search for a place begins in a full set.
    hand: usize,
}

impl FlowCache {
    /// The largest decision.
    pub const MOST: u32 = (MET_AGAIN - 1) as u32;

    /// Makes room for so many flows, a power of two from [`WAYS`] on, if there is none yet, and gives the memory that this takes then.
    /// Without room nothing is kept.
    pub fn reserve(&mut self, places: usize) -> Option<&[u64]> {
        self.words.is_empty().then(|| {
            let line = size_of::<Place>();
            self.words = vec![0; (places + 1) * PLACE_WORDS].into_boxed_slice();
            self.skip = self.words.as_ptr().align_offset(line).min(PLACE_WORDS);
            self.most_sets = places / WAYS;
            self.sets = self.most_sets.min(FIRST_SETS);
            self.forget();
            &*self.words
        })
    }

    /// Forgets all flows.
    pub fn forget(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            self.words.fill(0);
            1
        });
    }

    /// Forgets one flow.
    pub fn forget_flow(&mut self, key: &FlowKey) {
        if self.words.is_empty() {
            return;
        }
        let (epoch, hash) = (u64::from(self.epoch) << 32, self.hash(key));
        // Where the number of sets has grown since, it may still be kept in the set that was its own before.
        let mut sets = self.sets;
        loop {
            for place in self.set(hash, sets).into_iter().flatten() {
                if place[STATE] & !0xffff_ffff == epoch && is_of(place, key) {
                    place[STATE] = 0;
                }
            }
            if sets <= FIRST_SETS.min(self.most_sets) {
                return;
            }
            sets /= GROWTH;
        }
    }

    /// The set of a key with this hash where so many sets are in use.
    #[inline(always)]
    fn set(&mut self, hash: u64, sets: usize) -> Option<&mut [Place; WAYS]> {
        let at = self.set_at(hash, sets);
        let words = self.words.get_mut(at..)?;
        words.as_chunks_mut().0.as_chunks_mut().0.first_mut()
    }

    /// The first word of that set.
    #[inline(always)]
    fn set_at(&self, hash: u64, sets: usize) -> usize {
        self.skip + (hash as usize & sets.saturating_sub(1)) * WAYS * PLACE_WORDS
    }

    /// The hash by which the cache finds a key.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.hasher.hash_one(key)
    }

    /// A word of each of the two places that a key with this hash most likely has: for whoever wants them in the processor's cache
    /// beforehand. They are neighbours.
    #[inline(always)]
    pub fn likely(&self, hash: u64) -> [Option<&u64>; 2] {
        let set = self.set_at(hash, self.sets);
        [way(hash, 0), way(hash, 1)].map(|way| self.words.get(set + way * PLACE_WORDS + STATE))
    }

    /// What is kept for the key with this hash.
    #[inline(always)]
    pub fn known(&mut self, hash: u64, key: &FlowKey) -> Option<u32> {
        let epoch = u64::from(self.epoch) << 32;
        let set = self.set(hash, self.sets)?;
        for i in 0..WAYS {
            let place = &mut set[way(hash, i)];
            if place[STATE] & !0xffff_ffff == epoch && is_of(place, key) {
                // A line that is only read need not be written back to memory.
                if place[STATE] & MET_AGAIN == 0 {
                    place[STATE] |= MET_AGAIN;
                }
                return Some((place[STATE] & u64::from(Self::MOST)) as u32);
            }
        }
        None
    }

    /// What is kept for the key, or else what `decide` says, [`Self::MOST`] at most, which is kept then.
    #[inline(always)]
    pub fn get(&mut self, key: &FlowKey, decide: impl FnOnce() -> u32) -> u32 {
        let hash = self.hash(key);
        if let Some(known) = self.known(hash, key) {
            return known;
        }
        let decision = decide();
        self.keep(hash, key, decision);
        decision
    }

    /// Keeps a decision, [`Self::MOST`] at most, on a key that is not kept yet. Without room nothing is kept.
    pub fn keep(&mut self, hash: u64, key: &FlowKey, decision: u32) {
        let (epoch, sets, mut hand) = (u64::from(self.epoch) << 32, self.sets, self.hand);
        let Some(set) = self.set(hash, sets) else {
            return;
        };
        let mut ways = (0..WAYS).map(|i| way(hash, i));
        let free = ways.find(|&way| set[way][STATE] & !0xffff_ffff != epoch);
        let way = free.unwrap_or_else(|| evict(set, &mut hand));
        set[way][..KEY_WORDS].copy_from_slice(&key.0);
        set[way][STATE] = epoch | u64::from(decision.min(Self::MOST));
        if free.is_none() {
            self.hand = hand;
            self.sets = (sets * GROWTH).min(self.most_sets);
        }
    }
}

/// The ways of a set in the order of the search for a flow: all of them, the second one beside the first.
#[inline(always)]
fn way(hash: u64, i: usize) -> usize {
    ((hash >> 32) as usize ^ i) % WAYS
}

/// Word by word: a comparison of slices is a call.
#[inline(always)]
fn is_of(place: &Place, key: &FlowKey) -> bool {
    let words = place.iter().zip(key.0);
    words.fold(0, |other, (a, b)| other | (a ^ b)) == 0
}

/// The way of a full set whose flow is given up.
#[cold]
fn evict(set: &mut [Place; WAYS], hand: &mut usize) -> usize {
    *hand += 1;
    let mut ways = (0..WAYS).map(|i| (*hand + i) % WAYS);
    ways.find(|&way| set[way][STATE] & MET_AGAIN == 0)
        .unwrap_or_else(|| {
            set.iter_mut().for_each(|place| place[STATE] &= !MET_AGAIN);
            *hand % WAYS
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(flow: u64) -> FlowKey {
        FlowKey([flow, 0, 0, 0, 0, 1])
    }

    fn cache(places: usize) -> FlowCache {
        let mut cache = FlowCache::default();
        cache.reserve(places);
        cache
    }

    fn kept(cache: &mut FlowCache, flow: u64) -> bool {
        let mut asked = false;
        let key = key(flow);
        cache.get(&key, || {
            asked = true;
            flow as u32
        });
        !asked
    }

    #[test]
    fn each_flow_gets_its_own_answer() {
        let mut cache = cache(1 << 12);
        for _ in 0..3 {
            for flow in 0..50_000 {
                let key = key(flow);
                assert_eq!(cache.get(&key, || flow as u32), flow as u32);
            }
        }
        assert_eq!(cache.words.len(), ((1 << 12) + 1) * 8);
    }

    #[test]
    fn what_fits_is_kept_until_it_is_forgotten() {
        let mut cache = cache(1 << 16);
        let found = |cache: &mut FlowCache| (0..32_768).filter(|flow| kept(cache, *flow)).count();
        assert_eq!(found(&mut cache), 0);
        // More sets are in use now.
        found(&mut cache);
        let all = found(&mut cache);
        assert!(all > 32_000, "{all} of 32768 flows are kept");
        cache.forget();
        assert_eq!(found(&mut cache), 0);
        cache.epoch = u32::MAX;
        cache.forget();
        assert_eq!(found(&mut cache), 0);
        assert!(found(&mut cache) > 32_000);
    }

    /// One source of random flows does not make others be classified anew.
    #[test]
    fn flows_that_go_on_outlive_flows_that_come_once() {
        let mut cache = cache(1 << 12);
        let (mut once, mut lost) = (1 << 32, 0);
        for round in 0..100 {
            for flow in 0..1000 {
                lost += usize::from(!kept(&mut cache, flow) && round > 1);
            }
            for _ in 0..4000 {
                once += 1;
                assert!(!kept(&mut cache, once));
            }
        }
        // Where the hash gives one set eight or more of the 1000 flows, they push out each other: with random hashes 786 to
        // 2330 packets in 1500 runs. Were flows that come once kept as long as others, nearly all would be.
        assert!(lost < 9800, "{lost} of 98000 packets are classified anew");
    }

    #[test]
    fn what_is_asked_for_beforehand_is_mostly_where_a_flow_is_kept() {
        let mut cache = cache(1 << 16);
        let likely = (0..1000).filter(|&flow| {
            let key = key(flow);
            assert_eq!(cache.get(&key, || flow as u32), flow as u32);
            let state = cache.likely(cache.hash(&key))[0].copied().unwrap();
            state & u64::from(FlowCache::MOST) == flow
        });
        // A quarter of the first places are taken in the end.
        assert!(likely.count() > 600);
        assert_eq!(FlowCache::default().likely(7), [None; 2]);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut cache = FlowCache::default();
        assert!(!kept(&mut cache, 1) && !kept(&mut cache, 1));
    }
}
