//! The effect of rewritten header fields on filters.
//!
//! Where a header field stands depends on the packet: on its tags, on the length of its IPv4 header, on its protocol. So the
//! space of packets is split into *shapes* of which that is known, and which no rewriting leaves: what moves other fields
//! (`vlan`, `ip.protocol`, `ip.options`, lengths, the payload, headers that this crate does not know) counts as a rewriting of
//! everything. In each shape a field of the algebra is *touched* if any of its bytes may have been rewritten, or if where it
//! stands may have changed.
//!
//! Fields are where [`Headers`] finds them. A packet without a sound header has none of its fields, so that an NF which declares
//! these cannot have rewritten anything of it.

mod shape;

use std::ops::Range;

use nflib::headers::{Headers, L3, L4};
use onvm_bundle::{Effects, Payload};

use super::frame::Frame;
use crate::resolve::fields::KNOWN;

pub(super) use shape::Touched;
pub(crate) use shape::{Shape, shapes};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// Bytes of the addresses of a link header.
const LINK: usize = 12;

/// The header fields that NFs may have rewritten: a bit for each of [`KNOWN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Written(u64);

/// Bytes from the beginning of a header.
type Part = (u16, u16);

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Link(Part),
    /// In the fixed headers of IPv4 and IPv6, and whether it can stand in extension headers.
    Ip {
        v4: Option<Part>,
        v6: Option<Part>,
        extension: bool,
    },
    Tcp(Part),
    Udp(Part),
    Sctp(Part),
    Icmp(Part),
    /// It says where others stand, or is not known.
    Moves,
}

fn place(field: &str) -> Place {
    let ip = |v4: Part, v6: Part| Place::Ip {
        v4: Some(v4),
        v6: Some(v6),
        extension: false,
    };
    let extension = |v4: Part| Place::Ip {
        v4: Some(v4),
        v6: None,
        extension: true,
    };
    match field {
        "ether.dst" => Place::Link((0, 6)),
        "ether.src" => Place::Link((6, 12)),
        "ip.src" => ip((12, 16), (8, 24)),
        "ip.dst" => ip((16, 20), (24, 40)),
        "ip.ttl" => ip((8, 9), (7, 8)),
        "ip.dscp" => ip((1, 2), (0, 2)),
        "ip.ecn" => ip((1, 2), (1, 2)),
        "ip.id" => extension((4, 6)),
        "ip.fragment" => extension((6, 8)),
        "ip.checksum" => Place::Ip {
            v4: Some((10, 12)),
            v6: None,
            extension: false,
        },
        "ip.flow_label" => Place::Ip {
            v4: None,
            v6: Some((1, 4)),
            extension: false,
        },
        "tcp.src_port" => Place::Tcp((0, 2)),
        "tcp.dst_port" => Place::Tcp((2, 4)),
        "tcp.seq" => Place::Tcp((4, 8)),
        "tcp.ack" => Place::Tcp((8, 12)),
        // The first of these bytes holds the header's length, too.
        "tcp.flags" => Place::Tcp((12, 14)),
        "tcp.window" => Place::Tcp((14, 16)),
        "tcp.checksum" => Place::Tcp((16, 18)),
        "udp.src_port" => Place::Udp((0, 2)),
        "udp.dst_port" => Place::Udp((2, 4)),
        "udp.checksum" => Place::Udp((6, 8)),
        "sctp.src_port" => Place::Sctp((0, 2)),
        "sctp.dst_port" => Place::Sctp((2, 4)),
        "sctp.checksum" => Place::Sctp((8, 12)),
        "icmp.type" => Place::Icmp((0, 1)),
        "icmp.code" => Place::Icmp((1, 2)),
        "icmp.checksum" => Place::Icmp((2, 4)),
        "icmp.id" => Place::Icmp((4, 6)),
        _ => Place::Moves,
    }
}

