use std::{
    ffi::CString,
    fmt, ptr,
    sync::{Arc, OnceLock},
};

use dpdk_sys as sys;

use super::{
    DpdkError, PacketMemory, PageSize,
    eal::{Eal, Running},
    error::{Attempt, current_errno},
    queue::MAX_BURST,
};

/// Bytes that drivers leave free before a received packet. Fixed when libdpdk was built (`RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM: u16 = onvm_bundle::HEADROOM;

/// `RTE_VFIO_DEFAULT_CONTAINER_FD`.
const DEFAULT_CONTAINER: i32 = -1;

/// The shape of a pool.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Up to 24 bytes, unique in the process.
    pub name: String,
    /// Bytes of a buffer, headroom included: a multiple of 64 from 256 to 65472. A frame longer than `stride - headroom`
    /// does not fit and is dropped at receipt.
    pub stride: u32,
    /// Buffers: `count * stride` must not exceed the memory.
    pub count: u32,
    /// Must be [`HEADROOM`]; a parameter so that a layout with another one is refused and not misread.
    pub headroom: u16,
    /// The pages that the memory is made of. Base and length must be multiples of it.
    pub page_size: PageSize,
    /// Buffers that each registered thread may cache, at most 512; lowered to what the pool's size allows. A cache
    /// takes up to 1.5 times as many out of the reach of other threads. 256 is a good number.
    pub cache: u32,
}

/// Packet buffers over memory that NFs share, addressed by index: buffer `i` is at `i * stride`.
///
/// Every method may be called from any thread; registered threads ([`super::Lcore`]) have a cache.
pub struct PacketPool {
    raw: sys::onvm_pool,
    name: String,
    /// The mbufs by buffer index; `raw.mbufs` points here.
    _table: Box<[*mut sys::rte_mbuf]>,
    memory: Arc<dyn PacketMemory>,
    /// Set once devices behind VFIO may reach the memory.
    vfio: OnceLock<()>,
    _running: Arc<Running>,
}

// SAFETY: the mempool and the mbufs belong to the process and not to a thread; the table is not changed after `new`.
unsafe impl Send for PacketPool {}
// SAFETY: `raw` and the table are read only after `new`; rte_mempool operations are safe in concurrent threads (the
// ring is multi-producer, multi-consumer, and caches are per registered thread).
unsafe impl Sync for PacketPool {}

impl PacketPool {
    /// Registers the memory with DPDK and binds an mbuf to each of its buffers. All buffers are free then.
    pub fn new(
        eal: &Eal,
        memory: Arc<dyn PacketMemory>,
        config: &PoolConfig,
    ) -> Result<Arc<Self>, DpdkError> {
        let name = check(config, &*memory)?;
        let region = Registered::register(&*memory, config)?;
        let mp = create_mempool(&name, &*memory, config)?;
        let mut table = vec![ptr::null_mut(); config.count as usize].into_boxed_slice();
        let shift = config.stride.trailing_zeros();
        let raw = sys::onvm_pool {
            mp,
            mbufs: table.as_mut_ptr(),
            base: memory.base().as_ptr() as usize,
            inverse: inverse_of_odd(u64::from(config.stride >> shift)),
            shift,
            count: config.count,
            stride: config.stride,
        };
        // From here on, drop frees the mempool and then unregisters the memory.
        std::mem::forget(region);
        let mut pool = Self {
            raw,
            name: config.name.clone(),
            _table: table,
            memory,
            vfio: OnceLock::new(),
            _running: eal.running(),
        };
        // SAFETY: `raw` describes a live mempool of `count` mbufs and a table of `count` slots, all null; nobody else has
        // the pool yet, so the shim may write to mbufs and table.
        if unsafe { sys::onvm_pool_bind(&mut pool.raw) } != 0 {
            let reason =
                "DPDK did not lay the buffers out one to a stride (unknown DPDK version?)".to_owned();
            return Err(DpdkError::Pool {
                pool: pool.name.clone(),
                reason,
                detail: String::new(),
            });
        }
        Ok(Arc::new(pool))
    }

    /// Takes up to `out.len()` free buffers and returns how many there were; their indices are in `out` from its start.
    pub fn alloc_burst(&self, out: &mut [u32]) -> usize {
        let mut taken = 0;
        for part in out.chunks_mut(MAX_BURST) {
            // SAFETY: `raw` is a bound pool; `part` is valid for writes of its length, which is at most the shim's
            // limit, and the shim writes no more than that.
            let got = unsafe { sys::onvm_pool_alloc(&self.raw, part.as_mut_ptr(), part.len() as u32) };
            taken += got as usize;
            if (got as usize) < part.len() {
                break;
            }
        }
        taken
    }

