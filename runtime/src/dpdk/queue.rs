use std::{fmt, mem::offset_of, sync::Arc};

use dpdk_sys as sys;

use super::{HEADROOM, PacketPool, ethdev::Device};

/// Packets in one burst, at most.
pub const MAX_BURST: usize = sys::ONVM_MAX_BURST as usize;

/// Among the flags of the shim.
const HASH_VALID: u32 = 1;

/// A received packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RxDesc {
    /// Its buffer, of the pool of the port.
    pub index: u32,
    /// The flow's hash, where [`RxDesc::hash_valid`]; else 0.
    pub hash: u32,
    /// Bytes from the start of the buffer to the first of the packet.
    pub off: u16,
    /// Bytes of the packet.
    pub len: u16,
    flags: u32,
}

impl RxDesc {
    /// Whether a receiver has computed the hash. What a NIC says of it is not asked for.
    pub(crate) fn hash_valid(&self) -> bool {
        self.flags & HASH_VALID != 0
    }

    /// A packet whose flow hash is known.
    pub(crate) fn hashed(index: u32, off: u16, len: u16, hash: u32) -> Self {
        Self {
            index,
            hash,
            off,
            len,
            flags: HASH_VALID,
        }
    }

    /// As two words, from which [`Self::from_words`] makes it again.
    pub(crate) fn to_words(self) -> [u64; 2] {
        [
            u64::from(self.index) | u64::from(self.hash) << 32,
            u64::from(self.off) | u64::from(self.len) << 16 | u64::from(self.flags) << 32,
        ]
    }

    pub(crate) fn from_words([first, second]: [u64; 2]) -> Self {
        Self {
            index: first as u32,
            hash: (first >> 32) as u32,
            off: second as u16,
            len: (second >> 16) as u16,
            flags: (second >> 32) as u32,
        }
    }

    /// Whether the kernel or the NIC had taken the outer VLAN tag off. It is in the packet again, as 802.1Q (0x8100);
    /// another tag protocol number is lost on the way.
    pub fn vlan_restored(&self) -> bool {
        self.flags & sys::ONVM_RX_VLAN_RESTORED != 0
    }
}

/// A packet to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TxDesc {
    pub index: u32,
    /// Bytes from the start of the buffer to the first of the packet.
    pub off: u16,
    /// Bytes of the packet.
    pub len: u16,
}

// The shim writes and reads arrays of these.
const _: () = {
    assert!(size_of::<RxDesc>() == 16 && size_of::<RxDesc>() == size_of::<sys::onvm_rx_desc>());
    assert!(offset_of!(RxDesc, index) == offset_of!(sys::onvm_rx_desc, index));
    assert!(offset_of!(RxDesc, hash) == offset_of!(sys::onvm_rx_desc, hash));
    assert!(offset_of!(RxDesc, off) == offset_of!(sys::onvm_rx_desc, off));
    assert!(offset_of!(RxDesc, len) == offset_of!(sys::onvm_rx_desc, len));
    assert!(offset_of!(RxDesc, flags) == offset_of!(sys::onvm_rx_desc, flags));
    assert!(size_of::<TxDesc>() == 8 && size_of::<TxDesc>() == size_of::<sys::onvm_tx_desc>());
    assert!(offset_of!(TxDesc, index) == offset_of!(sys::onvm_tx_desc, index));
    assert!(offset_of!(TxDesc, off) == offset_of!(sys::onvm_tx_desc, off));
    assert!(offset_of!(TxDesc, len) == offset_of!(sys::onvm_tx_desc, len));
};

/// Room for the packets of one receive call, to be kept and used again.
#[derive(Clone)]
pub struct RxBurst {
    descs: [RxDesc; MAX_BURST],
    len: usize,
    limit: u16,
    /// Bytes of all packets since this value was made.
    pub(crate) bytes: u64,
    /// Packets dropped at receipt since this value was made: longer than a buffer has room for.
    pub oversized: u64,
    /// Packets dropped at receipt since this value was made: the driver holds packets outside the port's pool (`af_xdp`,
    /// `net_ring`), and the pool had no buffer to copy them into.
    pub foreign: u64,
    /// Packets dropped at receipt since this value was made: work that the kernel left to do on them is impossible.
    pub malformed: u64,
}

impl RxBurst {
    /// Bursts of up to `limit` packets, 1 to [`MAX_BURST`].
    pub fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, MAX_BURST) as u16;
        Self {
            descs: [RxDesc::default(); MAX_BURST],
            len: 0,
            limit,
            bytes: 0,
            oversized: 0,
            foreign: 0,
            malformed: 0,
        }
    }

    /// Packets dropped at receipt: those too long, those without a buffer, those malformed.
    pub(crate) fn gone(&self) -> [u64; 3] {
        [self.oversized, self.foreign, self.malformed]
    }

    /// Empties it, for packets that come from elsewhere than a queue.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Packets that still fit.
    pub(crate) fn left(&self) -> usize {
        usize::from(self.limit) - self.len
    }

    /// Adds a packet that was received elsewhere. It must fit.
    pub(crate) fn push_desc(&mut self, packet: RxDesc) {
        self.descs[self.len] = packet;
        self.len += 1;
        self.bytes += u64::from(packet.len);
    }

    /// Adds a packet that lies behind the headroom of a buffer which the caller holds. It must fit.
    pub(crate) fn push(&mut self, index: u32, len: u16) {
        self.push_at(index, HEADROOM, len);
    }

    /// Adds a packet that begins so many bytes behind the begin of its buffer.
    pub(crate) fn push_at(&mut self, index: u32, off: u16, len: u16) {
        self.push_desc(RxDesc {
            index,
            off,
            len,
            ..RxDesc::default()
        });
    }

    /// Adds copies of packets that the caller holds, as many as fit and find a buffer; returns how many.
    pub(crate) fn push_copies(&mut self, pool: &PacketPool, from: &[TxDesc]) -> usize {
        let wanted = from.len().min(self.left());
        let to = &mut self.descs[self.len..self.len + wanted];
        let copied = pool.copy_burst(&from[..wanted], to);
        self.bytes += to[..copied]
            .iter()
            .map(|packet| u64::from(packet.len))
            .sum::<u64>();
        self.len += copied;
        copied
    }

    /// The packets of the last receive call.
    pub fn packets(&self) -> &[RxDesc] {
        &self.descs[..self.len]
    }

    /// The same, to note their hashes.
    pub(crate) fn packets_mut(&mut self) -> &mut [RxDesc] {
        &mut self.descs[..self.len]
    }
}

