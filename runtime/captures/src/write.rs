//! Writing the pcap format: little-endian, times in nanoseconds, Ethernet.

use crate::MAX_PACKET;

/// The header of a file.
pub fn file_header() -> [u8; 24] {
    let [magic, versions, zone, accuracy, snap_length, ethernet] =
        [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, MAX_PACKET, 1].map(u32::to_le_bytes);
    let mut header = [0; 24];
    let words = [magic, versions, zone, accuracy, snap_length, ethernet];
    header.copy_from_slice(words.as_flattened());
    header
}

/// Appends one packet: when it was, in nanoseconds since 1970, the bytes that are there, and how many it had on the wire.
pub fn push_record(to: &mut Vec<u8>, time: u64, data: &[u8], wire_length: u32) {
    const SECOND: u64 = 1_000_000_000;
    let seconds = u32::try_from(time / SECOND).unwrap_or(u32::MAX);
    let length = data.len() as u32;
    let header = [seconds, (time % SECOND) as u32, length, wire_length.max(length)].map(u32::to_le_bytes);
    to.extend_from_slice(header.as_flattened());
    to.extend_from_slice(data);
}
