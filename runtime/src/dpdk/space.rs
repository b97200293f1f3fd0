//! The addresses of packet buffers. Those of several pools lie beside each other, so that a buffer's index alone says where it is
//! and which pool it belongs to: pool `n` has the indices from `n << shift` on.

use std::{
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

use dpdk_sys as sys;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::{
    DpdkError, Eal, FileMapping, PacketMemory, PacketPool, PageSize, PoolConfig, eal::Running,
    error::Attempt, pool::Registered,
};

/// `RTE_VFIO_DEFAULT_CONTAINER_FD`.
const DEFAULT_CONTAINER: i32 = -1;

/// The largest pages that a packet file is made of.
const PAGE: usize = PageSize::Mib2.bytes();

/// So many buffers of any stride, a multiple of 64, fill whole pages.
const LEAST_SPAN: u32 = (PAGE / 64) as u32;

/// Packet pools whose buffers have indices of one row, and what they are made of. It stays until the last of them has gone: a driver
/// may hold buffers of each.
pub struct PacketSpace {
    base: NonNull<u8>,
    /// Addresses of its own, which are given back; none: the memory brings them.
    reserved: Option<(NonNull<u8>, usize)>,
    stride: u32,
    shift: u32,
    /// The mbufs by buffer index; null where there is no buffer.
    mbufs: Box<[AtomicPtr<sys::rte_mbuf>]>,
    pools: Mutex<Pools>,
    _running: Arc<Running>,
}

#[derive(Default)]
struct Pools {
    bound: Vec<Bound>,
    /// Devices behind VFIO may reach the memory.
    vfio: bool,
}

/// The parts of a pool.
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) mp: *mut sys::rte_mempool,
    pub(super) memory: Arc<dyn PacketMemory>,
    vfio: bool,
}

// SAFETY: the addresses and mempools belong to the process and not to a thread; what changes is behind the lock or atomic.
unsafe impl Send for PacketSpace {}
// SAFETY: as above.
unsafe impl Sync for PacketSpace {}

impl PacketSpace {
    /// Room for so many pools of `count` buffers of `stride` bytes, a multiple of 64. Until they are added it takes addresses alone.
    pub fn reserve(eal: &Eal, stride: u32, count: u32, pools: u32) -> Result<Arc<Self>, DpdkError> {
        let failed = |reason: String| DpdkError::Mapping { reason };
        let too_many = || failed(format!("{pools} pools of {count} buffers are too many"));
        let span = count
            .checked_next_power_of_two()
            .ok_or_else(too_many)?
            .max(LEAST_SPAN);
        let indices = span.checked_mul(pools).ok_or_else(too_many)?;
        let whole = indices as usize * stride as usize + PAGE;
        // SAFETY: with a null address hint the kernel picks a free range, so no existing mapping is replaced.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                whole,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|error| failed(error.to_string()))?;
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| failed("the kernel returned address 0".to_owned()))?;
        let skipped = start.addr().get().next_multiple_of(PAGE) - start.addr().get();
        Ok(Arc::new(Self {
            // SAFETY: less than a page, of which the range has one to spare.
            base: unsafe { start.add(skipped) },
            reserved: Some((start, whole)),
            stride,
            shift: span.trailing_zeros(),
            mbufs: no_mbufs(indices),
            pools: Mutex::default(),
            _running: eal.running(),
        }))
    }

    /// Room for one pool, in memory that has its addresses already.
    pub(super) fn of(eal: &Eal, memory: &dyn PacketMemory, config: &PoolConfig) -> Arc<Self> {
        Arc::new(Self {
            base: memory.base(),
            reserved: None,
            stride: config.stride,
            shift: u32::BITS - 1,
            mbufs: no_mbufs(config.count),
            pools: Mutex::default(),
            _running: eal.running(),
        })
    }

    /// The next pool, over the first `length` bytes of `file`, which must be whole pages and stay.
    pub fn add(
        self: &Arc<Self>,
        file: BorrowedFd<'_>,
        length: usize,
        config: &PoolConfig,
    ) -> Result<Arc<PacketPool>, DpdkError> {
        let first = self.first_of(self.lock().bound.len());
        let span = (1usize << self.shift) * self.stride as usize;
        let free = (first as usize) < self.mbufs.len() && length <= span && self.reserved.is_some();
        if !free || config.stride != self.stride {
            return Err(DpdkError::Mapping {
                reason: "there is no room for another packet file".to_owned(),
            });
        }
        // SAFETY: the place is a part of the range of this space, whole pages (`LEAST_SPAN`), has no file yet, and stays mapped
        // until the space goes, which is after all that uses it.
        let memory = unsafe {
            let at = self.base.add(first as usize * self.stride as usize);
            FileMapping::put(file, length, at)?
        };
        PacketPool::within(self, Arc::new(memory), config, first)
    }

    /// Keeps the parts of a pool.
    pub(super) fn keep(&self, mut bound: Bound) -> Result<(), DpdkError> {
        let mut pools = self.lock();
        if pools.vfio {
            bound.map_for_vfio()?;
        }
        pools.bound.push(bound);
        Ok(())
    }

    /// Enters the memory of all its pools in VFIO's address space, once for all devices: they share DPDK's default container, which
    /// enters it again for devices that come later.
    pub(super) fn map_for_vfio(&self) -> Result<(), DpdkError> {
        let mut pools = self.lock();
        pools.bound.iter_mut().try_for_each(Bound::map_for_vfio)?;
        pools.vfio = true;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn shift(&self) -> u32 {
        self.shift
    }

    /// The table that the shim fills: `rte_mbuf *` by index.
    pub(super) fn mbufs(&self) -> *mut *mut sys::rte_mbuf {
        self.mbufs.as_ptr().cast_mut().cast()
    }

    /// The index of the first buffer of a pool.
    pub fn first_of(&self, pool: usize) -> u32 {
        (pool as u32) << self.shift
    }

    /// Indices, with those that have no buffer.
    pub fn indices(&self) -> u32 {
        self.mbufs.len() as u32
    }

    /// Whether there is a buffer of this index.
    pub(super) fn has(&self, index: u32) -> bool {
        let mbuf = self.mbufs.get(index as usize);
        mbuf.is_some_and(|mbuf| !mbuf.load(Ordering::Relaxed).is_null())
    }

    /// Forgets the mbufs of a pool that could not be made.
    pub(super) fn forget(&self, first: u32, count: u32) {
        let places = self.mbufs.iter().skip(first as usize).take(count as usize);
        places.for_each(|mbuf| mbuf.store(std::ptr::null_mut(), Ordering::Relaxed));
    }
}

