//! Memory files and their mappings: the one home of shared-memory `unsafe`.
//!
//! A [`Mapping`] is handed out only as references to atomics ([`Mapping::u32_at`], [`Mapping::u64s_at`]) or, for packet
//! bytes, as slices through [`PacketFile`]. Files are sealed against shrinking before they are shared, so no peer can
//! turn an access into SIGBUS.

#![allow(unsafe_code)]

mod private;

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, SealFlags},
    mm::{Advice, MapFlags, ProtFlags},
};

pub use private::PrivateCopy;

/// Bytes of a huge page, where a file is made of them.
pub const HUGE_PAGE: usize = 2 << 20;

/// Makes a memory file of `size` bytes that cannot be shrunk, grown or, being of mode 0600, reopened under another
/// user id.
///
/// With `huge`, the file is made of 2 MiB pages and `size` is rounded up to them; fails when the host has not enough.
pub fn create_file(name: &str, size: usize, huge: bool) -> io::Result<OwnedFd> {
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut size = size.next_multiple_of(4096);
    if huge {
        flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        size = size.next_multiple_of(HUGE_PAGE);
    }
    let fd = rustix::fs::memfd_create(name, flags)?;
    rustix::fs::ftruncate(&fd, size as u64)?;
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// A second descriptor of the same file, read-only: a writable mapping through it is refused by the kernel.
pub fn reopen_read_only(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A set of one NUMA node as system calls take it; of the most nodes that Linux can have.
pub fn node_mask(node: u16) -> [u64; 16] {
    let mut mask = [0; 16];
    if let Some(word) = mask.get_mut(usize::from(node) / 64) {
        *word = 1 << (node % 64);
    }
    mask
}

/// A whole memory file, mapped until dropped.
pub struct Mapping {
    base: NonNull<u8>,
    length: usize,
    writable: bool,
}

// SAFETY: a mapping is a range of addresses, valid in every thread until `Drop`; it owns no thread-bound state.
unsafe impl Send for Mapping {}
// SAFETY: shared access hands out only references to atomics; byte access is through `PacketFile`, whose contract gives
// each buffer one owner at a time.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the file from its first byte to its last. A file that can still be shrunk by its owner is refused.
    pub fn new(fd: impl AsFd, writable: bool) -> io::Result<Self> {
        let fd = fd.as_fd();
        let length = sealed_length(fd)?;
        let protection = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing that exists; its length is the
        // file's, which the seal keeps from shrinking, so every address in it stays backed.
        let base =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, fd, 0)? };
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("the kernel mapped the memory file at address zero"))?;
        Ok(Self {
            base,
            length,
            writable,
        })
    }

    /// The file's pages come from this NUMA node as long as that has some, whoever needs them.
    pub fn prefer_node(&self, node: u16) -> io::Result<()> {
        self.prefer_node_for(0, self.length, node)
    }

    /// The same of a part: of whole pages.
    pub fn prefer_node_for(&self, offset: usize, length: usize, node: u16) -> io::Result<()> {
        /// Pages that are there already and that nobody else has mapped.
        const MOVE: libc::c_long = 1 << 1;
        let nodes = node_mask(node);
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(invalid("a part that the mapping does not have"));
        }
        // SAFETY: the range is this mapping's own, and what is set changes nothing that is in it. The call reads so many bits of
        // the array, which lives through it; it takes one more than it reads.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.base.as_ptr().add(offset),
                length,
                libc::MPOL_PREFERRED,
                nodes.as_ptr(),
                64 * nodes.len() + 1,
                MOVE,
            )
        };
        match done {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // A kernel without nodes has one.
                e if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
                e => Err(e),
            },
        }
    }

    /// Addresses for `length` bytes of several files, which [`Self::put`] puts there. Until then they are zero, and take no memory.
    pub fn reserve(length: usize) -> io::Result<Self> {
        if length == 0 {
            return Err(invalid("no addresses are asked for"));
        }
        // A range that begins with a huge page takes files of either kind.
        let whole = length
            .checked_next_multiple_of(HUGE_PAGE)
            .and_then(|whole| whole.checked_add(HUGE_PAGE))
            .ok_or_else(|| invalid("too many addresses are asked for"))?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing that exists.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), whole, ProtFlags::READ, flags)? };
        let skipped = base.addr().next_multiple_of(HUGE_PAGE) - base.addr();
        let length = whole - HUGE_PAGE;
        let start = base.cast::<u8>().wrapping_add(skipped);
        for (at, length) in [
            (base, skipped),
            (start.wrapping_add(length).cast(), HUGE_PAGE - skipped),
        ] {
            if length > 0 {
                // SAFETY: a part of the range that was just mapped, to which nothing refers.
                unsafe { rustix::mm::munmap(at, length)? };
            }
        }
        let base = NonNull::new(start)
            .ok_or_else(|| io::Error::other("the kernel mapped memory at address zero"))?;
        Ok(Self {
            base,
            length,
            writable: false,
        })
    }

    /// Maps a whole file, to be read, at `offset` of a range that [`Self::reserve`] gave: at a multiple of [`HUGE_PAGE`]. Gives the
    /// file's bytes. What was there before is not there any more: nobody may hold references to it.
    pub fn put(&self, fd: impl AsFd, offset: usize) -> io::Result<usize> {
        let fd = fd.as_fd();
        let length = sealed_length(fd)?;
        let fits = offset.is_multiple_of(HUGE_PAGE)
            && offset.checked_add(length).is_some_and(|end| end <= self.length)
            && !self.writable;
        if !fits {
            return Err(invalid("the memory file does not fit its place"));
        }
        // SAFETY: the range is a part of this mapping, whole pages of the file's size, and goes with it. Of a mapping that is not
        // writable only packets' bytes are handed out, to holders of their buffers (`PacketFile`), and no buffer of this part has
        // a holder before its file is there. The seal keeps every address backed.
        unsafe {
            let at = self.base.as_ptr().add(offset).cast();
            rustix::mm::mmap(
                at,
                length,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::FIXED,
                fd,
                0,
            )?;
        }
        Ok(length)
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The first byte's address, for handing the range to DPDK.
    pub fn address(&self) -> NonNull<u8> {
        self.base
    }

    /// The word at `offset`, or none when it is out of range, unaligned, or the mapping is read-only.
    pub fn u32_at(&self, offset: usize) -> Option<&AtomicU32> {
        let fits = offset.checked_add(4)? <= self.length && offset.is_multiple_of(4) && self.writable;
        // SAFETY: in range and aligned (the base is page-aligned); the mapping lives as long as `self`; it is writable,
        // and everybody accesses these bytes as atomics only, in this process by this module, elsewhere by theirs.
        fits.then(|| unsafe { self.base.add(offset).cast::<AtomicU32>().as_ref() })
    }

    /// `count` words from `offset`, under the conditions of [`Self::u32_at`] for 8-byte words.
    pub fn u64s_at(&self, offset: usize, count: usize) -> Option<&[AtomicU64]> {
        let end = count.checked_mul(8)?.checked_add(offset)?;
        let fits = end <= self.length && offset.is_multiple_of(8) && self.writable;
        // SAFETY: as in `u32_at`, for the whole range.
        fits.then(|| unsafe {
            std::slice::from_raw_parts(self.base.add(offset).cast::<AtomicU64>().as_ptr(), count)
        })
    }

    /// `count` pairs of words from `offset`, under the conditions of [`Self::u64s_at`].
    pub fn slots_at(&self, offset: usize, count: usize) -> Option<&[[AtomicU64; 2]]> {
        let words = self.u64s_at(offset, count.checked_mul(2)?)?;
        Some(words.as_chunks::<2>().0)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and is unmapped only here; all references to it borrow from `self`.
        // Failure would mean that the range is not mapped, which cannot be; there is nothing to do about it in a drop.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Mapping({} bytes{})",
            self.length,
            if self.writable { "" } else { ", read-only" }
        )
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Bytes of a file that its owner cannot shrink.
fn sealed_length(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let seals = rustix::fs::fcntl_get_seals(fd)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(invalid("the memory file is not sealed against shrinking"));
    }
    match usize::try_from(rustix::fs::fstat(fd)?.st_size) {
        Ok(0) | Err(_) => Err(invalid("the memory file is empty")),
        Ok(length) => Ok(length),
    }
}