    /// Gives buffers back and returns how many: indices beyond the pool's end are skipped. The caller must hold each;
    /// a buffer given back twice gets two owners.
    pub fn free_burst(&self, indices: &[u32]) -> usize {
        let free = |part: &[u32]| {
            // SAFETY: `raw` is a bound pool; `part` is valid for reads of its length, which is at most the shim's
            // limit; the shim checks each index against the table's length.
            unsafe { sys::onvm_pool_free(&self.raw, part.as_ptr(), part.len() as u32) as usize }
        };
        indices.chunks(MAX_BURST).map(free).sum()
    }

    /// Writes a packet behind the headroom of a buffer that the caller holds; false when it does not fit.
    pub fn fill(&self, index: u32, packet: &[u8]) -> bool {
        if index >= self.count() || packet.len() > self.room() {
            return false;
        }
        let at = index as usize * self.stride() as usize + usize::from(HEADROOM);
        // SAFETY: `count * stride` bytes are mapped and writable at the memory's base (checked in `new`), and these lie in one
        // buffer. No reference to them exists in this process: others read packets as atomics or through copies. `packet` is a
        // reference, so it is not in there.
        unsafe {
            let to = self.memory.base().as_ptr().add(at);
            ptr::copy_nonoverlapping(packet.as_ptr(), to, packet.len());
        }
        true
    }

    /// Bytes of the longest packet that a buffer holds behind its headroom.
    pub fn room(&self) -> usize {
        (self.stride() - u32::from(HEADROOM)) as usize
    }

    /// Buffers that are not free: held by workers, NFs and drivers. Exact when no thread allocates or frees.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the mempool lives as long as `self`.
        unsafe { sys::rte_mempool_in_use_count(self.raw.mp) }
    }

    /// Free buffers, those in threads' caches included. Exact when no thread allocates or frees.
    pub fn available(&self) -> u32 {
        // SAFETY: the mempool lives as long as `self`.
        unsafe { sys::rte_mempool_avail_count(self.raw.mp) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Buffers in all.
    pub fn count(&self) -> u32 {
        self.raw.count
    }

    /// Bytes from a buffer to the next.
    pub fn stride(&self) -> u32 {
        self.raw.stride
    }

    pub(super) fn raw(&self) -> &sys::onvm_pool {
        &self.raw
    }

    /// Enters the memory in VFIO's address space, once for all devices: they share DPDK's default container, which
    /// enters it again for devices that come later.
    pub(super) fn map_for_vfio(&self) -> Result<(), DpdkError> {
        if self.vfio.get().is_some() {
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
        let _ = self.vfio.set(());
        Ok(())
    }
}

impl fmt::Debug for PacketPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketPool")
            .field("name", &self.name)
            .field("count", &self.raw.count)
            .field("stride", &self.raw.stride)
            .finish_non_exhaustive()
    }
}

impl Drop for PacketPool {
    fn drop(&mut self) {
        // SAFETY: this is the last user: ports hold the pool by reference count until they are closed, and no queue can
        // hand out its mbufs any more. The memory was registered in `new` with this base and length.
        unsafe {
            if self.vfio.get().is_some() {
                let (base, len) = (self.memory.base().as_ptr() as u64, self.memory.len() as u64);
                sys::rte_vfio_container_dma_unmap(DEFAULT_CONTAINER, base, base, len);
            }
            sys::rte_mempool_free(self.raw.mp);
            sys::rte_extmem_unregister(self.memory.base().as_ptr().cast(), self.memory.len());
        }
    }
}

/// Memory known to DPDK; unregistered on drop.
struct Registered<'a>(&'a dyn PacketMemory);

