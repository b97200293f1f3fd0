//! From fields to a frame as it arrives from the wire: lengths and checksums right, padded to Ethernet's least size.

use std::net::IpAddr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type,
    Icmpv6Header, Icmpv6Type, IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header,
    SingleVlanHeader, TcpHeader, UdpHeader, VlanId, VlanPcp, err::ValueTooBigError,
};
use onvm_lang::syntax::PacketProto;

use super::{
    Contradiction,
    fields::{Ends, Fields},
};

/// Locally administered addresses.
pub(super) const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(super) const BROADCAST: [u8; 6] = [0xff; 6];
/// IEEE 802, local experiments.
const EXPERIMENTAL_TYPE: u16 = 0x88b5;
/// RFC 3692, experiments and tests.
const EXPERIMENTAL_PROTOCOL: u8 = 253;
pub(super) const TTL: u8 = 64;
const VLAN: u16 = 0x8100;
/// Bytes of the shortest Ethernet frame without its checksum.
pub(super) const SHORTEST: usize = 60;

/// Builds the frame.
pub(crate) fn frame(proto: PacketProto, values: &toml::Table) -> Result<Vec<u8>, Contradiction> {
    let fields = Fields { proto, values };
    let mut payload = fields.payload();
    let mut bytes = build(&fields, &payload)?;
    if fields.has("size") {
        let size = fields.number("size", SHORTEST);
        let Some(missing) = size.checked_sub(bytes.len()) else {
            return Err(Contradiction {
                field: "size",
                message: format!("the headers and the payload take {} bytes", bytes.len()),
                help: format!("give a size from {}, or none", bytes.len()),
            });
        };
        payload.resize(payload.len() + missing, 0);
        bytes = build(&fields, &payload)?;
        bytes.resize(size, 0);
    } else {
        bytes.resize(bytes.len().max(SHORTEST), 0);
    }
    Ok(bytes)
}

fn build(fields: &Fields<'_>, payload: &[u8]) -> Result<Vec<u8>, Contradiction> {
    let (ether_type, body) = match fields.proto {
        PacketProto::Ether => (fields.number("type", EXPERIMENTAL_TYPE), payload.to_vec()),
        PacketProto::Arp => (EtherType::ARP.0, arp(fields)?),
        _ => ip(fields, payload)?,
    };
    let tagged = fields.has("vlan") || fields.has("pcp");
    let (source, destination) = match fields.proto {
        PacketProto::Ether => ("src", "dst"),
        _ => ("eth_src", "eth_dst"),
    };
    let to_all = fields.proto == PacketProto::Arp && !is_reply(fields);
    let header = Ethernet2Header {
        source: fields.mac(source).unwrap_or(SOURCE_MAC),
        destination: fields
            .mac(destination)
            .unwrap_or(if to_all { BROADCAST } else { DESTINATION_MAC }),
        ether_type: EtherType(if tagged { VLAN } else { ether_type }),
    };
    let mut bytes = header.to_bytes().to_vec();
    if tagged {
        let tag = SingleVlanHeader {
            pcp: VlanPcp::try_new(fields.number("pcp", 0)).unwrap_or_default(),
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(fields.number("vlan", 0)).unwrap_or_default(),
            ether_type: EtherType(ether_type),
        };
        bytes.extend(tag.to_bytes());
    }
    bytes.extend(body);
    Ok(bytes)
}

fn is_reply(fields: &Fields<'_>) -> bool {
    fields.word("op").as_deref() == Some("reply")
}

fn arp(fields: &Fields<'_>) -> Result<Vec<u8>, Contradiction> {
    let address = |field: &'static str, default: [u8; 4]| match fields.address(field) {
        Some(IpAddr::V4(a)) => Ok(a.octets()),
        None => Ok(default),
        Some(IpAddr::V6(a)) => Err(Contradiction {
            field,
            message: format!("`arp` cannot carry {a}, an IPv6 address"),
            help: "give an IPv4 address; IPv6 finds its neighbours with ICMPv6".to_owned(),
        }),
    };
    let operation = match is_reply(fields) {
        true => ArpOperation::REPLY,
        false => ArpOperation::REQUEST,
    };
    let known = match is_reply(fields) {
        true => DESTINATION_MAC,
        false => [0; 6],
    };
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &fields.mac("src_mac").unwrap_or(SOURCE_MAC),
        &address("src", [198, 51, 100, 1])?,
        &fields.mac("dst_mac").unwrap_or(known),
        &address("dst", [203, 0, 113, 1])?,
    );
    packet
        .map(|p| p.to_bytes().to_vec())
        .map_err(|e| unbuildable("dst", &e))
}

