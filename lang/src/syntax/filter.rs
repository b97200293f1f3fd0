//! Filters: the language of pcap-filter(7) with class names, `$lists` and `dscp`.
//!
//! Qualifier inheritance is resolved here: in `dst port 80 or 443` both primitives are
//! `Port { dir: Dst, .. }`, the second with [`Written::Inherited`].

use std::net::{IpAddr, Ipv4Addr};

use super::{Ident, Mac, Prefix, Spanned};

/// A filter, or a part of one.
pub type Filter = Spanned<FilterKind>;

/// The shape of a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterKind {
    /// Operands joined by `and` and `or`, which have equal precedence and associate left. Flat, so
    /// that a filter of 100,000 terms is not 100,000 levels deep. Fold from `first` through `rest`.
    Logic {
        /// The leftmost operand.
        first: Box<Filter>,
        /// Operator and operand, left to right; never empty.
        rest: Vec<LogicTerm>,
    },
    /// `not F`, `! F`
    Not(Box<Filter>),
    /// `( F )`. In `port (80 or 443)` the span covers the qualifiers too.
    Paren(Box<Filter>),
    /// One test of a packet.
    Primitive(Primitive),
    /// A part that did not parse; its diagnostic has been given. Treat it as matching anything.
    Error,
}

/// An operator and the operand right of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogicTerm {
    /// `and`, `&&`, `or` or `||`.
    pub op: Spanned<Logic>,
    /// The right operand.
    pub rhs: Filter,
}

/// The two binary connectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Logic {
    /// `and`, `&&`
    And,
    /// `or`, `||`
    Or,
}

/// One test with the qualifiers that are in force for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Primitive {
    /// The test.
    pub kind: PrimitiveKind,
    /// Where its qualifiers came from.
    pub written: Written,
}

/// Where a primitive's qualifiers came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Written {
    /// They stand before the value: `dst port 80`.
    Full,
    /// They are those of the primitive before: the `443` of `dst port 80 or 443`.
    Inherited,
    /// There are none: a bare address is a `host`, a bare prefix a `net`.
    Bare,
}

/// A literal, a `$name`, or a list of such.
pub type Operand = Spanned<FilterValue>;

/// The value of a primitive. Literals have been checked to suit the primitive (a port is at most
/// 65535, a host is an address); a `Ref` is the compiler's to resolve.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// A number; service and protocol names are numbers here.
    Number(u32),
    /// `80-90`, both ends included; the smaller comes first. Only for `portrange` and in lists.
    Range(u32, u32),
    /// An address.
    Addr(IpAddr),
    /// A prefix without host bits.
    Prefix(Prefix),
    /// `10.0.1.0 mask 255.0.255.0`: IPv4 addresses whose bits under the mask are these. A mask without holes makes a
    /// [`FilterValue::Prefix`].
    Masked {
        /// Without bits beyond the mask.
        addr: Ipv4Addr,
        /// With holes.
        mask: Ipv4Addr,
    },
    /// An Ethernet address.
    Mac(Mac),
    /// `$name`; the span of the operand covers the `$`.
    Ref(String),
    /// `[a, b]`: any of them; no list within.
    List(Vec<Operand>),
}

/// Which end of a packet a qualifier looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `src`
    Src,
    /// `dst`
    Dst,
    /// `src or dst`, and what holds when none is written
    #[default]
    Either,
    /// `src and dst`
    Both,
}

/// The network layer that a qualifier names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `ip`
    Ip,
    /// `ip6`
    Ip6,
    /// `arp`: only before `host` and `net`
    Arp,
    /// `rarp`: only before `host` and `net`
    Rarp,
}

/// Protocols that are a primitive by their name alone, or qualify one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `arp`
    Arp,
    /// `ip`
    Ip,
    /// `ip6`
    Ip6,
    /// `icmp`
    Icmp,
    /// `icmp6`
    Icmp6,
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
    /// `sctp`
    Sctp,
    /// `rarp`
    Rarp,
    /// `igmp`
    Igmp,
    /// `igrp`
    Igrp,
    /// `pim`
    Pim,
    /// `vrrp`
    Vrrp,
    /// `carp`
    Carp,
    /// `ah`
    Ah,
    /// `esp`
    Esp,
    /// `pppoed`
    Pppoed,
    /// `atalk`
    Atalk,
    /// `aarp`
    Aarp,
    /// `decnet`
    Decnet,
    /// `iso`
    Iso,
    /// `stp`
    Stp,
    /// `ipx`
    Ipx,
    /// `netbeui`
    Netbeui,
}

