//! Later fragments of IPv4 packets, which have no transport header: tests that read one do not take them.

use crate::{Arith, Base, Expr, Place, Primitive, Size, Test, Transport, Version};

/// Bytes of an IPv4 header with flags and fragment offset, from its beginning.
const OFFSET_BYTES: std::ops::Range<u32> = 6..8;
/// Where it begins in a frame without tags.
const IP_HEADER: u32 = 14;
const OFFSET: u32 = 0x1fff;

impl Expr {
    /// The later IPv4 fragments of packets that the filter may take. None: it reads no transport header, speaks of fragments itself, or
    /// looks into what is carried.
    #[must_use]
    pub fn later_fragments(&self) -> Option<Self> {
        let mut reads_transport = false;
        let of = self.beside_transport(true, &mut reads_transport)?;
        let ip = Self::test(0, Test::EtherProto(0x0800));
        let later = Self::negate(Self::test(0, Test::FirstFragment));
        reads_transport.then(|| Self::and([ip, later, of]))
    }

    /// What the filter takes at most (`wide`) or at least, whatever a transport header says.
    fn beside_transport(&self, wide: bool, reads: &mut bool) -> Option<Self> {
        Some(match self {
            Self::Const(value) => Self::Const(*value),
            Self::And(of) => Self::And(
                of.iter()
                    .map(|e| e.beside_transport(wide, reads))
                    .collect::<Option<_>>()?,
            ),
            Self::Or(of) => Self::Or(
                of.iter()
                    .map(|e| e.beside_transport(wide, reads))
                    .collect::<Option<_>>()?,
            ),
            Self::Not(of) => Self::negate(of.beside_transport(!wide, reads)?),
            Self::Test(Primitive { place, .. })
                if *place != Place::default() && *place != Place::default().link() =>
            {
                return None;
            }
            Self::Test(Primitive { test, .. }) => match test {
                Test::Port { transport, .. } => {
                    *reads = true;
                    if wide {
                        of_transport(*transport)
                    } else {
                        Self::Const(false)
                    }
                }
                Test::FirstFragment => {
                    *reads = true;
                    Self::Const(wide)
                }
                Test::Relation { left, right, .. } => match (left.reads(), right.reads()) {
                    (Reads::Fragments, _) | (_, Reads::Fragments) => return None,
                    (Reads::Transport, _) | (_, Reads::Transport) => {
                        *reads = true;
                        Self::Const(wide)
                    }
                    (Reads::Others, Reads::Others) => self.clone(),
                },
                _ => self.clone(),
            },
        })
    }
}

impl Expr {
    /// The filter that takes an IPv4 packet without tags exactly if this one takes it with these flags and this fragment offset
    /// of a later fragment. None: it reads them together with other bytes, or looks into what is carried. Checksums
    /// are taken to be as they were.
    #[must_use]
    pub fn as_fragment(&self, flags_and_offset: u16) -> Option<Self> {
        Some(match self {
            Self::Const(value) => Self::Const(*value),
            Self::And(of) => Self::and(joined(of, false, flags_and_offset)?),
            Self::Or(of) => Self::or(joined(of, true, flags_and_offset)?),
            Self::Not(of) => match of.as_fragment(flags_and_offset)? {
                Self::Const(value) => Self::Const(!value),
                other => Self::negate(other),
            },
            Self::Test(Primitive { place, test }) => {
                let here = place.layers().is_empty();
                match test {
                    Test::Vlan(_) | Test::Mpls(_) | Test::Pppoes(_) if here => Self::Const(false),
                    Test::Port { .. } | Test::Tunnel(..) if here => Self::Const(false),
                    Test::FirstFragment if here => Self::Const(u32::from(flags_and_offset) & OFFSET == 0),
                    Test::Relation { op, left, right } if here => {
                        let side = |of: &Arith| of.as_fragment(flags_and_offset);
                        match (side(left)?, side(right)?) {
                            (Arith::Const(left), Arith::Const(right)) => Self::Const(op.holds(left, right)),
                            (left, right) => {
                                Self::test_at(place.clone(), Test::Relation { op: *op, left, right })
                            }
                        }
                    }
                    _ if here => self.clone(),
                    _ => return None,
                }
            }
        })
    }

