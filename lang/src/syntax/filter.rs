//! Filters: the language of pcap-filter(7) with class names, `$lists` and `dscp`.
//!
//! Qualifier inheritance is resolved here: in `dst port 80 or 443` both primitives are
//! `Port { dir: Dst, .. }`, the second with [`Written::Inherited`].

use std::net::IpAddr;

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
    /// `80-90`, both ends included; the smaller comes first.
    Range(u16, u16),
    /// An address.
    Addr(IpAddr),
    /// A prefix without host bits.
    Prefix(Prefix),
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
    /// `vlan [ID]`; as in libpcap, primitives to its right look behind the tag.
    Vlan(Option<Operand>),
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
    /// `[ip|ip6|arp] [src|dst] [host] ADDR`
    Host {
        /// The network layer if written.
        family: Option<Family>,
        /// Which end.
        dir: Direction,
        /// An address.
        addr: Operand,
    },
    /// `[ip|ip6|arp] [src|dst] net PREFIX`; an address stands for its /32 or /128. `src $name`
    /// without `host` or `net` is read as this, for a list may hold both.
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
