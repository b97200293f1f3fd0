//! Packets for unit tests.

use etherparse::{PacketBuilder, PacketBuilderStep, VlanId};

pub(crate) const WEB: [u8; 4] = [203, 0, 113, 9];
pub(crate) const CLIENT: [u8; 4] = [198, 51, 100, 7];

fn ethernet() -> PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

/// An IPv6 address of the documentation prefix.
pub(crate) fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[..4]).copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    address[15] = last;
    address
}

/// TCP with the ACK flag.
pub(crate) fn tcp(source: [u8; 4], to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = ethernet()
        .ipv4(source, WEB, 64)
        .tcp(40_000, to_port, 1, 1024)
        .ack(1);
    builder.write(&mut packet, payload).unwrap();
    packet
}

pub(crate) fn syn(source: [u8; 4], to_port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    ethernet()
        .ipv4(source, WEB, 64)
        .tcp(40_000, to_port, 1, 1024)
        .syn()
        .write(&mut packet, &[])
        .unwrap();
    packet
}

pub(crate) fn udp(source: [u8; 4], from_port: u16, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    ethernet()
        .ipv4(source, WEB, 64)
        .udp(from_port, to_port)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

pub(crate) fn udp6(last: u8, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    ethernet()
        .ipv6(v6(last), v6(0xff), 64)
        .udp(4000, to_port)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

pub(crate) fn ping() -> Vec<u8> {
    let mut packet = Vec::new();
    ethernet()
        .ipv4(CLIENT, WEB, 64)
        .icmpv4_echo_request(7, 1)
        .write(&mut packet, b"ping")
        .unwrap();
    packet
}

pub(crate) fn ping6() -> Vec<u8> {
    let mut packet = Vec::new();
    ethernet()
        .ipv6(v6(1), v6(2), 64)
        .icmpv6_echo_request(7, 1)
        .write(&mut packet, b"ping")
        .unwrap();
    packet
}

pub(crate) fn arp() -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    packet.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    packet.extend([0; 20]);
    packet
}

/// The same packet with an 802.1Q tag.
pub(crate) fn tagged(packet: &[u8], vlan: u16) -> Vec<u8> {
    let tag = VlanId::try_new(vlan).unwrap().value().to_be_bytes();
    [&packet[..12], &[0x81, 0x00], &tag, &packet[12..]].concat()
}

/// An IPv4 packet as a fragment that begins `offset` bytes into its datagram.
pub(crate) fn fragment(packet: &[u8], offset: u16, more: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let word = (offset / 8) | (u16::from(more) << 13);
    packet[20..22].copy_from_slice(&word.to_be_bytes());
    packet
}
