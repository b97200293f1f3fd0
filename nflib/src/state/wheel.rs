//! A timing wheel: what expires next, for a fixed number of entries.
//!
//! Scheme 4 of G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels: Data Structures for the Efficient
//! Implementation of a Timer Facility" (SOSP 1987): time is cut into ticks, and each of the next [`SLOTS`] ticks has a list
//! of the entries that expire in it. Setting, moving and removing an entry links it into or out of a doubly linked list:
//! constant time, no allocation. Here a bit says of each slot whether it has entries, so that empty ones cost nothing,
//! however long nobody asked.
//!
//! The wheel goes on as far as the first tick that is over and still has entries. So it reaches as far as the longest time
//! from now while these are taken out in time; an entry that is further away waits in the last slot, and whoever takes it
//! out there before its time sets it again.

use std::time::Duration;

use crate::time::{Time, nanos};

/// A power of two.
const SLOTS: usize = 256;
/// Memory for each entry.
pub(super) const BYTES_PER_ENTRY: usize = size_of::<Link>();
/// No entry.
const NONE: u32 = u32::MAX;

/// Entries are numbers from zero, below what the wheel was made for.
#[derive(Debug)]
pub(super) struct Wheel {
    links: Vec<Link>,
    slots: Box<[List; SLOTS]>,
    /// A bit for each slot that has entries.
    occupied: [u64; SLOTS / 64],
    /// The tick of the first slot; none before it has entries.
    current: u64,
    /// A tick lasts two to this power nanoseconds.
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    slot: u32,
}

/// First and last entry, linked by their `after` and `before`.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

impl Wheel {
    /// For so many entries, set to expire within `longest` at most.
    pub(super) fn new(entries: usize, longest: Duration) -> Self {
        let longest = nanos(longest);
        let ticks = |shift: u32| longest >> shift;
        // One slot more for the tick that has begun, and one for that which ends the longest time.
        let shift = (0..63).find(|shift| ticks(*shift) < SLOTS as u64 - 2);
        Self {
            links: Vec::with_capacity(entries),
            slots: Box::new(
                [List {
                    first: NONE,
                    last: NONE,
                }; SLOTS],
            ),
            occupied: [0; SLOTS / 64],
            current: 0,
            shift: shift.unwrap_or(63),
        }
    }

    /// Whether both times fall into one tick.
    #[inline(always)]
    pub(super) fn is_one_tick(&self, one: Time, other: Time) -> bool {
        self.tick(one) == self.tick(other)
    }

    /// Sets an entry that is not set, behind others of the same tick.
    pub(super) fn set(&mut self, entry: u32, at: Time, now: Time) {
        self.advance(now);
        let reach = self.current + SLOTS as u64 - 1;
        let slot = self.tick(at).clamp(self.current, reach) as usize % SLOTS;
        let List { last, .. } = self.slots[slot];
        let link = Link {
            before: last,
            after: NONE,
            slot: slot as u32,
        };
        match self.links.get_mut(entry as usize) {
            Some(place) => *place = link,
            // Entries come in order at first.
            None => self.links.push(link),
        }
        match self.links.get_mut(last as usize) {
            Some(before) => before.after = entry,
            None => self.slots[slot].first = entry,
        }
        self.slots[slot].last = entry;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Takes out an entry that is set.
    pub(super) fn unset(&mut self, entry: u32) {
        let Some(&Link { before, after, slot }) = self.links.get(entry as usize) else {
            return;
        };
        let list = &mut self.slots[slot as usize % SLOTS];
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => list.first = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = before,
            None => list.last = before,
        }
        if list.first == NONE {
            self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
        }
    }

    /// The entry that expires first, to a tick; of one tick the one that was set first.
    pub(super) fn first(&self) -> Option<u32> {
        let slot = self.first_occupied()?;
        Some(self.slots[slot].first).filter(|entry| *entry != NONE)
    }

