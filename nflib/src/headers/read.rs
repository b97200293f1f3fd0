//! Reading the headers of a frame: [`Headers::parse`], layer by layer.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Fault, Fragment, Headers, L3, L4, Layer, MAX_EXTENSIONS, TcpFlags, array, be16, ethertype, protocol,
};

impl Headers {
    pub(super) fn ethernet(&mut self, packet: &[u8]) -> Result<(), Fault> {
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
                kind if protocol::is_extension(kind) => extension_length(bytes, at, |n| (n + 1) * 8)?,
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
