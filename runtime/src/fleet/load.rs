//! Whether the instances of a service are too few or too many, from the packets that wait for them and those that they had no room
//! for.
//!
//! What is seen is smoothed exponentially, and must last, so that a burst changes nothing. Between too few and too many lies a wide
//! gap (hysteresis), and after each step nothing is done for a while (cool-down): a new instance gets new flows alone, and relieves
//! the others only as theirs end. Who has too much to do shows at once in full rings, but who has little to do and who has just
//! enough look alike; so a step down waits for a long calm, and for a longer one after a step down that had to be taken back.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use onvm_api::InstanceState;
use onvm_bundle::Replicas;

use super::{Fleet, Role};
use crate::worker::{InstanceCounters, Workers};

/// Between two looks at a service.
const LOOK: Duration = Duration::from_millis(100);
/// What was seen so long ago counts for 1/e.
const SMOOTHING: Duration = Duration::from_millis(500);
/// Of the room: there are too few instances.
const FULL: f64 = 0.5;
/// Of the room: there may be too many.
const EMPTY: f64 = 0.05;
/// Of all packets that came, those turned away: there are too few instances, whatever their rings hold.
const LOSSY: f64 = 0.01;
/// So long there must be too few before there is one more.
const LASTING: Duration = Duration::from_secs(2);
/// From one step to the next.
const COOL_DOWN: Duration = Duration::from_secs(3);
/// The longest calm that a step down waits for, in times of the shortest.
const MOST_PATIENT: u32 = 16;

/// What is seen of a service at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Packets that wait in the rings of its instances, of those that have room there: 0 to 1.
    pub(crate) waiting: f64,
    /// Packets that its instances were given since they started, and packets that they had no room for.
    pub(crate) given: u64,
    pub(crate) turned_away: u64,
}

/// What was seen of a service until now.
#[derive(Debug)]
pub(crate) struct Load {
    at: Instant,
    last: Seen,
    waiting: f64,
    /// Packets a second.
    given: f64,
    turned_away: f64,
    short_since: Option<Instant>,
    calm_since: Instant,
    stepped: Instant,
    /// How many times the shortest calm a step down waits for.
    patience: u32,
    stepped_down: Option<Instant>,
}

/// Another number of instances, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) to: u16,
    /// Of the room.
    pub(crate) waiting: f64,
    /// Packets a second.
    pub(crate) turned_away: f64,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            at: now,
            last: Seen::default(),
            waiting: 0.0,
            given: 0.0,
            turned_away: 0.0,
            short_since: None,
            calm_since: now,
            stepped: now,
            patience: 1,
            stepped_down: None,
        }
    }

    /// It is time for a look.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= LOOK
    }

    /// Takes in what is seen of so many instances, and says whether there should be another number of them. `calm`: the shortest that
    /// a step down waits for.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        seen: Seen,
        replicas: u16,
        range: Replicas,
        calm: Duration,
    ) -> Option<Step> {
        self.take_in(now, seen);
        let came = self.given + self.turned_away;
        let lossy = self.turned_away > LOSSY * came;
        if lossy || self.waiting >= FULL {
            self.short_since.get_or_insert(now);
        } else {
            self.short_since = None;
        }
        if lossy || self.waiting > EMPTY {
            self.calm_since = now;
        }
        let since = |moment: Instant| now.saturating_duration_since(moment);
        if since(self.stepped) < COOL_DOWN {
            return None;
        }
        let up = self.short_since.is_some_and(|short| since(short) >= LASTING);
        let down = since(self.calm_since) >= calm.saturating_mul(self.patience);
        let to = match () {
            () if up && replicas < range.max => replicas + 1,
            () if down && replicas > range.min => replicas - 1,
            () => return None,
        };
        Some(Step {
            to,
            waiting: self.waiting,
            turned_away: self.turned_away,
        })
    }

    fn take_in(&mut self, now: Instant, seen: Seen) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let weight = 1.0 - (-passed / SMOOTHING.as_secs_f64()).exp();
        let smooth = |average: &mut f64, value: f64| *average += weight * (value - *average);
        // Of an instance that has gone, the counters have gone, too.
        let rate = |now: u64, was: u64| now.saturating_sub(was) as f64 / passed;
        smooth(&mut self.waiting, seen.waiting);
        smooth(&mut self.given, rate(seen.given, self.last.given));
        smooth(
            &mut self.turned_away,
            rate(seen.turned_away, self.last.turned_away),
        );
        (self.at, self.last) = (now, seen);
    }

    /// There is another number of instances now, or there could not be.
    pub(crate) fn stepped(&mut self, now: Instant, from: u16, to: u16, calm: Duration) {
        let soon = calm.saturating_mul(2 * self.patience);
        if to < from {
            self.stepped_down = Some(now);
        } else if let Some(down) = self.stepped_down.take() {
            self.patience = match now.saturating_duration_since(down) < soon {
                true => (2 * self.patience).min(MOST_PATIENT),
                false => 1,
            };
        }
        (self.stepped, self.calm_since, self.short_since) = (now, now, None);
        // What was seen of the former number says nothing of this one.
        (self.waiting, self.turned_away) = (0.0, 0.0);
    }
}

