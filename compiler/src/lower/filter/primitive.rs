//! Primitives but relations.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use onvm_bundle::filter::{
    self as lowered, Arith, Base, Comparison, DscpSet, Expr, Framing, Length, NetSet, PortSet, Size, Test,
    Transport, Version, Within,
};
use onvm_lang::{
    Diagnostic,
    syntax::{Direction, Family, FilterValue, Group, Operand, Primitive, PrimitiveKind, Protocol, Span},
};

use super::{Lowering, Names, Part, known::Known, logic, values::Member};
use crate::diagnostics::filters;

impl<N: Names> Lowering<'_, N> {
    pub(super) fn primitive(
        &mut self,
        primitive: &Primitive,
        span: Span,
        file: N::File,
        known: u8,
    ) -> Option<Part> {
        let at = self.names.span(file, span);
        self.count()?;
        let expr = match &primitive.kind {
            PrimitiveKind::Class(name) => return self.class(name, file, known),
            PrimitiveKind::Encapsulated { by, id } => {
                return self.encapsulated(*by, id.as_ref(), at, file, known);
            }
            PrimitiveKind::Group(group) => Some(self.group(*group)),
            PrimitiveKind::All => Some(Expr::Const(true)),
            PrimitiveKind::Protocol(protocol) => Some(self.test(protocol_test(*protocol))),
            PrimitiveKind::EtherHost { dir, mac } => self.mac(*dir, mac, file),
            PrimitiveKind::EtherProto(number) => {
                self.each_number(number, file, "ether proto", u16::MAX.into(), |number| {
                    Test::EtherProto(number as u16)
                })
            }
            PrimitiveKind::IpProto { family, number } => {
                let version = self.version(*family, "proto", at)?;
                self.each_number(number, file, "proto", u8::MAX.into(), |number| Test::Proto {
                    version,
                    number: number as u8,
                })
            }
            PrimitiveKind::ProtoChain { family, number } => {
                let version = self.version(*family, "protochain", at)?;
                self.each_number(number, file, "protochain", u8::MAX.into(), |number| {
                    Test::ProtoChain {
                        version,
                        number: number as u8,
                    }
                })
            }
            PrimitiveKind::Host { family, dir, addr } => self.net(*family, *dir, addr, file, Member::host),
            PrimitiveKind::Net { family, dir, net } => match net.node {
                FilterValue::Masked { addr, mask } => Some(self.masked(*family, *dir, addr, mask)),
                _ => self.net(*family, *dir, net, file, Member::net),
            },
            PrimitiveKind::Port { proto, dir, port } => self.port(*proto, *dir, port, at, file, "port"),
            PrimitiveKind::PortRange { proto, dir, range } => {
                self.port(*proto, *dir, range, at, file, "portrange")
            }
            PrimitiveKind::Less(bytes) => self.each(bytes, file, |member| {
                Ok(Test::Length(Length::AtMost(member.number("less", u32::MAX)?)))
            }),
            PrimitiveKind::Greater(bytes) => self.each(bytes, file, |member| {
                Ok(Test::Length(Length::AtLeast(member.number("greater", u32::MAX)?)))
            }),
            PrimitiveKind::Dscp(value) => self.dscp(value, file),
            PrimitiveKind::Relation { lhs, op, rhs } => self.relation(lhs, op.node, rhs, file),
        };
        let expr = expr?;
        self.check_place(&expr, at, known)?;
        Some(Part {
            expr,
            known: Known::same(known),
        })
    }

    pub(super) fn test(&self, test: Test) -> Expr {
        Expr::test_at(self.place.clone(), test)
    }

    /// One test for each value.
    fn each(
        &mut self,
        operand: &Operand,
        file: N::File,
        test: impl Fn(&Member) -> Result<Test, Diagnostic>,
    ) -> Option<Expr> {
        let tests = self.convert(operand, file, test)?;
        Some(logic::any(
            tests.into_iter().map(|test| self.test(test)).collect(),
        ))
    }

    /// One test for each number.
    fn each_number(
        &mut self,
        operand: &Operand,
        file: N::File,
        primitive: &str,
        most: u32,
        test: impl Fn(u32) -> Test,
    ) -> Option<Expr> {
        let ranges = self.convert(operand, file, |member| member.numbers(primitive, most))?;
        let tests = ranges.into_iter().flat_map(|(low, high)| low..=high);
        let tests: Vec<Expr> = tests.map(|number| self.test(test(number))).collect();
        self.size += tests.len();
        self.count()?;
        Some(logic::any(tests))
    }

    fn version(&mut self, family: Option<Family>, name: &str, at: Span) -> Option<Version> {
        match family {
            None => Some(Version::Any),
            Some(Family::Ip) => Some(Version::V4),
            Some(Family::Ip6) => Some(Version::V6),
            Some(Family::Arp) => self.fail(filters::qualifier(at, "arp", name, name)),
            Some(Family::Rarp) => self.fail(filters::qualifier(at, "rarp", name, name)),
        }
    }

    /// `ether broadcast`, `ip multicast`
    fn group(&self, group: Group) -> Expr {
        let byte = |at: u32, op: Comparison, value: u32| {
            self.test(Test::Relation {
                op,
                left: Arith::Load {
                    base: Base::L3,
                    at: Box::new(Arith::Const(at)),
                    size: Size::Byte,
                },
                right: Arith::Const(value),
            })
        };
        match group {
            Group::EtherMulticast => self.test(Test::EtherMulticast),
            Group::EtherBroadcast => self.test(Test::Mac {
                dir: lowered::Direction::Dst,
                macs: vec![lowered::Mac([0xff; 6])],
            }),
            // As libpcap has it, with the reserved addresses above those of groups.
            Group::IpMulticast => Expr::and([
                self.test(Test::EtherProto(0x0800)),
                byte(16, Comparison::Ge, 0xe0),
            ]),
            Group::Ip6Multicast => Expr::and([
                self.test(Test::EtherProto(0x86dd)),
                byte(24, Comparison::Eq, 0xff),
            ]),
        }
    }

    /// `net ADDR mask MASK` where the mask has holes: what libpcap does for any mask, spelled out.
    fn masked(&self, family: Option<Family>, dir: Direction, addr: Ipv4Addr, mask: Ipv4Addr) -> Expr {
        let at = |kind: u16, offset: u32| {
            let load = Arith::Load {
                base: Base::L3,
                at: Box::new(Arith::Const(offset)),
                size: Size::Word,
            };
            let masked = Arith::Binary {
                op: lowered::ArithOp::And,
                left: Box::new(load),
                right: Box::new(Arith::Const(mask.to_bits())),
            };
            Expr::and([
                self.test(Test::EtherProto(kind)),
                self.test(Test::Relation {
                    op: Comparison::Eq,
                    left: masked,
                    right: Arith::Const(addr.to_bits()),
                }),
            ])
        };
        let of = |kind: u16, src: u32, dst: u32| match dir {
            Direction::Src => at(kind, src),
            Direction::Dst => at(kind, dst),
            Direction::Either => Expr::or([at(kind, src), at(kind, dst)]),
            Direction::Both => Expr::and([at(kind, src), at(kind, dst)]),
        };
        let kinds = [
            (Family::Ip, 0x0800, 12, 16),
            (Family::Arp, 0x0806, 14, 24),
            (Family::Rarp, 0x8035, 14, 24),
        ];
        // Nothing but IP stands behind a label.
        let labelled = self.place.framing() == Framing::Mpls;
        let any = |kind: Family| family.is_none() && (kind == Family::Ip || !labelled);
        let wanted = kinds
            .into_iter()
            .filter(|(kind, ..)| family == Some(*kind) || any(*kind));
        Expr::or(wanted.map(|(_, kind, src, dst)| of(kind, src, dst)))
    }

    /// Every value of an operand; all errors are reported.
    pub(super) fn convert<T>(
        &mut self,
        operand: &Operand,
        file: N::File,
        convert: impl Fn(&Member) -> Result<T, Diagnostic>,
    ) -> Option<Vec<T>> {
        let members = self.members(operand, file)?;
        let mut values = Vec::with_capacity(members.len());
        for member in &members {
            match convert(member) {
                Ok(value) => values.push(value),
                Err(error) => self.found.push(error),
            }
        }
        (values.len() == members.len()).then_some(values)
    }

    fn mac(&mut self, dir: Direction, operand: &Operand, file: N::File) -> Option<Expr> {
        let mut macs = self.convert(operand, file, Member::mac)?;
        macs.sort_unstable();
        macs.dedup();
        Some(self.test(Test::Mac {
            dir: direction(dir),
            macs,
        }))
    }

    fn net(
        &mut self,
        family: Option<Family>,
        dir: Direction,
        operand: &Operand,
        file: N::File,
        convert: fn(&Member) -> Result<IpNet, Diagnostic>,
    ) -> Option<Expr> {
        let within = match family {
            None | Some(Family::Ip6) => Within::Any,
            Some(Family::Ip) => Within::Ip,
            Some(Family::Arp) => Within::Arp,
            Some(Family::Rarp) => Within::Rarp,
        };
        let nets = self.convert(operand, file, |member| match (convert(member)?, family) {
            (IpNet::V4(_), Some(Family::Ip6)) => {
                Err(filters::wrong_family(&member.described(), "ip6", "IPv4"))
            }
            (IpNet::V6(_), Some(Family::Ip)) => Err(filters::wrong_family(&member.described(), "ip", "IPv6")),
            (IpNet::V6(_), Some(Family::Arp)) => {
                Err(filters::wrong_family(&member.described(), "arp", "IPv6"))
            }
            (IpNet::V6(_), Some(Family::Rarp)) => {
                Err(filters::wrong_family(&member.described(), "rarp", "IPv6"))
            }
            (net, _) => Ok(net),
        })?;
        let dir = direction(dir);
        NetSet::new(nets).map(|nets| self.test(Test::Net { within, dir, nets }))
    }

    fn port(
        &mut self,
        proto: Option<Protocol>,
        dir: Direction,
        operand: &Operand,
        at: Span,
        file: N::File,
        name: &str,
    ) -> Option<Expr> {
        let transport = match proto {
            None => Transport::Any,
            Some(Protocol::Tcp) => Transport::Tcp,
            Some(Protocol::Udp) => Transport::Udp,
            Some(Protocol::Sctp) => Transport::Sctp,
            Some(other) => {
                let word = other.word();
                return self.fail(filters::qualifier(at, word, name, &format!("{word} and {name}")));
            }
        };
        let ports = self.convert(operand, file, |member| member.ports(name))?;
        let dir = direction(dir);
        PortSet::new(ports).map(|ports| {
            self.test(Test::Port {
                transport,
                dir,
                ports,
            })
        })
    }

    fn dscp(&mut self, operand: &Operand, file: N::File) -> Option<Expr> {
        let ranges = self.convert(operand, file, |member| member.numbers("dscp", 63))?;
        let values = ranges.into_iter().flat_map(|(low, high)| low..=high);
        DscpSet::new(values.map(|value| value as u8)).map(|set| self.test(Test::Dscp(set)))
    }
}

