use std::{collections::HashSet, fs, os::fd::BorrowedFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Marks the file descriptors that DPDK opened during the life of this value close-on-exec. DPDK opens its memory, packet
/// sockets and VFIO devices without; a process started by the manager would inherit them.
pub(super) struct CloseOnExec {
    before: HashSet<i32>,
}

impl CloseOnExec {
    pub(super) fn begin() -> Self {
        Self {
            before: open_descriptors().into_iter().collect(),
        }
    }
}

impl Drop for CloseOnExec {
    fn drop(&mut self) {
        for number in open_descriptors()
            .into_iter()
            .filter(|number| !self.before.contains(number))
        {
            // SAFETY: borrowed for two calls that read and set a flag. If another thread closes the descriptor meanwhile
            // they fail, or mark one that it just opened, which the standard library had marked already.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            if let Ok(flags) = fcntl_getfd(descriptor) {
                let _ = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
            }
        }
    }
}

fn open_descriptors() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let mut numbers: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // The listing held a descriptor of its own, whose number is free again.
    numbers.retain(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok());
    numbers
}
