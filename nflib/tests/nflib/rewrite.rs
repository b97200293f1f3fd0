//! [`HeadersMut`] against etherparse, which computes each checksum from all bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpFragOffset, Ipv4Header, NetHeaders, PacketBuilder, PacketHeaders, TransportHeader, UdpHeader,
};
use nflib::headers::{Headers, HeadersMut, L3, L4, WriteError, checksum};
use proptest::prelude::*;

use super::headers::{MACS, generated, insert, tcp4, udp6};

/// Where the headers of an untagged packet begin.
const L3: usize = 14;
const L4_OF_V4: usize = 34;
const L4_OF_V6: usize = 54;

/// One field and its new value.
#[derive(Debug, Clone, Copy)]
enum Write {
    DestinationMac([u8; 6]),
    SourceMac([u8; 6]),
    Vlan(u16),
    InnerVlan(u16),
    Source(IpAddr),
    Destination(IpAddr),
    Ttl(u8),
    Dscp(u8),
    SourcePort(u16),
    DestinationPort(u16),
    IcmpId(u16),
}

impl Write {
    fn apply(self, headers: &mut HeadersMut<'_>) -> Result<(), WriteError> {
        match self {
            Self::DestinationMac(mac) => headers.set_destination_mac(mac),
            Self::SourceMac(mac) => headers.set_source_mac(mac),
            Self::Vlan(id) => headers.set_vlan(id),
            Self::InnerVlan(id) => headers.set_inner_vlan(id),
            Self::Source(address) => headers.set_source(address),
            Self::Destination(address) => headers.set_destination(address),
            Self::Ttl(ttl) => headers.set_ttl(ttl),
            Self::Dscp(dscp) => headers.set_dscp(dscp),
            Self::SourcePort(port) => headers.set_source_port(port),
            Self::DestinationPort(port) => headers.set_destination_port(port),
            Self::IcmpId(id) => headers.set_icmp_id(id),
        }
    }

    /// Whether a packet has the value in the field.
    fn reads_back(self, frame: &[u8]) -> bool {
        let h = Headers::parse(frame);
        match self {
            Self::DestinationMac(mac) => frame[..6] == mac,
            Self::SourceMac(mac) => frame[6..12] == mac,
            Self::Vlan(id) => h.vlan == Some(id),
            Self::InnerVlan(id) => h.inner_vlan == Some(id),
            Self::Source(address) => h.addresses().unwrap().0 == address,
            Self::Destination(address) => h.addresses().unwrap().1 == address,
            Self::Ttl(ttl) => h.ttl(frame) == Some(ttl),
            Self::Dscp(dscp) => h.dscp(frame) == Some(dscp),
            Self::SourcePort(port) => h.ports().unwrap().0 == port,
            Self::DestinationPort(port) => h.ports().unwrap().1 == port,
            Self::IcmpId(id) => h.icmp_id(frame) == Some(id),
        }
    }
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        any::<[u8; 6]>().prop_map(Write::DestinationMac),
        any::<[u8; 6]>().prop_map(Write::SourceMac),
        (0..0x1100_u16).prop_map(Write::Vlan),
        (0..0x1100_u16).prop_map(Write::InnerVlan),
        any::<IpAddr>().prop_map(Write::Source),
        any::<IpAddr>().prop_map(Write::Destination),
        any::<u8>().prop_map(Write::Ttl),
        (0..70_u8).prop_map(Write::Dscp),
        any::<u16>().prop_map(Write::SourcePort),
        any::<u16>().prop_map(Write::DestinationPort),
        any::<u16>().prop_map(Write::IcmpId),
    ]
}

/// A checksum in a packet, and the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    stored: u16,
    right: u16,
}

impl Sum {
    fn is_right(self) -> bool {
        self.stored == self.right
    }

    /// How wrong it is: what one's complement arithmetic makes of the difference.
    fn fault(self) -> u32 {
        (u32::from(self.stored) + 0xffff - u32::from(self.right)) % 0xffff
    }
}

