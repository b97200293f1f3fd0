//! Packets for unit tests.

use nflib_testing::packet;

pub(crate) const WEB: [u8; 4] = [203, 0, 113, 9];
pub(crate) const CLIENT: [u8; 4] = [198, 51, 100, 7];

/// An IPv6 address of the documentation prefix.
pub(crate) fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[..4]).copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    address[15] = last;
    address
}

/// TCP with the ACK flag.
pub(crate) fn tcp(source: [u8; 4], to_port: u16, payload: &[u8]) -> Vec<u8> {
    packet::tcp((source, 40_000), (WEB, to_port))
        .ack(1)
        .payload(payload)
        .build()
}

pub(crate) fn syn(source: [u8; 4], to_port: u16) -> Vec<u8> {
    packet::tcp((source, 40_000), (WEB, to_port)).syn().build()
}

pub(crate) fn udp(source: [u8; 4], from_port: u16, to_port: u16, payload: &[u8]) -> Vec<u8> {
    packet::udp((source, from_port), (WEB, to_port))
        .payload(payload)
        .build()
}

pub(crate) fn udp6(last: u8, to_port: u16, payload: &[u8]) -> Vec<u8> {
    packet::udp((v6(last), 4000), (v6(0xff), to_port))
        .payload(payload)
        .build()
}

pub(crate) fn ping() -> Vec<u8> {
    packet::ping(CLIENT, WEB).payload(b"ping").build()
}

pub(crate) fn ping6() -> Vec<u8> {
    packet::ping(v6(1), v6(2)).payload(b"ping").build()
}

pub(crate) fn arp() -> Vec<u8> {
    packet::arp_request(CLIENT, WEB).build()
}

/// The same packet with an 802.1Q tag.
pub(crate) fn tagged(packet: &[u8], vlan: u16) -> Vec<u8> {
    [&packet[..12], &[0x81, 0x00], &vlan.to_be_bytes(), &packet[12..]].concat()
}

/// An IPv4 packet as a fragment that begins `offset` bytes into its datagram.
pub(crate) fn fragment(packet: &[u8], offset: u16, more: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let word = (offset / 8) | (u16::from(more) << 13);
    packet[20..22].copy_from_slice(&word.to_be_bytes());
    packet
}
