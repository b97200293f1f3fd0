//! Keeping the drivers' libraries out of copies of this process.
//!
//! DPDK loads all of its drivers, some hundred libraries in several mappings each. The start of an NF copies the process first and
//! then gives the copy up for the NF's program: with the drivers that takes about a millisecond longer.

use std::fs;

use rustix::mm::{Advice, madvise};

/// The directory below DPDK's library directory has the version in its name, as `pmds-23.0`.
const DIRECTORY: &str = "/dpdk/pmds-";

/// Marks all mappings of drivers as not to be copied. What fails is copied as before.
pub(super) fn leave_out_of_copies() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(driver) {
        // SAFETY: the memory stays as it is here; a copy of this process does not have it. What copies do is in `jail::child`,
        // which calls into no driver; nothing else that runs there (this program and the C library, bound when they were loaded)
        // refers to one, since drivers are loaded later and found by nobody but DPDK.
        let _ = unsafe { madvise(start as *mut _, length, Advice::LinuxDontFork) };
    }
}

/// Where a line of `maps` has a driver: `START-END rw-p OFFSET DEVICE INODE PATH`, the numbers hexadecimal.
fn driver(line: &str) -> Option<(usize, usize)> {
    if !line.contains(DIRECTORY) {
        return None;
    }
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_found_and_nothing_else() {
        let line = "7f0000001000-7f0000003000 r-xp 00001000 fe:00 42   /usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_tap.so.23.0";
        assert_eq!(driver(line), Some((0x7f00_0000_1000, 0x2000)));
        let others = [
            "7f0000001000-7f0000003000 r-xp 00001000 fe:00 42   /usr/lib/x86_64-linux-gnu/libc.so.6",
            "7f0000001000-7f0000003000 rw-p 00000000 00:00 0",
        ];
        assert_eq!(others.map(driver), [None, None]);
    }
}
