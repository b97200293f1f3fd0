//! Rules as they are matched.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use nflib::headers::{Fragment, Headers, L3, L4, ethertype};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Accept,
    Drop,
}

/// One rule: all that it names must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// In the rules file, from 1.
    pub line: usize,
    /// The rule as written, one space between words.
    pub text: String,
    pub action: Action,
    pub family: Family,
    /// IP protocol number.
    pub protocol: Option<u8>,
    pub source: Side,
    pub destination: Side,
    /// TCP flags that are looked at, and those of them that must be set; the others must be clear.
    pub flags: (u8, u8),
    /// ICMP or ICMPv6 types; none named means all.
    pub icmp_types: Box<[Span]>,
    /// Number of the outer VLAN.
    pub vlan: Option<u16>,
    /// Matches later fragments only.
    pub fragment: bool,
}

/// Which packets by network layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Any,
    Ip,
    Ipv4,
    Ipv6,
    Ether(u16),
}

/// Addresses and ports of one end; an empty list means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    pub networks: Box<[Network]>,
    pub ports: Box<[Span]>,
}

/// A prefix, ready to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    is_ipv6: bool,
    bits: u128,
    mask: u128,
}

/// First and last number of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u16, pub u16);

/// What rules ask of a packet, looked up once.
#[derive(Debug)]
pub struct Facts {
    ethertype: Option<u16>,
    is_ip: bool,
    is_ipv6: bool,
    protocol: Option<u8>,
    source: u128,
    destination: u128,
    ports: Option<(u16, u16)>,
    flags: Option<u8>,
    icmp_type: Option<u8>,
    vlan: Option<u16>,
    later_fragment: bool,
}

impl Facts {
    #[inline(always)]
    pub fn of(headers: &Headers) -> Self {
        let (is_ip, is_ipv6, source, destination) = match headers.l3 {
            L3::Ipv4 { source, destination } => (
                true,
                false,
                u32::from(source).into(),
                u32::from(destination).into(),
            ),
            L3::Ipv6 { source, destination } => (true, true, source.into(), destination.into()),
            L3::Arp | L3::Other => (false, false, 0, 0),
        };
        let (flags, icmp_type) = match headers.l4 {
            L4::Tcp { flags, .. } => (Some(flags.0), None),
            L4::Icmp { kind, .. } | L4::Icmpv6 { kind, .. } => (None, Some(kind)),
            L4::Udp { .. } | L4::Sctp { .. } | L4::None => (None, None),
        };
        Self {
            ethertype: headers.ethertype,
            is_ip,
            is_ipv6,
            protocol: headers.protocol,
            source,
            destination,
            ports: headers.ports(),
            flags,
            icmp_type,
            vlan: headers.vlan,
            later_fragment: matches!(headers.fragment, Fragment::Later(_)),
        }
    }
}

impl Rule {
    /// Whether the rule decides on this packet.
    #[inline]
    pub fn matches(&self, facts: &Facts) -> bool {
        let family = match self.family {
            Family::Any => true,
            Family::Ip => facts.is_ip,
            Family::Ipv4 => facts.is_ip && !facts.is_ipv6,
            Family::Ipv6 => facts.is_ip && facts.is_ipv6,
            Family::Ether(number) => facts.ethertype == Some(number),
        };
        family
            && self.protocol.is_none_or(|p| facts.protocol == Some(p))
            && self
                .source
                .matches(facts, facts.source, facts.ports.map(|(source, _)| source))
            && self.destination.matches(
                facts,
                facts.destination,
                facts.ports.map(|(_, destination)| destination),
            )
            && (self.flags.0 == 0 || facts.flags.is_some_and(|f| f & self.flags.0 == self.flags.1))
            && within(&self.icmp_types, facts.icmp_type.map(u16::from))
            && self.vlan.is_none_or(|vlan| facts.vlan == Some(vlan))
            && (!self.fragment || facts.later_fragment)
    }
}

impl Side {
    #[inline(always)]
    fn matches(&self, facts: &Facts, address: u128, port: Option<u16>) -> bool {
        (self.networks.is_empty() || self.networks.iter().any(|n| n.contains(facts, address)))
            && within(&self.ports, port)
    }
}

impl Network {
    pub fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    #[inline(always)]
    fn contains(&self, facts: &Facts, address: u128) -> bool {
        facts.is_ip && self.is_ipv6 == facts.is_ipv6 && address & self.mask == self.bits
    }
}

/// `10.0.0.0/8`
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self.is_ipv6 {
            true => IpAddr::V6(self.bits.into()),
            false => IpAddr::V4((self.bits as u32).into()),
        };
        write!(f, "{address}/{}", self.mask.count_ones())
    }
}

impl From<IpNet> for Network {
    fn from(net: IpNet) -> Self {
        let number = |address| match address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        };
        Self {
            is_ipv6: matches!(net, IpNet::V6(_)),
            bits: number(net.network()),
            mask: number(net.netmask()),
        }
    }
}

/// Whether a number is in one of the ranges; with no ranges, every packet will do, those without the number included.
#[inline(always)]
fn within(spans: &[Span], number: Option<u16>) -> bool {
    spans.is_empty() || number.is_some_and(|n| spans.iter().any(|&Span(first, last)| first <= n && n <= last))
}

impl Family {
    pub const ARP: Self = Self::Ether(ethertype::ARP);
}
