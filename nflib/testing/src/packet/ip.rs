//! IP packets: the network header, what of the transport layer it carries, and fragments.

use std::net::IpAddr;

use etherparse::{
    EtherType, Icmpv4Type, Icmpv6Type, IpDscp, IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader,
    Ipv6Header, TcpHeader, UdpHeader,
};

use super::{Body, Frame};

const TTL: u8 = 64;
const WINDOW: u16 = 65_535;
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// An IP packet, of the version of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip<T> {
    ends: Ends,
    ttl: u8,
    dscp: u8,
    transport: T,
    payload: Vec<u8>,
}

/// Source and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

/// A fragment's part of the datagram.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// In units of eight bytes.
    offset: u16,
    more: bool,
}

/// The transport layer of a packet.
pub trait Transport {
    fn protocol(&self, ends: Ends) -> u8;

    /// The header with its checksum over itself, the payload, and what of the IP header it covers.
    fn header(&self, ends: Ends, payload: &[u8]) -> Vec<u8>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp(TcpHeader);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    source: u16,
    destination: u16,
    checksum: bool,
}

/// ICMP in a packet of IPv4, ICMPv6 in one of IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmp {
    kind: u8,
    code: u8,
    /// The second half of its first eight bytes.
    rest: [u8; 4],
}

/// A protocol without a header of its own here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other(u8);

impl<T: Transport> Ip<T> {
    #[expect(clippy::panic, reason = "a test with addresses of two kinds is to fail")]
    pub(super) fn new(source: IpAddr, destination: IpAddr, transport: T) -> Self {
        let ends = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ends::V4(source.octets(), destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ends::V6(source.octets(), destination.octets()),
            _ => panic!("{source} and {destination} are addresses of two IP versions: expected one"),
        };
        Self {
            ends,
            ttl: TTL,
            dscp: 0,
            transport,
            payload: Vec::new(),
        }
    }

    /// What follows the IP header.
    fn datagram(&self) -> Vec<u8> {
        let mut datagram = self.transport.header(self.ends, &self.payload);
        datagram.extend(&self.payload);
        datagram
    }

    /// The IP header, and a part of the datagram if it is not the whole.
    #[expect(
        clippy::expect_used,
        reason = "a test with a packet that cannot be is to fail"
    )]
    fn packet(&self, datagram: &[u8], part: Option<Part>) -> Vec<u8> {
        let protocol = IpNumber(self.transport.protocol(self.ends));
        let length = u16::try_from(datagram.len()).expect("an IP packet has less than 64 KiB");
        let offset = |part: Part| IpFragOffset::try_new(part.offset).expect("it is below 64 KiB");
        match self.ends {
            Ends::V4(source, destination) => {
                let mut header = Ipv4Header::new(length, self.ttl, protocol, source, destination)
                    .expect("an IPv4 packet has less than 64 KiB");
                header.dscp = IpDscp::try_new(self.dscp).expect("a code point is at most 63");
                header.dont_fragment = part.is_none();
                header.more_fragments = part.is_some_and(|part| part.more);
                header.fragment_offset = part.map(offset).unwrap_or_default();
                header.header_checksum = header.calc_header_checksum();
                [header.to_bytes().as_slice(), datagram].concat()
            }
            Ends::V6(source, destination) => {
                let fragment = part.map(|part| {
                    Ipv6FragmentHeader::new(protocol, offset(part), part.more, 1)
                        .to_bytes()
                        .to_vec()
                });
                let fragment = fragment.unwrap_or_default();
                let header = Ipv6Header {
                    traffic_class: self.dscp << 2,
                    payload_length: length + fragment.len() as u16,
                    next_header: if part.is_some() {
                        IpNumber::IPV6_FRAGMENTATION_HEADER
                    } else {
                        protocol
                    },
                    hop_limit: self.ttl,
                    source,
                    destination,
                    ..Ipv6Header::default()
                };
                [header.to_bytes().as_slice(), &fragment, datagram].concat()
            }
        }
    }
}

impl<T: Transport> Body for Ip<T> {
    fn ethertype(&self) -> u16 {
        match self.ends {
            Ends::V4(..) => EtherType::IPV4.0,
            Ends::V6(..) => EtherType::IPV6.0,
        }
    }

    fn bytes(&self, _: [u8; 6], _: [u8; 6]) -> Vec<u8> {
        self.packet(&self.datagram(), None)
    }
}

impl<T: Transport> Frame<Ip<T>> {
    /// What follows the transport header.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.body.payload = payload.to_vec();
        self
    }

    /// Time to live, in IPv6 hop limit; 64 unless given.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.body.ttl = ttl;
        self
    }

    /// Differentiated services code point, 0 to 63; 0 unless given.
    #[must_use]
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.body.dscp = dscp;
        self
    }

    /// The frames of the packet's fragments, each with at most `size` bytes of the datagram, rounded down to a multiple of eight.
    /// The transport header is part of the datagram, so the first may have a part of it only.
    ///
    /// # Panics
    /// As [`Self::build`], and when `size` is below 8.
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let units = size / 8;
        assert!(units > 0, "fragments of {size} bytes: expected 8 or more");
        let datagram = self.body.datagram();
        let parts = datagram.chunks(8 * units);
        let last = parts.len().saturating_sub(1);
        let frame = |(n, bytes): (usize, &[u8])| {
            let part = Part {
                offset: (n * units) as u16,
                more: n < last,
            };
            self.frame(self.body.ethertype(), &self.body.packet(bytes, Some(part)))
        };
        parts.enumerate().map(frame).collect()
    }
}

