//! Evaluation: no allocation, no panic, recursion bounded by the depth of the expression.

use ipnet::IpNet;

use crate::{
    Direction, Expr, Framing, Length, Mac, NetSet, NumberSet, PortSet, Primitive, Test, Transport, Tunnel,
    Version, Within,
    place::{Headers, Network},
    sets::v6_range,
};

/// The packet was rejected by a load beyond its captured bytes or a division by zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected;

type Decision = Result<bool, Rejected>;

/// Bytes before the EtherType of an untagged frame, and with it.
pub(crate) const LINK_TYPE: usize = 12;
pub(crate) const LINK_HEADER: usize = 14;
pub(crate) const TAG: usize = 4;

pub(crate) const IP: u16 = 0x0800;
pub(crate) const IP6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
/// The number of MPLS in PPP.
const PPP_MPLS: u16 = 0x0281;
const PPPOES: u16 = 0x8864;
const ETHERNET_MTU: u16 = 1500;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const IP6_FRAGMENT: u8 = 44;

impl Expr {
    /// Whether the filter takes the packet: its captured bytes from the Ethernet header on, and its
    /// length on the wire in bytes.
    pub fn matches(&self, packet: &[u8], wire_len: u32) -> bool {
        self.decide(packet, wire_len).unwrap_or(false)
    }

    /// As [`Expr::matches`], but none when the packet was rejected because it is too short for the
    /// filter (or by a division by zero). A negation does not turn this into a match.
    pub fn decide(&self, packet: &[u8], wire_len: u32) -> Option<bool> {
        self.eval(&Frame { packet, wire_len }).ok()
    }

    fn eval(&self, frame: &Frame<'_>) -> Decision {
        match self {
            Self::Const(value) => Ok(*value),
            Self::And(of) => all(of, |operand| operand.eval(frame)),
            Self::Or(of) => any(of, |operand| operand.eval(frame)),
            Self::Not(of) => of.eval(frame).map(|value| !value),
            Self::Test(primitive) => primitive.eval(frame),
        }
    }
}

impl Primitive {
    fn eval(&self, frame: &Frame<'_>) -> Decision {
        if let Test::Length(length) = &self.test {
            return Ok(match *length {
                Length::AtMost(bytes) => frame.wire_len <= bytes,
                Length::AtLeast(bytes) => frame.wire_len >= bytes,
            });
        }
        let headers = &self.place.find(frame)?;
        let l3 = headers.l3;
        let network = || headers.network(frame);
        match &self.test {
            Test::Length(_) => Ok(false),
            Test::Mac { dir, macs } => Ok(headers.has_link() && mac(frame, headers.link, *dir, macs)?),
            Test::EtherMulticast => Ok(headers.has_link() && frame.u8(headers.link)? & 1 != 0),
            Test::EtherProto(value) => ether_proto(frame, headers, *value),
            Test::Vlan(ids) => Ok(matches!(frame.u16(headers.link_type)?, 0x8100 | 0x88a8 | 0x9100)
                && (ids.is_empty() || ids.binary_search(&(frame.u16(l3)? & 0x0fff)).is_ok())),
            Test::Mpls(labels) => Ok(label_follows(frame, headers)?
                && (labels.is_empty() || labels.contains(frame.u32(l3)? >> 12))),
            // The session is the second half of the word that libpcap loads.
            Test::Pppoes(sessions) => Ok(frame.u16(headers.link_type)? == PPPOES
                && (sessions.is_empty() || sessions.contains(frame.u32(l3)? & 0xffff))),
            Test::Tunnel(tunnel, networks) => tunnel.eval(frame, headers, networks),
            Test::ProtoChain { version, number } => proto_chain(frame, network()?, l3, *version, *number),
            Test::Proto { version, number } => proto(frame, network()?, l3, *version, *number),
            Test::FirstFragment => first_fragment(frame, l3),
            Test::Net { within, dir, nets } => net(frame, network()?, l3, *within, *dir, nets),
            Test::Port {
                transport,
                dir,
                ports,
            } => port(frame, network()?, l3, *transport, *dir, ports),
            Test::Dscp(values) => match network()? {
                Network::Ip => Ok(values.contains(frame.u8(l3 + 1)? >> 2)),
                Network::Ip6 => Ok(values.contains((frame.u16(l3)? >> 6) as u8 & 0x3f)),
                _ => Ok(false),
            },
            Test::Relation { op, left, right } => {
                Ok(op.holds(left.value(frame, headers)?, right.value(frame, headers)?))
            }
        }
    }
}