impl<'a> Registered<'a> {
    fn register(memory: &'a dyn PacketMemory, config: &PoolConfig) -> Result<Self, DpdkError> {
        let attempt = Attempt::begin();
        let page = config.page_size.bytes();
        // SAFETY: `PacketMemory` promises `len` mapped bytes at `base` until it is dropped, which is after it is
        // unregistered. Without a table of IO addresses these are virtual, the mode that the EAL is started in.
        let code = unsafe {
            sys::rte_extmem_register(
                memory.base().as_ptr().cast(),
                memory.len(),
                ptr::null_mut(),
                0,
                page,
            )
        };
        if code == 0 {
            Ok(Self(memory))
        } else {
            Err(attempt.pool_error(&config.name, "registering its memory with DPDK", code))
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        // SAFETY: registered in `register` with this base and length, and no pool uses it.
        unsafe { sys::rte_extmem_unregister(self.0.base().as_ptr().cast(), self.0.len()) };
    }
}

fn check(config: &PoolConfig, memory: &dyn PacketMemory) -> Result<CString, DpdkError> {
    let refuse = |reason: String| {
        Err(DpdkError::Pool {
            pool: config.name.clone(),
            reason,
            detail: String::new(),
        })
    };
    let page = config.page_size.bytes();
    // SAFETY: a constant of the shim, initialised at load time and never written.
    let built_headroom = unsafe { sys::ONVM_HEADROOM };
    if config.headroom != HEADROOM || built_headroom != HEADROOM {
        return refuse(format!(
            "a headroom of {} bytes was asked for; this libdpdk leaves {built_headroom}, this program knows {HEADROOM}",
            config.headroom
        ));
    }
    if !config.stride.is_multiple_of(64) || !(256..=65472).contains(&config.stride) {
        return refuse(format!(
            "stride {}: must be a multiple of 64 from 256 to 65472",
            config.stride
        ));
    }
    let needed = config.count as usize * config.stride as usize;
    if config.count == 0 || needed > memory.len() {
        return refuse(format!(
            "{} buffers do not fit {} bytes of memory",
            config.count,
            memory.len()
        ));
    }
    if !memory.len().is_multiple_of(page) || !(memory.base().as_ptr() as usize).is_multiple_of(page) {
        return refuse(format!(
            "its memory does not begin and end at a page border of {page} bytes"
        ));
    }
    match CString::new(config.name.as_str()) {
        Ok(name) if (1..=24).contains(&config.name.len()) => Ok(name),
        _ => refuse("a name must have 1 to 24 bytes, none of them 0".to_owned()),
    }
}

fn create_mempool(
    name: &CString,
    memory: &dyn PacketMemory,
    config: &PoolConfig,
) -> Result<*mut sys::rte_mempool, DpdkError> {
    const ANY_SOCKET: i32 = -1;
    let attempt = Attempt::begin();
    let base = memory.base().as_ptr();
    let external = sys::rte_pktmbuf_extmem {
        buf_ptr: base.cast(),
        buf_iova: base as u64,
        buf_len: config.count as usize * config.stride as usize,
        elt_size: config.stride as u16,
    };
    // DPDK demands 1.5 times the cache to be no more than the pool, and at most 512.
    let cache = config.cache.min(512).min(config.count / 3 * 2);
    // Reusing the buffer that was freed last keeps the mbufs in use few, so that they stay in the core's cache.
    // SAFETY: the EAL runs (the caller borrows it), so the table of handlers and the place for the choice exist.
    unsafe { sys::onvm_prefer_lifo_pools() };
    // SAFETY: the name is NUL-terminated and copied; `external` describes registered memory (checked to hold `count`
    // strides) and is read during the call only; stride fits 16 bits (checked).
    let mp = unsafe {
        sys::rte_pktmbuf_pool_create_extbuf(
            name.as_ptr(),
            config.count,
            cache,
            0,
            config.stride as u16,
            ANY_SOCKET,
            &external,
            1,
        )
    };
    if mp.is_null() {
        return Err(attempt.pool_error(&config.name, "creating its mbufs", -current_errno()));
    }
    Ok(mp)
}

/// `x` with `odd * x = 1` modulo 2^64: Newton's iteration doubles the correct bits, from 3 at the start to 96.
fn inverse_of_odd(odd: u64) -> u64 {
    (0..5).fold(odd, |x, _| {
        x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)))
    })
}

#[cfg(test)]
mod tests {
    use super::inverse_of_odd;

    #[test]
    fn the_inverse_divides_exact_multiples() {
        for odd in (1..1023).step_by(2) {
            for quotient in [0, 1, 7, 1 << 20, u64::from(u32::MAX)] {
                assert_eq!(
                    (quotient * odd).wrapping_mul(inverse_of_odd(odd)),
                    quotient,
                    "by {odd}"
                );
            }
        }
    }
}
