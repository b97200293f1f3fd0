//! DPDK's log, kept in memory (32 KiB, the newest) and never written to the standard streams.
//!
//! Libraries below DPDK may still write there by themselves: libbpf, under the `af_xdp` driver, does.

use dpdk_sys as sys;

const CAPACITY: usize = 32 * 1024;

/// To be called once, before the EAL starts. False when there is no memory for a stream.
pub(super) fn capture() -> bool {
    // SAFETY: the caller runs it once per process (guarded by `Eal::init`), before rte_eal_init, so that no thread of
    // DPDK uses the log stream while it is replaced. The stream is never closed.
    unsafe { sys::onvm_log_capture() == 0 }
}

/// The number of bytes logged so far.
pub(super) fn position() -> u64 {
    // SAFETY: takes a lock inside the shim; no precondition.
    unsafe { sys::onvm_log_position() }
}

/// What was logged from `position` on; its newest 32 KiB.
pub(super) fn since(position: u64) -> String {
    let mut buffer = vec![0_u8; CAPACITY];
    // SAFETY: the buffer is valid for writes of `buffer.len()` bytes, which is the capacity passed; the shim writes no
    // more and returns how much it wrote.
    let length = unsafe { sys::onvm_log_read(position, buffer.as_mut_ptr().cast(), buffer.len()) };
    buffer.truncate(length);
    String::from_utf8_lossy(&buffer).into_owned()
}
