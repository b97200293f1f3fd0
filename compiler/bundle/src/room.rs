//! How much room a packet buffer has: a longer frame is dropped where it arrives.

use crate::{ManagerConfig, PortKind};

/// Bytes in front of a received packet, as libdpdk is built.
pub const HEADROOM: u16 = 128;

/// Bytes of a frame that are not counted in its MTU: Ethernet header, two VLAN tags, checksum.
const FRAME_OVERHEAD: u32 = 14 + 8 + 4;

/// Bytes at the start of a frame of the kernel's packet ring that are not the packet's: `TPACKET2_HDRLEN`, less the
/// address that the driver does not count.
const RING_FRAME_HEADER: u32 = 32;

/// Bytes of a frame in the kernel's packet ring: a power of two, with room for the largest packet and the ring's own header.
pub fn ring_frame(mtu: u16) -> u32 {
    (u32::from(mtu) + FRAME_OVERHEAD + RING_FRAME_HEADER)
        .max(2048)
        .next_power_of_two()
}

impl ManagerConfig {
    /// Bytes of a buffer behind its headroom: 2 KiB at least, what a frame of the kernel's packet ring holds where a port
    /// needs that, and an odd number of cache lines in all, so that the packets do not share cache sets.
    pub fn buffer_room(&self) -> u32 {
        let mtu = self.buffers.mtu;
        let has_ring = self
            .ports
            .iter()
            .any(|p| matches!(p.kind, PortKind::AfPacket { .. }));
        let ring = if has_ring {
            ring_frame(mtu) - RING_FRAME_HEADER
        } else {
            0
        };
        let data = (u32::from(mtu) + FRAME_OVERHEAD).max(2048).max(ring);
        let lines = (data + u32::from(HEADROOM)).div_ceil(64) | 1;
        lines * 64 - u32::from(HEADROOM)
    }
}
