//! Single-producer, single-consumer ring of descriptors over shared memory.
//!
//! Lamport's queue (L. Lamport, "Specifying Concurrent Program Modules", 1983) with each side's copy of the other's
//! index (as in FastForward and MCRingBuffer) and whole bursts published by one store. Indices run freely over `u32`;
//! a slot is `index & (capacity - 1)`.
//!
//! ```text
//!        tail (consumer)        head (producer)
//!          v                      v
//!   [ free | d  d  d  d  d  d  d  | free ]        0 <= head - tail <= capacity
//! ```
//!
//! The peer may be hostile: it can write anything into indices and slots. Every access is to an atomic, so such writes
//! are not a data race; an index that would break the invariant above is reported as [`Corrupt`] and nothing is read by it.
//!
//! The words are generic so that the same code runs on loom's atomics in `tests/nflib/ring_model.rs`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{
    Descriptor,
    memory::{prefetch, prefetch_to_write},
};

/// Slots of 16 bytes in a cache line.
const SLOTS_PER_LINE: usize = 4;

/// An atomic word as the ring needs it.
pub trait Word<T> {
    fn load(&self, order: Ordering) -> T;
    fn store(&self, value: T, order: Ordering);
}

impl Word<u32> for AtomicU32 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u32 {
        AtomicU32::load(self, order)
    }
    #[inline(always)]
    fn store(&self, value: u32, order: Ordering) {
        AtomicU32::store(self, value, order);
    }
}

impl Word<u64> for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }
    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }
}

/// Where a ring's words lie.
pub trait RingWords {
    type Index: Word<u32>;
    type Half: Word<u64>;
    /// The producer's index: descriptors ever pushed, modulo 2^32.
    fn head(&self) -> &Self::Index;
    /// The consumer's index: descriptors ever popped, modulo 2^32.
    fn tail(&self) -> &Self::Index;
    /// Two words a slot; the number of slots is a power of two.
    fn slots(&self) -> &[[Self::Half; 2]];
}

/// The peer's index cannot be right: the ring's memory was written by something that does not follow the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("corrupt ring: peer index {found} is out of range (own index {own}, capacity {capacity})")]
pub struct Corrupt {
    pub found: u32,
    pub own: u32,
    pub capacity: u32,
}

/// The writing end.
#[derive(Debug)]
pub struct Producer<W> {
    words: W,
    head: u32,
    /// The consumer's index when it was last read.
    tail: u32,
    capacity: u32,
}

impl<W: RingWords> Producer<W> {
    /// Continues where the shared index stands. There must be no other producer on these words.
    pub fn new(words: W) -> Self {
        let capacity = words.slots().len() as u32;
        assert!(capacity.is_power_of_two(), "a ring's capacity is a power of two");
        let head = words.head().load(Ordering::Relaxed);
        let tail = words.tail().load(Ordering::Acquire);
        // A tail beyond the head is found by the next `room`; starting from "full" keeps it from being used.
        let tail = if head.wrapping_sub(tail) <= capacity {
            tail
        } else {
            head.wrapping_sub(capacity)
        };
        Self {
            words,
            head,
            tail,
            capacity,
        }
    }

    pub fn words(&self) -> &W {
        &self.words
    }

    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Free slots; reads the consumer's index only when fewer than `wanted` are known to be free.
    #[inline(always)]
    pub fn room(&mut self, wanted: u32) -> Result<u32, Corrupt> {
        let free = self.capacity - self.head.wrapping_sub(self.tail);
        if free >= wanted {
            return Ok(free);
        }
        // Acquire pairs with the consumer's release in `pop`: its reads of the slots are done before we overwrite them.
        let tail = self.words.tail().load(Ordering::Acquire);
        let used = self.head.wrapping_sub(tail);
        if used > self.capacity {
            return Err(Corrupt {
                found: tail,
                own: self.head,
                capacity: self.capacity,
            });
        }
        self.tail = tail;
        Ok(self.capacity - used)
    }

    /// Descriptors that wait to be consumed, as far as the consumer's index is known.
    pub fn used(&mut self) -> Result<u32, Corrupt> {
        Ok(self.capacity - self.room(self.capacity)?)
    }

    /// Pushes as many of `burst` as there is room for, published together; returns how many.
    #[inline(always)]
    pub fn push(&mut self, burst: &[Descriptor]) -> Result<usize, Corrupt> {
        self.push_from(burst)
    }

    /// As [`Self::push`], for descriptors that are at hand as words.
    #[inline(always)]
    pub fn push_words(&mut self, burst: &[[u64; 2]]) -> Result<usize, Corrupt> {
        self.push_from(burst)
    }

    #[inline(always)]
    fn push_from<T: Slot>(&mut self, burst: &[T]) -> Result<usize, Corrupt> {
        let n = (self.room(burst.len() as u32)? as usize).min(burst.len());
        let (first, second) = runs(self.words.slots(), self.head, n);
        let (before, after) = burst[..n].split_at(first.len());
        write(first, before);
        write(second, after);
        if n > 0 {
            self.head = self.head.wrapping_add(n as u32);
            // Release pairs with the consumer's acquire in `available`: the slots are written before they are announced.
            self.words.head().store(self.head, Ordering::Release);
            self.take_next(n as u32);
        }
        Ok(n)
    }

