//! [`Headers`] on random bytes, on packets with known contents, and against etherparse.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nflib::headers::{Fault, Fragment, Headers, L3, L4, Layer, TcpFlags};
use proptest::prelude::*;

pub(super) const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

pub(super) fn tcp4(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1)
        .ipv4([10, 0, 0, 1], [192, 0, 2, 7], 64)
        .tcp(40_000, 80, 1, 1000)
        .syn();
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

pub(super) fn udp6(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1)
        .ipv6(
            "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            [0xfd; 16],
            64,
        )
        .udp(53, 5353);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// Puts bytes into a packet at an offset.
pub(super) fn insert(packet: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    [&packet[..at], bytes, &packet[at..]].concat()
}

#[test]
fn reads_tcp_over_ipv4() {
    let mut packet = tcp4(b"hello");
    packet.extend([0; 7]);
    let h = Headers::parse(&packet);
    assert_eq!(h.fault, None);
    assert_eq!(
        h.l3,
        L3::Ipv4 {
            source: [10, 0, 0, 1].into(),
            destination: [192, 0, 2, 7].into()
        }
    );
    assert_eq!(
        h.l4,
        L4::Tcp {
            source_port: 40_000,
            destination_port: 80,
            flags: TcpFlags::SYN
        }
    );
    assert_eq!(h.payload(&packet), b"hello", "padding is not payload");
    assert_eq!((h.l3_offset, h.l4_offset), (14, 34));
}

#[test]
fn reads_two_vlan_tags_and_refuses_a_third() {
    let tagged = insert(&tcp4(b""), 12, &[0x88, 0xa8, 0x20, 0x07, 0x81, 0x00, 0x00, 0x2a]);
    let h = Headers::parse(&tagged);
    assert_eq!(
        (h.vlan, h.inner_vlan, h.ethertype),
        (Some(7), Some(42), Some(0x0800))
    );
    assert_eq!(h.ports(), Some((40_000, 80)));
    let h = Headers::parse(&insert(&tagged, 12, &[0x81, 0, 0, 1]));
    assert_eq!(h.fault, Some(Fault::TooDeep(Layer::Vlan)));
    assert_eq!(h.l3, L3::Other);
}

#[test]
fn a_cut_packet_names_the_layer_that_is_cut() {
    let packet = tcp4(b"hello");
    let fault = |n: usize| Headers::parse(&packet[..n]).fault;
    assert_eq!(fault(13), Some(Fault::Truncated(Layer::Ethernet)));
    assert_eq!(fault(33), Some(Fault::Truncated(Layer::Ipv4)));
    // The IP header states more than there is, which comes before the cut in the TCP header.
    assert_eq!(fault(50), Some(Fault::Truncated(Layer::Ipv4)));
    assert_eq!(Headers::parse(&packet[..58]).payload(&packet[..58]), b"hell");
    // A sound IP header with too few bytes inside.
    let mut short = packet[..50].to_vec();
    short[17] = 36;
    assert_eq!(Headers::parse(&short).fault, Some(Fault::Truncated(Layer::Tcp)));
    assert_eq!(Headers::parse(&short).l4, L4::None);
    assert_eq!(Headers::parse(&short).protocol, Some(6));
}

#[test]
fn contradictions_are_invalid() {
    let with = |at: usize, value: u8| {
        let mut packet = tcp4(b"");
        packet[at] = value;
        Headers::parse(&packet).fault
    };
    assert_eq!(with(14, 0x65), Some(Fault::Invalid(Layer::Ipv4)), "version");
    assert_eq!(
        with(14, 0x44),
        Some(Fault::Invalid(Layer::Ipv4)),
        "header length below 20"
    );
    assert_eq!(
        with(17, 19),
        Some(Fault::Invalid(Layer::Ipv4)),
        "total length below the header's"
    );
    assert_eq!(
        with(46, 0x40),
        Some(Fault::Invalid(Layer::Tcp)),
        "data offset below 20"
    );
    assert_eq!(
        with(46, 0x60),
        Some(Fault::Truncated(Layer::Tcp)),
        "data offset beyond the end"
    );
    let mut udp = udp6(b"");
    udp[14 + 40 + 5] = 7;
    assert_eq!(Headers::parse(&udp).fault, Some(Fault::Invalid(Layer::Udp)));
}

