use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use onvm_lang::syntax::PacketProto;
use proptest::prelude::*;

use super::frame;

fn table(text: &str) -> toml::Table {
    text.parse().unwrap()
}

fn built(proto: PacketProto, fields: &str) -> Vec<u8> {
    frame(proto, &table(fields)).unwrap()
}

/// Checks every length and checksum of an IP packet with another implementation of them.
fn check(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    match (packet.net.unwrap(), packet.transport) {
        (NetSlice::Ipv4(ip), transport) => {
            let header = ip.header();
            assert_eq!(
                header.header_checksum(),
                header.to_header().calc_header_checksum()
            );
            match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    let sum = tcp.calc_checksum_ipv4(header.source(), header.destination());
                    assert_eq!(sum.unwrap(), tcp.checksum());
                }
                Some(TransportSlice::Udp(udp)) => {
                    let sum = udp.to_header().calc_checksum_ipv4_raw(
                        header.source(),
                        header.destination(),
                        udp.payload(),
                    );
                    assert_eq!(sum.unwrap(), udp.checksum());
                    assert_eq!(usize::from(udp.length()), 8 + udp.payload().len());
                }
                _ => {}
            }
        }
        (NetSlice::Ipv6(ip), transport) => {
            let header = ip.header();
            match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    let sum = tcp.calc_checksum_ipv6(header.source(), header.destination());
                    assert_eq!(sum.unwrap(), tcp.checksum());
                }
                Some(TransportSlice::Icmpv6(icmp)) => {
                    assert!(icmp.is_checksum_valid(header.source(), header.destination()));
                }
                _ => {}
            }
        }
        _ => panic!("not IP"),
    }
}

#[test]
fn every_protocol_by_default() {
    for proto in PacketProto::ALL {
        let frame = built(proto, "");
        assert_eq!(frame.len(), 60, "{proto:?}");
        if !matches!(proto, PacketProto::Ether | PacketProto::Arp) {
            check(&frame);
        }
    }
    assert_eq!(built(PacketProto::Ether, "")[12..14], [0x88, 0xb5]);
}

#[test]
fn ends_and_flags_stand_where_they_belong() {
    let frame = built(
        PacketProto::Tcp,
        "src = '10.1.2.3:4000'\ndst = '10.4.5.6:80'\nflags = ['syn', 'ack']\nttl = 3\ndscp = 46\nvlan = 20\npcp = 5",
    );
    check(&frame);
    assert_eq!(frame[12..18], [0x81, 0x00, 0xa0, 20, 0x08, 0x00]);
    assert_eq!((frame[19], frame[26]), (46 << 2, 3));
    assert_eq!(frame[30..38], [10, 1, 2, 3, 10, 4, 5, 6]);
    assert_eq!(frame[38..42], [0x0f, 0xa0, 0, 80]);
    assert_eq!(frame[51], 0x12);
}

#[test]
fn one_end_decides_the_family() {
    for (proto, fields) in [
        (PacketProto::Icmp, "dst = '2001:db8::9'"),
        (PacketProto::Udp, "src = '[2001:db8::9]:53'"),
        (PacketProto::Ip6, ""),
    ] {
        let frame = built(proto, fields);
        check(&frame);
        assert_eq!(frame[12..14], [0x86, 0xdd]);
    }
    assert_eq!(built(PacketProto::Icmp, "dst = '2001:db8::9'")[54], 128);
    assert_eq!(built(PacketProto::Icmp, "type = 3\ncode = 1")[34..36], [3, 1]);
}

#[test]
fn fragments_and_arp() {
    let frame = built(
        PacketProto::Ip,
        "proto = 17\nfragment = 1480\nmore_fragments = true",
    );
    assert_eq!(frame[20..22], [0x20, 185]);
    assert_eq!(built(PacketProto::Ip, "")[20..22], [0x40, 0]);
    let request = built(PacketProto::Arp, "dst = '10.0.0.9'");
    assert_eq!((&request[..6], &request[20..22]), (&[0xff; 6][..], &[0, 1][..]));
    assert_eq!(request[38..42], [10, 0, 0, 9]);
    assert_eq!(built(PacketProto::Arp, "op = 'reply'")[..6], [2, 0, 0, 0, 0, 2]);
}

#[test]
fn what_makes_no_packet() {
    let refused = |proto, fields: &str| frame(proto, &table(fields)).unwrap_err().field;
    assert_eq!(
        refused(PacketProto::Tcp, "src = '10.0.0.1'\ndst = '2001:db8::1'"),
        "dst"
    );
    assert_eq!(refused(PacketProto::Ip, "src = '2001:db8::1'"), "src");
    assert_eq!(refused(PacketProto::Ip6, "dst = '10.0.0.1'"), "dst");
    assert_eq!(refused(PacketProto::Arp, "dst = '2001:db8::1'"), "dst");
    assert_eq!(refused(PacketProto::Ip, "fragment = 7"), "fragment");
    assert_eq!(refused(PacketProto::Tcp, "size = 53"), "size");
    let long = format!("payload = '{}'", "x".repeat(70_000));
    assert_eq!(refused(PacketProto::Udp, &long), "payload");
    assert_eq!(refused(PacketProto::Tcp, &long), "payload");
}

#[test]
fn a_payload_is_bytes() {
    let frame = built(PacketProto::Ether, "payload = \"A\\u00FF\\u20AC\"");
    assert_eq!(frame[14..19], [b'A', 0xff, 0xe2, 0x82, 0xac]);
}

proptest! {
    #[test]
    fn every_size_is_that_size_and_valid(
        proto in prop::sample::select(vec![PacketProto::Ip, PacketProto::Icmp, PacketProto::Tcp, PacketProto::Udp]),
        v6: bool,
        size in 80_usize..2000,
        payload in "[a-z]{0,8}",
    ) {
        let dst = if v6 && proto != PacketProto::Ip { "dst = '2001:db8::9'\n" } else { "" };
        let frame = built(proto, &format!("{dst}size = {size}\npayload = '{payload}'"));
        prop_assert_eq!(frame.len(), size);
        check(&frame);
    }
}
