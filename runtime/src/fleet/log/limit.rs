//! Limits on log lines caused by others.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);
/// A peer that causes more than is logged is listened to again only after a pause, so that it does not keep the
/// control thread busy.
pub(crate) const WHEN_FLOODED: Duration = Duration::from_millis(10);

/// Lets so many pass in each window, and counts the others.
#[derive(Debug)]
pub(crate) struct Limit {
    most: u32,
    window: Instant,
    passed: u32,
    left_out: u64,
}

impl Limit {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            window: Instant::now(),
            passed: 0,
            left_out: 0,
        }
    }

    /// Whether one more may pass. `report` is given the number of those left out in a window that is over.
    pub(crate) fn pass(&mut self, report: impl FnOnce(u64)) -> bool {
        if self.window.elapsed() >= WINDOW {
            self.close(report);
        }
        let passes = self.passed < self.most;
        self.passed += u32::from(passes);
        self.left_out += u64::from(!passes);
        passes
    }

    /// Ends the window.
    pub(crate) fn close(&mut self, report: impl FnOnce(u64)) {
        if self.left_out > 0 {
            report(self.left_out);
        }
        *self = Self::new(self.most);
    }

    /// Some were left out in this window.
    pub(crate) fn is_over(&self) -> bool {
        self.left_out > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_and_the_others_are_counted() {
        let mut limit = Limit::new(3);
        let mut reported = Vec::new();
        let passed = (0..10).filter(|_| limit.pass(|n| reported.push(n))).count();
        assert_eq!((passed, limit.is_over()), (3, true));
        assert_eq!(reported, [0_u64; 0], "the window is not over");
        limit.window -= WINDOW;
        assert!(limit.pass(|n| reported.push(n)));
        limit.close(|n| reported.push(n));
        assert_eq!(reported, [7], "once, and nothing where none was left out");
    }
}