    /// Whether the filter asks for the fragment offset or the flags beside it.
    #[must_use]
    pub fn names_fragments(&self) -> bool {
        match self {
            Self::Const(_) => false,
            Self::And(of) | Self::Or(of) => of.iter().any(Self::names_fragments),
            Self::Not(of) => of.names_fragments(),
            Self::Test(Primitive { test, .. }) => match test {
                Test::Relation { left, right, .. } => left.names_fragments() || right.names_fragments(),
                _ => false,
            },
        }
    }
}

/// Operands of `or`, or else of `and`. What stands behind one that decides is not looked at.
fn joined(of: &[Expr], or: bool, flags_and_offset: u16) -> Option<Vec<Expr>> {
    let mut kept = Vec::new();
    for operand in of {
        match operand.as_fragment(flags_and_offset)? {
            Expr::Const(value) if value != or => {}
            Expr::Const(value) => {
                kept.push(Expr::Const(value));
                break;
            }
            other => kept.push(other),
        }
    }
    Some(kept)
}

impl Arith {
    fn as_fragment(&self, flags_and_offset: u16) -> Option<Self> {
        let [high, low] = flags_and_offset.to_be_bytes();
        Some(match self {
            Self::Const(_) | Self::Len => self.clone(),
            Self::Neg(of) => match of.as_fragment(flags_and_offset)? {
                Self::Const(value) => Self::Const(value.wrapping_neg()),
                other => Self::Neg(Box::new(other)),
            },
            Self::Binary { op, left, right } => {
                match (
                    left.as_fragment(flags_and_offset)?,
                    right.as_fragment(flags_and_offset)?,
                ) {
                    (Self::Const(left), Self::Const(right)) => Self::Const(op.apply(left, right)?),
                    (left, right) => Self::Binary {
                        op: *op,
                        left: Box::new(left),
                        right: Box::new(right),
                    },
                }
            }
            Self::Load { base, at, size } => match self.in_header() {
                None if matches!(**at, Self::Const(_)) => self.clone(),
                // It begins behind the header.
                None if *base == Base::Ip4Payload => Self::Load {
                    base: *base,
                    at: Box::new(at.as_fragment(flags_and_offset)?),
                    size: *size,
                },
                None => return None,
                Some(at) => Self::Const(match (at, size) {
                    (6, Size::Half) => flags_and_offset.into(),
                    (6, Size::Byte) => high.into(),
                    (7, Size::Byte) => low.into(),
                    _ => return None,
                }),
            },
        })
    }

    fn names_fragments(&self) -> bool {
        match self {
            Self::Const(_) | Self::Len => false,
            Self::Neg(of) => of.names_fragments(),
            Self::Binary { left, right, .. } => left.names_fragments() || right.names_fragments(),
            Self::Load { at, .. } => self.in_header().is_some() || at.names_fragments(),
        }
    }

    /// From where in the IPv4 header a load reads that takes in flags and fragment offset.
    fn in_header(&self) -> Option<u32> {
        let Self::Load { base, at, size } = self else {
            return None;
        };
        let (Self::Const(at), Base::L3 | Base::Frame) = (&**at, base) else {
            return None;
        };
        let at = match base {
            Base::L3 => *at,
            _ => at.checked_sub(IP_HEADER)?,
        };
        let end = at.saturating_add(u32::try_from(size.bytes()).ok()?);
        (at < OFFSET_BYTES.end && end > OFFSET_BYTES.start).then_some(at)
    }
}

