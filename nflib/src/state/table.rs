//! The table of flows: a chained hash table over entries in one vector, and a timing wheel for those that are idle.

use std::{
    hash::BuildHasher,
    iter, mem,
    ops::{Deref, DerefMut},
    time::Duration,
};

use hashbrown::DefaultHashBuilder;
use onvm_filter::flow::FlowKey;

use super::wheel::{self, Wheel};
use crate::time::{Time, nanos};

/// Flows that a table can have room for.
pub const MAX_FLOWS: usize = 1 << 30;

/// No entry.
const NONE: u32 = u32::MAX;

/// A value for each flow that was seen lately: both directions of a flow have the same one.
///
/// A flow that no packet of came for its idle time is forgotten; a packet is one that [`Self::get`] or [`Self::entry`] was
/// asked about. All memory is allocated at the start. When the table is full, a new flow takes the place of the one that
/// would expire first, which is the one idle longest unless [`Flow::expire_after`] gave them different times. So a flood of
/// new flows pushes out what is idle, and first what was given a short time; nothing is refused. [`Counts::evicted`] counts
/// these.
///
/// A flow is found by addresses, protocol, ports and VLAN ids as they are in the packet by now
/// ([`Packet::flow`](crate::Packet::flow)), not by the flow hash in its descriptor: that is of the packet as it was
/// received, so that behind an NF that rewrites addresses both directions differ in it. The table's own hash is seeded, so
/// that nobody can choose flows that collide.
///
/// Each operation takes constant time on average, whatever the number of flows: a look through a chain of one or two
/// entries, and, when the flow's last packet was more than about a hundredth of the longest idle time ago, a move in a
/// timing wheel (Varghese and Lauck, 1987). Each flow takes [`Self::BYTES_PER_FLOW`]: 92 bytes and the size of an
/// `Option<V>`, rounded up to a multiple of eight.
///
/// ```
/// use nflib::{Burst, Nf, Setup, SetupError, state::FlowTable};
///
/// /// Bytes of each flow, and those of the largest that has ended.
/// struct Bytes {
///     flows: FlowTable<u64>,
///     largest: u64,
/// }
///
/// impl Nf for Bytes {
///     fn new(setup: &mut Setup) -> Result<Self, SetupError> {
///         let idle = setup.params.duration("idle")?;
///         Ok(Self { flows: FlowTable::new(setup.params.get("flows")?, idle), largest: 0 })
///     }
///
///     fn process(&mut self, burst: &mut Burst<'_>) {
///         let now = burst.now();
///         for packet in burst.packets() {
///             if let Some(key) = packet.flow() {
///                 let (mut bytes, _) = self.flows.entry(&key, now, || 0);
///                 *bytes += packet.len() as u64;
///             }
///         }
///         // No burst makes more flows than this, so the table keeps up.
///         for gone in self.flows.expire(now).take(64) {
///             self.largest = self.largest.max(gone.value);
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct FlowTable<V> {
    /// The first entry of each chain; a power of two of them.
    chains: Box<[u32]>,
    entries: Vec<Entry<V>>,
    /// The first free entry; the others follow as in a chain.
    free: u32,
    wheel: Wheel,
    longest: Duration,
    capacity: usize,
    len: usize,
    /// The latest time that was given.
    now: Time,
    hasher: DefaultHashBuilder,
    counts: Counts,
}

#[derive(Debug)]
struct Entry<V> {
    /// Without a direction.
    key: FlowKey,
    timing: Timing,
    /// The next in the chain.
    next: u32,
    /// The flow's first packet went against the direction of the key.
    reversed: bool,
    /// None: free.
    value: Option<V>,
}

#[derive(Debug, Clone, Copy)]
struct Timing {
    expires: Time,
    /// Nanoseconds.
    idle: u64,
}

/// What happened to flows since the table was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flows that were new.
    pub inserted: u64,
    /// Flows forgotten since they were idle.
    pub expired: u64,
    /// Flows forgotten to make room.
    pub evicted: u64,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet of its flow that was seen.
    Original,
    /// Against it.
    Reply,
}

/// A flow that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone<V> {
    /// In the direction of its first packet.
    pub key: FlowKey,
    pub value: V,
    pub why: Why,
}

/// Why a flow was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Expired,
    /// The table was full.
    Evicted,
}

