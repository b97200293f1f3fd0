//! Writing header fields, and keeping the checksums over them right.

use std::{net::IpAddr, ops::Deref};

use super::{Fragment, Headers, L3, L4, checksum::updated, protocol};

/// A frame with its headers, for reading (as [`Headers`], to which it dereferences) and writing.
///
/// A setter writes one field, and brings the checksums that cover it up to date by what changed ([`checksum`](super::checksum)): of
/// IPv4, TCP, UDP, ICMP and ICMPv6. On an error nothing is written. A field can be written where [`Headers`] finds it, in a packet
/// that is cut behind it or has another fault as well.
///
/// - A UDP checksum of zero, which says that there is none, stays zero; one that comes out as zero is written as 0xffff.
/// - Later fragments have no transport header: they have no ports, and an address changes nothing but the IPv4 checksum. The
///   checksum in the first fragment covers the whole datagram, so whoever changes an address must change it in all fragments.
/// - The destination of an IPv6 packet that has routers of a routing header ahead of it is not the one that its transport checksum
///   covers (RFC 8200, 8.1), and leaves that as it is.
/// - What else covers these fields is left as it is: authentication headers, checksums of protocols other than the above, source
///   routes of IPv4, the home address of Mobile IPv6.
///
/// ```
/// # use nflib::headers::{HeadersMut, WriteError};
/// /// Sends the packet on as a router does; says whether it may live on.
/// fn route(frame: &mut [u8], next_hop: [u8; 6], own: [u8; 6]) -> Result<bool, WriteError> {
///     let mut headers = HeadersMut::parse(frame);
///     let Some(ttl @ 2..) = headers.ttl() else {
///         return Ok(false);
///     };
///     headers.set_ttl(ttl - 1)?;
///     headers.set_destination_mac(next_hop)?;
///     headers.set_source_mac(own)?;
///     Ok(true)
/// }
/// # assert_eq!(route(&mut [0; 60], [0; 6], [0; 6]), Ok(false));
/// ```
#[derive(Debug)]
pub struct HeadersMut<'a> {
    frame: &'a mut [u8],
    headers: Headers,
}

