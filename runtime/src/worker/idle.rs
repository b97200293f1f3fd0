//! How a worker sleeps when nothing comes.

use std::time::Duration;

use nflib::bell::{Bell, sleep_on_any};
use rustix::time::{ClockId, clock_gettime};

use super::Link;

/// While a port must be polled, a sleep begins with this length, so that the first packet after idle meets less than 100 us.
const BETWEEN_POLLS: Duration = Duration::from_micros(90);
/// Where a sleep costs so much that these polls alone would load the core, as in some virtual machines, sleeps become longer,
/// and no longer than this.
const LONGEST_BETWEEN_POLLS: Duration = Duration::from_millis(1);
/// The part of a core that polls in an idle system may take.
const SHARE: f64 = 0.03;
/// Sleeps after which their cost is looked at.
const MEASURED: u32 = 256;
/// With nothing to poll, only the bells and commands matter, and commands can wait this long.
const UNPOLLED: Duration = Duration::from_millis(2);

/// How long to sleep between polls, by what the last sleeps cost.
#[derive(Debug)]
pub(crate) struct Pace {
    between: Duration,
    naps: u32,
    /// Processor time of this thread, and the time, when the count began.
    began: Option<(Duration, Duration)>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            between: BETWEEN_POLLS,
            naps: 0,
            began: None,
        }
    }

    /// Something came: the next sleep is short.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn next(&mut self) -> Duration {
        if self.naps.is_multiple_of(MEASURED) {
            let now = (clock(ClockId::ThreadCPUTime), clock(ClockId::Monotonic));
            if let Some((cpu, wall)) = self.began.replace(now) {
                let (cpu, wall) = (now.0.saturating_sub(cpu), now.1.saturating_sub(wall));
                self.between = stretched(self.between, cpu, wall);
            }
        }
        self.naps = self.naps.wrapping_add(1);
        self.between
    }
}

/// The length with which sleeps take their share, where those of length `between` took `cpu` of `wall`.
fn stretched(between: Duration, cpu: Duration, wall: Duration) -> Duration {
    if wall.is_zero() {
        return between;
    }
    // A nap takes its length and what the kernel adds; its cost is the same whatever its length.
    let around = wall / MEASURED;
    let wanted = around.mul_f64(cpu.as_secs_f64() / wall.as_secs_f64() / SHARE);
    (between + wanted)
        .saturating_sub(around)
        .clamp(BETWEEN_POLLS, LONGEST_BETWEEN_POLLS)
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

/// Sleeps until an NF hands something back, or until the ports are to be polled again.
pub(super) fn nap(
    pace: &mut Pace,
    links: &mut [Option<Box<Link>>],
    in_flight: u64,
    polled: bool,
    has_commands: impl Fn() -> bool,
) {
    let at_most = if polled { pace.next() } else { UNPOLLED };
    if in_flight == 0 {
        // No NF holds anything that it could hand back, and a plain sleep costs half of one on the bells.
        if !has_commands() {
            std::thread::sleep(at_most);
        }
        return;
    }
    let bells: Vec<Bell> = links.iter().flatten().map(|l| l.worker_bell.clone()).collect();
    bells.iter().for_each(Bell::announce_sleep);
    // The last look, after the announcement: see the race in `nflib::bell`.
    let work = links.iter_mut().flatten().any(|l| !l.faulty && l.has_returns()) || has_commands();
    if work {
        bells.iter().for_each(Bell::stay_awake);
    } else {
        sleep_on_any(&bells, at_most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_become_as_long_as_their_cost_asks_for() {
        let us = Duration::from_micros;
        let after = |between, cost: u64, around: u64| {
            stretched(between, us(cost) * MEASURED, us(around) * MEASURED).as_micros()
        };
        // 3 us of 100 us are the share: nothing changes.
        assert_eq!(after(us(90), 3, 100), 90);
        // Cheaper sleeps do not become shorter, costlier ones longer, up to the limit.
        assert_eq!(after(us(90), 1, 100), 90);
        assert_eq!(after(us(90), 9, 100), 290);
        assert_eq!(after(us(90), 28, 132), 891);
        assert_eq!(after(us(90), 60, 132), 1000);
        // At the length found, the same cost keeps it.
        assert_eq!(after(us(891), 28, 933), 891);
        assert_eq!(stretched(us(90), us(5), Duration::ZERO), us(90));
    }

    #[test]
    fn what_comes_makes_the_next_sleep_short() {
        let mut pace = Pace {
            between: LONGEST_BETWEEN_POLLS,
            naps: 7,
            began: None,
        };
        assert_eq!(pace.next(), LONGEST_BETWEEN_POLLS);
        pace.reset();
        assert_eq!(pace.next(), BETWEEN_POLLS);
    }
}