impl Protocol {
    /// Every one, in the order in which they are listed to a reader.
    pub const ALL: [Self; 24] = [
        Self::Arp,
        Self::Ip,
        Self::Ip6,
        Self::Icmp,
        Self::Icmp6,
        Self::Tcp,
        Self::Udp,
        Self::Sctp,
        Self::Rarp,
        Self::Igmp,
        Self::Igrp,
        Self::Pim,
        Self::Vrrp,
        Self::Carp,
        Self::Ah,
        Self::Esp,
        Self::Pppoed,
        Self::Atalk,
        Self::Aarp,
        Self::Decnet,
        Self::Iso,
        Self::Stp,
        Self::Ipx,
        Self::Netbeui,
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Rarp => "rarp",
            Self::Igmp => "igmp",
            Self::Igrp => "igrp",
            Self::Pim => "pim",
            Self::Vrrp => "vrrp",
            Self::Carp => "carp",
            Self::Ah => "ah",
            Self::Esp => "esp",
            Self::Pppoed => "pppoed",
            Self::Atalk => "atalk",
            Self::Aarp => "aarp",
            Self::Decnet => "decnet",
            Self::Iso => "iso",
            Self::Stp => "stp",
            Self::Ipx => "ipx",
            Self::Netbeui => "netbeui",
        }
    }
}

/// What one packet carries another in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// `vlan [ID]`
    Vlan,
    /// `mpls [LABEL]`
    Mpls,
    /// `pppoes [SESSION]`
    Pppoes,
    /// `geneve [VNI]`
    Geneve,
    /// `vxlan [VNI]`
    Vxlan,
}

impl Encapsulation {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Vlan, Self::Mpls, Self::Pppoes, Self::Geneve, Self::Vxlan];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vlan => "vlan",
            Self::Mpls => "mpls",
            Self::Pppoes => "pppoes",
            Self::Geneve => "geneve",
            Self::Vxlan => "vxlan",
        }
    }

    /// The largest number that can stand behind the word.
    pub fn most(self) -> u32 {
        match self {
            Self::Vlan => 0x0fff,
            Self::Mpls => 0x000f_ffff,
            Self::Pppoes => 0xffff,
            Self::Geneve | Self::Vxlan => 0x00ff_ffff,
        }
    }
}

/// Addresses of many receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// `ether broadcast`, `broadcast`
    EtherBroadcast,
    /// `ether multicast`, `multicast`
    EtherMulticast,
    /// `ip multicast`
    IpMulticast,
    /// `ip6 multicast`
    Ip6Multicast,
}