/// A flow in the table. It dereferences to the flow's value.
#[derive(Debug)]
pub struct Flow<'a, V> {
    /// Of the packet that was asked about.
    pub direction: Direction,
    /// No packet of the flow was seen before.
    pub is_new: bool,
    value: &'a mut V,
    timing: &'a mut Timing,
    wheel: &'a mut Wheel,
    number: u32,
    now: Time,
    longest: Duration,
}

impl<V> Deref for Flow<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.value
    }
}

impl<V> DerefMut for Flow<'_, V> {
    fn deref_mut(&mut self) -> &mut V {
        self.value
    }
}

impl<V> Flow<'_, V> {
    /// The idle time of this flow from now on, until it is given another; at most the table's. E.g. a short one until a
    /// connection is established.
    pub fn expire_after(&mut self, idle: Duration) {
        self.timing.idle = nanos(idle.min(self.longest));
        self.timing.restart(self.number, self.wheel, self.now);
    }
}

impl Timing {
    /// Lets the idle time begin now. Most packets of a flow come within a tick of the one before, and leave the wheel alone.
    #[inline]
    fn restart(&mut self, number: u32, wheel: &mut Wheel, now: Time) {
        let expires = now + Duration::from_nanos(self.idle);
        if !wheel.is_one_tick(self.expires, expires) {
            wheel.unset(number);
            wheel.set(number, expires, now);
        }
        self.expires = expires;
    }
}

impl<V> FlowTable<V> {
    /// Bytes of memory for each flow of the capacity, at most.
    pub const BYTES_PER_FLOW: usize = size_of::<Entry<V>>() + wheel::BYTES_PER_ENTRY + 2 * size_of::<u32>();

    /// Room for so many flows, 1 to [`MAX_FLOWS`] (others count as the nearest of these), which are forgotten after `idle`
    /// without a packet. Idle flows are handed out by [`Self::expire`] up to a hundredth of that later, and not found
    /// meanwhile.
    pub fn new(flows: usize, idle: Duration) -> Self {
        let flows = flows.clamp(1, MAX_FLOWS);
        Self {
            chains: vec![NONE; flows.next_power_of_two()].into_boxed_slice(),
            entries: Vec::with_capacity(flows),
            free: NONE,
            wheel: Wheel::new(flows, idle),
            longest: idle,
            capacity: flows,
            len: 0,
            now: Time::default(),
            hasher: DefaultHashBuilder::default(),
            counts: Counts::default(),
        }
    }

