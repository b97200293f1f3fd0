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
//! ```
//! use nflib::headers::{Headers, L4};
//!
//! # let packet = [0u8; 60];
//! let headers = Headers::parse(&packet);
//! if let L4::Tcp { destination_port: 80, flags, .. } = headers.l4 {
//!     println!("web, flags {:#04x}, {} bytes", flags.0, headers.payload(&packet).len());
//! }
//! ```

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

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

    fn ethernet(&mut self, packet: &[u8]) -> Result<(), Fault> {
        let mut kind = be16(packet, 12).ok_or(Fault::Truncated(Layer::Ethernet))?;
        let mut at = 14;
        while matches!(
            kind,
            ethertype::VLAN | ethertype::SERVICE_VLAN | ethertype::OLD_SERVICE_VLAN
        ) {
            self.ethertype = Some(kind);
            let (Some(tag), Some(next)) = (be16(packet, at), be16(packet, at + 2)) else {
                return Err(Fault::Truncated(Layer::Vlan));
            };
            match (self.vlan, self.inner_vlan) {
                (None, _) => self.vlan = Some(tag & 0xfff),
                (_, None) => self.inner_vlan = Some(tag & 0xfff),
                _ => return Err(Fault::TooDeep(Layer::Vlan)),
            }
            (kind, at) = (next, at + 4);
        }
        self.ethertype = Some(kind);
        self.l3_offset = at as u16;
        match kind {
            ethertype::IPV4 => self.ipv4(packet, at),
            ethertype::IPV6 => self.ipv6(packet, at),
            ethertype::ARP => self.arp(packet, at),
            _ => Ok(()),
        }
    }

    /// RFC 826: fixed part of 8 bytes, then two pairs of hardware and protocol address.
    fn arp(&mut self, packet: &[u8], at: usize) -> Result<(), Fault> {
        let truncated = Fault::Truncated(Layer::Arp);
        let fixed: [u8; 8] = array(packet, at).ok_or(truncated)?;
        self.l3 = L3::Arp;
        let addresses = 2 * (usize::from(fixed[4]) + usize::from(fixed[5]));
        packet
            .get(at + 8..at + 8 + addresses)
            .map(|_| ())
            .ok_or(truncated)
    }

    /// RFC 791.
    fn ipv4(&mut self, packet: &[u8], at: usize) -> Result<(), Fault> {
        let fixed: [u8; 20] = array(packet, at).ok_or(Fault::Truncated(Layer::Ipv4))?;
        let header = usize::from(fixed[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if fixed[0] >> 4 != 4 || header < 20 || total < header {
            return Err(Fault::Invalid(Layer::Ipv4));
        }
        if packet.len() < at + header {
            return Err(Fault::Truncated(Layer::Ipv4));
        }
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
        self.l3 = L3::Ipv4 {
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
        };
        let word = u16::from_be_bytes([fixed[6], fixed[7]]);
        self.set_fragment(word & 0x1fff, word & 0x2000 != 0);
        let end = self.end_of(packet, at + total, Layer::Ipv4);
        self.after_ip(packet, fixed[9], at + header, end)
    }

    /// RFC 8200.
    fn ipv6(&mut self, packet: &[u8], at: usize) -> Result<(), Fault> {
        let fixed: [u8; 40] = array(packet, at).ok_or(Fault::Truncated(Layer::Ipv6))?;
        if fixed[0] >> 4 != 6 {
            return Err(Fault::Invalid(Layer::Ipv6));
        }
        let address = |from| {
            array::<16>(&fixed, from)
                .map(Ipv6Addr::from)
                .unwrap_or(Ipv6Addr::UNSPECIFIED)
        };
        self.l3 = L3::Ipv6 {
            source: address(8),
            destination: address(24),
        };
        let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let end = self.end_of(packet, at + 40 + length, Layer::Ipv6);
        self.after_ip(packet, fixed[6], at + 40, end)
    }

    /// The end that an IP header states, or that of the packet where this comes first.
    fn end_of(&mut self, packet: &[u8], stated: usize, layer: Layer) -> usize {
        if stated > packet.len() {
            self.fault = Some(Fault::Truncated(layer));
        }
        stated.min(packet.len())
    }

    /// Sets the fragment status from an offset in units of 8 bytes, of 13 bits.
    fn set_fragment(&mut self, offset: u16, more: bool) {
        self.fragment = match (offset & 0x1fff, more) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            (offset, _) => Fragment::Later(offset * 8),
        };
    }

    /// Walks the extension headers, of which IPv4 knows the authentication header only, up to the transport header.
    fn after_ip(&mut self, packet: &[u8], first: u8, at: usize, end: usize) -> Result<(), Fault> {
        let (mut next, mut at) = (first, at);
        let is_ipv6 = matches!(self.l3, L3::Ipv6 { .. });
        let bytes = packet.get(..end).unwrap_or_default();
        let mut seen_fragment = false;
        for _ in 0..=MAX_EXTENSIONS {
            self.protocol = Some(next);
            self.l4_offset = at as u16;
            (self.payload_start, self.payload_end) = (at as u16, end as u16);
            let later = matches!(self.fragment, Fragment::Later(_));
            let length = match next {
                _ if later => return Ok(()),
                protocol::AUTHENTICATION => extension_length(bytes, at, |n| (n + 2) * 4)?,
                _ if !is_ipv6 => return self.transport(bytes, next, at),
                protocol::FRAGMENT => {
                    let word = be16(bytes, at + 2).ok_or(Fault::Truncated(Layer::Extension))?;
                    if std::mem::replace(&mut seen_fragment, true) {
                        return Err(Fault::Invalid(Layer::Extension));
                    }
                    self.set_fragment(word >> 3, word & 1 != 0);
                    extension_length(bytes, at, |_| 8)?
                }
                protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::DESTINATION_OPTIONS
                | protocol::MOBILITY
                | protocol::HIP
                | protocol::SHIM6 => extension_length(bytes, at, |n| (n + 1) * 8)?,
                _ => return self.transport(bytes, next, at),
            };
            next = bytes.get(at).copied().unwrap_or(protocol::NO_NEXT);
            at += length;
        }
        Err(Fault::TooDeep(Layer::Extension))
    }

    /// `bytes` end where the IP header says.
    fn transport(&mut self, bytes: &[u8], next: u8, at: usize) -> Result<(), Fault> {
        let rest = bytes.get(at..).unwrap_or_default();
        match next {
            protocol::TCP => self.tcp(rest),
            protocol::UDP => self.udp(rest),
            protocol::SCTP => {
                let h: [u8; 12] = array(rest, 0).ok_or(Fault::Truncated(Layer::Sctp))?;
                let (source_port, destination_port) = ports(&h);
                self.l4 = L4::Sctp {
                    source_port,
                    destination_port,
                };
                self.payload_start += 12;
                Ok(())
            }
            protocol::ICMP if matches!(self.l3, L3::Ipv4 { .. }) => {
                let [kind, code, ..] = array::<8>(rest, 0).ok_or(Fault::Truncated(Layer::Icmp))?;
                self.l4 = L4::Icmp { kind, code };
                self.payload_start += 8;
                Ok(())
            }
            protocol::ICMPV6 if matches!(self.l3, L3::Ipv6 { .. }) => {
                let [kind, code, ..] = array::<8>(rest, 0).ok_or(Fault::Truncated(Layer::Icmpv6))?;
                self.l4 = L4::Icmpv6 { kind, code };
                self.payload_start += 8;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 9293.
    fn tcp(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let h: [u8; 20] = array(rest, 0).ok_or(Fault::Truncated(Layer::Tcp))?;
        let (source_port, destination_port) = ports(&h);
        self.l4 = L4::Tcp {
            source_port,
            destination_port,
            flags: TcpFlags(h[13]),
        };
        let header = usize::from(h[12] >> 4) * 4;
        if header < 20 {
            return Err(Fault::Invalid(Layer::Tcp));
        }
        if header > rest.len() {
            return Err(Fault::Truncated(Layer::Tcp));
        }
        self.payload_start += header as u16;
        Ok(())
    }

    /// RFC 768. The length of a first fragment covers the fragments to come.
    fn udp(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let h: [u8; 8] = array(rest, 0).ok_or(Fault::Truncated(Layer::Udp))?;
        let (source_port, destination_port) = ports(&h);
        self.l4 = L4::Udp {
            source_port,
            destination_port,
        };
        let length = u16::from_be_bytes([h[4], h[5]]);
        if length < 8 {
            return Err(Fault::Invalid(Layer::Udp));
        }
        if usize::from(length) <= rest.len() {
            self.payload_end = self.payload_start + length;
        } else if self.fragment == Fragment::Whole {
            self.fault.get_or_insert(Fault::Truncated(Layer::Udp));
        }
        self.payload_start += 8;
        Ok(())
    }
}

/// The length in bytes of the extension header at `at`, whole and present, from its length field.
fn extension_length(bytes: &[u8], at: usize, length: impl Fn(usize) -> usize) -> Result<usize, Fault> {
    let field = bytes.get(at + 1).ok_or(Fault::Truncated(Layer::Extension))?;
    let length = length(usize::from(*field));
    bytes
        .get(at..at + length)
        .map(|_| length)
        .ok_or(Fault::Truncated(Layer::Extension))
}

fn ports(header: &[u8]) -> (u16, u16) {
    (be16(header, 0).unwrap_or(0), be16(header, 2).unwrap_or(0))
}

#[inline(always)]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