pub(super) fn protocol_test(protocol: Protocol) -> Test {
    let proto = |version, number| Test::Proto { version, number };
    match protocol {
        Protocol::Arp => Test::EtherProto(0x0806),
        Protocol::Ip => Test::EtherProto(0x0800),
        Protocol::Ip6 => Test::EtherProto(0x86dd),
        Protocol::Icmp => proto(Version::V4, 1),
        Protocol::Icmp6 => proto(Version::V6, 58),
        Protocol::Tcp => proto(Version::Any, 6),
        Protocol::Udp => proto(Version::Any, 17),
        Protocol::Sctp => proto(Version::Any, 132),
        Protocol::Igmp => proto(Version::V4, 2),
        Protocol::Igrp => proto(Version::V4, 9),
        Protocol::Pim => proto(Version::Any, 103),
        Protocol::Vrrp | Protocol::Carp => proto(Version::V4, 112),
        Protocol::Ah => proto(Version::Any, 51),
        Protocol::Esp => proto(Version::Any, 50),
        Protocol::Rarp => Test::EtherProto(0x8035),
        Protocol::Pppoed => Test::EtherProto(0x8863),
        Protocol::Atalk => Test::EtherProto(0x809b),
        Protocol::Aarp => Test::EtherProto(0x80f3),
        Protocol::Decnet => Test::EtherProto(0x6003),
        Protocol::Iso => Test::EtherProto(0xfe),
        Protocol::Stp => Test::EtherProto(0x42),
        Protocol::Ipx => Test::EtherProto(0xe0),
        Protocol::Netbeui => Test::EtherProto(0xf0),
    }
}

fn direction(dir: Direction) -> lowered::Direction {
    match dir {
        Direction::Src => lowered::Direction::Src,
        Direction::Dst => lowered::Direction::Dst,
        Direction::Either => lowered::Direction::Either,
        Direction::Both => lowered::Direction::Both,
    }
}
