//! A checked look at a packet's headers: one pass, no allocation, no panic on any bytes.
//!
//! [`Headers::parse`] reads Ethernet, up to two VLAN tags (802.1Q, 802.1ad), ARP, IPv4, IPv6 with its extension
//! headers, and the first lines of TCP, UDP, SCTP, ICMP and ICMPv6. It copies out the values that filters need and
//! keeps offsets for the rest. Everything after ESP, or inside a tunnel, is payload.
//!
//! A packet that is cut short or contradicts itself is not an error: parsing goes as far as it can, and
//! [`Headers::fault`] names the first defect. Every field that is set was read from whole, present bytes. Checksums are
//! not verified.
//!
//! [`HeadersMut`] is the same look at a packet that can be written: it sets fields and keeps the checksums over them right.
//!
//! ```
//! use nflib::headers::{Headers, L4};
//!
//! # let packet = [0u8; 60];
//! let headers = Headers::parse(&packet);
//! if let L4::Tcp { destination_port: 80, flags, .. } = headers.l4 {
//!     println!("web, flags {:#04x}, {} bytes", flags.0, headers.payload(&packet).len());
//! }
//! ```

pub mod checksum;
mod read;
mod write;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

pub use write::{HeadersMut, WriteError};

/// EtherTypes ([IEEE 802 numbers](https://www.iana.org/assignments/ieee-802-numbers)).
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// The number that equipment used for outer tags before 802.1ad.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;
}

/// IP protocol numbers (also IPv6 next-header values).
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;

    /// Whether it is a header between that of IPv6 and the transport header.
    pub(super) fn is_extension(kind: u8) -> bool {
        matches!(
            kind,
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6
        )
    }
}

/// Extension headers that are walked in one packet; RFC 8200 foresees seven, each once but one.
pub const MAX_EXTENSIONS: usize = 8;

/// What stands in a packet's headers. Offsets are bytes from the start of the Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers {
    /// The EtherType after the VLAN tags that were read, or the length of an 802.3 frame (below 0x600).
    pub ethertype: Option<u16>,
    /// VLAN number of the outer tag, 0 to 4095; 0 is a tag that carries a priority only.
    pub vlan: Option<u16>,
    /// VLAN number of the inner tag of two.
    pub inner_vlan: Option<u16>,
    pub l3: L3,
    /// Where the network header starts.
    pub l3_offset: u16,
    /// The IP protocol after all extension headers.
    pub protocol: Option<u8>,
    pub fragment: Fragment,
    pub l4: L4,
    /// Where the transport header, or whatever follows the IP headers, starts; 0 when the packet is not IP.
    pub l4_offset: u16,
    payload_start: u16,
    payload_end: u16,
    /// The first thing wrong with the packet, from the front.
    pub fault: Option<Fault>,
}

/// The network layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum L3 {
    /// Neither IP nor ARP, or a header of these that could not be read.
    #[default]
    Other,
    Arp,
    Ipv4 {
        source: Ipv4Addr,
        destination: Ipv4Addr,
    },
    Ipv6 {
        source: Ipv6Addr,
        destination: Ipv6Addr,
    },
}

/// Whether the packet is a whole datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fragment {
    /// Not a fragment, or an atomic one (RFC 6946).
    #[default]
    Whole,
    /// The first of several: it has the transport header.
    First,
    /// A later one, this many bytes into the datagram: what looks like a transport header is payload.
    Later(u16),
}

/// The transport layer; given when the protocol's fixed header is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum L4 {
    /// Another protocol, a later fragment, or too few bytes.
    #[default]
    None,
    Tcp {
        source_port: u16,
        destination_port: u16,
        flags: TcpFlags,
    },
    Udp {
        source_port: u16,
        destination_port: u16,
    },
    Sctp {
        source_port: u16,
        destination_port: u16,
    },
    Icmp {
        kind: u8,
        code: u8,
    },
    Icmpv6 {
        kind: u8,
        code: u8,
    },
}

/// The flags byte of a TCP header (its byte 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const PSH: Self = Self(0x08);
    pub const ACK: Self = Self(0x10);
    pub const URG: Self = Self(0x20);
    pub const ECE: Self = Self(0x40);
    pub const CWR: Self = Self(0x80);

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The packet ends before this header does, or before the end that the header states.
    Truncated(Layer),
    /// The header contradicts itself or its surroundings.
    Invalid(Layer),
    /// More VLAN tags than two, or more extension headers than [`MAX_EXTENSIONS`].
    TooDeep(Layer),
}

/// The header that a [`Fault`] is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Ethernet,
    Vlan,
    Arp,
    Ipv4,
    Ipv6,
    /// An IPv6 extension header, or an authentication header.
    Extension,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(layer) => write!(f, "truncated {layer:?} packet"),
            Self::Invalid(layer) => write!(f, "invalid {layer:?} header"),
            Self::TooDeep(layer) => write!(f, "too many {layer:?} headers"),
        }
    }
}

