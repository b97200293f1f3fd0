//! A checked look at a packet's headers, and writing their fields.

use std::net::IpAddr;

use nflib::{
    Packet,
    headers::{Fragment, Headers, HeadersMut, L3, L4},
};

use crate::{
    burst::{onvm_burst, with_packet},
    checked,
    error::{Error, Result, onvm_status, status},
};

/// No value: of `vlan`, `inner_vlan`, `protocol`, `ttl` and `dscp` in `onvm_headers`.
pub const ONVM_NONE: u16 = 0xffff;

/// Of `ip` in `onvm_headers`, beside 4 and 6: ARP.
pub const ONVM_ARP: u8 = 1;

/// The transport header in `onvm_headers`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum onvm_transport {
    /// Another protocol, a later fragment, or too few bytes.
    ONVM_NO_TRANSPORT = 0,
    ONVM_TCP = 6,
    ONVM_UDP = 17,
    ONVM_SCTP = 132,
    ONVM_ICMP = 1,
    ONVM_ICMPV6 = 58,
}

/// What stands in a packet's headers, up to two VLAN tags and all IPv6 extension headers included. A packet that is cut short or
/// contradicts itself is read as far as that goes: every field that is set was read from bytes that are there. Numbers are in the
/// byte order of this machine, offsets in bytes from the start of the packet, checksums are not verified.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct onvm_headers {
    /// The EtherType behind the VLAN tags that were read, or the length of an 802.3 frame (below 0x600); 0: cut.
    pub ethertype: u16,
    /// VLAN number of the outer tag, 0 to 4095, or `ONVM_NONE`.
    pub vlan: u16,
    /// VLAN number of the inner tag of two, or `ONVM_NONE`.
    pub inner_vlan: u16,
    /// The IP protocol behind all extension headers, 0 to 255, or `ONVM_NONE`.
    pub protocol: u16,
    /// Time to live, in IPv6 hop limit, 0 to 255, or `ONVM_NONE`.
    pub ttl: u16,
    /// Differentiated services code point, 0 to 63, or `ONVM_NONE`.
    pub dscp: u16,
    /// Of TCP, UDP and SCTP; otherwise 0.
    pub source_port: u16,
    pub destination_port: u16,
    /// Where the network header starts.
    pub network_offset: u16,
    /// Where the transport header, or whatever follows the IP headers, starts; 0 where the packet is not IP.
    pub transport_offset: u16,
    /// The innermost payload that was reached; it ends where the headers say, before Ethernet padding.
    pub payload_offset: u16,
    pub payload_length: u16,
    /// Of a later fragment: bytes into the datagram.
    pub fragment_offset: u16,
    /// 4, 6, `ONVM_ARP`, or 0: neither, or a header of these that cannot be read.
    pub ip: u8,
    /// One of `enum onvm_transport`.
    pub transport: u8,
    /// The flags byte of a TCP header: FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20.
    pub tcp_flags: u8,
    /// Of ICMP and ICMPv6.
    pub icmp_type: u8,
    pub icmp_code: u8,
    /// 0: a whole datagram; 1: the first of several fragments; 2: a later one, which has no transport header.
    pub fragment: u8,
    /// Not 0: the packet is cut or malformed somewhere.
    pub faulty: u8,
    /// In network order; of IPv4 the first four bytes.
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

impl onvm_headers {
    fn read(packet: &[u8]) -> Self {
        let headers = Headers::parse(packet);
        let or_none = |value: Option<u16>| value.unwrap_or(ONVM_NONE);
        let payload = headers.payload(packet);
        let (source_port, destination_port) = headers.ports().unwrap_or_default();
        let mut read = Self {
            ethertype: headers.ethertype.unwrap_or(0),
            vlan: or_none(headers.vlan),
            inner_vlan: or_none(headers.inner_vlan),
            protocol: or_none(headers.protocol.map(u16::from)),
            ttl: or_none(headers.ttl(packet).map(u16::from)),
            dscp: or_none(headers.dscp(packet).map(u16::from)),
            source_port,
            destination_port,
            network_offset: headers.l3_offset,
            transport_offset: headers.l4_offset,
            payload_length: payload.len() as u16,
            faulty: headers.fault.is_some().into(),
            ..Self::default()
        };
        if !payload.is_empty() {
            read.payload_offset = (payload.as_ptr().addr() - packet.as_ptr().addr()) as u16;
        }
        read.addresses(&headers.l3);
        read.transport(&headers.l4);
        (read.fragment, read.fragment_offset) = match headers.fragment {
            Fragment::Whole => (0, 0),
            Fragment::First => (1, 0),
            Fragment::Later(offset) => (2, offset),
        };
        read
    }

