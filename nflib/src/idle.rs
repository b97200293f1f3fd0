//! Idling of a thread without work: spin, then yield, then sleep.

use crate::session::IdlePolicy;

/// What to do after a round without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Look again at once (the processor has been given a spin hint).
    Spun,
    /// Look again; the processor was offered to others.
    Yielded,
    /// Nothing came for long: sleep until woken.
    Sleep,
}

/// Counts rounds without work.
#[derive(Debug, Clone)]
pub struct Idle {
    policy: IdlePolicy,
    rounds: u32,
}

impl Idle {
    pub fn new(policy: IdlePolicy) -> Self {
        Self { policy, rounds: 0 }
    }

    /// Work was found.
    #[inline(always)]
    pub fn reset(&mut self) {
        self.rounds = 0;
    }

    /// No work was found in this round.
    pub fn rest(&mut self) -> Rest {
        let IdlePolicy {
            spins,
            yields,
            sleeps,
        } = self.policy;
        if self.rounds < spins || (!sleeps && yields == 0) {
            self.rounds = self.rounds.saturating_add(1);
            std::hint::spin_loop();
            Rest::Spun
        } else if !sleeps || self.rounds < spins.saturating_add(yields) {
            self.rounds = self.rounds.saturating_add(1);
            std::thread::yield_now();
            Rest::Yielded
        } else {
            Rest::Sleep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_deeper_the_longer_nothing_comes() {
        let mut idle = Idle::new(IdlePolicy {
            spins: 2,
            yields: 1,
            sleeps: true,
        });
        let rests: Vec<_> = (0..5).map(|_| idle.rest()).collect();
        assert_eq!(
            rests,
            [Rest::Spun, Rest::Spun, Rest::Yielded, Rest::Sleep, Rest::Sleep]
        );
        idle.reset();
        assert_eq!(idle.rest(), Rest::Spun);
    }

    #[test]
    fn never_sleeps_when_told_so() {
        for yields in [0, 3] {
            let mut idle = Idle::new(IdlePolicy {
                spins: 1,
                yields,
                sleeps: false,
            });
            assert!((0..100).all(|_| idle.rest() != Rest::Sleep));
        }
    }
}