/// A port's receive queue, for the one worker that polls it. Dropping it gives the queue back to the port.
pub struct RxQueue {
    pub(super) device: Arc<Device>,
    pub(super) pool: Arc<PacketPool>,
    pub(super) queue: u16,
    pub(super) _lease: Arc<()>,
}

impl RxQueue {
    /// Receives what has arrived, without waiting, and returns how many packets: none may also mean the end of a
    /// capture, or an empty pool ([`super::PortStats::rx_nombuf`] counts it with most drivers). The caller holds the
    /// buffers until it sends or frees them.
    #[inline]
    pub fn rx_burst(&mut self, burst: &mut RxBurst) -> usize {
        // SAFETY: the pool is bound and is the one that the queue was set up with; the port is started and stays so
        // while a queue is handed out; `&mut self` and the lease make this the queue's only poller; `descs` has room for
        // `limit` <= MAX_BURST descriptors of the same layout (asserted above); the counters are exclusive references.
        let n = unsafe {
            sys::onvm_rx_burst(
                self.pool.raw(),
                self.device.id,
                self.queue,
                burst.descs.as_mut_ptr().cast(),
                burst.limit,
                &mut burst.bytes,
                &mut burst.oversized,
                &mut burst.foreign,
            )
        };
        burst.len = usize::from(n).min(MAX_BURST);
        burst.len
    }

    pub fn pool(&self) -> &Arc<PacketPool> {
        &self.pool
    }

    pub fn queue(&self) -> u16 {
        self.queue
    }
}

/// The outcome of a burst to send: the first `accepted` packets are the driver's, the rest stay the caller's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    pub accepted: usize,
    /// The packet after the accepted ones can never be sent here: an index beyond the pool, bytes beyond the buffer, a
    /// length below 14 (17 on a NIC) or above the MTU and 22 bytes of headers, or a pool that the port was not configured
    /// with. The caller should drop it. When false and some are left, the queue is full.
    pub malformed: bool,
    /// The port does not take the packet after the accepted ones, but those behind it perhaps.
    pub refused_one: bool,
}

/// A port's transmit queue, for the one worker that fills it. Dropping it gives the queue back to the port.
pub struct TxQueue {
    pub(super) device: Arc<Device>,
    pub(super) queue: u16,
    pub(super) limits: sys::onvm_tx_limits,
    pub(super) _lease: Arc<()>,
}

impl TxQueue {
    /// Sends packets that the caller holds, from a pool that the port was configured with.
    #[inline]
    pub fn tx_burst(&mut self, pool: &PacketPool, packets: &[TxDesc]) -> Sent {
        let mut sent = Sent::default();
        if !self.device.uses(pool) {
            sent.malformed = !packets.is_empty();
            return sent;
        }
        for part in packets.chunks(MAX_BURST) {
            let mut malformed = 0;
            // SAFETY: the pool is bound, and the device holds it until it is closed, so its mbufs outlive their stay
            // there; the port is started and stays so while a queue is handed out; `&mut self` and the lease make this
            // the queue's only sender; `part` has the shim's layout (asserted above) and at most its limit of
            // descriptors, each of which the shim checks against the pool.
            let accepted = unsafe {
                sys::onvm_tx_burst(
                    pool.raw(),
                    self.device.id,
                    self.queue,
                    part.as_ptr().cast(),
                    part.len() as u16,
                    &self.limits,
                    &mut malformed,
                )
            };
            sent.accepted += usize::from(accepted);
            if usize::from(accepted) < part.len() {
                // The malformed packet is next only if the driver took all before it.
                let next = packets.get(sent.accepted);
                sent.malformed = malformed != 0 && next.is_some_and(|desc| !self.sendable(pool, desc));
                break;
            }
        }
        sent
    }

    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// The shim's check of a descriptor.
    fn sendable(&self, pool: &PacketPool, desc: &TxDesc) -> bool {
        pool.has(desc.index)
            && (self.limits.min_len..=self.limits.max_len).contains(&desc.len)
            && u32::from(desc.off) + u32::from(desc.len) <= pool.stride()
    }
}

impl fmt::Debug for RxBurst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxBurst")
            .field("packets", &self.packets())
            .field("oversized", &self.oversized)
            .field("foreign", &self.foreign)
            .field("malformed", &self.malformed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxQueue")
            .field("port", &self.device.name)
            .field("queue", &self.queue)
            .finish()
    }
}

impl fmt::Debug for TxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxQueue")
            .field("port", &self.device.name)
            .field("queue", &self.queue)
            .finish()
    }
}