impl Place {
    /// Within the transport header, if that is of this protocol; none: of any protocol.
    fn transport(self, protocol: Option<u8>) -> Option<Part> {
        let is = |own: &[u8]| protocol.is_none_or(|p| own.contains(&p));
        match self {
            Self::Tcp(part) if is(&[TCP]) => Some(part),
            Self::Udp(part) if is(&[UDP]) => Some(part),
            Self::Sctp(part) if is(&[SCTP]) => Some(part),
            Self::Icmp(part) if is(&[ICMP, ICMP6]) => Some(part),
            _ => None,
        }
    }
}

/// An NF that rewrites a header fixes its checksum, whether its manifest says so or not.
fn checksum(protocol: u8) -> Option<Part> {
    Some(match protocol {
        TCP => (16, 18),
        UDP => (6, 8),
        SCTP => (8, 12),
        ICMP | ICMP6 => (2, 4),
        _ => return None,
    })
}

impl Written {
    pub(crate) const NOTHING: Self = Self(0);
    /// Every byte, and the length.
    pub(crate) const ANYTHING: Self = Self(u64::MAX);

    /// The fields that an NF of these effects may rewrite.
    pub(crate) fn by(effects: &Effects) -> Self {
        if effects.payload == Payload::Write || effects.generates {
            return Self::ANYTHING;
        }
        let written = effects.writes.iter().map(|name| Self::field(name));
        written.fold(Self::NOTHING, Self::and)
    }

    fn field(name: &str) -> Self {
        let meant = KNOWN.iter().enumerate();
        let mut meant = meant
            .filter(|(_, known)| crate::resolve::fields::overlap(name, known))
            .peekable();
        if meant.peek().is_none() {
            return Self::ANYTHING;
        }
        let bit = |(n, known): (usize, &&str)| match place(known) {
            Place::Moves => Self::ANYTHING,
            _ => Self(1 << n),
        };
        meant.map(bit).fold(Self::NOTHING, Self::and)
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    pub(crate) fn is_anything(self) -> bool {
        self == Self::ANYTHING
    }

    /// Whether that is all that the other one holds, or more.
    pub(crate) fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn places(self) -> impl Iterator<Item = Place> {
        let named = KNOWN
            .iter()
            .enumerate()
            .filter(move |(n, _)| self.0 >> n & 1 == 1);
        named.map(|(_, known)| place(known))
    }

    /// The frame with the rewritten bytes of another one.
    pub(crate) fn applied(self, frame: &Frame, other: &Frame) -> Frame {
        if self.is_anything() {
            return other.clone();
        }
        let mut made = frame.clone();
        for range in self.bytes(&frame.bytes) {
            if let (Some(to), Some(from)) = (made.bytes.get_mut(range.clone()), other.bytes.get(range)) {
                to.copy_from_slice(from);
            }
        }
        made
    }

    /// The bytes of a frame that may have been rewritten, of fields that stand in it.
    fn bytes(self, frame: &[u8]) -> Vec<Range<usize>> {
        let headers = Headers::parse(frame);
        let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
        let ip = |v4: Option<Part>, v6: Option<Part>| match headers.l3 {
            L3::Ipv4 { .. } => v4,
            L3::Ipv6 { .. } => v6,
            L3::Arp | L3::Other => None,
        };
        let protocol = headers.protocol.filter(|_| headers.l4 != L4::None);
        let at = |from: usize, (low, high): Part| from + usize::from(low)..from + usize::from(high);
        let stands = |place: Place| match place {
            Place::Link(part) => Some(at(0, part)),
            Place::Ip { v4, v6, .. } => ip(v4, v6).map(|part| at(l3, part)),
            other => other.transport(Some(protocol?)).map(|part| at(l4, part)),
        };
        let mut ranges: Vec<Range<usize>> = self.places().filter_map(stands).collect();
        if ranges.iter().any(|range| range.start >= LINK) {
            ranges.extend(ip(Some((10, 12)), None).map(|part| at(l3, part)));
            ranges.extend(protocol.and_then(checksum).map(|part| at(l4, part)));
        }
        ranges.retain(|range| range.end <= frame.len());
        ranges
    }
}
