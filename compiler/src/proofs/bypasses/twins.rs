//! Packets and the ones beside them: with a VLAN tag, or as later fragments.
//!
//! Each pair is one frame and what is made of it, so that one search finds both. Of a tagged frame there is one without the
//! tag. Of a packet there is one later fragment, for which its transport header does not matter; of a fragment there
//! could be many packets.

use onvm_bundle::filter::{Expr, Test};

use super::super::Beside;
use crate::sets::Frame;

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
