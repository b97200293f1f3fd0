use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys as sys;

use super::{
    DpdkError, HEADROOM,
    error::{Attempt, current_errno},
};

/// Ordinary mbufs, in DPDK's own memory, for the receive queue of a driver that cannot use a pool of external buffers: the
/// kernel's side of `af_xdp` writes to where the mbuf is. Its packets are copied into the packet pool at receipt.
#[derive(Debug)]
pub(super) struct PrivatePool {
    mp: *mut sys::rte_mempool,
}

// SAFETY: the mempool belongs to the process and not to a thread.
unsafe impl Send for PrivatePool {}
// SAFETY: the pointer is read only, and mempools are safe in concurrent threads.
unsafe impl Sync for PrivatePool {}

impl PrivatePool {
    /// Twice what `af_xdp` keeps in its fill ring; with 2.4 KB for each, 10 MiB of the EAL's memory for a queue, which
    /// [`onvm_bundle::ManagerConfig::dpdk_mib`] counts.
    const COUNT: u32 = 4095;
    const ROOM: u16 = 2048 + HEADROOM;

    /// Whether a driver needs one.
    pub(super) fn wanted_by(driver: &str) -> bool {
        driver == "net_af_xdp"
    }

    /// The EAL must run as long as the value lives.
    pub(super) fn new(port: &str, socket: i32) -> Result<Self, DpdkError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("onvm_private_{}\0", NUMBER.fetch_add(1, Ordering::Relaxed));
        let attempt = Attempt::begin();
        // SAFETY: the EAL runs; the name ends with a NUL and is copied.
        let mp = unsafe {
            sys::rte_pktmbuf_pool_create(name.as_ptr().cast(), Self::COUNT, 256, 0, Self::ROOM, socket)
        };
        if mp.is_null() {
            let action = "reserving 10 MiB of DPDK's memory for a receive queue";
            return Err(attempt.port_error(port, action, -current_errno()));
        }
        Ok(Self { mp })
    }

    pub(super) fn mempool(&self) -> *mut sys::rte_mempool {
        self.mp
    }
}

impl Drop for PrivatePool {
    fn drop(&mut self) {
        // SAFETY: its only user, the device, is closed before it drops its pools, and packets of it never leave the shim.
        unsafe { sys::rte_mempool_free(self.mp) }
    }
}