impl Headers {
    /// Reads the headers of a packet that starts with its Ethernet header and has no frame check sequence. Bytes beyond
    /// 65,535 are not looked at.
    #[inline]
    pub fn parse(packet: &[u8]) -> Self {
        let packet = packet.get(..usize::from(u16::MAX)).unwrap_or(packet);
        let mut headers = Self::default();
        if let Err(fault) = headers.ethernet(packet) {
            headers.fault.get_or_insert(fault);
        }
        headers
    }

    pub fn is_ip(&self) -> bool {
        matches!(self.l3, L3::Ipv4 { .. } | L3::Ipv6 { .. })
    }

    /// Source and destination, when the packet is IP.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.l3 {
            L3::Ipv4 { source, destination } => Some((source.into(), destination.into())),
            L3::Ipv6 { source, destination } => Some((source.into(), destination.into())),
            L3::Other | L3::Arp => None,
        }
    }

    /// Source and destination port, when the packet has them.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.l4 {
            L4::Tcp {
                source_port,
                destination_port,
                ..
            }
            | L4::Udp {
                source_port,
                destination_port,
            }
            | L4::Sctp {
                source_port,
                destination_port,
            } => Some((source_port, destination_port)),
            L4::None | L4::Icmp { .. } | L4::Icmpv6 { .. } => None,
        }
    }

    /// The innermost payload that was reached: of TCP (after its options), UDP, SCTP, ICMP (after eight bytes) where
    /// that header is sound, otherwise what follows the IP headers. It ends where the headers say, so Ethernet padding is
    /// not part of it. Empty when the packet is not IP. `packet` is what was given to [`Self::parse`].
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet
            .get(usize::from(self.payload_start)..usize::from(self.payload_end))
            .unwrap_or_default()
    }

    /// Time to live, in IPv6 hop limit. As in [`Self::payload`], `packet` is what was given to [`Self::parse`].
    pub fn ttl(&self, packet: &[u8]) -> Option<u8> {
        let at = match self.l3 {
            L3::Ipv4 { .. } => 8,
            L3::Ipv6 { .. } => 7,
            L3::Arp | L3::Other => return None,
        };
        packet.get(usize::from(self.l3_offset) + at).copied()
    }

    /// Differentiated services code point, 0 to 63 (RFC 2474).
    pub fn dscp(&self, packet: &[u8]) -> Option<u8> {
        let first = be16(packet, usize::from(self.l3_offset))?;
        match self.l3 {
            L3::Ipv4 { .. } => Some((first as u8) >> 2),
            L3::Ipv6 { .. } => Some((first >> 6) as u8 & 0x3f),
            L3::Arp | L3::Other => None,
        }
    }

    /// The identifier that a query and its reply share: of echo, in ICMP also of time stamp, information (RFC 792) and address
    /// mask (RFC 950). Other messages have none.
    pub fn icmp_id(&self, packet: &[u8]) -> Option<u16> {
        match self.l4 {
            L4::Icmp {
                kind: 0 | 8 | 13..=18,
                ..
            }
            | L4::Icmpv6 { kind: 128 | 129, .. } => be16(packet, usize::from(self.l4_offset) + 4),
            _ => None,
        }
    }

    /// The headers between the IP header and [`Self::l4_offset`], all of which are whole: each with its kind, which is an
    /// IP protocol number, and its bytes in the packet.
    pub(crate) fn extensions<'p>(
        &self,
        packet: &'p [u8],
    ) -> impl Iterator<Item = (u8, Range<usize>)> + use<'p> {
        let at = usize::from(self.l3_offset);
        let byte = |at: usize| packet.get(at).copied();
        let first = match self.l3 {
            L3::Ipv4 { .. } => byte(at + 9).zip(byte(at).map(|first| at + usize::from(first & 0xf) * 4)),
            L3::Ipv6 { .. } => byte(at + 6).zip(Some(at + 40)),
            L3::Arp | L3::Other => None,
        };
        let end = usize::from(self.l4_offset);
        let mut next = first.filter(|(_, at)| *at < end);
        std::iter::from_fn(move || {
            let (kind, at) = next?;
            let length = match kind {
                protocol::FRAGMENT => 8,
                protocol::AUTHENTICATION => (usize::from(byte(at + 1)?) + 2) * 4,
                _ => (usize::from(byte(at + 1)?) + 1) * 8,
            };
            next = byte(at).zip(Some(at + length)).filter(|(_, at)| *at < end);
            Some((kind, at..at + length))
        })
    }
}

#[inline(always)]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
