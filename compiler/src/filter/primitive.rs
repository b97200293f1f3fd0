//! Primitives but relations.

use ipnet::IpNet;
use onvm_bundle::filter::{
    self as lowered, DscpSet, Expr, Length, NetSet, PortSet, Test, Transport, Version, Within,
};
use onvm_lang::{
    Diagnostic,
    syntax::{Direction, Family, Operand, Primitive, PrimitiveKind, Protocol, Span},
};

use super::{LastVlan, Lowering, Names, Part, known::Known, logic, pages, values::Member};

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
            PrimitiveKind::Vlan(id) => return self.vlan(id.as_ref(), at, file, known),
            PrimitiveKind::All => Some(Expr::Const(true)),
            PrimitiveKind::Protocol(protocol) => Some(self.test(protocol_test(*protocol))),
            PrimitiveKind::EtherHost { dir, mac } => self.mac(*dir, mac, file),
            PrimitiveKind::EtherProto(number) => self.each(number, file, |member| {
                let number = member.number("ether proto", u32::from(u16::MAX))?;
                Ok(Test::EtherProto(number as u16))
            }),
            PrimitiveKind::IpProto { family, number } => {
                let version = match family {
                    None => Version::Any,
                    Some(Family::Ip) => Version::V4,
                    Some(Family::Ip6) => Version::V6,
                    Some(Family::Arp) => return self.fail(pages::qualifier(at, "arp", "proto", "proto")),
                };
                self.each(number, file, |member| {
                    let number = member.number("proto", u32::from(u8::MAX))? as u8;
                    Ok(Test::Proto { version, number })
                })
            }
            PrimitiveKind::Host { family, dir, addr } => self.net(*family, *dir, addr, file, Member::host),
            PrimitiveKind::Net { family, dir, net } => self.net(*family, *dir, net, file, Member::net),
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
        self.warn_of_shift(&expr, at, known);
        Some(Part {
            expr,
            known: Known::same(known),
        })
    }

    pub(super) fn test(&self, test: Test) -> Expr {
        Expr::test(self.tags, test)
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

    /// Every value of an operand; all errors are reported.
    fn convert<T>(
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

    fn vlan(&mut self, id: Option<&Operand>, at: Span, file: N::File, known: u8) -> Option<Part> {
        let mut ids = match id {
            Some(operand) => self.convert(operand, file, |member| {
                member.number("vlan", 4095).map(|id| id as u16)
            }),
            None => Some(Vec::new()),
        };
        if let Some(ids) = &mut ids {
            ids.sort_unstable();
            ids.dedup();
        }
        let expr = ids.map(|ids| self.test(Test::Vlan(ids)));
        if let Some(expr) = &expr {
            self.warn_of_shift(expr, at, known);
        }
        let when_true = if self.tags <= known {
            known.max(self.tags.saturating_add(1))
        } else {
            known
        };
        match self.tags.checked_add(1) {
            Some(tags) => self.tags = tags,
            None => return self.fail(pages::too_many_tags(at)),
        }
        self.last_vlan = Some(LastVlan {
            span: at,
            warned: false,
        });
        Some(Part {
            expr: expr?,
            known: Known {
                when_true,
                when_false: known,
            },
        })
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
        };
        let nets = self.convert(operand, file, |member| match (convert(member)?, family) {
            (IpNet::V4(_), Some(Family::Ip6)) => Err(pages::wrong_family(member, "ip6", "IPv4")),
            (IpNet::V6(_), Some(Family::Ip)) => Err(pages::wrong_family(member, "ip", "IPv6")),
            (IpNet::V6(_), Some(Family::Arp)) => Err(pages::wrong_family(member, "arp", "IPv6")),
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
                let word = protocol_name(other);
                return self.fail(pages::qualifier(at, word, name, &format!("{word} and {name}")));
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
        let values = self.convert(operand, file, |member| {
            member.number("dscp", 63).map(|value| value as u8)
        })?;
        DscpSet::new(values).map(|set| self.test(Test::Dscp(set)))
    }

    /// Warns of a test behind a tag that the packet may not have; once for each `vlan`.
    fn warn_of_shift(&mut self, expr: &Expr, at: Span, known: u8) {
        let Some(vlan) = &mut self.last_vlan else { return };
        if !vlan.warned && self.tags > known && looks_behind_tags(expr) {
            vlan.warned = true;
            self.found.push(pages::behind_absent_tag(at, vlan.span));
        }
    }
}

fn looks_behind_tags(expr: &Expr) -> bool {
    match expr {
        Expr::Const(_) => false,
        Expr::And(of) | Expr::Or(of) => of.iter().any(looks_behind_tags),
        Expr::Not(of) => looks_behind_tags(of),
        Expr::Test(primitive) => match &primitive.test {
            Test::Mac { .. } | Test::Length(_) => false,
            Test::Relation { left, right, .. } => left.reads_beyond_link() || right.reads_beyond_link(),
            _ => true,
        },
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
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Arp => "arp",
        Protocol::Ip => "ip",
        Protocol::Ip6 => "ip6",
        Protocol::Icmp => "icmp",
        Protocol::Icmp6 => "icmp6",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
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