/// The tests.
#[derive(Debug, Clone, PartialEq)]
pub enum PrimitiveKind {
    /// `all`: every packet.
    All,
    /// A traffic class by its name.
    Class(Ident),
    /// `tcp`, `ip6`, ...
    Protocol(Protocol),
    /// `vlan [ID]`, `mpls [LABEL]` and so on; as in libpcap, primitives to its right look at what is carried.
    Encapsulated {
        /// In what.
        by: Encapsulation,
        /// The number if one is written.
        id: Option<Operand>,
    },
    /// `ether broadcast`, `ip multicast`
    Group(Group),
    /// `ether [host|src|dst] MAC`
    EtherHost {
        /// Which end.
        dir: Direction,
        /// A MAC.
        mac: Operand,
    },
    /// `ether proto N`
    EtherProto(Operand),
    /// `[ip|ip6] proto N`
    IpProto {
        /// `ip` or `ip6` if written.
        family: Option<Family>,
        /// 0-255.
        number: Operand,
    },
    /// `[ip|ip6] protochain N`
    ProtoChain {
        /// `ip` or `ip6` if written.
        family: Option<Family>,
        /// 0-255.
        number: Operand,
    },
    /// `[ip|ip6|arp|rarp] [src|dst] [host] ADDR`
    Host {
        /// The network layer if written.
        family: Option<Family>,
        /// Which end.
        dir: Direction,
        /// An address.
        addr: Operand,
    },
    /// `[ip|ip6|arp|rarp] [src|dst] net PREFIX`; an address stands for its /32 or /128. `src $name`
    /// without `host` or `net` is read as this, since a list may hold both.
    Net {
        /// The network layer if written.
        family: Option<Family>,
        /// Which end.
        dir: Direction,
        /// A prefix or an address.
        net: Operand,
    },
    /// `[tcp|udp|sctp|ip|ip6] [src|dst] port N`
    Port {
        /// The protocol if written.
        proto: Option<Protocol>,
        /// Which end.
        dir: Direction,
        /// 0-65535.
        port: Operand,
    },
    /// `[tcp|udp|sctp|ip|ip6] [src|dst] portrange A-B`
    PortRange {
        /// The protocol if written.
        proto: Option<Protocol>,
        /// Which end.
        dir: Direction,
        /// A range, or a single port.
        range: Operand,
    },
    /// `less N`: the frame is at most N bytes.
    Less(Operand),
    /// `greater N`: the frame is at least N bytes.
    Greater(Operand),
    /// `dscp N`: 0-63, IPv4 or IPv6.
    Dscp(Operand),
    /// `EXPR == EXPR`
    Relation {
        /// Left side.
        lhs: Expr,
        /// The comparison; unsigned, 32 bits.
        op: Spanned<Relation>,
        /// Right side.
        rhs: Expr,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`
    Gt,
    /// `<`
    Lt,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `=`, `==`
    Eq,
    /// `!=`
    Ne,
}

/// An arithmetic expression over 32-bit unsigned integers.
pub type Expr = Spanned<ExprKind>;

/// The shape of an expression; at most [`crate::MAX_NESTING`] levels deep.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number.
    Number(u32),
    /// A named constant: `tcpflags` (13), `tcp-syn` (2), `icmp-echo` (8).
    Named {
        /// The word.
        name: String,
        /// Its value.
        value: u32,
    },
    /// `$name`: a number; the span covers the `$`.
    Ref(String),
    /// `len`: the frame's length in bytes.
    Len,
    /// `HEADER[OFFSET:SIZE]`
    Load {
        /// The header from which the offset counts.
        header: Header,
        /// In bytes.
        offset: Box<Expr>,
        /// 1, 2 or 4 bytes, big-endian.
        size: u8,
    },
    /// `A + B`
    Binary {
        /// The operator.
        op: ArithOp,
        /// Left side.
        lhs: Box<Expr>,
        /// Right side.
        rhs: Box<Expr>,
    },
    /// `- A`
    Neg(Box<Expr>),
    /// `( A )`
    Paren(Box<Expr>),
}

/// Headers that can be read by offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Header {
    /// `ether`
    Ether,
    /// `arp`
    Arp,
    /// `ip`
    Ip,
    /// `ip6`
    Ip6,
    /// `icmp`
    Icmp,
    /// `icmp6`
    Icmp6,
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
    /// `sctp`
    Sctp,
    /// `rarp`
    Rarp,
    /// `igmp`
    Igmp,
    /// `igrp`
    Igrp,
    /// `pim`
    Pim,
    /// `vrrp`
    Vrrp,
    /// `carp`
    Carp,
}

/// Arithmetic operators with libpcap's precedence, loosest first: `|`, `&`, `<< >>`, `+ -`, `* /`.
/// `^` and `%` have none and take in all that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArithOp {
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `&`
    And,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
}

impl FilterKind {
    /// True when `and` and `or` stand side by side here without parentheses, as in `a or b and c`.
    /// Looks at this level only.
    pub fn mixes_and_or(&self) -> bool {
        let Self::Logic { rest, .. } = self else {
            return false;
        };
        rest.iter().any(|t| t.op.node == Logic::And) && rest.iter().any(|t| t.op.node == Logic::Or)
    }
}
