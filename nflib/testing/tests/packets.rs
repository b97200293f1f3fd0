//! Built packets are what they say, and sound.

#![allow(clippy::unwrap_used)]

use etherparse::{PacketHeaders, TransportHeader};
use nflib::headers::{Fragment, Headers, L3, L4, TcpFlags};
use nflib_testing::packet::{self, DESTINATION_MAC, SOURCE_MAC};

/// The one's complement sum over all words, which is all ones where a checksum is right (RFC 1071).
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let total: u32 = words
        .map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (total >> 16) + (total & 0xffff);
    ((folded >> 16) + folded) as u16
}

/// Checks the checksums of a packet without tags and extension headers, over an even number of bytes or not.
fn is_sound(frame: &[u8]) {
    let headers = Headers::parse(frame);
    assert_eq!(headers.fault, None);
    let l4 = usize::from(headers.l4_offset);
    let datagram = &frame[l4..];
    let length = (datagram.len() as u32).to_be_bytes();
    let protocol = headers.protocol.unwrap();
    let addresses = match headers.l3 {
        L3::Ipv4 { .. } => &frame[26..34],
        _ => &frame[22..54],
    };
    if let L3::Ipv4 { .. } = headers.l3 {
        assert_eq!(sum(&[&frame[14..34]]), 0xffff, "IPv4");
    }
    let pseudo = [addresses, &length, &[0, 0, 0, protocol]].concat();
    let covered: &[u8] = if protocol == 1 { &[] } else { &pseudo };
    assert_eq!(sum(&[covered, datagram]), 0xffff, "protocol {protocol}");
}

#[test]
fn checksums_and_lengths_are_right() {
    for payload in [&b""[..], b"odd", b"even"] {
        is_sound(&packet::tcp("10.0.0.1:1", "10.0.0.2:2").payload(payload).build());
        is_sound(
            &packet::tcp("[2001:db8::1]:1", "[2001:db8::2]:2")
                .payload(payload)
                .build(),
        );
        is_sound(
            &packet::udp("10.0.0.1:1", "10.0.0.2:2")
                .payload(payload)
                .dscp(46)
                .build(),
        );
        is_sound(
            &packet::udp("[::1]:1", "[::2]:2")
                .payload(payload)
                .dscp(46)
                .build(),
        );
        is_sound(&packet::ping("10.0.0.1", "10.0.0.2").payload(payload).build());
        is_sound(&packet::ping("::1", "::2").id(7).reply().payload(payload).build());
        is_sound(
            &packet::icmp("10.0.0.1", "10.0.0.2", 3, 4)
                .rest([0, 0, 5, 220])
                .build(),
        );
        is_sound(&packet::icmp("::1", "::2", 2, 0).rest([0, 0, 5, 220]).build());
    }
}

