//! How long an instance keeps each packet: one that keeps a packet for too long is ended, whatever else it hands back.
//!
//! A packet's ledger entry says in which period of [`PERIOD`] it was given to its instance. The worker looks at all entries
//! once a period, a slice at a time, so that the packets on their way do not wait for it.

use std::time::{Duration, Instant};

use super::{Worker, ledger::Ledger};

/// How long an instance may keep a packet, its wait in the ring to the instance included. An instance whose ring is always
/// full must handle so many packets as the ring holds in this time.
pub const KEEP_DEADLINE: Duration = Duration::from_secs(5);

const PERIOD: Duration = Duration::from_millis(250);
const PERIODS_PER_SECOND: u64 = 4;
/// As many periods as the deadline has. The number of a period is eight bits wide: it must come round later than this.
pub(super) const MOST_PERIODS: u8 = (KEEP_DEADLINE.as_millis() / PERIOD.as_millis()) as u8;
const _: () = assert!(KEEP_DEADLINE.as_millis() / PERIOD.as_millis() < 128);

/// Entries that are looked at between two rounds.
pub(super) const SLICE: usize = 4096;

#[derive(Debug)]
pub(super) struct Watch {
    /// The number of the present period.
    pub(super) period: u8,
    /// Periods that have ended.
    passed: u64,
    pub(super) ends: Instant,
    /// The entry to be looked at next, of so many.
    next: usize,
    entries: usize,
}

impl Watch {
    pub(super) fn new(entries: usize) -> Self {
        Self {
            period: 0,
            passed: 0,
            ends: Instant::now() + PERIOD,
            next: entries,
            entries,
        }
    }

    /// Looks at so many entries from now on.
    pub(super) fn grow(&mut self, entries: usize) {
        self.entries = entries;
    }

    /// Goes on to the next period once it is due: to one alone, however late it is, so that an instance is not held to the
    /// time that the worker itself did not run.
    fn tick(&mut self, now: Instant) {
        if now >= self.ends {
            self.period = self.period.wrapping_add(1);
            self.passed += 1;
            self.ends = now + PERIOD;
            if self.next >= self.entries {
                self.next = 0;
            }
        }
    }

    /// Seconds in which the worker ran, modulo 65536.
    fn second(&self) -> u16 {
        (self.passed / PERIODS_PER_SECOND) as u16
    }

    /// The slots of instances that have kept a packet of the next entries too long.
    fn overdue<'a>(&mut self, ledger: &'a Ledger) -> impl Iterator<Item = u16> + use<'a> {
        let (from, period) = (self.next, self.period);
        let slice = ledger.slice(from, SLICE);
        self.next = from + slice.len();
        slice
            .iter()
            .filter(move |entry| period.wrapping_sub(entry.tag.given()) > MOST_PERIODS)
            .filter_map(|entry| entry.tag.owner().slot())
    }
}

impl Worker {
    /// Has instances ended that keep a packet too long.
    pub(super) fn watch_ages(&mut self) {
        self.watch.tick(Instant::now());
        self.forward.period = self.watch.period;
        self.forward.tick(self.watch.second());
        if self.packets.generations.in_flight == 0 {
            return;
        }
        for slot in self.watch.overdue(&self.packets.ledger) {
            let text = || format!("it kept a packet for more than {} s", KEEP_DEADLINE.as_secs());
            self.forward.quarantine(slot, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::ledger::{Ledger, Owner},
        *,
    };

    fn hold(ledger: &mut Ledger, buffer: u32, owner: Owner, period: u8) {
        let tag = ledger.give(buffer, owner);
        ledger.entry(buffer).tag = tag.with_given(period);
    }

    fn look(watch: &mut Watch, ledger: &Ledger) -> Vec<u16> {
        let mut found = Vec::new();
        for _ in 0..3 {
            found.extend(watch.overdue(ledger));
        }
        found
    }

    #[test]
    fn what_is_kept_too_long_is_found_wherever_it_lies_and_nothing_else() {
        let mut ledger = Ledger::new(2 * SLICE as u32 + 10);
        let mut watch = Watch::new(2 * SLICE + 10);
        watch.period = 250;
        for (buffer, owner) in [
            (0, Owner::instance(3)),
            (2 * SLICE as u32 + 9, Owner::instance(7)),
            (5, Owner::POOL),
            (6, Owner::WORKER),
        ] {
            hold(&mut ledger, buffer, owner, 250);
        }
        let mut now = watch.ends;
        for _ in 0..MOST_PERIODS {
            watch.tick(now);
            assert_eq!(look(&mut watch, &ledger), [0; 0], "period {}", watch.period);
            now += PERIOD;
        }
        // One of the two is given another packet in its place.
        hold(&mut ledger, 0, Owner::instance(3), watch.period);
        watch.tick(now);
        assert_eq!(look(&mut watch, &ledger), [7]);
        assert_eq!(look(&mut watch, &ledger), [0; 0], "once a period");
    }

    #[test]
    fn the_time_that_the_worker_did_not_run_is_nobodys() {
        let mut watch = Watch::new(1);
        let late = watch.ends + 100 * PERIOD;
        watch.tick(late);
        watch.tick(late);
        assert_eq!(watch.period, 1);
    }
}