/// Whether an MPLS label stands where the network header is looked for.
fn label_follows(frame: &Frame<'_>, headers: &Headers) -> Decision {
    match headers.framing {
        Framing::Ethernet => Ok(frame.u16(headers.link_type)? == MPLS),
        Framing::Ppp => Ok(frame.u16(headers.link_type)? == PPP_MPLS),
        Framing::Mpls => Ok(frame.u8(headers.l3 - 2)? & 1 == 0),
    }
}

impl Tunnel {
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Geneve => 6081,
            Self::Vxlan => 4789,
        }
    }

    fn eval(self, frame: &Frame<'_>, headers: &Headers, networks: &NumberSet) -> Decision {
        let l3 = headers.l3;
        let udp = match headers.network(frame)? {
            Network::Ip if frame.u8(l3 + 9)? == UDP && first_fragment(frame, l3)? => {
                l3 + frame.ip4_header_len(l3)? as usize
            }
            Network::Ip6 if frame.u8(l3 + 6)? == UDP => l3 + 40,
            _ => return Ok(false),
        };
        if frame.u16(udp + 2)? != self.port() {
            return Ok(false);
        }
        let flags = frame.u8(udp + 8)?;
        let known = match self {
            Self::Geneve => flags & 0xc0 == 0,
            Self::Vxlan => flags & 0x08 != 0,
        };
        if !known || !networks.is_empty() && !networks.contains(frame.u32(udp + 12)? >> 8) {
            return Ok(false);
        }
        if self == Self::Geneve {
            // What is carried, which libpcap looks at here.
            frame.u16(udp + 10)?;
        }
        Ok(true)
    }
}

fn mac(frame: &Frame<'_>, link: usize, dir: Direction, macs: &[Mac]) -> Decision {
    let has = |at| frame.mac(at).map(|mac| macs.binary_search(&mac).is_ok());
    let (dst, src) = (link, link + 6);
    match dir {
        Direction::Dst => has(dst),
        Direction::Src => has(src),
        Direction::Either => Ok(has(src)? || has(dst)?),
        Direction::Both => Ok(frame.mac(src)? == frame.mac(dst)? && has(src)?),
    }
}

/// The special cases are the encapsulations that libpcap knows of: DSAP and SSAP for the protocols
/// over plain LLC, SNAP for AppleTalk and AARP, and all four framings of IPX.
fn ether_proto(frame: &Frame<'_>, headers: &Headers, value: u16) -> Decision {
    let l3 = headers.l3;
    let link_type = match headers.framing {
        Framing::Ethernet => frame.u16(headers.link_type)?,
        framing @ Framing::Ppp => return Ok(frame.u16(headers.link_type)? == framing.number_of(value)),
        Framing::Mpls => {
            return Ok(match headers.network(frame)? {
                Network::Ip => value == IP,
                Network::Ip6 => value == IP6,
                _ => false,
            });
        }
    };
    let llc = || link_type <= ETHERNET_MTU;
    let snap = |oui: u32, kind: u32| -> Decision {
        Ok(frame.u32(l3 + 4)? == (oui << 16 | kind) && frame.u32(l3)? == (0xaaaa_0300 | oui >> 16))
    };
    match value {
        0x06 | 0xf0 | 0xfe => Ok(llc() && frame.u16(l3)? == value << 8 | value),
        0xe0 => Ok(link_type == 0x8137
            || llc() && (snap(0, 0x8137)? || frame.u8(l3)? == 0xe0 || frame.u16(l3)? == 0xffff)),
        0x809b => Ok(link_type == value || llc() && snap(0x08_0007, 0x809b)?),
        0x80f3 => Ok(link_type == value || llc() && snap(0, 0x80f3)?),
        0..=ETHERNET_MTU => Ok(llc() && u16::from(frame.u8(l3)?) == value),
        _ => Ok(link_type == value),
    }
}