/// The packet of the capture that `onvmc new` writes, except its identification.
#[test]
fn a_known_packet_comes_out() {
    let built = packet::tcp("198.51.100.7:40000", "203.0.113.9:80").syn().build();
    let tcp = [
        156, 64, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255, 173, 12, 0, 0,
    ];
    assert_eq!(built[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    assert_eq!(built[14..24], [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
    assert_eq!(built[34..], tcp);
}

#[test]
fn every_word_of_the_chain_shows() {
    let frame = packet::tcp(([192, 0, 2, 1], 1000), ("192.0.2.2", 2000))
        .macs([1; 6], [3; 6])
        .service_vlan(5)
        .vlan(6)
        .ttl(9)
        .dscp(10)
        .seq(11)
        .ack(12)
        .fin()
        .psh()
        .rst()
        .syn()
        .window(13)
        .payload(b"x")
        .padded()
        .build();
    let headers = Headers::parse(&frame);
    assert_eq!((&frame[..6], &frame[6..12]), (&[3; 6][..], &[1; 6][..]));
    assert_eq!((headers.vlan, headers.inner_vlan), (Some(5), Some(6)));
    assert_eq!(
        (&frame[12..14], &frame[16..18]),
        (&[0x88, 0xa8][..], &[0x81, 0x00][..])
    );
    assert_eq!((headers.ttl(&frame), headers.dscp(&frame)), (Some(9), Some(10)));
    assert_eq!(headers.payload(&frame), b"x");
    assert_eq!(frame.len(), 63);
    let all = [
        TcpFlags::ACK,
        TcpFlags::FIN,
        TcpFlags::PSH,
        TcpFlags::RST,
        TcpFlags::SYN,
    ];
    let flags = all.iter().fold(0, |sum, flag| sum | flag.0);
    assert!(matches!(headers.l4, L4::Tcp { flags: TcpFlags(f), .. } if f == flags));
    let Some(TransportHeader::Tcp(tcp)) = PacketHeaders::from_ethernet_slice(&frame).unwrap().transport
    else {
        unreachable!("it is TCP")
    };
    assert_eq!(
        (tcp.sequence_number, tcp.acknowledgment_number, tcp.window_size),
        (11, 12, 13)
    );
    assert_eq!(packet::ether(0x88b5, b"").padded().build().len(), 60);
    assert_eq!(
        packet::udp("10.0.0.1:1", "10.0.0.2:2").no_checksum().build()[40..42],
        [0, 0]
    );
    let ping: Vec<u8> = packet::ping("10.0.0.1", "10.0.0.2").id(258).sequence(772).into();
    assert_eq!(ping[38..42], [1, 2, 3, 4]);
    assert_eq!(packet::ip("::1", "::2", 89).payload(b"ospf").build()[20], 89);
}

#[test]
fn arp_asks_everybody_and_answers_one() {
    let request = packet::arp_request("10.0.0.1", "10.0.0.2").build();
    assert_eq!(request[..6], [0xff; 6]);
    assert_eq!(request[20..22], [0, 1]);
    assert_eq!(
        request[22..42],
        [&SOURCE_MAC[..], &[10, 0, 0, 1], &[0; 6], &[10, 0, 0, 2]].concat()
    );
    let reply = packet::arp_reply("10.0.0.2", "10.0.0.1").build();
    assert_eq!((&reply[..6], &reply[20..22]), (&DESTINATION_MAC[..], &[0, 2][..]));
    assert_eq!(
        reply[22..42],
        [&SOURCE_MAC[..], &[10, 0, 0, 2], &DESTINATION_MAC, &[10, 0, 0, 1]].concat()
    );
}

#[test]
fn fragments_are_the_datagram() {
    let payload: Vec<u8> = (0..100).collect();
    for (source, destination) in [("10.0.0.1:1", "10.0.0.2:2"), ("[::1]:1", "[::2]:2")] {
        let whole = packet::udp(source, destination).payload(&payload);
        let built = whole.build();
        let l4 = usize::from(Headers::parse(&built).l4_offset);
        let fragments = whole.fragments(39);
        let kinds: Vec<Fragment> = fragments.iter().map(|f| Headers::parse(f).fragment).collect();
        let later = |n: u16| Fragment::Later(32 * n);
        assert_eq!(kinds, [Fragment::First, later(1), later(2), later(3)]);
        let together: Vec<u8> = fragments
            .iter()
            .flat_map(|f| f[usize::from(Headers::parse(f).l4_offset)..].to_vec())
            .collect();
        assert_eq!(together, built[l4..]);
        assert!(fragments.iter().all(|f| Headers::parse(f).fault.is_none()));
    }
}

#[test]
#[should_panic(expected = "`10.0.0.1` is not an address with a port")]
fn an_endpoint_without_a_port_is_refused() {
    let _ = packet::tcp("10.0.0.1", "10.0.0.2:80");
}

#[test]
#[should_panic(expected = "addresses of two IP versions")]
fn two_ip_versions_are_refused() {
    let _ = packet::ping("10.0.0.1", "::1");
}
