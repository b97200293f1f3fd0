//! Qualifiers: which header, which end and what kind of value.

use super::lex::Tok;
use super::operand::Wants;
use super::{Parsed, Parser, names};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Direction, Family, FilterValue, PrimitiveKind, Protocol};

/// The qualifiers before a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quals {
    pub(super) ether: bool,
    proto: Option<Protocol>,
    dir: Option<Direction>,
    pub(super) ty: Option<Type>,
}

/// What kind of value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    ProtoChain,
}

pub(super) fn type_word(word: &str) -> Option<Type> {
    Some(match word {
        "host" => Type::Host,
        "net" => Type::Net,
        "port" => Type::Port,
        "portrange" => Type::PortRange,
        "proto" => Type::Proto,
        "protochain" => Type::ProtoChain,
        _ => return None,
    })
}

impl Parser<'_, '_> {
    pub(super) fn quals(&mut self) -> Parsed<Quals> {
        let mut quals = Quals::default();
        if let Some(Tok::Word(word)) = self.peek() {
            quals.proto = names::protocol(word);
            quals.ether = word == "ether";
            self.at += usize::from(quals.ether || quals.proto.is_some());
        }
        quals.dir = self.direction();
        if let Some(Tok::Word(word)) = self.peek() {
            quals.ty = type_word(word);
            self.at += usize::from(quals.ty.is_some());
        }
        self.check_quals(&quals)?;
        Ok(quals)
    }

    fn direction(&mut self) -> Option<Direction> {
        let (other, alone) = if self.eat_word("src") {
            ("dst", Direction::Src)
        } else if self.eat_word("dst") {
            ("src", Direction::Dst)
        } else {
            return None;
        };
        let both = match self.peek() {
            Some(Tok::Word(w)) if w == "or" => Direction::Either,
            Some(Tok::Word(w)) if w == "and" => Direction::Both,
            _ => return Some(alone),
        };
        // `src or dst port 80`; but `src 10.0.0.1 or ...` never comes here, since a value is next.
        if self.peek_at(1).is_some_and(|t| t.is_word(other)) {
            self.at += 2;
            return Some(both);
        }
        Some(alone)
    }

    /// Refuses combinations that libpcap refuses too.
    fn check_quals(&mut self, quals: &Quals) -> Parsed<()> {
        let wrong = match (quals.ty, quals.proto) {
            (Some(Type::Proto | Type::ProtoChain), _) if quals.dir.is_some() => {
                Some("`proto` has no `src` or `dst`")
            }
            (Some(Type::ProtoChain), _) if quals.ether => {
                Some("only `ip` and `ip6` stand before `protochain`")
            }
            (Some(Type::Proto | Type::ProtoChain), Some(Protocol::Ip | Protocol::Ip6) | None) => None,
            (Some(Type::Proto), Some(_)) => Some("only `ip`, `ip6` and `ether` stand before `proto`"),
            (Some(Type::ProtoChain), Some(_)) => Some("only `ip` and `ip6` stand before `protochain`"),
            (Some(Type::Port | Type::PortRange), Some(p))
                if !matches!(
                    p,
                    Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Ip | Protocol::Ip6
                ) =>
            {
                Some("only `tcp`, `udp` and `sctp` stand before `port`")
            }
            (Some(Type::Host | Type::Net) | None, Some(p))
                if !matches!(p, Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp) =>
            {
                Some(
                    "only `ip`, `ip6`, `arp`, `rarp` and `ether` stand before an address; join with `and`: `tcp and src 10.0.0.1`",
                )
            }
            (Some(Type::Net | Type::Port | Type::PortRange), _) if quals.ether => {
                Some("`ether` stands before `host`, `src`, `dst` and `proto`")
            }
            _ => None,
        };
        match wrong {
            None => Ok(()),
            Some(help) => {
                let found = Diagnostic::error(
                    codes::FILTER,
                    "these qualifiers do not go together",
                    self.last(),
                    "this does not go with what stands before it",
                )
                .help(help);
                self.fail(found)
            }
        }
    }

    /// The primitive for a value under qualifiers; the value is next.
    pub(super) fn qualified(&mut self, quals: Quals) -> Parsed<PrimitiveKind> {
        let dir = quals.dir.unwrap_or_default();
        let family = match quals.proto {
            Some(Protocol::Ip) => Some(Family::Ip),
            Some(Protocol::Ip6) => Some(Family::Ip6),
            Some(Protocol::Arp) => Some(Family::Arp),
            Some(Protocol::Rarp) => Some(Family::Rarp),
            _ => None,
        };
        Ok(match quals.ty {
            Some(Type::Proto) if quals.ether => {
                PrimitiveKind::EtherProto(self.operand_value(Wants::EtherProto)?)
            }
            Some(Type::Proto) => PrimitiveKind::IpProto {
                family,
                number: self.operand_value(Wants::IpProto)?,
            },
            Some(Type::ProtoChain) => PrimitiveKind::ProtoChain {
                family,
                number: self.operand_value(Wants::IpProto)?,
            },
            Some(Type::Port) => PrimitiveKind::Port {
                proto: quals.proto,
                dir,
                port: self.operand_value(Wants::Port)?,
            },
            Some(Type::PortRange) => PrimitiveKind::PortRange {
                proto: quals.proto,
                dir,
                range: self.operand_value(Wants::PortRange)?,
            },
            _ if quals.ether => PrimitiveKind::EtherHost {
                dir,
                mac: self.operand_value(Wants::Mac)?,
            },
            ty => {
                let wants = match ty {
                    Some(Type::Host) => Wants::Addr,
                    Some(_) => Wants::Net,
                    None => Wants::AddrOrNet,
                };
                let value = self.operand_value(wants)?;
                self.check_family(family, &value)?;
                let single = matches!(value.node, FilterValue::Addr(_));
                if ty == Some(Type::Host) || (ty.is_none() && single) {
                    PrimitiveKind::Host {
                        family,
                        dir,
                        addr: value,
                    }
                } else {
                    PrimitiveKind::Net {
                        family,
                        dir,
                        net: value,
                    }
                }
            }
        })
    }
}