    /// Takes the lines of the next slots from the consumer's cache while there is other work, as far as they are known to be free.
    #[inline(always)]
    fn take_next(&self, n: u32) {
        if self.capacity - self.head.wrapping_sub(self.tail) >= n {
            let (first, second) = runs(self.words.slots(), self.head, n as usize);
            each_line(first, prefetch_to_write);
            each_line(second, prefetch_to_write);
        }
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer<W> {
    words: W,
    tail: u32,
    /// The producer's index when it was last read.
    head: u32,
    capacity: u32,
}

impl<W: RingWords> Consumer<W> {
    /// Continues where the shared index stands. There must be no other consumer on these words.
    pub fn new(words: W) -> Self {
        let capacity = words.slots().len() as u32;
        assert!(capacity.is_power_of_two(), "a ring's capacity is a power of two");
        let tail = words.tail().load(Ordering::Relaxed);
        Self {
            words,
            tail,
            head: tail,
            capacity,
        }
    }

    pub fn words(&self) -> &W {
        &self.words
    }

    /// Descriptors that can be popped; reads the producer's index only when none is known.
    #[inline(always)]
    pub fn available(&mut self) -> Result<u32, Corrupt> {
        let known = self.head.wrapping_sub(self.tail);
        if known > 0 {
            return Ok(known);
        }
        // Acquire pairs with the producer's release in `push`: the announced slots are seen as they were written.
        let head = self.words.head().load(Ordering::Acquire);
        let ready = head.wrapping_sub(self.tail);
        if ready > self.capacity {
            return Err(Corrupt {
                found: head,
                own: self.tail,
                capacity: self.capacity,
            });
        }
        self.head = head;
        Ok(ready)
    }

    /// Asks for the producer's index ahead of use: its line is in another core's cache where the producer has been at work.
    #[inline(always)]
    pub fn ask(&self) {
        prefetch(self.words.head());
    }

    /// Asks for the slots that a [`Self::pop`] of so many will read.
    #[inline(always)]
    pub fn ask_for_slots(&mut self, most: u32) {
        if let Ok(ready) = self.available() {
            let (first, second) = runs(self.words.slots(), self.tail, ready.min(most) as usize);
            each_line(first, prefetch);
            each_line(second, prefetch);
        }
    }

    /// Pops up to `into.len()` descriptors; returns how many.
    #[inline(always)]
    pub fn pop(&mut self, into: &mut [Descriptor]) -> Result<usize, Corrupt> {
        self.pop_to(into)
    }

    /// As [`Self::pop`], leaving the descriptors as words.
    #[inline(always)]
    pub fn pop_words(&mut self, into: &mut [[u64; 2]]) -> Result<usize, Corrupt> {
        self.pop_to(into)
    }

    #[inline(always)]
    fn pop_to<T: Slot>(&mut self, into: &mut [T]) -> Result<usize, Corrupt> {
        let n = (self.available()? as usize).min(into.len());
        let (first, second) = runs(self.words.slots(), self.tail, n);
        let (before, after) = into[..n].split_at_mut(first.len());
        read(first, before);
        read(second, after);
        if n > 0 {
            self.tail = self.tail.wrapping_add(n as u32);
            // Release pairs with the producer's acquire in `room`: our reads are done before the slots are free.
            self.words.tail().store(self.tail, Ordering::Release);
        }
        Ok(n)
    }
}

/// The `n` slots from `index` on, as the run up to the end of the memory and the run from its beginning. At most all slots
/// are asked for.
#[inline(always)]
fn runs<T>(slots: &[T], index: u32, n: usize) -> (&[T], &[T]) {
    let start = index as usize & (slots.len() - 1);
    let first = n.min(slots.len() - start);
    (&slots[start..start + first], &slots[..n - first])
}

/// Calls for a slot of each cache line.
#[inline(always)]
fn each_line<T>(slots: &[T], ask: impl Fn(&T)) {
    let mut at = 0;
    while let Some(slot) = slots.get(at) {
        ask(slot);
        at += SLOTS_PER_LINE;
    }
}

/// What a slot holds, as one side has it at hand.
trait Slot: Copy {
    fn words(self) -> [u64; 2];
    fn from(words: [u64; 2]) -> Self;
}

impl Slot for Descriptor {
    #[inline(always)]
    fn words(self) -> [u64; 2] {
        self.to_words()
    }
    #[inline(always)]
    fn from(words: [u64; 2]) -> Self {
        Self::from_words(words)
    }
}

impl Slot for [u64; 2] {
    #[inline(always)]
    fn words(self) -> [u64; 2] {
        self
    }
    #[inline(always)]
    fn from(words: [u64; 2]) -> Self {
        words
    }
}

#[inline(always)]
fn write<H: Word<u64>, T: Slot>(slots: &[[H; 2]], burst: &[T]) {
    // Four at once: the compiler does not unroll loops over atomics.
    let put = |(slot, d): (&[H; 2], &T)| {
        let [a, b] = d.words();
        slot[0].store(a, Ordering::Relaxed);
        slot[1].store(b, Ordering::Relaxed);
    };
    let (slots, last_slots) = slots.as_chunks::<4>();
    let (burst, last) = burst.as_chunks::<4>();
    for (slots, burst) in slots.iter().zip(burst) {
        slots.iter().zip(burst).for_each(put);
    }
    last_slots.iter().zip(last).for_each(put);
}

#[inline(always)]
fn read<H: Word<u64>, T: Slot>(slots: &[[H; 2]], burst: &mut [T]) {
    let take = |(slot, d): (&[H; 2], &mut T)| {
        *d = T::from([slot[0].load(Ordering::Relaxed), slot[1].load(Ordering::Relaxed)]);
    };
    let (slots, last_slots) = slots.as_chunks::<4>();
    let (burst, last) = burst.as_chunks_mut::<4>();
    for (slots, burst) in slots.iter().zip(burst) {
        slots.iter().zip(burst).for_each(take);
    }
    last_slots.iter().zip(last).for_each(take);
}