/// So many nulls, which take no memory until they are written to.
fn no_mbufs(count: u32) -> Box<[AtomicPtr<sys::rte_mbuf>]> {
    let nulls = vec![std::ptr::null_mut::<sys::rte_mbuf>(); count as usize].into_boxed_slice();
    // SAFETY: an `AtomicPtr` has the size, alignment and values of the pointer, and the box is given over whole.
    unsafe { Box::from_raw(Box::into_raw(nulls) as *mut [AtomicPtr<sys::rte_mbuf>]) }
}

impl std::fmt::Debug for PacketSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketSpace")
            .field("indices", &self.mbufs.len())
            .field("stride", &self.stride)
            .finish_non_exhaustive()
    }
}

impl Drop for PacketSpace {
    fn drop(&mut self) {
        self.lock().bound.clear();
        if let Some((start, length)) = self.reserved {
            // SAFETY: the range that `reserve` mapped, with the files put into it; the pools were its users.
            let _ = unsafe { munmap(start.as_ptr().cast(), length) };
        }
    }
}

impl Bound {
    pub(super) fn new(
        name: &str,
        mp: *mut sys::rte_mempool,
        memory: Arc<dyn PacketMemory>,
        registered: Registered<'_>,
    ) -> Self {
        // Unregistered by the drop of the new value.
        std::mem::forget(registered);
        Self {
            name: name.to_owned(),
            mp,
            memory,
            vfio: false,
        }
    }

    fn map_for_vfio(&mut self) -> Result<(), DpdkError> {
        if self.vfio {
            return Ok(());
        }
        let attempt = Attempt::begin();
        let base = self.memory.base().as_ptr() as u64;
        // SAFETY: the memory is mapped until it is dropped, and taken out of the address space before (`drop`). IO
        // addresses are virtual ones, so this one is free.
        let code = unsafe {
            sys::rte_vfio_container_dma_map(DEFAULT_CONTAINER, base, base, self.memory.len() as u64)
        };
        if code != 0 {
            return Err(attempt.pool_error(&self.name, "mapping its memory for DMA", code));
        }
        self.vfio = true;
        Ok(())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // SAFETY: the last user has gone: ports hold the space by reference count until they are closed, and no queue can hand out
        // its mbufs any more. The memory was registered with this base and length.
        unsafe {
            if self.vfio {
                let (base, len) = (self.memory.base().as_ptr() as u64, self.memory.len() as u64);
                sys::rte_vfio_container_dma_unmap(DEFAULT_CONTAINER, base, base, len);
            }
            sys::rte_mempool_free(self.mp);
            sys::rte_extmem_unregister(self.memory.base().as_ptr().cast(), self.memory.len());
        }
    }
}
