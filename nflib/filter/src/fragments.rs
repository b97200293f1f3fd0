//! Later fragments of IPv4 packets, which have no transport header: tests that read one do not take them.

use crate::{Arith, Base, Expr, Place, Primitive, Size, Test, Transport, Version};

/// Bytes of an IPv4 header with flags and fragment offset, from its beginning.
const OFFSET_BYTES: std::ops::Range<u32> = 6..8;

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
}
