//! Packets and the ones beside them: with a VLAN tag, or as later fragments.
//!
//! Each pair is one frame and what is made of it, so that one search finds both. Of a tagged frame there is one without the
//! tag. Of a packet there is one later fragment, for which its transport header does not matter; of a fragment there
//! could be many packets.

use onvm_bundle::filter::{Expr, Test};

use super::super::Beside;
use crate::sets::{Bytes, Field, Frame, Seen};

/// Where the only tag of a frame stands, or the EtherType of one without.
const TAG: std::ops::Range<usize> = 12..16;
/// Flags and fragment offset of an IPv4 packet without tags.
const FRAGMENT: std::ops::Range<usize> = 20..22;
/// The last fragment, behind the first 1480 bytes: what a link of 1500 bytes leaves over.
const LATER: u16 = 1480 / 8;
const OFFSET: u16 = 0x1fff;

/// A packet, and the one beside it.
#[derive(Debug)]
pub(super) struct Pair {
    /// The one that a rule is about.
    pub(super) plain: Frame,
    /// The one that it may not be about.
    pub(super) beside: Frame,
}

impl Beside {
    pub(super) const ALL: [Self; 2] = [Self::Tagged, Self::Fragments];

    /// The frames that pairs are made of.
    pub(super) fn frames(self) -> Expr {
        let ip = || Expr::test(0, Test::EtherProto(0x0800));
        let vlan = |tags| Expr::test(tags, Test::Vlan(Vec::new()));
        match self {
            Self::Tagged => Expr::and([vlan(0), Expr::negate(vlan(1))]),
            Self::Fragments => Expr::and([ip(), Expr::test(0, Test::FirstFragment)]),
        }
    }

    /// The frame that pairs are made of is the one beside.
    pub(super) fn is_of_beside(self) -> bool {
        self == Self::Tagged
    }

    /// The pair of one of [those](Self::frames).
    pub(super) fn pair(self, frame: &Frame) -> Option<Pair> {
        let mut other = frame.clone();
        match self {
            Self::Tagged => {
                (other.bytes.len() >= TAG.end).then(|| other.bytes.drain(TAG))?;
                other.wire_len = other.wire_len.checked_sub(TAG.len() as u32)?;
                Some(Pair {
                    plain: other,
                    beside: frame.clone(),
                })
            }
            Self::Fragments => {
                let offset = other.bytes.get_mut(FRAGMENT)?;
                offset.copy_from_slice(&LATER.to_be_bytes());
                Some(Pair {
                    plain: frame.clone(),
                    beside: other,
                })
            }
        }
    }

    /// The filter that takes one of [those frames](Self::frames) if this one takes the other of its pair. Some filters stay as
    /// they are because that cannot be said: a packet that is found has to be looked at.
    pub(super) fn of_other(self, filter: &Expr) -> Expr {
        let other = match self {
            Self::Tagged => filter.less_a_tag(),
            Self::Fragments => filter.as_fragment(LATER),
        };
        other.unwrap_or_else(|| filter.clone())
    }

    /// The same of fields: a field of the other one of a pair, as [these frames](Self::frames) show it.
    pub(super) fn seen(self, field: &Field) -> Seen {
        match self {
            Self::Tagged => behind_a_tag(field),
            Self::Fragments => of_a_fragment(field),
        }
    }

    /// Whether a filter says by itself what the two differ in.
    pub(super) fn is_named(self, filter: &Expr) -> bool {
        match self {
            Self::Tagged => filter.names_tags(),
            Self::Fragments => filter.names_fragments(),
        }
    }

    /// Whether a frame could be shown in place of the one beside a packet.
    pub(super) fn is_like(self, frame: &Frame, shown: &Frame) -> bool {
        let (a, b) = (frame.bytes.as_slice(), shown.bytes.as_slice());
        let same =
            |range: std::ops::Range<usize>| a.get(range.clone()).is_some_and(|x| b.get(range) == Some(x));
        match self {
            Self::Tagged => a == b,
            // EtherType, protocol and addresses.
            Self::Fragments => {
                let later = matches!(b.get(FRAGMENT), Some([high, low]) if u16::from_be_bytes([*high, *low]) & OFFSET != 0);
                later && same(12..15) && same(23..24) && same(26..34)
            }
        }
    }
}