impl Fleet {
    /// Looks at each service that is due and that the manager scales; gives the slots of those that should have another number of
    /// instances. `calm` as [`Load::look`] takes it.
    pub(crate) fn look(&mut self, workers: &Workers, calm: Duration) -> Vec<(u16, Step)> {
        let now = Instant::now();
        let mut steps = Vec::new();
        for slot in 0..self.services.len() as u16 {
            let entry = self.services[usize::from(slot)].as_ref();
            let is_looked_at =
                entry.is_some_and(|e| e.scale.automatic && e.scale.range.scales() && e.load.is_due(now));
            if !is_looked_at {
                continue;
            }
            let seen = self.seen(workers, slot);
            if let Some(entry) = &mut self.services[usize::from(slot)] {
                let step = entry
                    .load
                    .look(now, seen, entry.scale.replicas, entry.scale.range, calm);
                steps.extend(step.map(|step| (slot, step)));
            }
        }
        steps
    }

    fn seen(&self, workers: &Workers, service: u16) -> Seen {
        let serves = |slot: &u16| {
            self.instance(*slot)
                .is_some_and(|i| i.role == Role::Member && i.state == InstanceState::Running)
        };
        let slots: Vec<usize> = self
            .instances_of(service)
            .into_iter()
            .filter(serves)
            .map(usize::from)
            .collect();
        let sum = |count: fn(&InstanceCounters) -> &AtomicU64| -> u64 {
            slots
                .iter()
                .map(|&slot| workers.sum(|c| count(&c.instances[slot])))
                .sum()
        };
        let room = (workers.ring_room() * slots.len() as u64).max(1);
        Seen {
            waiting: (sum(|i| &i.ring_used) as f64 / room as f64).min(1.0),
            given: sum(|i| &i.rx_packets),
            turned_away: sum(|i| &i.turned_away),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Replicas = Replicas { min: 1, max: 4 };
    const CALM: Duration = Duration::from_secs(60);

    /// A service whose load is made up, and a clock.
    struct World {
        load: Load,
        began: Instant,
        now: Instant,
        seen: Seen,
        replicas: u16,
    }

    impl World {
        fn new(replicas: u16) -> Self {
            let now = Instant::now();
            Self {
                load: Load::new(now),
                began: now,
                now,
                seen: Seen::default(),
                replicas,
            }
        }

        /// Goes on for so many seconds, with rings so full, so many packets a second given and so many turned away; gives the steps and
        /// the seconds at which they were made.
        fn pass(&mut self, seconds: f64, waiting: f64, given: u64, turned_away: u64) -> Vec<(u64, u16)> {
            let mut steps = Vec::new();
            let end = self.now + Duration::from_secs_f64(seconds);
            while self.now < end {
                self.now += LOOK;
                self.seen.waiting = waiting;
                self.seen.given += given / 10;
                self.seen.turned_away += turned_away / 10;
                assert!(self.load.is_due(self.now));
                if let Some(step) = self.load.look(self.now, self.seen, self.replicas, RANGE, CALM) {
                    self.load.stepped(self.now, self.replicas, step.to, CALM);
                    self.replicas = step.to;
                    steps.push(((self.now - self.began).as_secs(), step.to));
                }
            }
            steps
        }
    }

    #[test]
    fn full_rings_or_losses_that_last_ask_for_more_up_to_the_most() {
        let up = [(3, 2), (6, 3), (9, 4)];
        assert_eq!(World::new(1).pass(30.0, 0.9, 1_000_000, 0), up);
        assert_eq!(World::new(1).pass(30.0, 0.2, 1_000_000, 50_000), up);
        assert_eq!(World::new(1).pass(30.0, 0.4, 1_000_000, 100), []);
    }

    #[test]
    fn a_burst_asks_for_nothing() {
        let mut world = World::new(1);
        for _ in 0..10 {
            assert_eq!(world.pass(20.0, 0.01, 1_000_000, 0), []);
            assert_eq!(world.pass(0.2, 1.0, 1_000_000, 500_000), []);
        }
    }

    #[test]
    fn a_calm_asks_for_fewer_down_to_the_least() {
        let mut world = World::new(3);
        assert_eq!(world.pass(300.0, 0.01, 1000, 0), [(60, 2), (120, 1)]);
        assert_eq!(World::new(3).pass(300.0, 0.2, 1000, 0), []);
    }

    #[test]
    fn who_went_down_too_far_waits_longer_the_next_time() {
        let mut world = World::new(2);
        assert_eq!(world.pass(61.0, 0.0, 1000, 0).len(), 1);
        assert_eq!(world.pass(4.0, 1.0, 1000, 0), [(63, 2)]);
        assert_eq!(world.pass(115.0, 0.0, 1000, 0), []);
        assert_eq!(world.pass(15.0, 0.0, 1000, 0).len(), 1);
        // It was right this time.
        assert_eq!(world.pass(600.0, 0.2, 1000, 0), []);
        assert_eq!(world.pass(4.0, 1.0, 1000, 0).len(), 1);
        assert_eq!(world.pass(70.0, 0.0, 1000, 0).len(), 1);
    }
}