    /// Flows that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Flows in the table, with those that are idle and were not handed out yet.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The flow, if it is known, whose idle time begins again.
    #[inline]
    pub fn get(&mut self, key: &FlowKey, now: Time) -> Option<Flow<'_, V>> {
        self.now = self.now.max(now);
        let (key, reversed) = key.undirected();
        let number = self.find(&key)?;
        let entry = self.entries.get_mut(number as usize)?;
        if entry.timing.expires <= self.now {
            return None;
        }
        entry.timing.restart(number, &mut self.wheel, self.now);
        Some(Flow {
            direction: direction(entry.reversed, reversed),
            is_new: false,
            value: entry.value.as_mut()?,
            timing: &mut entry.timing,
            wheel: &mut self.wheel,
            number,
            now: self.now,
            longest: self.longest,
        })
    }

    /// The flow, whose idle time begins again, or a new one with the value that `make` returns. With it comes the flow
    /// whose place the new one took, if any: the same flow that had been idle for too long, or another that had to go.
    #[inline]
    pub fn entry(
        &mut self,
        key: &FlowKey,
        now: Time,
        make: impl FnOnce() -> V,
    ) -> (Flow<'_, V>, Option<Gone<V>>) {
        self.now = self.now.max(now);
        let (key, reversed) = key.undirected();
        let known = self.find(&key);
        let current = known.filter(|number| self.entries[*number as usize].timing.expires > self.now);
        let (number, gone) = match current {
            Some(number) => (number, None),
            None => self.insert(key, reversed, known),
        };
        let entry = &mut self.entries[number as usize];
        entry.timing.restart(number, &mut self.wheel, self.now);
        let flow = Flow {
            direction: direction(entry.reversed, reversed),
            is_new: current.is_none(),
            value: entry.value.get_or_insert_with(make),
            timing: &mut entry.timing,
            wheel: &mut self.wheel,
            number,
            now: self.now,
            longest: self.longest,
        };
        (flow, gone)
    }

    /// Forgets a flow, which is not counted; its value, if it was known.
    pub fn remove(&mut self, key: &FlowKey, now: Time) -> Option<V> {
        self.now = self.now.max(now);
        let number = self.find(&key.undirected().0)?;
        match self.entries[number as usize].timing.expires > self.now {
            true => self.take(number).map(|(_, value)| value),
            // It is for `expire` to hand out.
            false => None,
        }
    }

    /// Takes out flows that have been idle for their time, oldest first. The iterator ends when there are none; to bound
    /// the work, end it earlier: the rest comes next time, and is not found meanwhile. Call it for each burst or at ticks:
    /// where idle flows are left in the table, the one that makes room for a new flow may be another than the one that
    /// would expire first.
    pub fn expire(&mut self, now: Time) -> impl Iterator<Item = Gone<V>> {
        self.now = self.now.max(now);
        iter::from_fn(|| {
            loop {
                let number = self.wheel.due(self.now)?;
                let expires = self.entries.get(number as usize)?.timing.expires;
                if expires <= self.now {
                    return self.forget(number);
                }
                // It was out of the wheel's reach.
                self.wheel.unset(number);
                self.wheel.set(number, expires, self.now);
            }
        })
    }

    /// All flows of [`Self::len`], in no order, each with its key in the direction of its first packet. Takes as long as
    /// the table has room.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, &V)> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| Some((directed(&entry.key, entry.reversed), entry.value.as_ref()?)))
    }

    /// Makes an entry without a value, in the place of the `known` one of this key if that is idle. Its idle time has not begun.
    fn insert(&mut self, key: FlowKey, reversed: bool, known: Option<u32>) -> (u32, Option<Gone<V>>) {
        let full = self.free == NONE && self.entries.len() == self.capacity;
        let goes = known.or_else(|| self.wheel.first().filter(|_| full));
        let gone = goes.and_then(|number| self.forget(number));
        let chain = self.chain(&key);
        let timing = Timing {
            expires: self.now + self.longest,
            idle: nanos(self.longest),
        };
        let entry = Entry {
            key,
            timing,
            next: mem::replace(&mut self.chains[chain], NONE),
            reversed,
            value: None,
        };
        let number = match self.entries.get_mut(self.free as usize) {
            Some(free) => {
                let number = mem::replace(&mut self.free, free.next);
                *free = entry;
                number
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.chains[chain] = number;
        self.wheel.set(number, timing.expires, self.now);
        self.len += 1;
        self.counts.inserted += 1;
        (number, gone)
    }

    /// Takes out an entry, and counts why.
    fn forget(&mut self, number: u32) -> Option<Gone<V>> {
        let why = match self.entries.get(number as usize)?.timing.expires <= self.now {
            true => Why::Expired,
            false => Why::Evicted,
        };
        match why {
            Why::Expired => self.counts.expired += 1,
            Why::Evicted => self.counts.evicted += 1,
        }
        let (key, value) = self.take(number)?;
        Some(Gone { key, value, why })
    }

    /// Takes out an entry that is in use.
    fn take(&mut self, number: u32) -> Option<(FlowKey, V)> {
        let Entry {
            key, next, reversed, ..
        } = *self.entries.get(number as usize)?;
        self.wheel.unset(number);
        let chain = self.chain(&key);
        let mut at = self.chains[chain];
        if at == number {
            self.chains[chain] = next;
        }
        while at != number {
            let before = self.entries.get_mut(at as usize)?;
            at = before.next;
            if at == number {
                before.next = next;
            }
        }
        let entry = &mut self.entries[number as usize];
        entry.next = mem::replace(&mut self.free, number);
        self.len -= 1;
        Some((directed(&key, reversed), entry.value.take()?))
    }

    #[inline]
    fn find(&self, key: &FlowKey) -> Option<u32> {
        let mut number = self.chains[self.chain(key)];
        loop {
            let entry = self.entries.get(number as usize)?;
            if entry.key == *key {
                return Some(number);
            }
            number = entry.next;
        }
    }

    #[inline(always)]
    fn chain(&self, key: &FlowKey) -> usize {
        self.hasher.hash_one(key) as usize & (self.chains.len() - 1)
    }
}

#[cfg(test)]
impl<V> FlowTable<V> {
    /// Where the entries lie: another place once they are allocated again.
    pub(super) fn memory(&self) -> usize {
        self.entries.as_ptr().addr()
    }
}

fn direction(first: bool, this: bool) -> Direction {
    match first == this {
        true => Direction::Original,
        false => Direction::Reply,
    }
}

/// The key in the direction of a flow's first packet.
fn directed(key: &FlowKey, reversed: bool) -> FlowKey {
    if reversed { key.reversed() } else { *key }
}
