//! How much room a packet buffer has: a longer frame is dropped where it arrives.

use crate::ManagerConfig;

/// Bytes in front of a received packet, as libdpdk is built.
pub const HEADROOM: u16 = 128;

/// Bytes of a frame that are not counted in its MTU: Ethernet header, two VLAN tags, checksum.
const FRAME_OVERHEAD: u32 = 14 + 8 + 4;

impl ManagerConfig {
    /// Bytes of a buffer behind its headroom: 2 KiB at least, and an odd number of cache lines in all, so that the packets do not
    /// share cache sets.
    pub fn buffer_room(&self) -> u32 {
        let data = (u32::from(self.buffers.mtu) + FRAME_OVERHEAD).max(2048);
        let lines = (data + u32::from(HEADROOM)).div_ceil(64) | 1;
        lines * 64 - u32::from(HEADROOM)
    }
}