/// Packets of the protocols whose ports are looked at.
fn of_transport(transport: Transport) -> Expr {
    let number = |number| {
        Expr::test(
            0,
            Test::Proto {
                version: Version::V4,
                number,
            },
        )
    };
    match transport {
        Transport::Tcp => number(6),
        Transport::Udp => number(17),
        Transport::Sctp => number(132),
        Transport::Any => Expr::or([number(6), number(17), number(132)]),
    }
}

/// What a side of a comparison reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    Others,
    Transport,
    Fragments,
}

impl Arith {
    fn reads(&self) -> Reads {
        match self {
            Self::Const(_) | Self::Len => Reads::Others,
            Self::Neg(of) => of.reads(),
            Self::Binary { left, right, .. } => left.reads().max(right.reads()),
            Self::Load {
                base: Base::Ip4Payload | Base::Ip6Payload,
                ..
            } => Reads::Transport,
            Self::Load {
                base: Base::L3,
                at,
                size,
            } => match **at {
                Self::Const(at) => {
                    let bytes = match size {
                        Size::Byte => 1,
                        Size::Half => 2,
                        Size::Word => 4,
                    };
                    let fragments = at < OFFSET_BYTES.end && at.saturating_add(bytes) > OFFSET_BYTES.start;
                    if fragments {
                        Reads::Fragments
                    } else {
                        Reads::Others
                    }
                }
                _ => Reads::Transport,
            },
            Self::Load {
                base: Base::Frame, ..
            } => Reads::Others,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn later(filter: &str) -> Option<String> {
        let lowered: Expr = filter.parse().unwrap();
        Some(lowered.later_fragments()?.to_string())
    }

    #[test]
    fn what_a_transport_header_says_is_left_out() {
        for (filter, fragments) in [
            (
                "(tcp-port dst 22)",
                "(and (ip) (not (first-fragment)) (ip-proto 6))",
            ),
            (
                "(and (net src 10.0.0.0/8) (not (port 53)))",
                "(and (ip) (not (first-fragment)) (net src 10.0.0.0/8) (not (none)))",
            ),
        ] {
            assert_eq!(later(filter).as_deref(), Some(fragments), "{filter}");
        }
        for filter in ["(ip)", "(net src 10.0.0.0/8)", "(proto 6)", "(port@1 dst 22)"] {
            assert_eq!(later(filter), None, "{filter}");
        }
    }

    #[test]
    fn filters_take_packets_as_they_take_their_fragments() {
        let as_fragment = |filter: &str| {
            let lowered: Expr = filter.parse().unwrap();
            Some(lowered.as_fragment(185)?.to_string())
        };
        for (filter, fragment) in [
            ("(tcp-port dst 22)", "(none)"),
            (
                "(and (net src 10.0.0.0/8) (not (port 53)))",
                "(net src 10.0.0.0/8)",
            ),
            ("(and (ip) (first-fragment) (tcp))", "(and (ip) (none))"),
            ("(and (ip) (= (& (l3 6 2) 8191) 0))", "(and (ip) (none))"),
            ("(and (ip) (= (& (frame 20 2) 8191) 185))", "(ip)"),
            ("(and (vlan) (port@1 dst 22))", "(none)"),
            ("(= (l3 8 1) 64)", "(= (l3 8 1) 64)"),
        ] {
            assert_eq!(as_fragment(filter).as_deref(), Some(fragment), "{filter}");
        }
        for filter in ["(= (l3 4 4) 1)", "(= (l3 (l3 0 1) 1) 1)", "(or (vlan) (ip@1))"] {
            assert_eq!(as_fragment(filter), None, "{filter}");
        }
        for (filter, names) in [
            ("(and (ip) (= (& (l3 6 2) 8191) 0))", true),
            ("(= (frame 20 2) 0)", true),
            ("(and (ip) (first-fragment))", false),
            ("(= (l3 8 1) 64)", false),
        ] {
            let lowered: Expr = filter.parse().unwrap();
            assert_eq!(lowered.names_fragments(), names, "{filter}");
        }
    }
}