#[test]
fn a_later_fragment_has_no_ports() {
    let mut packet = tcp4(b"12345678");
    packet[20] = 0x20;
    let first = Headers::parse(&packet);
    assert_eq!(
        (first.fragment, first.ports()),
        (Fragment::First, Some((40_000, 80)))
    );
    packet[21] = 3;
    let later = Headers::parse(&packet);
    assert_eq!(
        (later.fragment, later.protocol, later.l4),
        (Fragment::Later(24), Some(6), L4::None)
    );
    assert_eq!(later.payload(&packet).len(), 28);
    assert_eq!(later.fault, None);
}

#[test]
fn walks_ipv6_extension_headers_up_to_a_bound() {
    let plain = udp6(b"x");
    let extended = |headers: &[[u8; 8]]| {
        let mut packet = insert(&plain, 54, &headers.concat());
        packet[19] += 8 * headers.len() as u8;
        packet[20] = 60;
        packet
    };
    let option = [60, 0, 1, 4, 0, 0, 0, 0];
    let last = [17, 0, 1, 4, 0, 0, 0, 0];
    let packet = extended(&[[&[option; 7][..], &[last]].concat()].concat());
    let h = Headers::parse(&packet);
    assert_eq!(
        (h.protocol, h.ports(), h.fault),
        (Some(17), Some((53, 5353)), None)
    );
    assert_eq!(h.payload(&packet), b"x");
    let h = Headers::parse(&extended(&[[&[option; 9][..], &[last]].concat()].concat()));
    assert_eq!(h.fault, Some(Fault::TooDeep(Layer::Extension)));
    // A later fragment stops the walk; two fragment headers contradict each other.
    let fragment = |next, offset: u8| [next, 0, 0, offset << 3 | 1, 0, 0, 0, 9];
    let mut packet = extended(&[fragment(17, 2)]);
    packet[20] = 44;
    assert_eq!(Headers::parse(&packet).fragment, Fragment::Later(16));
    assert_eq!(Headers::parse(&packet).l4, L4::None);
    let mut packet = extended(&[fragment(44, 0), fragment(17, 0)]);
    packet[20] = 44;
    assert_eq!(
        Headers::parse(&packet).fault,
        Some(Fault::Invalid(Layer::Extension))
    );
}

#[test]
fn reads_arp_and_leaves_802_3_alone() {
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend([0; 20]);
    assert_eq!(
        (Headers::parse(&arp).l3, Headers::parse(&arp).fault),
        (L3::Arp, None)
    );
    arp.pop();
    assert_eq!(Headers::parse(&arp).fault, Some(Fault::Truncated(Layer::Arp)));
    let llc = [&[0xff; 12][..], &[0, 3, 0x42, 0x42, 3]].concat();
    let h = Headers::parse(&llc);
    assert_eq!((h.l3, h.ethertype, h.fault), (L3::Other, Some(3), None));
}

/// A packet of random addresses, ports, tags and payload, from etherparse.
pub(super) fn generated() -> impl Strategy<Value = Vec<u8>> {
    let ports = any::<(u16, u16)>();
    (
        any::<bool>(),
        0..3u8,
        0..3u8,
        ports,
        any::<[u8; 32]>(),
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(v6, tags, transport, (sport, dport), a, payload)| {
            let link = PacketBuilder::ethernet2(MACS.0, MACS.1);
            let (source, destination) = a.split_at(16);
            let ip = |v6| {
                let (s, d) = (source.try_into().unwrap(), destination.try_into().unwrap());
                let (s4, d4) = (
                    source[..4].try_into().unwrap(),
                    destination[..4].try_into().unwrap(),
                );
                let id = |n: u16| etherparse::VlanId::try_new(n & 0xfff).unwrap();
                match (tags, v6) {
                    (0, false) => link.ipv4(s4, d4, 9),
                    (0, true) => link.ipv6(s, d, 9),
                    (1, false) => link.single_vlan(id(sport)).ipv4(s4, d4, 9),
                    (1, true) => link.single_vlan(id(sport)).ipv6(s, d, 9),
                    (_, false) => link.double_vlan(id(sport), id(dport)).ipv4(s4, d4, 9),
                    (_, true) => link.double_vlan(id(sport), id(dport)).ipv6(s, d, 9),
                }
            };
            let mut packet = Vec::new();
            match transport {
                0 => ip(v6).tcp(sport, dport, 1, 2).ack(3).write(&mut packet, &payload),
                1 => ip(v6).udp(sport, dport).write(&mut packet, &payload),
                _ if v6 => ip(v6)
                    .icmpv6_echo_request(sport, dport)
                    .write(&mut packet, &payload),
                _ => ip(v6)
                    .icmpv4_echo_request(sport, dport)
                    .write(&mut packet, &payload),
            }
            .unwrap();
            packet
        })
}