    /// The next entry whose tick is over; it stays set.
    pub(super) fn due(&mut self, now: Time) -> Option<u32> {
        self.advance(now);
        if self.current < self.tick(now) {
            self.first()
        } else {
            None
        }
    }

    /// Leaves the slots behind that are empty and over.
    fn advance(&mut self, now: Time) {
        let first = self.current as usize % SLOTS;
        let ahead = self.first_occupied().map(|slot| (slot + SLOTS - first) % SLOTS);
        let tick = ahead.map_or(u64::MAX, |ahead| self.current + ahead as u64);
        self.current = tick.min(self.tick(now)).max(self.current);
    }

    /// The first slot with entries from the current tick on.
    fn first_occupied(&self) -> Option<usize> {
        const WORDS: usize = SLOTS / 64;
        let first = self.current as usize % SLOTS;
        let (word, bit) = (first / 64, first % 64);
        // The word that holds the first slot comes once more at the end, for the slots before that.
        (0..=WORDS).find_map(|n| {
            let at = (word + n) % WORDS;
            let bits = match n {
                0 => self.occupied[at] >> bit << bit,
                WORDS => self.occupied[at] & ((1 << bit) - 1),
                _ => self.occupied[at],
            };
            (bits != 0).then(|| 64 * at + bits.trailing_zeros() as usize)
        })
    }

    #[inline(always)]
    fn tick(&self, at: Time) -> u64 {
        at.as_nanos() >> self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::from_nanos(0) + SECOND * u32::try_from(seconds).unwrap()
    }

    /// Takes out all that is due.
    fn due(wheel: &mut Wheel, now: Time) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(entry) = wheel.due(now) {
            wheel.unset(entry);
            due.push(entry);
        }
        due
    }

    #[test]
    fn entries_come_in_the_order_of_their_ticks() {
        let mut wheel = Wheel::new(8, 100 * SECOND);
        for (entry, seconds) in [(0, 50), (1, 10), (2, 90), (3, 10), (4, 30)] {
            wheel.set(entry, at(seconds), at(0));
        }
        assert_eq!(wheel.first(), Some(1));
        wheel.unset(4);
        assert_eq!(due(&mut wheel, at(9)), [0; 0]);
        assert_eq!(due(&mut wheel, at(60)), [1, 3, 0]);
        // The wheel has gone on: this is in a slot that was used before.
        wheel.set(0, at(150), at(60));
        assert_eq!(due(&mut wheel, at(149)), [2]);
        assert_eq!(due(&mut wheel, at(152)), [0]);
        assert_eq!(wheel.first(), None);
    }

    #[test]
    fn nothing_is_due_early_and_all_within_a_tick() {
        let longest = 100 * SECOND;
        let mut wheel = Wheel::new(1, longest);
        for step in 0..1000 {
            let expires = Time::from_nanos(1_000_000_007 * step);
            wheel.set(0, expires, expires);
            assert_eq!(wheel.due(expires), None);
            // The longest tick is one of 127.
            assert_eq!(wheel.due(expires + longest / 127), Some(0), "{step}");
            wheel.unset(0);
        }
    }

    #[test]
    fn what_is_out_of_reach_waits_in_the_last_slot() {
        let mut wheel = Wheel::new(2, SECOND);
        wheel.set(0, at(1000), at(0));
        wheel.set(1, at(0), at(0));
        assert_eq!(wheel.first(), Some(1));
        wheel.unset(1);
        // Early: the one who set it sees that by its own record.
        assert_eq!(wheel.due(at(10)), Some(0));
    }

    #[test]
    fn shortest_and_longest_times_have_a_wheel() {
        for longest in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let mut wheel = Wheel::new(1, longest);
            wheel.set(0, Time::from_nanos(0), Time::from_nanos(0));
            assert_eq!(wheel.due(Time::from_nanos(u64::MAX)), Some(0));
        }
    }
}
