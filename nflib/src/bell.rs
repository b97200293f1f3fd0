//! Doorbells: a futex word through which a consumer says that it sleeps, and by which a producer wakes it.
//!
//! The race that the fences close: the consumer looks into its rings, finds nothing and goes to sleep, while the
//! producer pushes and looks whether the consumer sleeps. With sequentially consistent fences between each side's store
//! and its load, at least one of them sees the other's store (Dekker's pattern): either the consumer finds the burst or
//! the producer finds the sleeper.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering, fence},
    },
    time::Duration,
};

use rustix::{
    thread::futex,
    time::{ClockId, Timespec},
};

use crate::memory::Mapping;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// One consumer's bell, in memory that both sides map.
#[derive(Debug, Clone)]
pub struct Bell {
    mapping: Arc<Mapping>,
    offset: usize,
}

impl Bell {
    pub(crate) fn new(mapping: Arc<Mapping>, offset: usize) -> Self {
        Self { mapping, offset }
    }

    fn word(&self) -> &AtomicU32 {
        self.mapping
            .u32_at(self.offset)
            .unwrap_or_else(|| unreachable!("bells lie inside the mapping"))
    }

    /// The producer's part, after a push: wakes the consumer if it said that it sleeps. A system call only then.
    #[inline(always)]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.word().load(Ordering::Relaxed) == ASLEEP {
            self.wake();
        }
    }

    /// Wakes the consumer whatever it said.
    #[cold]
    pub fn wake(&self) {
        self.word().store(AWAKE, Ordering::Release);
        // A failed wake means a bad address, which a mapped word is not; a lost one is made good by the sleep's bound.
        let _ = futex::wake(self.word(), futex::Flags::empty(), 1);
    }

    /// The consumer's part, before it looks a last time into what it consumes.
    pub fn announce_sleep(&self) {
        self.word().store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The consumer found something after all.
    pub fn stay_awake(&self) {
        self.word().store(AWAKE, Ordering::Relaxed);
    }

    /// Sleeps until woken or for `at_most`, which a peer cannot lengthen.
    pub fn sleep(&self, at_most: Duration) {
        let timeout = Timespec {
            tv_sec: at_most.as_secs() as i64,
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        // Every outcome (woken, timed out, interrupted, word already changed) means the same: look again.
        let _ = futex::wait(self.word(), futex::Flags::empty(), ASLEEP, Some(&timeout));
        self.stay_awake();
    }
}

/// Bells that the kernel can wait for at once (`FUTEX_WAITV_MAX`).
const MAX_WAITS: usize = 128;

/// The sleep of a consumer of several producers, each with a bell on which sleep was announced: until one is rung or for
/// `at_most`. Beyond 128 bells, or on a kernel before 5.16, it is the bound that ends the sleep.
pub fn sleep_on_any(bells: &[Bell], at_most: Duration) {
    let waits: Vec<_> = bells.iter().take(MAX_WAITS).map(wait_for).collect();
    let until = rustix::time::clock_gettime(ClockId::Monotonic) + timespec(at_most);
    let waited = match waits.is_empty() {
        true => Err(rustix::io::Errno::NOSYS),
        false => futex::waitv(
            &waits,
            futex::WaitvFlags::empty(),
            Some(&until),
            ClockId::Monotonic,
        ),
    };
    if waited == Err(rustix::io::Errno::NOSYS) {
        std::thread::sleep(at_most);
    }
    bells.iter().for_each(Bell::stay_awake);
}

fn wait_for(bell: &Bell) -> futex::Wait {
    let mut wait = futex::Wait::new();
    wait.val = u64::from(ASLEEP);
    wait.uaddr = futex::WaitPtr::new(bell.word().as_ptr().cast());
    wait.flags = futex::WaitFlags::SIZE_U32;
    wait
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