/// What etherparse and `Headers` must agree on, for a packet in which etherparse finds no error.
fn agrees(packet: &[u8]) -> Result<(), TestCaseError> {
    let Ok(theirs) = SlicedPacket::from_ethernet(packet) else {
        return Ok(());
    };
    let ours = Headers::parse(packet);
    let vlan_ids: Vec<u16> = theirs.vlan_ids().iter().map(|id| id.value()).collect();
    if vlan_ids.len() > 2 {
        return Ok(());
    }
    let our_ids: Vec<u16> = [ours.vlan, ours.inner_vlan].into_iter().flatten().collect();
    prop_assert_eq!(our_ids, vlan_ids);
    let addresses = match &theirs.net {
        Some(NetSlice::Ipv4(ip)) => Some((
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        )),
        Some(NetSlice::Ipv6(ip)) => Some((
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        )),
        _ => None,
    };
    prop_assert_eq!(ours.addresses(), addresses);
    // etherparse takes a length of zero for a jumbogram, which no frame can hold.
    if matches!(&theirs.net, Some(NetSlice::Ipv6(ip)) if ip.header().payload_length() == 0) {
        return Ok(());
    }
    match &theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            prop_assert_eq!(ours.ports(), Some((tcp.source_port(), tcp.destination_port())));
            prop_assert_eq!(ours.payload(packet), tcp.payload());
        }
        Some(TransportSlice::Udp(udp)) => {
            prop_assert_eq!(ours.ports(), Some((udp.source_port(), udp.destination_port())));
            // A length of zero, which etherparse takes for a jumbogram, is invalid here.
            if udp.length() != 0 {
                prop_assert_eq!(ours.payload(packet), udp.payload());
            }
        }
        // etherparse reads ICMPv6 in IPv4, and the reverse, as what it says it is.
        Some(TransportSlice::Icmpv4(icmp)) if matches!(ours.l3, L3::Ipv4 { .. }) => {
            prop_assert_eq!(
                ours.l4,
                L4::Icmp {
                    kind: icmp.type_u8(),
                    code: icmp.code_u8()
                }
            );
        }
        Some(TransportSlice::Icmpv6(icmp)) if matches!(ours.l3, L3::Ipv6 { .. }) => {
            prop_assert_eq!(
                ours.l4,
                L4::Icmpv6 {
                    kind: icmp.type_u8(),
                    code: icmp.code_u8()
                }
            );
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_panics_on_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let h = Headers::parse(&bytes);
        prop_assert!(h.payload(&bytes).len() <= bytes.len());
    }

    #[test]
    fn agrees_with_etherparse_on_sound_packets(packet in generated()) {
        prop_assert_eq!(Headers::parse(&packet).fault, None);
        prop_assert!(Headers::parse(&packet).l4 != L4::None);
        agrees(&packet)?;
    }

    /// Damage reaches states that random bytes do not; a cut or damaged packet must neither panic nor read otherwise than
    /// etherparse does where that finds no error.
    #[test]
    fn agrees_with_etherparse_on_damaged_packets(
        packet in generated(), at in 12..80usize, value: u8, cut in 0..300usize,
    ) {
        let mut packet = packet;
        let at = at % packet.len();
        packet[at] = value;
        packet.truncate(cut.max(1));
        let h = Headers::parse(&packet);
        prop_assert!(usize::from(h.l4_offset) <= packet.len());
        agrees(&packet)?;
    }
}
