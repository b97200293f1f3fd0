//! The canonical text of a filter: an S-expression on one line.
//!
//! A test is `(NAME[@PLACE] ARGUMENTS)`, where `@PLACE` is the number of VLAN tags before the headers
//! that it reads, or the layers of other kinds: `@1.mpls2`. The names are those of pcap-filter(7) where it has one.

use std::fmt::{self, Display, Formatter, Write};

use crate::{
    Arith, ArithOp, Base, Comparison, Direction, Expr, Length, PortRange, Primitive, Test, Transport, Tunnel,
    Version, Within,
};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Const(true) => f.write_str("(all)"),
            Self::Const(false) => f.write_str("(none)"),
            Self::And(of) => list(f, "and", of),
            Self::Or(of) => list(f, "or", of),
            Self::Not(of) => write!(f, "(not {of})"),
            Self::Test(primitive) => primitive.fmt(f),
        }
    }
}

fn list(f: &mut Formatter<'_>, name: &str, of: &[Expr]) -> fmt::Result {
    write!(f, "({name}")?;
    of.iter().try_for_each(|operand| write!(f, " {operand}"))?;
    f.write_char(')')
}

impl Display for Primitive {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({}", self.test.name())?;
        if !self.place.layers().is_empty() {
            write!(f, "@{}", self.place)?;
        }
        self.test.arguments(f)?;
        f.write_char(')')
    }
}

impl Test {
    fn name(&self) -> &'static str {
        match self {
            Self::Mac { .. } => "mac",
            Self::EtherProto(0x0800) => "ip",
            Self::EtherProto(0x86dd) => "ip6",
            Self::EtherProto(0x0806) => "arp",
            Self::EtherProto(0x8035) => "rarp",
            Self::EtherProto(_) => "ether-proto",
            Self::EtherMulticast => "ether-multicast",
            Self::Vlan(_) => "vlan",
            Self::Mpls(_) => "mpls",
            Self::Pppoes(_) => "pppoes",
            Self::Tunnel(Tunnel::Geneve, _) => "geneve",
            Self::Tunnel(Tunnel::Vxlan, _) => "vxlan",
            Self::ProtoChain { version, .. } => match version {
                Version::V4 => "ip-protochain",
                Version::V6 => "ip6-protochain",
                Version::Any => "protochain",
            },
            Self::Proto { version, number } => proto_name(*version, *number),
            Self::FirstFragment => "first-fragment",
            Self::Net { within, .. } => match within {
                Within::Any => "net",
                Within::Ip => "ip-net",
                Within::Arp => "arp-net",
                Within::Rarp => "rarp-net",
            },
            Self::Port { transport, .. } => match transport {
                Transport::Any => "port",
                Transport::Tcp => "tcp-port",
                Transport::Udp => "udp-port",
                Transport::Sctp => "sctp-port",
            },
            Self::Length(Length::AtMost(_)) => "less",
            Self::Length(Length::AtLeast(_)) => "greater",
            Self::Dscp(_) => "dscp",
            Self::Relation { op, .. } => match op {
                Comparison::Eq => "=",
                Comparison::Ne => "!=",
                Comparison::Lt => "<",
                Comparison::Le => "<=",
                Comparison::Gt => ">",
                Comparison::Ge => ">=",
            },
        }
    }

    fn arguments(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac { dir, macs } => {
                dir.fmt(f)?;
                values(f, macs)
            }
            Self::EtherProto(0x0800 | 0x86dd | 0x0806 | 0x8035)
            | Self::FirstFragment
            | Self::EtherMulticast => Ok(()),
            Self::EtherProto(value) => write!(f, " {value:#06x}"),
            Self::Vlan(ids) => values(f, ids),
            Self::Mpls(numbers) | Self::Pppoes(numbers) | Self::Tunnel(_, numbers) => numbers
                .ranges()
                .iter()
                .try_for_each(|(low, high)| match low == high {
                    true => write!(f, " {low}"),
                    false => write!(f, " {low}-{high}"),
                }),
            Self::ProtoChain { number, .. } => write!(f, " {number}"),
            Self::Proto { version, number } => match proto_name(*version, *number) {
                "proto" | "ip-proto" | "ip6-proto" => write!(f, " {number}"),
                _ => Ok(()),
            },
            Self::Net { dir, nets, .. } => {
                dir.fmt(f)?;
                values(f, nets.members())
            }
            Self::Port { dir, ports, .. } => {
                dir.fmt(f)?;
                values(f, ports.members())
            }
            Self::Length(Length::AtMost(bytes) | Length::AtLeast(bytes)) => write!(f, " {bytes}"),
            Self::Dscp(set) => values(f, set.iter()),
            Self::Relation { left, right, .. } => write!(f, " {left} {right}"),
        }
    }
}

fn proto_name(version: Version, number: u8) -> &'static str {
    match (version, number) {
        (Version::Any, 6) => "tcp",
        (Version::Any, 17) => "udp",
        (Version::Any, 132) => "sctp",
        (Version::V4, 1) => "icmp",
        (Version::V6, 58) => "icmp6",
        (Version::Any, _) => "proto",
        (Version::V4, _) => "ip-proto",
        (Version::V6, _) => "ip6-proto",
    }
}

fn values<T: Display>(f: &mut Formatter<'_>, of: impl IntoIterator<Item = T>) -> fmt::Result {
    of.into_iter().try_for_each(|value| write!(f, " {value}"))
}

/// With a leading space; nothing for [`Direction::Either`].
impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Src => " src",
            Self::Dst => " dst",
            Self::Either => "",
            Self::Both => " both",
        })
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

impl Display for Arith {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Const(value) => write!(f, "{value}"),
            Self::Len => f.write_str("(len)"),
            Self::Load { base, at, size } => {
                let base = match base {
                    Base::Frame => "frame",
                    Base::L3 => "l3",
                    Base::Ip4Payload => "ip4-payload",
                    Base::Ip6Payload => "ip6-payload",
                };
                write!(f, "({base} {at} {})", size.bytes())
            }
            Self::Neg(of) => write!(f, "(neg {of})"),
            Self::Binary { op, left, right } => write!(f, "({} {left} {right})", op.symbol()),
        }
    }
}

impl ArithOp {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
            Self::Shl => "<<",
            Self::Shr => ">>",
        }
    }
}