/// The checksums of IP and of the transport layer; none where etherparse finds an error, and where there is none.
fn sums(frame: &[u8]) -> (Option<Sum>, Option<Sum>) {
    let Ok(packet) = PacketHeaders::from_ethernet_slice(frame) else {
        return (None, None);
    };
    let ip = match &packet.net {
        Some(NetHeaders::Ipv4(ip, _)) => Some(Sum {
            stored: ip.header_checksum,
            right: ip.calc_header_checksum(),
        }),
        _ => None,
    };
    let stored = packet.transport.as_ref().and_then(transport_sum);
    let mut transport = packet.transport.clone();
    let payload = packet.payload.slice();
    match (&mut transport, &packet.net) {
        (Some(transport), Some(NetHeaders::Ipv4(ip, _))) => {
            transport.update_checksum_ipv4(ip, payload).ok();
        }
        (Some(transport), Some(NetHeaders::Ipv6(ip, _))) => {
            transport.update_checksum_ipv6(ip, payload).ok();
        }
        _ => return (ip, None),
    }
    let right = transport.as_ref().and_then(transport_sum);
    let sum = stored.zip(right).map(|(stored, right)| Sum { stored, right });
    let none = matches!(
        packet.transport,
        Some(TransportHeader::Udp(UdpHeader { checksum: 0, .. }))
    );
    (ip, sum.filter(|_| !none))
}

fn transport_sum(transport: &TransportHeader) -> Option<u16> {
    match transport {
        TransportHeader::Tcp(h) => Some(h.checksum),
        TransportHeader::Udp(h) => Some(h.checksum),
        TransportHeader::Icmpv4(h) => Some(h.checksum),
        TransportHeader::Icmpv6(h) => Some(h.checksum),
        TransportHeader::Igmp(_) => None,
    }
}

fn all_right(frame: &[u8]) -> Result<(), TestCaseError> {
    let (ip, transport) = sums(frame);
    prop_assert!(ip.is_none_or(Sum::is_right), "IPv4: {ip:?}");
    prop_assert!(transport.is_none_or(Sum::is_right), "transport: {transport:?}");
    Ok(())
}