/// The words of one ring, looked up once: the packet path goes to them without a check.
#[derive(Clone)]
pub struct RingWords {
    head: NonNull<AtomicU32>,
    tail: NonNull<AtomicU32>,
    slots: NonNull<[[AtomicU64; 2]]>,
    /// Keeps the words mapped.
    _mapping: Arc<Mapping>,
}

// SAFETY: the pointers are to atomics in a mapping that the value keeps alive, and `Mapping` is `Send` and `Sync`.
unsafe impl Send for RingWords {}
// SAFETY: as above; shared access is to atomics.
unsafe impl Sync for RingWords {}

impl RingWords {
    /// None when the words do not lie, aligned, in a writable mapping.
    pub fn new(mapping: Arc<Mapping>, head: usize, tail: usize, slots: usize, count: usize) -> Option<Self> {
        let head = NonNull::from(mapping.u32_at(head)?);
        let tail = NonNull::from(mapping.u32_at(tail)?);
        let slots = NonNull::from(mapping.slots_at(slots, count)?);
        Some(Self {
            head,
            tail,
            slots,
            _mapping: mapping,
        })
    }

    #[inline(always)]
    pub fn head(&self) -> &AtomicU32 {
        // SAFETY: made from a reference into the mapping, which neither moves nor goes while `self` holds it.
        unsafe { self.head.as_ref() }
    }

