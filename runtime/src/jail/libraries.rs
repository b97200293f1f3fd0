//! Keeping libraries out of copies of this process.
//!
//! DPDK loads all of its drivers and their dependencies, some two hundred libraries in several mappings each. The
//! start of an NF copies the process first and then gives the copy up for the NF's program: with the libraries that
//! takes some milliseconds longer. The code that runs in the copy ([`super::child`]) needs none of them except the C
//! library.

use std::{collections::BTreeSet, fs};

use rustix::mm::{Advice, madvise};

use super::child;

/// Marks all mappings of libraries as not to be copied, but those of libraries that the copy calls. What fails is copied as before.
pub(crate) fn leave_out_of_copies() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libraries: Vec<Library<'_>> = maps.lines().filter_map(Library::of).collect();
    for library in unneeded(&libraries, &child::called()) {
        // SAFETY: the memory stays as it is here; a copy of this process does not have it. Nothing that runs there refers to it:
        // the module `child` calls functions of the libraries that are kept alone. They were bound when the program was loaded
        // (`-z now`, which Rust links with), so that no call looks through the tables of others; they call each other within
        // their library; signals are blocked and have no handlers; and nothing is run for a `fork`, since none is called.
        let _ = unsafe { madvise(library.start as *mut _, library.length, Advice::LinuxDontFork) };
    }
}

/// One mapping of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Library<'a> {
    start: usize,
    length: usize,
    path: &'a str,
}

impl<'a> Library<'a> {
    /// Of a line of `maps`: `START-END rw-p OFFSET DEVICE INODE PATH`, the first two hexadecimal.
    fn of(line: &'a str) -> Option<Self> {
        let path = line.get(line.find('/')?..)?;
        let (_, file) = path.rsplit_once('/')?;
        if !file.ends_with(".so") && !file.contains(".so.") {
            return None;
        }
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let start = number(start)?;
        Some(Self {
            start,
            length: number(end)?.checked_sub(start)?,
            path,
        })
    }

    fn has(&self, address: usize) -> bool {
        address.checked_sub(self.start).is_some_and(|at| at < self.length)
    }
}

/// The mappings of libraries in which none of these addresses is; none at all, where some address is in no library.
fn unneeded<'a>(libraries: &'a [Library<'a>], addresses: &[usize]) -> Vec<&'a Library<'a>> {
    let holder = |address: &usize| libraries.iter().find(|l| l.has(*address)).map(|l| l.path);
    let Some(needed) = addresses.iter().map(holder).collect::<Option<BTreeSet<&str>>>() else {
        // Linked in, or in a library of an unknown name: what that needs is not known.
        return Vec::new();
    };
    libraries
        .iter()
        .filter(|l| !needed.contains(l.path) && !is_loader(l.path))
        .collect()
}

/// The dynamic loader has the variables of threads and the code that finds them.
fn is_loader(path: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(_, file)| file.starts_with("ld"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d000000000-55d000002000 r-xp 00001000 fe:00 41   /usr/bin/onvm-run
7f0000001000-7f0000003000 r-xp 00001000 fe:00 42   /usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_tap.so.23.0
7f0000003000-7f0000004000 rw-p 00003000 fe:00 42   /usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_tap.so.23.0
7f0000005000-7f0000006000 r--p 00000000 fe:00 43   /lib/x86_64-linux-gnu/libc.so.6
7f0000006000-7f0000007000 r-xp 00001000 fe:00 43   /lib/x86_64-linux-gnu/libc.so.6
7f0000008000-7f0000009000 r-xp 00000000 fe:00 44   /lib64/ld-linux-x86-64.so.2
7f000000a000-7f000000b000 rw-p 00000000 00:00 0
7f000000c000-7f000000d000 rw-s 00000000 00:01 45   /memfd:onvm-packets (deleted)
";

    fn libraries() -> Vec<Library<'static>> {
        MAPS.lines().filter_map(Library::of).collect()
    }

    #[test]
    fn what_the_copy_calls_and_what_is_no_library_is_kept() {
        let all = libraries();
        assert_eq!(all.len(), 5);
        let left_out = |called: &[usize]| -> Vec<usize> {
            unneeded(&all, called).into_iter().map(|l| l.start).collect()
        };
        assert_eq!(
            left_out(&[0x7f00_0000_6000]),
            [0x7f00_0000_1000, 0x7f00_0000_3000]
        );
        assert_eq!(
            left_out(&[0x7f00_0000_6fff, 0x7f00_0000_1000]),
            Vec::<usize>::new()
        );
    }

    #[test]
    fn everything_is_kept_where_it_is_not_known_what_is_called() {
        assert_eq!(
            unneeded(&libraries(), &[0x7f00_0000_6000, 0x55d0_0000_0010]),
            Vec::<&Library<'_>>::new()
        );
    }

    /// Else NFs start as well, and slower.
    #[test]
    fn what_is_called_lies_in_libraries_here() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let all: Vec<Library<'_>> = maps.lines().filter_map(Library::of).collect();
        let kept: Vec<&str> = all
            .iter()
            .filter(|l| !unneeded(&all, &child::called()).contains(l))
            .map(|l| l.path)
            .collect();
        assert!(kept.iter().any(|path| path.contains("libc.so")), "{kept:?}");
        assert!(kept.len() < all.len(), "{kept:?}");
    }
}
