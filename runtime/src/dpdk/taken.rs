//! Pages of packet memory that are taken away.
//!
//! A file of huge pages of which a piece is cut out (`fallocate`, `MADV_REMOVE`) needs a free huge page at the next touch, and
//! where there is none that touch is a SIGBUS. The jail keeps NFs from cutting; other holders of the file are not
//! kept from it. The signal must not end the manager: it puts memory of its own in the page's place. The content of
//! the page is lost, and with it the packets there; everything else goes on.

use std::{
    ffi::{c_int, c_void},
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use nflib::memory::PacketFile;

use super::PageSize;

/// A mapping that is watched; length 0: none.
struct Watched {
    base: AtomicUsize,
    length: AtomicUsize,
    page: AtomicUsize,
}

impl Watched {
    const fn none() -> Self {
        Self {
            base: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            page: AtomicUsize::new(0),
        }
    }
}

/// The packet file of each domain is mapped twice; tests of this crate have more.
static WATCHED: [Watched; 64] = [const { Watched::none() }; 64];
static REPLACED: AtomicU64 = AtomicU64::new(0);
/// What the signal did before, for addresses outside all watched ranges.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Pages that were replaced since the process started.
pub fn pages_taken() -> u64 {
    REPLACED.load(Ordering::Relaxed)
}

/// Watches a mapping while it lives.
#[derive(Debug)]
pub(super) struct Watch {
    slot: Option<usize>,
}

impl Watch {
    /// # Safety
    /// While this lives, the range must be one mapping in whole pages of `page` bytes from `base` on, and nothing may rely on what
    /// its bytes are, since a page of it may be replaced at any time.
    pub(super) unsafe fn new(base: usize, length: usize, page: usize) -> io::Result<Self> {
        install()?;
        let free = |w: &Watched| {
            w.base
                .compare_exchange(0, base, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        let slot = WATCHED
            .iter()
            .position(free)
            .ok_or_else(|| io::Error::other("too many mappings of packet memory"))?;
        WATCHED[slot].page.store(page, Ordering::Relaxed);
        WATCHED[slot].length.store(length, Ordering::Release);
        Ok(Self { slot: Some(slot) })
    }
}

impl Watch {
    /// No page is replaced from now on.
    pub(super) fn end(&mut self) {
        if let Some(slot) = self.slot.take() {
            WATCHED[slot].length.store(0, Ordering::Release);
            WATCHED[slot].base.store(0, Ordering::Release);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// The packet file as the manager reads it, watched.
#[derive(Debug)]
pub struct WatchedPackets {
    _watch: Watch,
    _packets: Arc<PacketFile>,
}

impl WatchedPackets {
    /// `offset` and `length` are those of a file in it, made of such pages.
    pub fn new(packets: Arc<PacketFile>, offset: usize, length: usize, page: PageSize) -> io::Result<Self> {
        let mapping = packets.mapping();
        if offset.checked_add(length).is_none_or(|end| end > mapping.len()) {
            return Err(io::Error::other("the file is not in the mapping"));
        }
        let base = mapping.address().as_ptr() as usize + offset;
        // SAFETY: the mapping lives as long as this value, which drops the watch first. NFs write to it at any time, so nothing
        // relies on what its bytes are.
        let watch = unsafe { Watch::new(base, length, page.bytes()) }?;
        Ok(Self {
            _watch: watch,
            _packets: packets,
        })
    }
}

fn install() -> io::Result<()> {
    // A second caller finds it installed, or installs it again, with the same effect.
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: all zeros are a valid `sigaction`: no handler, no flags, an empty set.
    let (mut action, mut before) = unsafe { (std::mem::zeroed::<libc::sigaction>(), std::mem::zeroed()) };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = replace_page;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: both structures are valid and live through the call. The handler makes one system call, touches only atomics and
    // takes no lock, so that it may run between any two instructions.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if before.sa_sigaction != action.sa_sigaction {
        let _ = BEFORE.set(before);
    }
    Ok(())
}

extern "C" fn replace_page(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a valid `siginfo_t` to a handler with `SA_SIGINFO`, of which SIGBUS fills in the address.
    let address = unsafe { (*info).si_addr() } as usize;
    let replaced = WATCHED.iter().any(|watched| {
        let length = watched.length.load(Ordering::Acquire);
        let base = watched.base.load(Ordering::Acquire);
        let inside = length > 0 && (base..base + length).contains(&address);
        inside && put_memory(address, watched.page.load(Ordering::Relaxed).max(1))
    });
    if replaced {
        REPLACED.fetch_add(1, Ordering::Relaxed);
    } else if let Some(before) = BEFORE.get() {
        // The instruction is tried again, and the signal then does what it did before.
        // SAFETY: the structure came from the kernel; the third argument may be null.
        unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
    }
}

/// Puts a page of this process's own where `address` is.
fn put_memory(address: usize, page: usize) -> bool {
    let start = address - address % page;
    // SAFETY: the page lies in a watched mapping, and nothing relies on what it holds (see `Watch::new`).
    let got = unsafe {
        libc::mmap(
            start as *mut c_void,
            page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    got != libc::MAP_FAILED
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::*;
    use crate::dpdk::{FileMapping, PacketMemory};

    #[test]
    fn the_touch_of_a_page_that_was_taken_finds_memory() {
        const PAGE: usize = 4096;
        let file = memfd_create("pages", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 3 * PAGE as u64).unwrap();
        let mapping = FileMapping::map(file.as_fd(), 3 * PAGE).unwrap();
        let at = |page: usize| mapping.base().as_ptr().wrapping_add(page * PAGE + 100);
        // SAFETY: all addresses lie in the mapping, which lives through this test.
        unsafe {
            (0..3).for_each(|page| at(page).write_volatile(7));
            ftruncate(&file, PAGE as u64).unwrap();
            let before = pages_taken();
            assert_eq!(at(1).read_volatile(), 0, "the content is lost");
            at(2).write_volatile(9);
            assert_eq!((at(0).read_volatile(), at(2).read_volatile()), (7, 9));
            assert_eq!(pages_taken() - before, 2);
        }
    }
}
