//! Lowered packet filters: what a filter of the chain language means, in the form that the runtime
//! evaluates at ingress.
//!
//! # Meaning
//! That of pcap-filter(7) as libpcap 1.10 compiles it for Ethernet without its optimiser, for every
//! packet, truncated and malformed ones included:
//! - Operands of `and` and `or` are tried left to right and no further than needed.
//! - A load beyond the captured bytes rejects the packet at once, whatever `not` stands around it. So
//!   does a division by zero.
//! - Each `vlan` shifts everything to its right in the text by one tag of 4 bytes, whether or not the
//!   packet has that tag, and so do `mpls`, `pppoes` and `geneve` by what they stand for. The shift is resolved
//!   when lowering: [`Primitive::place`] says what a test looks behind.
//! - One test over many values means the `or` of the tests over each, in order.
//!
//! ```
//! # use onvm_filter::Expr;
//! let web: Expr = "(and (tcp) (port dst 80 443))".parse()?;
//! assert!(!web.matches(&[0; 60], 60));
//! # Ok::<(), onvm_filter::ParseError>(())
//! ```
//!
//! # Where libpcap's optimiser differs from libpcap
//! tcpdump runs an optimiser over the compiled filter, and it changes the meaning of some filters.
//! This module keeps the meaning of the unoptimised code, which is the documented one. Seen in 1.10.3
//! and pinned in the test `filters/optimiser.rs`:
//! - It drops loads whose value does not matter (`ether[100] & 0 = 0`, `net 0.0.0.0/0`, the last
//!   words of `net 2001:db8::/32`), and reorders tests to load a field once
//!   (`ip or ether[99] = 1 or arp`). A packet too short for such a load is rejected here and may pass
//!   tcpdump. Packets with whole headers never show the difference, unless the filter itself loads
//!   bytes behind their end.
//! - It takes `X & 0xffffffff != 0` for always true; here it is `X != 0`.
//! - A test that stands twice in one filter may lose one of its ways to succeed
//!   (`net 2001:db8::/49 and net 2001:db8::/49` takes only packets whose destination matches). About
//!   one random filter in 50,000 has such a fault.
//!
//! The property tests `filters/libpcap.rs`, here and in the compiler, hold all this to
//! libpcap.

#![forbid(unsafe_code)]

mod arith;
mod classifier;
mod cubes;
mod cuts;
mod display;
mod eval;
pub mod flow;
mod flow_cache;
mod flow_match;
mod flow_rules;
mod flow_text;
mod fragments;
mod parse;
mod place;
mod reach;
mod rules;
mod sets;
mod tags;
mod uses;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use arith::{Arith, ArithOp, Base, Comparison, Size};
pub use classifier::Classifier;
pub use flow_cache::FlowCache;
pub use flow_match::FlowMatch;
pub use flow_rules::FlowRules;
pub use flow_text::NotAFlow;
pub use parse::{MAX_TEXT, ParseError};
pub use place::{Framing, Layer, Place};
pub use rules::{MAX_LINE, MAX_RULES, MAX_WORD, Rule, RuleText, Rules, RulesError, is_word};
pub use sets::{DscpSet, NetSet, NumberSet, PortRange, PortSet};
pub use tags::without_tags;
pub use uses::Fields;

/// The deepest nesting of an [`Expr`] that [`Expr::from_str`](std::str::FromStr) and
/// [`Expr::check_depth`] accept. Evaluation recurses as deep.
pub const MAX_DEPTH: usize = 256;

/// A filter over Ethernet frames. See the [module](self) for its meaning.
///
/// Build it with [`Expr::and`], [`Expr::or`] and [`Expr::negate`], which keep the canonical form:
/// no operand of `And` is an `And`, none of `Or` an `Or`, and each has at least two. Only canonical
/// expressions survive a round trip through text unchanged; others come back canonical.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Every packet, or none.
    Const(bool),
    /// All of these, tried in order.
    And(Vec<Self>),
    /// Any of these, tried in order.
    Or(Vec<Self>),
    /// The contrary; a packet rejected by a load stays rejected.
    Not(Box<Self>),
    /// One test.
    Test(Primitive),
}

/// One test and the place of the headers that it looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Primitive {
    /// What stands before the headers that the test reads. Of tests of the link header it is only what stands
    /// before that, and [`Test::Length`] has none.
    pub place: Place,
    /// The test.
    pub test: Test,
}