fn ip(fields: &Fields<'_>, payload: &[u8]) -> Result<(u16, Vec<u8>), Contradiction> {
    let ends = fields.ends()?;
    let (protocol, body) = match fields.proto {
        PacketProto::Tcp => (IpNumber::TCP, tcp(fields, &ends, payload)?),
        PacketProto::Udp => (IpNumber::UDP, udp(&ends, payload)?),
        PacketProto::Icmp => icmp(fields, &ends, payload)?,
        _ => (
            IpNumber(fields.number("proto", EXPERIMENTAL_PROTOCOL)),
            payload.to_vec(),
        ),
    };
    let ttl = fields.number("ttl", TTL);
    let dscp = IpDscp::try_new(fields.number("dscp", 0)).unwrap_or_default();
    let ecn = IpEcn::try_new(fields.number("ecn", 0)).unwrap_or_default();
    match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
            let header = Ipv4Header::new(length, ttl, protocol, source.octets(), destination.octets());
            let mut header = header.map_err(|_| too_long(body.len()))?;
            header.dscp = dscp;
            header.ecn = ecn;
            header.identification = fields.number("id", 0);
            header.more_fragments = fields.flag("more_fragments");
            header.fragment_offset = fragment_offset(fields)?;
            header.dont_fragment = !header.more_fragments && header.fragment_offset == IpFragOffset::ZERO;
            header.header_checksum = header.calc_header_checksum();
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(body);
            Ok((EtherType::IPV4.0, bytes))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: u16::try_from(body.len()).map_err(|_| too_long(body.len()))?,
                next_header: protocol,
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
            };
            header.set_dscp(dscp);
            header.set_ecn(ecn);
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(body);
            Ok((EtherType::IPV6.0, bytes))
        }
        _ => unreachable!("both ends are of one family"),
    }
}

/// IP counts fragments in units of 8 bytes.
fn fragment_offset(fields: &Fields<'_>) -> Result<IpFragOffset, Contradiction> {
    let bytes: u16 = fields.number("fragment", 0);
    match (bytes % 8, IpFragOffset::try_new(bytes / 8)) {
        (0, Ok(offset)) => Ok(offset),
        _ => Err(Contradiction {
            field: "fragment",
            message: format!("no fragment begins at byte {bytes}"),
            help: "give a multiple of 8".to_owned(),
        }),
    }
}

fn tcp(fields: &Fields<'_>, ends: &Ends, payload: &[u8]) -> Result<Vec<u8>, Contradiction> {
    let flags = fields.tcp_flags();
    let set = |bit: u8| flags & bit != 0;
    let mut header = TcpHeader::new(
        ends.source_port,
        ends.destination_port,
        fields.number("seq", 1),
        fields.number("window", u16::MAX),
    );
    (header.fin, header.syn, header.rst, header.psh) = (set(0x01), set(0x02), set(0x04), set(0x08));
    (header.ack, header.urg, header.ece, header.cwr) = (set(0x10), set(0x20), set(0x40), set(0x80));
    header.acknowledgment_number = fields.number("ack", u32::from(header.ack));
    let checksum = match (ends.source, ends.destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => header.calc_checksum_ipv4_raw(s.octets(), d.octets(), payload),
        (IpAddr::V6(s), IpAddr::V6(d)) => header.calc_checksum_ipv6_raw(s.octets(), d.octets(), payload),
        _ => unreachable!("both ends are of one family"),
    };
    header.checksum = checksum.map_err(|_: ValueTooBigError<usize>| too_long(payload.len()))?;
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend(payload);
    Ok(bytes)
}

fn udp(ends: &Ends, payload: &[u8]) -> Result<Vec<u8>, Contradiction> {
    let (from, to) = (ends.source_port, ends.destination_port);
    let mut header = UdpHeader {
        source_port: from,
        destination_port: to,
        length: u16::try_from(UdpHeader::LEN + payload.len()).map_err(|_| too_long(payload.len()))?,
        checksum: 0,
    };
    let checksum = match (ends.source, ends.destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => header.calc_checksum_ipv4_raw(s.octets(), d.octets(), payload),
        (IpAddr::V6(s), IpAddr::V6(d)) => header.calc_checksum_ipv6_raw(s.octets(), d.octets(), payload),
        _ => unreachable!("both ends are of one family"),
    };
    header.checksum = checksum.map_err(|_: ValueTooBigError<usize>| too_long(payload.len()))?;
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend(payload);
    Ok(bytes)
}

/// An echo request unless another type is given.
fn icmp(fields: &Fields<'_>, ends: &Ends, payload: &[u8]) -> Result<(IpNumber, Vec<u8>), Contradiction> {
    let code_u8 = fields.number("code", 0);
    let [a, b] = fields.number("id", 1_u16).to_be_bytes();
    let [c, d] = fields.number("seq", 1_u16).to_be_bytes();
    let bytes5to8 = [a, b, c, d];
    let (protocol, mut bytes) = match (ends.source, ends.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let kind = Icmpv6Type::Unknown {
                type_u8: fields.number("type", 128),
                code_u8,
                bytes5to8,
            };
            let header = Icmpv6Header::with_checksum(kind, source.octets(), destination.octets(), payload)
                .map_err(|_| too_long(payload.len()))?;
            (IpNumber::IPV6_ICMP, header.to_bytes().to_vec())
        }
        _ => {
            let kind = Icmpv4Type::Unknown {
                type_u8: fields.number("type", 8),
                code_u8,
                bytes5to8,
            };
            (
                IpNumber::ICMP,
                Icmpv4Header::with_checksum(kind, payload).to_bytes().to_vec(),
            )
        }
    };
    bytes.extend(payload);
    Ok((protocol, bytes))
}

fn too_long(bytes: usize) -> Contradiction {
    Contradiction {
        field: "payload",
        message: format!("{bytes} bytes are more than an IP packet carries"),
        help: "shorten it".to_owned(),
    }
}

fn unbuildable(field: &'static str, e: &dyn std::fmt::Display) -> Contradiction {
    Contradiction {
        field,
        message: e.to_string(),
        help: "change it".to_owned(),
    }
}
