use std::{marker::PhantomData, sync::Arc};

use dpdk_sys as sys;

use super::{
    DpdkError,
    eal::{Eal, Running},
    error::{Attempt, current_errno, reason},
};

/// This thread's registration with DPDK, which gives it its own cache of every packet pool. Without one, receiving,
/// sending, allocating and freeing still work, but each burst goes to the pool's shared ring.
///
/// DPDK serves 128 registered threads. On drop, the caches are given back and the thread is unregistered; the value cannot
/// leave its thread.
#[derive(Debug)]
pub struct Lcore {
    id: u32,
    registered_here: bool,
    _running: Arc<Running>,
    _this_thread: PhantomData<*const ()>,
}

impl Lcore {
    /// Registers the calling thread. The thread that started the EAL is registered from the start, and stays so.
    pub fn register(eal: &Eal) -> Result<Self, DpdkError> {
        let attempt = Attempt::begin();
        let known = lcore_id().is_some();
        // SAFETY: the EAL runs, as `eal` is borrowed, and this thread has no lcore id yet.
        if !known && unsafe { sys::rte_thread_register() } != 0 {
            return Err(DpdkError::Thread {
                reason: reason(-current_errno()),
                detail: attempt.detail(),
            });
        }
        Ok(Self {
            id: lcore_id().unwrap_or(0),
            registered_here: !known,
            _running: eal.running(),
            _this_thread: PhantomData,
        })
    }

    /// DPDK's number of this thread.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Lcore {
    fn drop(&mut self) {
        if self.registered_here {
            // SAFETY: the value cannot leave its thread, so this is the thread that `register` registered; the EAL
            // still runs, as `_running` is dropped after this.
            unsafe { sys::onvm_lcore_release() }
        }
    }
}

fn lcore_id() -> Option<u32> {
    // SAFETY: reads a thread-local number; no precondition.
    u32::try_from(unsafe { sys::onvm_lcore_id() }).ok()
}