    fn addresses(&mut self, l3: &L3) {
        match l3 {
            L3::Other => {}
            L3::Arp => self.ip = ONVM_ARP,
            L3::Ipv4 { source, destination } => {
                self.ip = 4;
                self.source[..4].copy_from_slice(&source.octets());
                self.destination[..4].copy_from_slice(&destination.octets());
            }
            L3::Ipv6 { source, destination } => {
                self.ip = 6;
                self.source = source.octets();
                self.destination = destination.octets();
            }
        }
    }

    fn transport(&mut self, l4: &L4) {
        use onvm_transport as is;
        let transport = match *l4 {
            L4::None => is::ONVM_NO_TRANSPORT,
            L4::Tcp { flags, .. } => {
                self.tcp_flags = flags.0;
                is::ONVM_TCP
            }
            L4::Udp { .. } => is::ONVM_UDP,
            L4::Sctp { .. } => is::ONVM_SCTP,
            L4::Icmp { kind, code } => {
                (self.icmp_type, self.icmp_code) = (kind, code);
                is::ONVM_ICMP
            }
            L4::Icmpv6 { kind, code } => {
                (self.icmp_type, self.icmp_code) = (kind, code);
                is::ONVM_ICMPV6
            }
        };
        self.transport = transport as u8;
    }
}

/// Reads the packet's headers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_headers(
    burst: *const onvm_burst,
    n: u32,
    headers: *mut onvm_headers,
) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    let read = unsafe { with_packet(burst, n, |packet| Ok(onvm_headers::read(packet.data()))) };
    // SAFETY: the caller gives null or a place for headers.
    status(read.and_then(|read| unsafe { checked::give(headers, "headers", read) }))
}

/// A field to be written by `onvm_set_field`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum onvm_field {
    /// Time to live, in IPv6 hop limit: 0 to 255. `ip.ttl` in the manifest.
    ONVM_TTL = 1,
    /// Differentiated services code point, 0 to 63; the bits of congestion notification stay. `ip.dscp`.
    ONVM_DSCP = 2,
    /// Of TCP or UDP: 0 to 65535. `tcp.src_port`, `udp.src_port`.
    ONVM_SOURCE_PORT = 3,
    /// Of TCP or UDP: 0 to 65535. `tcp.dst_port`, `udp.dst_port`.
    ONVM_DESTINATION_PORT = 4,
    /// The VLAN number of the outer tag, 0 to 4095; priority and drop eligibility stay. `vlan.id`.
    ONVM_VLAN = 5,
    /// That of the inner tag of two. `vlan.id`.
    ONVM_INNER_VLAN = 6,
    /// The identifier of ICMP echo and the other queries: 0 to 65535. `icmp.id`.
    ONVM_ICMP_ID = 7,
}

/// Writes a header field, one of `enum onvm_field`, and brings the checksums over it up to date by what changed (RFC 1624): of IPv4,
/// TCP, UDP, ICMP and ICMPv6. A checksum that was wrong stays wrong, so that damage remains visible; a UDP checksum of 0 (none)
/// stays 0. On an error nothing is written; `ONVM_MISSING`: the packet has no such field.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_set_field(
    burst: *mut onvm_burst,
    n: u32,
    field: u32,
    value: u16,
) -> onvm_status {
    use onvm_field as is;
    let byte = || {
        let too_large = || Error::argument(format_args!("expected at most 255, found {value}"));
        u8::try_from(value).map_err(|_| too_large())
    };
    let set = |headers: &mut HeadersMut<'_>| -> Result<()> {
        match field {
            f if f == is::ONVM_TTL as u32 => headers.set_ttl(byte()?)?,
            f if f == is::ONVM_DSCP as u32 => headers.set_dscp(byte()?)?,
            f if f == is::ONVM_SOURCE_PORT as u32 => headers.set_source_port(value)?,
            f if f == is::ONVM_DESTINATION_PORT as u32 => headers.set_destination_port(value)?,
            f if f == is::ONVM_VLAN as u32 => headers.set_vlan(value)?,
            f if f == is::ONVM_INNER_VLAN as u32 => headers.set_inner_vlan(value)?,
            f if f == is::ONVM_ICMP_ID as u32 => headers.set_icmp_id(value)?,
            other => {
                return Err(Error::argument(format_args!(
                    "expected one of `enum onvm_field`, found {other}"
                )));
            }
        }
        Ok(())
    };
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { write(burst, n, set) }
}