    #[inline(always)]
    pub fn tail(&self) -> &AtomicU32 {
        // SAFETY: as in `head`.
        unsafe { self.tail.as_ref() }
    }

    #[inline(always)]
    pub fn slots(&self) -> &[[AtomicU64; 2]] {
        // SAFETY: as in `head`.
        unsafe { self.slots.as_ref() }
    }
}

impl fmt::Debug for RingWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingWords({} slots)", self.slots.len())
    }
}

/// How a packet file is cut into buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Geometry {
    /// Index of the file's first buffer: buffers of different files have different indices.
    pub first: u32,
    pub buffers: u32,
    /// Bytes from one buffer to the next, a multiple of 64.
    pub stride: u32,
    /// Bytes at a buffer's start that received packets leave free.
    pub headroom: u32,
}

impl Geometry {
    /// Bytes that the buffers take.
    pub fn bytes(&self) -> usize {
        self.buffers as usize * self.stride as usize
    }

    /// Whether a packet of this length, so many bytes behind the begin of a buffer, lies within the buffer.
    #[inline(always)]
    pub fn fits(&self, offset: u16, length: u16) -> bool {
        u32::from(offset) + u32::from(length) <= self.stride
    }
}

/// The buffers that packets lie in: those of one security domain, or, where the manager reads them, those of all.
///
/// # Ownership
/// A buffer belongs to the holder of its descriptor, which alone touches its bytes. The manager, the NFs and the
/// devices all keep to that by passing descriptors through rings (release on push, acquire on pop). A hostile NF that
/// maps the file writable can break the *content* of others' packets in its domain, never an address or a length: those
/// come from the holder's descriptor, which is private memory by then. Decisions on its content are made on a
/// [`PrivateCopy`].
#[derive(Debug)]
pub struct PacketFile {
    mapping: Mapping,
    geometry: Geometry,
    /// Where the buffer of index 0 would be.
    origin: Origin,
}

/// An address that nothing is read from by itself.
#[derive(Debug, Clone, Copy)]
struct Origin(*mut u8);

// SAFETY: a number that is added to; what is read from the sum lies in a `Mapping`, which is `Send` and `Sync`.
unsafe impl Send for Origin {}
// SAFETY: as above.
unsafe impl Sync for Origin {}