/// A field of a frame, in the same one with a tag.
fn behind_a_tag(field: &Field) -> Seen {
    let tag = TAG.len() as u16;
    let behind = |at: u16| at.checked_add(tag);
    match field {
        Field::Captured | Field::Length => Seen::As(field.clone(), TAG.len() as u8),
        Field::Bytes(bytes) if bytes.end() <= TAG.start as u128 => Seen::As(field.clone(), 0),
        Field::Bytes(bytes) if usize::from(bytes.at) >= TAG.start => {
            let moved = behind(bytes.at).map(|at| Field::Bytes(Bytes { at, ..*bytes }));
            moved.map_or(Seen::Unknown, |field| Seen::As(field, 0))
        }
        Field::CapturedBehindIp4(l3) => {
            let moved = behind(*l3).map(Field::CapturedBehindIp4);
            moved.map_or(Seen::Unknown, |field| Seen::As(field, 0))
        }
        Field::BehindIp4 { l3, bytes } => {
            let moved = behind(*l3).map(|l3| Field::BehindIp4 { l3, bytes: *bytes });
            moved.map_or(Seen::Unknown, |field| Seen::As(field, 0))
        }
        Field::Bytes(_) | Field::Outcome(_) => Seen::Unknown,
    }
}

/// A field of a later fragment, in the packet that it is made of.
fn of_a_fragment(field: &Field) -> Seen {
    match field {
        Field::Bytes(bytes) => {
            let (at, end) = (
                usize::from(bytes.at),
                usize::from(bytes.at) + usize::from(bytes.size),
            );
            let apart = end <= FRAGMENT.start || at >= FRAGMENT.end;
            let within = at.checked_sub(FRAGMENT.start).map(|at| at..end - FRAGMENT.start);
            let later = LATER.to_be_bytes();
            match within.and_then(|within| later.get(within)) {
                _ if apart => Seen::As(field.clone(), 0),
                Some(later) => Seen::Fixed(bytes.value(later)),
                None => Seen::Unknown,
            }
        }
        Field::Outcome(_) => Seen::Unknown,
        _ => Seen::As(field.clone(), 0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        super::tests::{FILTERS, kinds},
        *,
    };
    use crate::{
        lower::filter::lower_alone,
        sets::{Fields, RuleTable},
    };

    /// Filters of every field that cubes have, and of what is no field.
    const MORE: [&str; 14] = [
        "less 70",
        "greater 64",
        "len = 66",
        "ether src 02:00:00:00:00:01",
        "ether[12:2] = 0x800",
        "ether[10:4] = 0x00010800",
        "ether[20] & 0x1f = 0",
        "ip[5] = 1",
        "ip[4:4] & 0x1fff = 0",
        "ip[ip[0] & 0xf] = 0x45",
        "tcp[2:2] = 80 or src net 192.168.0.0/16",
        "ip6 net 2020::/16 and not port 99",
        "dscp 0",
        "arp or (vlan and ip6)",
    ];

    /// A rule takes one packet of a pair where it is said to, also of pairs that end early.
    #[test]
    fn rules_take_the_other_packet_of_each_pair() {
        let filters: Vec<Expr> = FILTERS
            .iter()
            .chain(&MORE)
            .map(|f| lower_alone(f).unwrap())
            .collect();
        let mut asked = [0_u32; 2];
        for (kind, (.., pairs)) in Beside::ALL.into_iter().zip(kinds()) {
            let taken = kind.frames();
            let frames = pairs
                .into_iter()
                .map(|(plain, beside)| match kind.is_of_beside() {
                    true => beside,
                    false => plain,
                });
            let cut = |frame: Frame| {
                let ends = (14..64).chain([frame.bytes.len()]).map(move |end| Frame {
                    bytes: frame.bytes[..end.min(frame.bytes.len())].to_vec(),
                    ..frame
                });
                ends.collect::<Vec<_>>()
            };
            let frames = frames
                .flat_map(cut)
                .filter(|f| taken.matches(&f.bytes, f.wire_len));
            let frames: Vec<(Frame, Pair)> =
                frames.filter_map(|f| Some((f.clone(), kind.pair(&f)?))).collect();
            for filter in &filters {
                let mut fields = Fields::default();
                let mut table = RuleTable::default();
                table.push(&mut fields, filter);
                let exact = match kind {
                    Beside::Tagged => filter.less_a_tag(),
                    Beside::Fragments => filter.as_fragment(LATER),
                };
                let others = table.beside(&mut fields, &|f| kind.seen(f), &|rule| kind.of_other(rule));
                for (frame, pair) in frames.iter().filter(|_| exact.is_some()) {
                    let other = if kind.is_of_beside() {
                        &pair.plain
                    } else {
                        &pair.beside
                    };
                    let takes = table.taker(other);
                    let is_whole = frame.bytes.len() == frame.wire_len as usize;
                    // A frame that ends before the ports is no fragment that is looked for.
                    if kind == Beside::Fragments && !is_whole {
                        continue;
                    }
                    assert_eq!(others.taker(frame), takes, "{filter} {frame:?}");
                    assert_eq!(others.taker_by_cubes(&fields, frame), takes, "{filter} {frame:?}");
                    asked[usize::from(takes.is_some())] += 1;
                }
            }
        }
        assert!(asked.iter().all(|n| *n > 10_000), "{asked:?}");
    }
}