impl Tcp {
    pub(super) fn new(source: u16, destination: u16) -> Self {
        Self(TcpHeader::new(source, destination, 1, WINDOW))
    }
}

impl Transport for Tcp {
    fn protocol(&self, _: Ends) -> u8 {
        IpNumber::TCP.0
    }

    #[expect(
        clippy::expect_used,
        reason = "a test with a packet that cannot be is to fail"
    )]
    fn header(&self, ends: Ends, payload: &[u8]) -> Vec<u8> {
        let mut header = self.0.clone();
        header.checksum = match ends {
            Ends::V4(source, destination) => header.calc_checksum_ipv4_raw(source, destination, payload),
            Ends::V6(source, destination) => header.calc_checksum_ipv6_raw(source, destination, payload),
        }
        .expect("an IP packet has less than 64 KiB");
        header.to_bytes().to_vec()
    }
}

impl Frame<Ip<Tcp>> {
    #[must_use]
    pub fn syn(mut self) -> Self {
        self.body.transport.0.syn = true;
        self
    }

    /// Sets the flag ACK and the number.
    #[must_use]
    pub fn ack(mut self, number: u32) -> Self {
        self.body.transport.0.ack = true;
        self.body.transport.0.acknowledgment_number = number;
        self
    }

    #[must_use]
    pub fn fin(mut self) -> Self {
        self.body.transport.0.fin = true;
        self
    }

    #[must_use]
    pub fn rst(mut self) -> Self {
        self.body.transport.0.rst = true;
        self
    }

    #[must_use]
    pub fn psh(mut self) -> Self {
        self.body.transport.0.psh = true;
        self
    }

    /// The sequence number; 1 unless given.
    #[must_use]
    pub fn seq(mut self, number: u32) -> Self {
        self.body.transport.0.sequence_number = number;
        self
    }

    /// The window, unscaled; 65,535 unless given.
    #[must_use]
    pub fn window(mut self, bytes: u16) -> Self {
        self.body.transport.0.window_size = bytes;
        self
    }
}

impl Udp {
    pub(super) fn new(source: u16, destination: u16) -> Self {
        Self {
            source,
            destination,
            checksum: true,
        }
    }
}

impl Transport for Udp {
    fn protocol(&self, _: Ends) -> u8 {
        IpNumber::UDP.0
    }

    #[expect(
        clippy::expect_used,
        reason = "a test with a packet that cannot be is to fail"
    )]
    fn header(&self, ends: Ends, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).expect("a UDP datagram has less than 64 KiB");
        let mut header = UdpHeader {
            source_port: self.source,
            destination_port: self.destination,
            length,
            checksum: 0,
        };
        if self.checksum {
            header.checksum = match ends {
                Ends::V4(source, destination) => header.calc_checksum_ipv4_raw(source, destination, payload),
                Ends::V6(source, destination) => header.calc_checksum_ipv6_raw(source, destination, payload),
            }
            .expect("an IP packet has less than 64 KiB");
        }
        header.to_bytes().to_vec()
    }
}

impl Frame<Ip<Udp>> {
    /// A checksum of zero, which says that there is none.
    #[must_use]
    pub fn no_checksum(mut self) -> Self {
        self.body.transport.checksum = false;
        self
    }
}

impl Icmp {
    pub(super) fn new(kind: u8, code: u8) -> Self {
        Self {
            kind,
            code,
            rest: [0; 4],
        }
    }

    pub(super) fn echo(source: IpAddr) -> Self {
        Self {
            kind: if source.is_ipv4() { ECHO } else { ECHO_V6 },
            code: 0,
            rest: [0, 1, 0, 1],
        }
    }
}

impl Transport for Icmp {
    fn protocol(&self, ends: Ends) -> u8 {
        match ends {
            Ends::V4(..) => IpNumber::ICMP.0,
            Ends::V6(..) => IpNumber::IPV6_ICMP.0,
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "a test with a packet that cannot be is to fail"
    )]
    fn header(&self, ends: Ends, payload: &[u8]) -> Vec<u8> {
        let Self { kind, code, rest } = *self;
        let checksum = match ends {
            Ends::V4(..) => Icmpv4Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8: rest,
            }
            .calc_checksum(payload),
            Ends::V6(source, destination) => Icmpv6Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8: rest,
            }
            .calc_checksum(source, destination, payload)
            .expect("an IP packet has less than 64 KiB"),
        };
        [&[kind, code][..], &checksum.to_be_bytes(), &rest].concat()
    }
}

impl Frame<Ip<Icmp>> {
    /// The identifier of an echo or another query.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.body.transport.rest[..2].copy_from_slice(&id.to_be_bytes());
        self
    }

    /// Its sequence number.
    #[must_use]
    pub fn sequence(mut self, number: u16) -> Self {
        self.body.transport.rest[2..].copy_from_slice(&number.to_be_bytes());
        self
    }

    /// Makes the message an echo reply; source and destination stay.
    #[must_use]
    pub fn reply(mut self) -> Self {
        self.body.transport.kind = match self.body.ends {
            Ends::V4(..) => ECHO_REPLY,
            Ends::V6(..) => ECHO_REPLY_V6,
        };
        self
    }

    /// The second half of the message's first eight bytes, e.g. an MTU.
    #[must_use]
    pub fn rest(mut self, rest: [u8; 4]) -> Self {
        self.body.transport.rest = rest;
        self
    }
}

impl Other {
    pub(super) fn new(protocol: u8) -> Self {
        Self(protocol)
    }
}

impl Transport for Other {
    fn protocol(&self, _: Ends) -> u8 {
        self.0
    }

    fn header(&self, _: Ends, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}