impl PacketFile {
    /// Refuses a geometry that does not fit the mapping.
    pub fn new(mapping: Mapping, geometry: Geometry) -> io::Result<Self> {
        let sound = geometry.stride >= 64
            && geometry.stride <= 65_536
            && geometry.stride.is_multiple_of(64)
            && geometry.headroom < geometry.stride
            && geometry.bytes() <= mapping.len()
            && geometry.first.checked_add(geometry.buffers).is_some();
        match sound {
            true => Ok(Self {
                origin: Origin(
                    mapping
                        .base
                        .as_ptr()
                        .wrapping_sub(geometry.first as usize * geometry.stride as usize),
                ),
                mapping,
                geometry,
            }),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{geometry:?} does not fit a packet file of {} bytes",
                    mapping.len()
                ),
            )),
        }
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub fn is_writable(&self) -> bool {
        self.mapping.writable
    }

    /// Whether the bytes lie within one buffer of the file.
    #[inline(always)]
    pub fn contains(&self, buffer: u32, offset: u16, length: u16) -> bool {
        buffer.wrapping_sub(self.geometry.first) < self.geometry.buffers && self.geometry.fits(offset, length)
    }

    /// Where a byte of a buffer is. It lies in the mapping if [`Self::contains`] says so.
    #[inline(always)]
    fn address(&self, buffer: u32, offset: usize) -> *mut u8 {
        let at = buffer as usize * self.geometry.stride as usize + offset;
        self.origin.0.wrapping_add(at)
    }

    /// The bytes of a packet that the caller owns (see the type's contract); empty when they lie outside the buffer.
    #[inline(always)]
    pub fn bytes(&self, buffer: u32, offset: u16, length: u16) -> &[u8] {
        if !self.contains(buffer, offset, length) {
            return &[];
        }
        let at = self.address(buffer, offset.into());
        // SAFETY: `contains` and `new` put the range inside the mapping, which lives as long as `self`; the caller holds
        // the descriptor, so by the ownership contract nobody writes these bytes meanwhile.
        unsafe { std::slice::from_raw_parts(at, length as usize) }
    }

    /// As [`Self::bytes`], for writing; none when the file is mapped read-only.
    ///
    /// # Safety
    /// The caller holds the buffer's descriptor and lets no other reference to the buffer's bytes live meanwhile.
    #[inline(always)]
    #[allow(
        clippy::mut_from_ref,
        reason = "exclusiveness comes from holding the descriptor, not from the borrow"
    )]
    pub unsafe fn bytes_mut(&self, buffer: u32, offset: u16, length: u16) -> Option<&mut [u8]> {
        if !self.mapping.writable || !self.contains(buffer, offset, length) {
            return None;
        }
        let at = self.address(buffer, offset.into());
        // SAFETY: in range as above; the mapping is writable; the caller promises to be alone with these bytes.
        Some(unsafe { std::slice::from_raw_parts_mut(at, length as usize) })
    }

    /// Asks the processor to fetch the first line of a packet. What lies nowhere is not fetched.
    #[inline(always)]
    pub fn prefetch(&self, buffer: u32, offset: u16) {
        prefetch_at(self.address(buffer, offset.into()));
    }
}

/// Asks the processor to fetch the line that a value begins in. Where there is no such instruction, nothing happens.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    prefetch_at(std::ptr::from_ref(value).cast());
}

#[inline(always)]
fn prefetch_at(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing that the program sees and faults on no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The same for a line that is about to be written, which the processor then takes from others' caches at once. Where there is no such
/// instruction, nothing happens.
#[inline(always)]
pub fn prefetch_to_write<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`; the instruction changes no memory, and processors without it do nothing in its place.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) std::ptr::from_ref(value), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks the kernel for huge pages under a large table that is looked at in any order: in ordinary ones, most looks cost a walk
/// through the page tables, for which a prefetch waits, too. Where there are none, nothing happens.
pub fn prefer_huge_pages(table: &[u64]) {
    let bytes = table.as_ptr_range();
    let (first, last) = (bytes.start as usize, bytes.end as usize);
    let skip = first.next_multiple_of(HUGE_PAGE) - first;
    let length = (last / HUGE_PAGE * HUGE_PAGE).saturating_sub(first + skip);
    if length == 0 {
        return;
    }
    // SAFETY: the whole pages between `first + skip` and so many bytes on belong to `table` alone. Their contents stay what they
    // are; the advice says how the kernel is to keep them.
    let _ = unsafe {
        let start = table.as_ptr().cast::<u8>().add(skip).cast_mut().cast();
        rustix::mm::madvise(start, length, Advice::LinuxHugepage)
    };
}