/// Writes the source address, and the checksums over it; see `onvm_set_field`. `length` is 4 or 16 bytes, as the packet's own IP
/// version has them. `ip.src` in the manifest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_set_source(
    burst: *mut onvm_burst,
    n: u32,
    address: *const u8,
    length: u32,
) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread, and so many bytes.
    unsafe { write(burst, n, |headers| Ok(headers.set_source(ip(address, length)?)?)) }
}

/// Writes the destination address, and the checksums over it; see `onvm_set_source`. `ip.dst` in the manifest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_set_destination(
    burst: *mut onvm_burst,
    n: u32,
    address: *const u8,
    length: u32,
) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread, and so many bytes.
    unsafe {
        write(burst, n, |headers| {
            Ok(headers.set_destination(ip(address, length)?)?)
        })
    }
}

/// Writes the source MAC address, of six bytes. `ether.src` in the manifest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_set_source_mac(burst: *mut onvm_burst, n: u32, mac: *const u8) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread, and null or six bytes.
    unsafe {
        write(burst, n, |headers| {
            let mac = checked::reference(mac.cast::<[u8; 6]>(), "mac")?;
            Ok(headers.set_source_mac(*mac)?)
        })
    }
}

/// Writes the destination MAC address, of six bytes. `ether.dst` in the manifest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_set_destination_mac(
    burst: *mut onvm_burst,
    n: u32,
    mac: *const u8,
) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread, and null or six bytes.
    unsafe {
        write(burst, n, |headers| {
            let mac = checked::reference(mac.cast::<[u8; 6]>(), "mac")?;
            Ok(headers.set_destination_mac(*mac)?)
        })
    }
}

/// The Internet checksum (RFC 1071) of a header after the covered bytes `old` have become `new`, by what changed (RFC 1624): for
/// fields that `onvm_set_field` does not know. All are in network order; both begin at an even offset from the start of what the
/// checksum covers. The old one where a pointer is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_checksum_updated(
    checksum: u16,
    old: *const u8,
    new: *const u8,
    length: usize,
) -> u16 {
    // SAFETY: the caller gives null or so many bytes, twice.
    let both = unsafe {
        (
            checked::list(old, length, "old"),
            checked::list(new, length, "new"),
        )
    };
    match both {
        (Ok(old), Ok(new)) => nflib::headers::checksum::updated(u16::from_be(checksum), old, new).to_be(),
        _ => checksum,
    }
}

/// # Safety
/// As of [`with_packet`].
unsafe fn write(
    burst: *mut onvm_burst,
    n: u32,
    write: impl FnOnce(&mut HeadersMut<'_>) -> Result<()>,
) -> onvm_status {
    let with = |mut packet: Packet<'_>| write(&mut packet.headers_mut()?);
    // SAFETY: as the caller of this function promises.
    status(unsafe { with_packet(burst, n, with) })
}

/// # Safety
/// The pointer is null or valid for reads of so many bytes.
unsafe fn ip(address: *const u8, length: u32) -> Result<IpAddr> {
    // SAFETY: as the caller of this function promises.
    let bytes = unsafe { checked::list(address, length as usize, "address") }?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    ip.map_err(|_| {
        let text = format!("expected an address of 4 or 16 bytes, found {length}");
        Error::new(onvm_status::ONVM_ARGUMENT, text)
    })
}
