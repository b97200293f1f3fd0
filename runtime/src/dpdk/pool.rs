use std::{ffi::CString, fmt, ptr, sync::Arc};

use dpdk_sys as sys;

use super::{
    DpdkError, PacketMemory, PacketSpace, PageSize, RxDesc,
    eal::Eal,
    error::{Attempt, current_errno},
    queue::{MAX_BURST, TxDesc},
    space::Bound,
};

/// Bytes that drivers leave free before a received packet. Fixed when libdpdk was built (`RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM: u16 = onvm_bundle::HEADROOM;

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

/// Packet buffers over memory that NFs share, addressed by index: buffer `i` is at `i * stride` of the pool's [`PacketSpace`].
///
/// Any buffer of the space may be freed, sent and looked at by any of its pools; new ones are a pool's own.
///
/// Every method may be called from any thread; registered threads ([`super::Lcore`]) have a cache.
pub struct PacketPool {
    raw: sys::onvm_pool,
    name: String,
    /// Owns what `raw` points to.
    space: Arc<PacketSpace>,
}

// SAFETY: the mempool and the mbufs belong to the process and not to a thread; the table's part of this pool is not changed after
// `new`.
unsafe impl Send for PacketPool {}
// SAFETY: `raw` is read only after `new`, and of the table only indices of pools that are bound; rte_mempool operations are safe in
// concurrent threads (the ring is multi-producer, multi-consumer, and caches are per registered thread).
unsafe impl Sync for PacketPool {}

impl PacketPool {
    /// Registers the memory with DPDK and binds an mbuf to each of its buffers, from index 0 on. All buffers are free then.
    pub fn new(
        eal: &Eal,
        memory: Arc<dyn PacketMemory>,
        config: &PoolConfig,
    ) -> Result<Arc<Self>, DpdkError> {
        check(config, &*memory)?;
        let space = PacketSpace::of(eal, &*memory, config);
        Self::within(&space, memory, config, 0)
    }

    /// The same in a space, from an index on that is at the memory's first byte.
    pub(super) fn within(
        space: &Arc<PacketSpace>,
        memory: Arc<dyn PacketMemory>,
        config: &PoolConfig,
        first: u32,
    ) -> Result<Arc<Self>, DpdkError> {
        let name = check(config, &*memory)?;
        let region = Registered::register(&*memory, config)?;
        let mp = create_mempool(&name, &*memory, config)?;
        let shift = config.stride.trailing_zeros();
        let mut raw = sys::onvm_pool {
            mp,
            mbufs: space.mbufs(),
            base: space.base().as_ptr() as usize,
            inverse: inverse_of_odd(u64::from(config.stride >> shift)),
            shift,
            count: space.indices(),
            stride: config.stride,
            first,
            own: config.count,
        };
        // From here on, its drop frees the mempool and then unregisters the memory.
        let bound = Bound::new(&config.name, mp, memory.clone(), region);
        // SAFETY: `raw` describes a live mempool of `own` mbufs, and a table with so many slots from `first` on, all null; nobody
        // else has these mbufs and slots yet, so the shim may write to them.
        let outcome = match unsafe { sys::onvm_pool_bind(&mut raw) } {
            0 => space.keep(bound),
            _ => Err(DpdkError::Pool {
                pool: config.name.clone(),
                reason: "DPDK did not lay the buffers out one to a stride (unknown DPDK version?)".to_owned(),
                detail: String::new(),
            }),
        };
        if let Err(error) = outcome {
            space.forget(first, config.count);
            return Err(error);
        }
        Ok(Arc::new(Self {
            raw,
            name: config.name.clone(),
            space: space.clone(),
        }))
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

    /// Takes a buffer for each of some packets of the space and copies the packet's bytes into it, and nothing else; gives how many
    /// there were. A packet lies behind the headroom of its new buffer where there is room, and else ends where the buffer ends.
    pub(crate) fn copy_burst(&self, from: &[TxDesc], to: &mut [RxDesc]) -> usize {
        let wanted = from.len().min(to.len()).min(MAX_BURST);
        // SAFETY: the pool is bound; `from` is valid for reads and `to` for writes of `wanted` descriptors of the shim's
        // layout (asserted beside them), at most MAX_BURST of them; the shim checks each against the pool.
        let copied = unsafe {
            sys::onvm_pool_copy(
                &self.raw,
                from.as_ptr().cast(),
                to.as_mut_ptr().cast(),
                wanted as u32,
            )
        };
        (copied as usize).min(wanted)
    }

    /// Gives buffers back and returns how many: indices without a buffer are skipped. The caller must hold each;
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
        let Some((start, _)) = self.packet(index).filter(|(_, room)| packet.len() <= *room) else {
            return false;
        };
        // SAFETY: so many bytes are writable at `start` (`packet`). No reference to them exists in this process: others read packets
        // as atomics or through copies. `packet` is a reference, so it is not in there.
        unsafe { ptr::copy_nonoverlapping(packet.as_ptr(), start, packet.len()) };
        true
    }

    /// Where a packet in a buffer begins behind the headroom, and how many bytes there are from there.
    pub(crate) fn packet(&self, index: u32) -> Option<(*mut u8, usize)> {
        let begin = TxDesc {
            index,
            off: HEADROOM,
            len: 0,
        };
        self.bytes(&begin).map(|start| (start, self.room()))
    }

    /// Where a packet begins, if all of it lies in its buffer.
    pub(crate) fn bytes(&self, packet: &TxDesc) -> Option<*mut u8> {
        let end = u32::from(packet.off) + u32::from(packet.len);
        if end > self.stride() || !self.has(packet.index) {
            return None;
        }
        let at = packet.index as usize * self.stride() as usize + usize::from(packet.off);
        // SAFETY: the buffer has an mbuf, so that its bytes are mapped at the space's base (checked in `within`), and these lie in it.
        Some(unsafe { self.space.base().as_ptr().add(at) })
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

    /// Its buffers.
    #[expect(
        clippy::misnamed_getters,
        reason = "the C structure's `count` is of the slots of all pools"
    )]
    pub fn count(&self) -> u32 {
        self.raw.own
    }

    /// The index of its first buffer; the others follow.
    pub fn first(&self) -> u32 {
        self.raw.first
    }

    /// The number of the pool in its space that a buffer belongs to.
    #[inline(always)]
    pub fn number_of(&self, index: u32) -> usize {
        (index >> self.space.shift()) as usize
    }

    /// Whether there is a buffer of this index in its space.
    pub(super) fn has(&self, index: u32) -> bool {
        self.space.has(index)
    }

    /// Whether their buffers are of one space.
    #[inline]
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.space, &other.space)
    }

    /// Bytes from a buffer to the next.
    pub fn stride(&self) -> u32 {
        self.raw.stride
    }

    pub(super) fn raw(&self) -> &sys::onvm_pool {
        &self.raw
    }

    pub(super) fn map_for_vfio(&self) -> Result<(), DpdkError> {
        self.space.map_for_vfio()
    }
}

impl fmt::Debug for PacketPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketPool")
            .field("name", &self.name)
            .field("count", &self.raw.own)
            .field("stride", &self.raw.stride)
            .finish_non_exhaustive()
    }
}

/// Memory known to DPDK; unregistered on drop.
pub(super) struct Registered<'a>(&'a dyn PacketMemory);

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