/// Why a field was not written. Fields are named as in manifests, e.g. `ip.src`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It is a packet of another protocol, a later fragment, or its header is cut or malformed.
    #[error("the packet has no field `{0}`")]
    Missing(&'static str),
    #[error("an address of IPv4 does not fit an IPv6 packet, nor the reverse")]
    OtherFamily,
    #[error("{value} does not fit the field `{field}`: expected at most {most}")]
    TooLarge {
        field: &'static str,
        value: u16,
        most: u16,
    },
    /// The transport header is cut, or behind extension headers that cannot be read.
    #[error("the checksum that covers `{0}` cannot be reached")]
    NoChecksum(&'static str),
    /// That of SCTP is a CRC over the whole packet.
    #[error("the checksum that covers `{0}` cannot be brought up to date by what changed")]
    Crc(&'static str),
}

/// A checksum of the transport layer.
#[derive(Debug, Clone, Copy)]
struct Transport {
    /// Bytes from the start of the frame.
    at: usize,
    /// Zero says that there is none.
    optional: bool,
}

impl Deref for HeadersMut<'_> {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl<'a> HeadersMut<'a> {
    /// As [`Headers::parse`].
    #[inline]
    pub fn parse(frame: &'a mut [u8]) -> Self {
        Self {
            headers: Headers::parse(frame),
            frame,
        }
    }

    /// The whole frame as it is by now.
    pub fn frame(&self) -> &[u8] {
        self.frame
    }

    /// As [`Headers::ttl`].
    pub fn ttl(&self) -> Option<u8> {
        self.headers.ttl(self.frame)
    }

    /// As [`Headers::dscp`].
    pub fn dscp(&self) -> Option<u8> {
        self.headers.dscp(self.frame)
    }

    /// As [`Headers::icmp_id`].
    pub fn icmp_id(&self) -> Option<u16> {
        self.headers.icmp_id(self.frame)
    }

    /// `ether.dst`.
    pub fn set_destination_mac(&mut self, mac: [u8; 6]) -> Result<(), WriteError> {
        self.set_mac("ether.dst", 0, mac)
    }

    /// `ether.src`.
    pub fn set_source_mac(&mut self, mac: [u8; 6]) -> Result<(), WriteError> {
        self.set_mac("ether.src", 6, mac)
    }

    /// The VLAN number of the outer tag, 0 to 4095; priority and drop eligibility stay. `vlan.id`.
    pub fn set_vlan(&mut self, id: u16) -> Result<(), WriteError> {
        self.headers.vlan = Some(self.set_tag(self.headers.vlan, 14, id)?);
        Ok(())
    }

    /// The VLAN number of the inner tag of two. `vlan.id`.
    pub fn set_inner_vlan(&mut self, id: u16) -> Result<(), WriteError> {
        self.headers.inner_vlan = Some(self.set_tag(self.headers.inner_vlan, 18, id)?);
        Ok(())
    }

    /// The source address, of the packet's own IP version. `ip.src`.
    pub fn set_source(&mut self, address: impl Into<IpAddr>) -> Result<(), WriteError> {
        const FIELD: &str = "ip.src";
        let transport = self.pseudo_header(FIELD)?;
        match (&mut self.headers.l3, address.into()) {
            (L3::Ipv4 { source, .. }, IpAddr::V4(new)) => {
                *source = new;
                self.write_ip(12, new.octets(), transport);
            }
            (L3::Ipv6 { source, .. }, IpAddr::V6(new)) => {
                *source = new;
                self.write_ip(8, new.octets(), transport);
            }
            (L3::Arp | L3::Other, _) => return Err(WriteError::Missing(FIELD)),
            _ => return Err(WriteError::OtherFamily),
        }
        Ok(())
    }

    /// The destination address, of the packet's own IP version. `ip.dst`.
    pub fn set_destination(&mut self, address: impl Into<IpAddr>) -> Result<(), WriteError> {
        const FIELD: &str = "ip.dst";
        let transport = self.pseudo_header(FIELD)?;
        let transport = transport.filter(|_| !self.has_routers_ahead());
        match (&mut self.headers.l3, address.into()) {
            (L3::Ipv4 { destination, .. }, IpAddr::V4(new)) => {
                *destination = new;
                self.write_ip(16, new.octets(), transport);
            }
            (L3::Ipv6 { destination, .. }, IpAddr::V6(new)) => {
                *destination = new;
                self.write_ip(24, new.octets(), transport);
            }
            (L3::Arp | L3::Other, _) => return Err(WriteError::Missing(FIELD)),
            _ => return Err(WriteError::OtherFamily),
        }
        Ok(())
    }

    /// Time to live, in IPv6 hop limit. `ip.ttl`.
    pub fn set_ttl(&mut self, ttl: u8) -> Result<(), WriteError> {
        match self.headers.l3 {
            L3::Ipv4 { .. } => {
                let protocol = self.ip_bytes::<2>(8)[1];
                self.write_ip(8, [ttl, protocol], None);
            }
            L3::Ipv6 { .. } => self.write_ip(7, [ttl], None),
            L3::Arp | L3::Other => return Err(WriteError::Missing("ip.ttl")),
        }
        Ok(())
    }

    /// Differentiated services code point, 0 to 63 (RFC 2474); the bits of congestion notification stay. `ip.dscp`.
    pub fn set_dscp(&mut self, dscp: u8) -> Result<(), WriteError> {
        let value = at_most("ip.dscp", u16::from(dscp), 0x3f)?;
        let word = u16::from_be_bytes(self.ip_bytes(0));
        let word = match self.headers.l3 {
            L3::Ipv4 { .. } => word & !0x00fc | value << 2,
            L3::Ipv6 { .. } => word & !0x0fc0 | value << 6,
            L3::Arp | L3::Other => return Err(WriteError::Missing("ip.dscp")),
        };
        self.write_ip(0, word.to_be_bytes(), None);
        Ok(())
    }

    /// The source port of TCP or UDP. `tcp.src_port` or `udp.src_port`.
    pub fn set_source_port(&mut self, port: u16) -> Result<(), WriteError> {
        match &mut self.headers.l4 {
            L4::Tcp { source_port, .. } | L4::Udp { source_port, .. } => *source_port = port,
            L4::Sctp { .. } => return Err(WriteError::Crc("sctp.src_port")),
            _ => return Err(WriteError::Missing("tcp.src_port")),
        }
        self.write_transport(0, port.to_be_bytes());
        Ok(())
    }

    /// The destination port of TCP or UDP. `tcp.dst_port` or `udp.dst_port`.
    pub fn set_destination_port(&mut self, port: u16) -> Result<(), WriteError> {
        match &mut self.headers.l4 {
            L4::Tcp { destination_port, .. } | L4::Udp { destination_port, .. } => *destination_port = port,
            L4::Sctp { .. } => return Err(WriteError::Crc("sctp.dst_port")),
            _ => return Err(WriteError::Missing("tcp.dst_port")),
        }
        self.write_transport(2, port.to_be_bytes());
        Ok(())
    }

    /// The identifier of the messages that [`Headers::icmp_id`] lists. `icmp.id`.
    pub fn set_icmp_id(&mut self, id: u16) -> Result<(), WriteError> {
        self.icmp_id().ok_or(WriteError::Missing("icmp.id"))?;
        self.write_transport(4, id.to_be_bytes());
        Ok(())
    }

    fn set_mac(&mut self, field: &'static str, at: usize, mac: [u8; 6]) -> Result<(), WriteError> {
        match self.headers.ethertype {
            Some(_) => self.write(at, mac, None),
            None => return Err(WriteError::Missing(field)),
        }
        Ok(())
    }

    fn set_tag(&mut self, present: Option<u16>, at: usize, id: u16) -> Result<u16, WriteError> {
        const FIELD: &str = "vlan.id";
        present.ok_or(WriteError::Missing(FIELD))?;
        let id = at_most(FIELD, id, 0xfff)?;
        let tag = u16::from_be_bytes(self.bytes(at)) & !0xfff | id;
        self.write(at, tag.to_be_bytes(), None);
        Ok(id)
    }

    /// The checksum of the transport layer that covers the addresses, if there is one; an error if it should be there and cannot
    /// be reached.
    fn pseudo_header(&self, field: &'static str) -> Result<Option<Transport>, WriteError> {
        if let L4::Tcp { .. } | L4::Udp { .. } | L4::Icmpv6 { .. } = self.headers.l4 {
            return Ok(self.transport());
        }
        let v6 = matches!(self.headers.l3, L3::Ipv6 { .. });
        let lost = match (self.headers.fragment, self.headers.protocol) {
            (Fragment::Later(_), _) | (_, None) => false,
            (_, Some(protocol::TCP | protocol::UDP | protocol::AUTHENTICATION)) => {
                self.headers.l4 == L4::None
            }
            // The walk over the headers ended at one that it could not read.
            (_, Some(protocol::ICMPV6)) => v6,
            (_, Some(kind)) => v6 && protocol::is_extension(kind),
        };
        match lost {
            true => Err(WriteError::NoChecksum(field)),
            false => Ok(None),
        }
    }

    /// The checksum in the transport header.
    fn transport(&self) -> Option<Transport> {
        let (at, optional) = match self.headers.l4 {
            L4::Tcp { .. } => (16, false),
            L4::Udp { .. } => (6, true),
            L4::Icmp { .. } | L4::Icmpv6 { .. } => (2, false),
            L4::Sctp { .. } | L4::None => return None,
        };
        let at = usize::from(self.headers.l4_offset) + at;
        Some(Transport { at, optional })
    }

    /// Whether an IPv6 packet's destination is not its last.
    fn has_routers_ahead(&self) -> bool {
        let segments_left = |at: usize| self.frame.get(at + 3).is_some_and(|left| *left > 0);
        self.headers
            .extensions(self.frame)
            .any(|(kind, bytes)| kind == protocol::ROUTING && segments_left(bytes.start))
    }

    fn write_ip<const N: usize>(&mut self, at: usize, new: [u8; N], transport: Option<Transport>) {
        let l3 = usize::from(self.headers.l3_offset);
        if let L3::Ipv4 { .. } = self.headers.l3 {
            self.update(l3 + 10, &self.bytes::<N>(l3 + at), &new);
        }
        self.write(l3 + at, new, transport);
    }

    fn write_transport(&mut self, at: usize, new: [u8; 2]) {
        self.write(usize::from(self.headers.l4_offset) + at, new, self.transport());
    }

    fn write<const N: usize>(&mut self, at: usize, new: [u8; N], transport: Option<Transport>) {
        if let Some(Transport { at: sum, optional }) = transport {
            let absent = optional && self.bytes(sum) == [0, 0];
            if !absent {
                self.update(sum, &self.bytes::<N>(at), &new);
                if optional && self.bytes(sum) == [0, 0] {
                    self.put(sum, [0xff, 0xff]);
                }
            }
        }
        self.put(at, new);
    }

    /// Brings the checksum at `sum` up to date.
    fn update(&mut self, sum: usize, old: &[u8], new: &[u8]) {
        let checksum = u16::from_be_bytes(self.bytes(sum));
        self.put(sum, updated(checksum, old, new).to_be_bytes());
    }

    fn ip_bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes(usize::from(self.headers.l3_offset) + at)
    }

    /// Bytes of a header that was found, which are there.
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        super::array(self.frame, at).unwrap_or([0; N])
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, at: usize, new: [u8; N]) {
        if let Some(bytes) = self.frame.get_mut(at..at + N) {
            bytes.copy_from_slice(&new);
        }
    }
}

fn at_most(field: &'static str, value: u16, most: u16) -> Result<u16, WriteError> {
    match value <= most {
        true => Ok(value),
        false => Err(WriteError::TooLarge { field, value, most }),
    }
}