/// Applies writes one by one; what was not written must leave no trace.
fn apply(frame: &mut [u8], writes: &[Write]) -> Result<(), TestCaseError> {
    let headers = Headers::parse(frame);
    for write in writes {
        let before = frame.to_vec();
        let mut view = HeadersMut::parse(frame);
        let outcome = write.apply(&mut view);
        let seen = *view;
        prop_assert_eq!(seen, Headers::parse(frame), "the view follows what is written");
        match outcome {
            Ok(()) => prop_assert!(write.reads_back(frame), "{:?}", write),
            Err(_) => prop_assert_eq!(&frame[..], &before[..], "{:?}", write),
        }
        prop_assert_eq!(
            (seen.l3_offset, seen.l4_offset),
            (headers.l3_offset, headers.l4_offset)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn checksums_are_those_of_a_full_computation(
        packet in generated(), writes in prop::collection::vec(write(), 1..12), no_checksum: bool,
    ) {
        let mut frame = packet;
        let headers = Headers::parse(&frame);
        let udp = matches!(headers.l4, L4::Udp { .. }).then(|| usize::from(headers.l4_offset) + 6);
        if let Some(at) = udp.filter(|_| no_checksum) {
            frame[at..at + 2].fill(0);
        }
        apply(&mut frame, &writes)?;
        all_right(&frame)?;
        if let Some(at) = udp {
            prop_assert_eq!(frame[at..at + 2] == [0, 0], no_checksum);
        }
    }

    /// Sound packets have all fields of their protocols.
    #[test]
    fn a_field_that_is_there_is_written(packet in generated(), write in write()) {
        let mut frame = packet;
        let mut view = HeadersMut::parse(&mut frame);
        let v4 = matches!(view.l3, L3::Ipv4 { .. });
        let expected = match write {
            Write::DestinationMac(_) | Write::SourceMac(_) | Write::Ttl(_) => true,
            Write::Vlan(id) => view.vlan.is_some() && id < 0x1000,
            Write::InnerVlan(id) => view.inner_vlan.is_some() && id < 0x1000,
            Write::Source(address) | Write::Destination(address) => address.is_ipv4() == v4,
            Write::Dscp(dscp) => dscp < 64,
            Write::SourcePort(_) | Write::DestinationPort(_) => view.ports().is_some(),
            Write::IcmpId(_) => matches!(view.l4, L4::Icmp { .. } | L4::Icmpv6 { .. }),
        };
        prop_assert_eq!(write.apply(&mut view).is_ok(), expected);
    }

    /// A receiver that puts the fragments together finds the checksum right.
    #[test]
    fn fragments_make_a_sound_datagram(
        addresses in any::<[Ipv4Addr; 2]>(), ports in any::<[u16; 2]>(), cut in 1..20usize, tcp: bool,
        payload in prop::collection::vec(any::<u8>(), 160..300),
    ) {
        let whole = datagram(tcp, &payload);
        let cut = (cut * 8).max(if tcp { 24 } else { 8 });
        let mut fragments = [fragment(&whole, 0..cut), fragment(&whole, cut..whole.len() - L4_OF_V4)];
        for (n, frame) in fragments.iter_mut().enumerate() {
            let mut headers = HeadersMut::parse(frame);
            headers.set_source(addresses[0]).unwrap();
            headers.set_destination(addresses[1]).unwrap();
            let written = [headers.set_source_port(ports[0]), headers.set_destination_port(ports[1])];
            prop_assert_eq!(written.map(|w| w.is_ok()), [n == 0; 2]);
            let ip = Ipv4Header::from_slice(&frame[L3..]).unwrap().0;
            prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        }
        let [first, later] = fragments;
        let mut together = whole;
        together[L3 + 12..L4_OF_V4].copy_from_slice(&first[L3 + 12..L4_OF_V4]);
        together.truncate(L4_OF_V4);
        together.extend(&first[L4_OF_V4..]);
        together.extend(&later[L4_OF_V4..]);
        prop_assert_eq!(Headers::parse(&together).ports(), Some((ports[0], ports[1])));
        let (_, transport) = sums(&together);
        prop_assert!(transport.unwrap().is_right());
    }

    /// Damage and cuts: no panic, nothing written on an error, and a wrong checksum neither corrected nor made worse.
    #[test]
    fn damage_is_not_hidden(
        packet in generated(), damage in prop::collection::vec((12..90usize, any::<u8>()), 0..3), cut in 0..300usize,
        writes in prop::collection::vec(write(), 1..6),
    ) {
        let mut frame = packet;
        for (at, value) in damage {
            let at = at % frame.len();
            frame[at] = value;
        }
        frame.truncate(cut.max(1));
        let before = sums(&frame);
        apply(&mut frame, &writes)?;
        let headers = Headers::parse(&frame);
        let extended = matches!(headers.l3, L3::Ipv6 { .. }) && headers.l4_offset != headers.l3_offset + 40;
        // etherparse reads ICMPv6 in IPv4, and the reverse, as what it says it is.
        if extended || headers.l4 == L4::None {
            return Ok(());
        }
        let after = sums(&frame);
        prop_assert_eq!(before.0.map(Sum::fault), after.0.map(Sum::fault), "IPv4");
        prop_assert_eq!(before.1.map(Sum::fault), after.1.map(Sum::fault), "transport");
    }

    #[test]
    fn an_update_is_a_computation_over_all_bytes(
        bytes in prop::collection::vec(any::<u8>(), 2..80), at in 0..40usize, new in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let full = |bytes: &[u8]| etherparse::checksum::Sum16BitWords::new().add_slice(bytes).ones_complement().to_be();
        let mut bytes = bytes;
        // Without a word that stays, all bytes may become zero, which has two representations.
        bytes.extend([0x12, 0x34]);
        let at = at * 2 % (bytes.len() - 2) / 2 * 2;
        let end = (at + new.len()).min(bytes.len() - 2);
        let before = full(&bytes);
        let old = bytes[at..end].to_vec();
        bytes[at..end].copy_from_slice(&new[..end - at]);
        prop_assert_eq!(checksum::updated(before, &old, &new[..end - at]), full(&bytes));
    }
}

/// An IPv4 datagram in one frame.
fn datagram(tcp: bool, payload: &[u8]) -> Vec<u8> {
    let ip = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4([10, 0, 0, 1], [192, 0, 2, 7], 64);
    let mut frame = Vec::new();
    match tcp {
        true => ip.tcp(1, 2, 3, 4).write(&mut frame, payload),
        false => ip.udp(1, 2).write(&mut frame, payload),
    }
    .unwrap();
    frame
}

/// The fragment with these bytes of the datagram.
fn fragment(frame: &[u8], part: std::ops::Range<usize>) -> Vec<u8> {
    let mut ip = Ipv4Header::from_slice(&frame[L3..]).unwrap().0;
    ip.more_fragments = part.end < frame.len() - L4_OF_V4;
    ip.fragment_offset = IpFragOffset::try_new((part.start / 8) as u16).unwrap();
    ip.set_payload_len(part.len()).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    let bytes = &frame[L4_OF_V4..][part];
    [&frame[..L3], ip.to_bytes().as_slice(), bytes].concat()
}

/// 0xffff stands for a computed zero, as zero says that there is no checksum (RFC 768).
#[test]
fn a_udp_checksum_of_zero_is_written_as_ones() {
    for v6 in [false, true] {
        let link = PacketBuilder::ethernet2(MACS.0, MACS.1);
        let mut frame = Vec::new();
        match v6 {
            true => link.ipv6([1; 16], [2; 16], 9).udp(1, 2).write(&mut frame, b"x"),
            false => link
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
                .udp(1, 2)
                .write(&mut frame, b"x"),
        }
        .unwrap();
        let l4 = if v6 { L4_OF_V6 } else { L4_OF_V4 };
        let stored = u16::from_be_bytes([frame[l4 + 6], frame[l4 + 7]]);
        // The port that takes up what the checksum makes up for.
        let mut headers = HeadersMut::parse(&mut frame);
        headers.set_source_port(1 + stored).unwrap();
        assert_eq!(frame[l4 + 6..l4 + 8], [0xff, 0xff]);
        all_right(&frame).unwrap();
        HeadersMut::parse(&mut frame).set_source_port(1).unwrap();
        assert_eq!(frame[l4 + 6..l4 + 8], stored.to_be_bytes());
    }
}

#[test]
fn priority_and_congestion_bits_stay() {
    let mut frame = insert(&tcp4(b""), 12, &[0x81, 0x00, 0xf0, 0x07]);
    frame[L3 + 4 + 1] = 0x03;
    HeadersMut::parse(&mut frame).set_vlan(0xabc).unwrap();
    HeadersMut::parse(&mut frame).set_dscp(46).unwrap();
    assert_eq!(frame[14..16], [0xfa, 0xbc]);
    assert_eq!(frame[L3 + 4 + 1], 46 << 2 | 3);
    let mut frame = udp6(b"");
    frame[L3..L3 + 2].copy_from_slice(&[0x60, 0x35]);
    HeadersMut::parse(&mut frame).set_dscp(0x2a).unwrap();
    assert_eq!(
        frame[L3..L3 + 2],
        [0x6a, 0xb5],
        "version, congestion and flow label"
    );
}

/// RFC 8200, 8.1: the transport checksum covers the last router of a routing header, not the next one.
#[test]
fn the_next_router_is_not_in_the_transport_checksum() {
    for segments_left in [0, 1] {
        let routing = [17, 2, 0, segments_left, 0, 0, 0, 0];
        let mut frame = insert(&udp6(b"x"), L4_OF_V6, &[&routing[..], &[9; 16]].concat());
        frame[L3 + 5] += 24;
        frame[L3 + 6] = 43;
        let before = frame[L4_OF_V6 + 24..].to_vec();
        let mut headers = HeadersMut::parse(&mut frame);
        headers.set_destination(Ipv6Addr::LOCALHOST).unwrap();
        let after = &frame[L4_OF_V6 + 24..];
        assert_eq!(before == after, segments_left == 1, "{segments_left} left");
    }
}

#[test]
fn what_cannot_be_kept_right_is_refused() {
    let to = IpAddr::from([1, 2, 3, 4]);
    let refusal = |mut frame: Vec<u8>, write: Write| {
        let before = frame.clone();
        let refusal = write.apply(&mut HeadersMut::parse(&mut frame)).unwrap_err();
        assert_eq!(frame, before);
        refusal
    };
    // The TCP header is cut before its checksum.
    let cut = tcp4(b"")[..L4_OF_V4 + 15].to_vec();
    assert_eq!(refusal(cut, Write::Source(to)), WriteError::NoChecksum("ip.src"));
    // Of an extension header there is half, so that nobody knows what follows.
    let mut cut = insert(&udp6(b"x"), L4_OF_V6, &[17, 0, 1, 4, 0, 0, 0, 0])[..L4_OF_V6 + 4].to_vec();
    cut[L3 + 6] = 60;
    let v6 = Write::Destination(Ipv6Addr::LOCALHOST.into());
    assert_eq!(refusal(cut, v6), WriteError::NoChecksum("ip.dst"));
    assert_eq!(refusal(udp6(b""), Write::Source(to)), WriteError::OtherFamily);
    assert_eq!(
        refusal(vec![0; 60], Write::Source(to)),
        WriteError::Missing("ip.src")
    );
    assert_eq!(
        refusal(vec![0; 13], Write::SourceMac([1; 6])),
        WriteError::Missing("ether.src")
    );
    let mut sctp = tcp4(b"");
    sctp[23] = 132;
    assert_eq!(
        refusal(sctp, Write::SourcePort(1)),
        WriteError::Crc("sctp.src_port")
    );
    let too_large = refusal(tcp4(b""), Write::Dscp(64));
    assert_eq!(
        too_large.to_string(),
        "64 does not fit the field `ip.dscp`: expected at most 63"
    );
}
