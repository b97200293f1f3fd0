use std::{fmt::Debug, os::fd::BorrowedFd, ptr::NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{DpdkError, taken::Watch};

/// Memory that packet buffers live in, mapped readable and writable in this process.
///
/// # Safety
/// From construction to drop, `base()` must be the start of `len()` mapped, readable and writable bytes, both must
/// stay the same, and nothing may turn these bytes into Rust references: drivers and NFs write to them at any time.
/// The memory must not shrink (a `memfd` must be sealed against it), as a touch beyond the end is a SIGBUS.
pub unsafe trait PacketMemory: Debug + Send + Sync {
    fn base(&self) -> NonNull<u8>;
    /// In bytes.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A shared mapping of the first bytes of a file, as a rule a `memfd`. Unmapped on drop, unless its place is somebody else's.
#[derive(Debug)]
pub struct FileMapping {
    base: NonNull<u8>,
    len: usize,
    watch: Watch,
    placed: bool,
}

impl FileMapping {
    /// Maps `len` bytes, more than none, of `file`, which must be at least as long. Huge pages need a length of whole pages.
    pub fn map(file: BorrowedFd<'_>, len: usize) -> Result<Self, DpdkError> {
        // SAFETY: the kernel picks a free range.
        unsafe { Self::at(file, len, None) }
    }

    /// The same at an address. What is there afterwards stays when the value is dropped.
    ///
    /// # Safety
    /// The range must be the caller's own mapping, to which nothing refers, and stay mapped as long as the value lives.
    pub(super) unsafe fn put(
        file: BorrowedFd<'_>,
        len: usize,
        place: NonNull<u8>,
    ) -> Result<Self, DpdkError> {
        // SAFETY: the caller's promise.
        unsafe { Self::at(file, len, Some(place)) }
    }

    /// # Safety
    /// As for [`Self::put`], where there is a place.
    unsafe fn at(file: BorrowedFd<'_>, len: usize, place: Option<NonNull<u8>>) -> Result<Self, DpdkError> {
        let failed = |reason: String| DpdkError::Mapping { reason };
        let status = rustix::fs::fstat(file).map_err(|error| failed(error.to_string()))?;
        let (size, page) = (status.st_size, usize::try_from(status.st_blksize).unwrap_or(0));
        if len == 0 || u64::try_from(size).unwrap_or(0) < len as u64 {
            return Err(failed(format!(
                "{len} bytes were asked for of a file of {size} bytes"
            )));
        }
        let fixed = place.map_or(MapFlags::empty(), |_| MapFlags::FIXED);
        // SAFETY: with a null address hint the kernel picks a free range, so no existing mapping is replaced, and else the
        // caller's own is; the file covers the length, checked above. The bytes are never lent out as references.
        let base = unsafe {
            mmap(
                place.map_or(std::ptr::null_mut(), |place| place.as_ptr().cast()),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | fixed,
                file,
                0,
            )
        }
        .map_err(|error| failed(error.to_string()))?;
        let base =
            NonNull::new(base.cast()).ok_or_else(|| failed("the kernel returned address 0".to_owned()))?;
        // SAFETY: the mapping is of whole pages, which are as large as the file says, and its bytes are never lent out, so that
        // nobody relies on what they are. It is unmapped after the watch has ended.
        let watch = unsafe { Watch::new(base.as_ptr() as usize, len, page) }
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            base,
            len,
            watch,
            placed: place.is_some(),
        })
    }
}

// SAFETY: the mapping is created readable and writable for exactly `len` bytes, does not move, and is removed only by
// `drop` or, where that has been promised, after it; no method lends the bytes. That the file keeps its length is the duty of who passed it.
unsafe impl PacketMemory for FileMapping {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: a mapping belongs to the process and not to a thread; the value has no interior mutability.
unsafe impl Send for FileMapping {}
// SAFETY: as above; shared use only reads the address and the length.
unsafe impl Sync for FileMapping {}

impl Drop for FileMapping {
    fn drop(&mut self) {
        self.watch.end();
        if self.placed {
            return;
        }
        // SAFETY: the range is this value's own mapping, and no reference into it exists. What had the address, a
        // `PacketPool`, holds the memory by reference count and is gone.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}