/// What is tested. Values are big-endian as on the wire; `l3` is the first byte behind the EtherType.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// `ether [src|dst] host MAC`: any of these, sorted.
    Mac {
        /// Which address.
        dir: Direction,
        /// Sorted, without duplicates, not empty.
        macs: Vec<Mac>,
    },
    /// `ether multicast`: the lowest bit of the first byte.
    EtherMulticast,
    /// `ip`, `ip6`, `arp`, `ether proto N`. Up to 1500 it is an LLC service access point; IPX,
    /// AppleTalk and AARP match each of their encapsulations, as in libpcap.
    EtherProto(u16),
    /// `vlan [ID]`: EtherType 0x8100, 0x88a8 or 0x9100, and any of these ids; none means any id.
    /// Tests to its right have one tag more.
    Vlan(Vec<u16>),
    /// `mpls [LABEL]`: EtherType 0x8847 or a label that is not the bottom of its stack, and any of these labels; none means any
    /// label. Tests to its right have one label more.
    Mpls(NumberSet),
    /// `pppoes [SESSION]`: EtherType 0x8864, and any of these sessions; none means any. Tests to its right look into PPP.
    Pppoes(NumberSet),
    /// `geneve [VNI]`, `vxlan [VNI]`: any of these networks; none means any. Tests to its right look at what is carried.
    Tunnel(Tunnel, NumberSet),
    /// `[ip|ip6] protochain N`: the protocol or one of those behind the extension headers that libpcap knows.
    ProtoChain {
        /// Which version of IP.
        version: Version,
        /// The protocol number.
        number: u8,
    },
    /// `[ip|ip6] proto N`, `tcp`, `udp`, ... For IPv6 the next header of the fixed header, or that of
    /// a fragment header right behind it.
    Proto {
        /// Which version of IP.
        version: Version,
        /// The protocol number.
        number: u8,
    },
    /// The fragment offset of an IPv4 packet is 0. Reads those bits of any packet: it stands behind a
    /// test for IPv4.
    FirstFragment,
    /// `[src|dst] host ADDR`, `[src|dst] net PREFIX`: any of these.
    Net {
        /// Where IPv4 addresses are looked for.
        within: Within,
        /// Which address.
        dir: Direction,
        /// The prefixes.
        nets: NetSet,
    },
    /// `[src|dst] port N`, `[src|dst] portrange A-B`: any of these. True only of the first fragment of
    /// an IPv4 packet, and of an IPv6 packet without extension headers.
    Port {
        /// The protocols looked at.
        transport: Transport,
        /// Which port.
        dir: Direction,
        /// The ports.
        ports: PortSet,
    },
    /// `less N`, `greater N`: the length on the wire.
    Length(Length),
    /// `dscp N`: the upper six bits of the IPv4 TOS byte or of the IPv6 traffic class.
    Dscp(DscpSet),
    /// `EXPR == EXPR`. Loads check no protocol: the tests that libpcap implies stand before it.
    Relation {
        /// The comparison.
        op: Comparison,
        /// Left side.
        left: Arith,
        /// Right side.
        right: Arith,
    },
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Which end of a packet is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The source.
    Src,
    /// The destination.
    Dst,
    /// The source or the destination, tried in this order.
    Either,
    /// Both, the same value of a set for both.
    Both,
}

/// A tunnel over UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// Port 6081, version 0.
    Geneve,
    /// Port 4789, with a network identifier.
    Vxlan,
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// IPv4
    V4,
    /// IPv6
    V6,
    /// Either.
    Any,
}

/// The packets in which [`Test::Net`] looks for an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Within {
    /// IPv4, and the protocol addresses of ARP and RARP. IPv6 addresses: IPv6.
    Any,
    /// IPv4 only.
    Ip,
    /// ARP only.
    Arp,
    /// RARP only.
    Rarp,
}

/// The protocols whose ports [`Test::Port`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, UDP and SCTP.
    Any,
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// A bound on the length on the wire, in bytes, without the frame check sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Length {
    /// `less N`
    AtMost(u32),
    /// `greater N`
    AtLeast(u32),
}

impl Expr {
    /// Conjunction, in canonical form; of nothing: every packet.
    #[must_use]
    pub fn and(operands: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for operand in operands {
            match operand {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Const(true),
            1 => flat.swap_remove(0),
            _ => Self::And(flat),
        }
    }

    /// Disjunction, in canonical form; of nothing: no packet.
    #[must_use]
    pub fn or(operands: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for operand in operands {
            match operand {
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Const(false),
            1 => flat.swap_remove(0),
            _ => Self::Or(flat),
        }
    }

    /// Negation.
    #[must_use]
    pub fn negate(operand: Self) -> Self {
        Self::Not(Box::new(operand))
    }

    /// A test behind `tags` VLAN tags.
    #[must_use]
    pub fn test(tags: u8, test: Test) -> Self {
        Self::test_at(Place::behind_tags(tags), test)
    }

    /// A test behind other headers.
    #[must_use]
    pub fn test_at(place: Place, test: Test) -> Self {
        let place = match &test {
            Test::Length(_) => Place::default(),
            Test::Mac { .. } | Test::EtherMulticast => place.link(),
            Test::Relation { left, right, .. } if !left.reads_beyond_link() && !right.reads_beyond_link() => {
                place.link()
            }
            _ => place,
        };
        Self::Test(Primitive { place, test })
    }

    /// Levels of nesting, arithmetic included; a lone test is 1.
    pub fn depth(&self) -> usize {
        match self {
            Self::Const(_) => 1,
            Self::And(of) | Self::Or(of) => 1 + of.iter().map(Self::depth).max().unwrap_or(0),
            Self::Not(of) => 1 + of.depth(),
            Self::Test(primitive) => match &primitive.test {
                Test::Relation { left, right, .. } => 1 + left.depth().max(right.depth()),
                _ => 1,
            },
        }
    }

    /// True when the nesting is within [`MAX_DEPTH`], so that text made of it can be read back.
    pub fn check_depth(&self) -> bool {
        self.depth() <= MAX_DEPTH
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