fn proto(frame: &Frame<'_>, network: Network, l3: usize, version: Version, number: u8) -> Decision {
    match (network, version) {
        (Network::Ip, Version::V4 | Version::Any) => Ok(frame.u8(l3 + 9)? == number),
        (Network::Ip6, Version::V6 | Version::Any) => {
            let next = frame.u8(l3 + 6)?;
            Ok(next == number || next == IP6_FRAGMENT && frame.u8(l3 + 40)? == number)
        }
        _ => Ok(false),
    }
}

/// The most headers that are followed. libpcap follows them without end, and comes back to one that it has seen
/// where an authentication header says so.
const MAX_CHAIN: usize = 256;
/// No next header.
const IP6_NONE: u8 = 59;
const AUTHENTICATION: u8 = 51;

/// Follows the chain as libpcap does: from an authentication header it goes on at the offset that should have been
/// added to where it stands.
fn proto_chain(frame: &Frame<'_>, network: Network, l3: usize, version: Version, number: u8) -> Decision {
    let (mut next, mut at) = match (network, version) {
        (Network::Ip, Version::V4 | Version::Any) => (frame.u8(l3 + 9)?, frame.ip4_header_len(l3)? as usize),
        (Network::Ip6, Version::V6 | Version::Any) => (frame.u8(l3 + 6)?, 40),
        _ => return Ok(false),
    };
    for _ in 0..MAX_CHAIN {
        let extension = network == Network::Ip6 && matches!(next, 0 | 43 | IP6_FRAGMENT | 60);
        if next == number || next == IP6_NONE || !(extension || next == AUTHENTICATION) {
            return Ok(next == number);
        }
        let kind = frame.u8(l3 + at)?;
        let length = usize::from(frame.u8(l3 + at + 1)?);
        at = if extension {
            at + (length + 1) * 8
        } else {
            (length + 2) * 4
        };
        next = kind;
    }
    Err(Rejected)
}

fn first_fragment(frame: &Frame<'_>, l3: usize) -> Decision {
    Ok(frame.u16(l3 + 6)? & 0x1fff == 0)
}

fn net(
    frame: &Frame<'_>,
    network: Network,
    l3: usize,
    within: Within,
    dir: Direction,
    nets: &NetSet,
) -> Decision {
    let (src, dst) = match (network, within) {
        (Network::Ip, Within::Any | Within::Ip) => (l3 + 12, l3 + 16),
        (Network::Arp, Within::Any | Within::Arp) | (Network::Rarp, Within::Any | Within::Rarp) => {
            (l3 + 14, l3 + 24)
        }
        (Network::Ip6, Within::Any) => return net6(frame, l3, dir, nets),
        _ => return Ok(false),
    };
    if nets.ranges_v4().is_empty() {
        return Ok(false);
    }
    Ends {
        src: frame.u32(src),
        dst: frame.u32(dst),
        any: |addr| nets.contains_v4(addr),
        first: |addr| nets.first_v4_contains(addr),
        both: |src, dst| nets.one_v4_contains_both(src, dst),
    }
    .decide(dir)
}

fn net6(frame: &Frame<'_>, l3: usize, dir: Direction, nets: &NetSet) -> Decision {
    let (src, dst) = (l3 + 8, l3 + 24);
    let (Ok(src_addr), Ok(dst_addr)) = (frame.u128(src), frame.u128(dst)) else {
        return net6_truncated(frame, (src, dst), dir, nets.members());
    };
    Ok(match dir {
        Direction::Src => nets.contains_v6(src_addr),
        Direction::Dst => nets.contains_v6(dst_addr),
        Direction::Either => nets.contains_v6(src_addr) || nets.contains_v6(dst_addr),
        Direction::Both => nets.one_v6_contains_both(src_addr, dst_addr),
    })
}

