//! The time that an NF sees: the host's monotonic clock, or in tests one that stands still until it is told to go on.

use std::{
    ops::{Add, Sub},
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Where the count begins in this process.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A point in time, to the nanosecond. Comes from [`Burst::now`](crate::Burst::now), [`Setup::now`](crate::Setup::now) and
/// [`Nf::tick`](crate::Nf::tick), so that the same NF runs on a test's clock.
///
/// Eight bytes, unlike `std::time::Instant`, as tables hold many. Arithmetic saturates: a difference is never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// From nanoseconds since an arbitrary point, which differs between processes.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos(later)))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds; at most 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    Monotonic,
    Standing(Time),
}

impl Clock {
    #[inline]
    pub(crate) fn now(self) -> Time {
        match self {
            Self::Monotonic => Time(nanos(START.elapsed())),
            Self::Standing(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let (early, late) = (Time::from_nanos(5), Time::from_nanos(1_000_000_005));
        assert_eq!(late - early, Duration::from_secs(1));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(early + Duration::from_secs(1), late);
        assert_eq!((early + Duration::MAX).as_nanos(), u64::MAX);
    }

    #[test]
    fn the_clock_goes_on() {
        let before = Clock::Monotonic.now();
        std::thread::sleep(Duration::from_millis(2));
        let passed = Clock::Monotonic.now() - before;
        assert!(passed >= Duration::from_millis(2), "{passed:?}");
    }
}