/// The addresses are cut off: word by word and member by member, as the `or` of the members would.
#[cold]
fn net6_truncated(
    frame: &Frame<'_>,
    (src, dst): (usize, usize),
    dir: Direction,
    members: &[IpNet],
) -> Decision {
    let end = |at: usize, (low, high): (u128, u128)| -> Decision {
        for word in 0..4 {
            let shift = 96 - 32 * word;
            let mask = !(low ^ high) >> shift;
            let found = u128::from(frame.u32(at + 4 * word)?);
            if (found ^ low >> shift) & mask & u128::from(u32::MAX) != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    };
    for range in members.iter().filter_map(v6_range) {
        let hit = match dir {
            Direction::Src => end(src, range)?,
            Direction::Dst => end(dst, range)?,
            Direction::Either => end(src, range)? || end(dst, range)?,
            Direction::Both => end(src, range)? && end(dst, range)?,
        };
        if hit {
            return Ok(true);
        }
    }
    Ok(false)
}

fn port(
    frame: &Frame<'_>,
    network: Network,
    l3: usize,
    transport: Transport,
    dir: Direction,
    ports: &PortSet,
) -> Decision {
    let has_ports = |protocol| match transport {
        Transport::Any => matches!(protocol, TCP | UDP | SCTP),
        Transport::Tcp => protocol == TCP,
        Transport::Udp => protocol == UDP,
        Transport::Sctp => protocol == SCTP,
    };
    let l4 = match network {
        Network::Ip6 if has_ports(frame.u8(l3 + 6)?) => l3 + 40,
        Network::Ip if has_ports(frame.u8(l3 + 9)?) && first_fragment(frame, l3)? => {
            l3 + frame.ip4_header_len(l3)? as usize
        }
        _ => return Ok(false),
    };
    Ends {
        src: frame.u16(l4),
        dst: frame.u16(l4 + 2),
        any: |port| ports.contains(port),
        first: |port| ports.first_contains(port),
        both: |src, dst| ports.one_contains_both(src, dst),
    }
    .decide(dir)
}

/// The two ends of a packet against a set: `src`, then `dst`, for one member after the other.
struct Ends<T, Any, First, Both> {
    src: Result<T, Rejected>,
    dst: Result<T, Rejected>,
    /// Some member holds the value.
    any: Any,
    /// The first member holds the value.
    first: First,
    /// One member holds both values.
    both: Both,
}

impl<T, Any, First, Both> Ends<T, Any, First, Both>
where
    T: Copy,
    Any: Fn(T) -> bool,
    First: Fn(T) -> bool,
    Both: Fn(T, T) -> bool,
{
    fn decide(self, dir: Direction) -> Decision {
        match dir {
            Direction::Src => self.src.map(self.any),
            Direction::Dst => self.dst.map(self.any),
            Direction::Either => {
                let src = self.src?;
                match self.dst {
                    Ok(dst) => Ok((self.any)(src) || (self.any)(dst)),
                    // The first member that does not hold the source reads the destination.
                    Err(Rejected) if (self.first)(src) => Ok(true),
                    Err(Rejected) => Err(Rejected),
                }
            }
            Direction::Both => {
                let src = self.src?;
                match self.dst {
                    Ok(dst) => Ok((self.both)(src, dst)),
                    // The first member that holds the source reads the destination.
                    Err(Rejected) if (self.any)(src) => Err(Rejected),
                    Err(Rejected) => Ok(false),
                }
            }
        }
    }
}

fn all<T>(of: &[T], mut decide: impl FnMut(&T) -> Decision) -> Decision {
    for operand in of {
        if !decide(operand)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any<T>(of: &[T], mut decide: impl FnMut(&T) -> Decision) -> Decision {
    for operand in of {
        if decide(operand)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The captured bytes, read only within their bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) packet: &'a [u8],
    pub(crate) wire_len: u32,
}

impl Frame<'_> {
    pub(crate) fn wire_len(&self) -> u32 {
        self.wire_len
    }

    pub(crate) fn u8(&self, at: usize) -> Result<u8, Rejected> {
        self.packet.get(at).copied().ok_or(Rejected)
    }

    pub(crate) fn u16(&self, at: usize) -> Result<u16, Rejected> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&self, at: usize) -> Result<u32, Rejected> {
        self.array(at).map(u32::from_be_bytes)
    }

    fn u128(&self, at: usize) -> Result<u128, Rejected> {
        self.array(at).map(u128::from_be_bytes)
    }

    /// libpcap loads the lower four bytes of an address first, then the upper two, so a frame that
    /// ends within an address is rejected either way.
    fn mac(&self, at: usize) -> Result<Mac, Rejected> {
        self.array(at).map(Mac)
    }

    /// Four times the low half of the byte at `l3`.
    pub(crate) fn ip4_header_len(&self, l3: usize) -> Result<u32, Rejected> {
        Ok(u32::from(self.u8(l3)? & 0x0f) * 4)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Rejected> {
        self.packet
            .get(at..)
            .and_then(|rest| rest.first_chunk::<N>())
            .copied()
            .ok_or(Rejected)
    }
}
