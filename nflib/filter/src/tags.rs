//! Frames as filters see them on ports whose VLAN tags are ignored: as if the tags were not there.

use crate::{
    Arith, ArithOp, Base, Expr, Layer, Length, Place, Primitive, Test,
    eval::{LINK_TYPE, TAG},
};

/// Frames up to this length are copied to the stack.
const SHORT: usize = 512;

/// Calls `with` with a frame without its VLAN tags and its length on the wire without them: those of the types 0x8100, 0x88a8
/// and 0x9100 that follow the addresses.
pub fn without_tags<T>(frame: &[u8], wire_len: u32, with: impl FnOnce(&[u8], u32) -> T) -> T {
    let tags = tags(frame);
    if tags == 0 {
        return with(frame, wire_len);
    }
    let (link, rest) = frame.split_at(LINK_TYPE);
    let rest = rest.get(tags * TAG..).unwrap_or_default();
    let length = LINK_TYPE + rest.len();
    let wire_len = wire_len.saturating_sub(u32::try_from(tags * TAG).unwrap_or(u32::MAX));
    let mut short = [0; SHORT];
    if let Some(copy) = short.get_mut(..length) {
        let (head, tail) = copy.split_at_mut(LINK_TYPE);
        head.copy_from_slice(link);
        tail.copy_from_slice(rest);
        return with(copy, wire_len);
    }
    with(&[link, rest].concat(), wire_len)
}

/// How many tags follow the addresses of a frame; of one that ends within a tag, that one is counted, too.
fn tags(frame: &[u8]) -> usize {
    let rest = frame.get(LINK_TYPE..).unwrap_or_default();
    let is_tag = |tag: &&[u8]| matches!(tag, [0x81, 0, ..] | [0x88, 0xa8, ..] | [0x91, 0, ..]);
    rest.chunks(TAG).take_while(is_tag).count()
}

impl Expr {
    /// What the filter asks of frames without tags: `vlan` takes none of them. Tags within tunnels stay.
    #[must_use]
    pub fn without_tags(self) -> Self {
        match self {
            Self::Const(_) => self,
            Self::And(of) => {
                let mut kept = Vec::new();
                for operand in of {
                    match operand.without_tags() {
                        Self::Const(true) => {}
                        // What stands before it may still reject a frame, whatever `not` stands around.
                        Self::Const(false) => {
                            kept.push(Self::Const(false));
                            break;
                        }
                        other => kept.push(other),
                    }
                }
                Self::and(kept)
            }
            Self::Or(of) => {
                let mut kept = Vec::new();
                for operand in of {
                    match operand.without_tags() {
                        Self::Const(false) => {}
                        Self::Const(true) => {
                            kept.push(Self::Const(true));
                            break;
                        }
                        other => kept.push(other),
                    }
                }
                Self::or(kept)
            }
            Self::Not(of) => match of.without_tags() {
                Self::Const(value) => Self::Const(!value),
                other => Self::negate(other),
            },
            Self::Test(primitive) => match primitive.test {
                Test::Vlan(_) if primitive.place.tags().is_some() => Self::Const(false),
                _ => Self::Test(primitive),
            },
        }
    }
}

impl Expr {
    /// The packets that the filter would take without their one VLAN tag. None: it speaks of tags itself, or stands behind as many headers
    /// as there can be. Bytes that it names by their place in the frame are read where they are.
    #[must_use]
    pub fn behind_tag(&self) -> Option<Self> {
        let tagged = Self::test(0, Test::Vlan(Vec::new()));
        Some(Self::and([tagged, self.shifted()?]))
    }

    fn shifted(&self) -> Option<Self> {
        Some(match self {
            Self::Const(value) => Self::Const(*value),
            Self::And(of) => Self::And(of.iter().map(Self::shifted).collect::<Option<_>>()?),
            Self::Or(of) => Self::Or(of.iter().map(Self::shifted).collect::<Option<_>>()?),
            Self::Not(of) => Self::negate(of.shifted()?),
            Self::Test(Primitive { place, test }) => {
                let mut layers = place.layers().iter();
                if matches!(test, Test::Vlan(_)) || layers.any(|layer| *layer == Layer::Vlan) {
                    return None;
                }
                let mut behind = place.layers().iter();
                let behind = behind.try_fold(Place::behind_tags(1), |place, layer| place.behind(*layer));
                Self::test_at(behind?, test.clone())
            }
        })
    }
}

impl Expr {
    /// The filter that takes a tagged frame exactly if this one takes the frame without its first tag. None: it reads the frame at
    /// a place that it computes, or across the place of the tag, or stands behind as many headers as there can be.
    #[must_use]
    pub fn less_a_tag(&self) -> Option<Self> {
        Some(match self {
            Self::Const(value) => Self::Const(*value),
            Self::And(of) => Self::And(of.iter().map(Self::less_a_tag).collect::<Option<_>>()?),
            Self::Or(of) => Self::Or(of.iter().map(Self::less_a_tag).collect::<Option<_>>()?),
            Self::Not(of) => Self::negate(of.less_a_tag()?),
            Self::Test(Primitive { place, test }) => {
                let tag = u32::try_from(TAG).ok()?;
                let test = match test {
                    Test::Length(Length::AtMost(bytes)) => {
                        Test::Length(Length::AtMost(bytes.checked_add(tag)?))
                    }
                    Test::Length(Length::AtLeast(bytes)) => {
                        Test::Length(Length::AtLeast(bytes.checked_add(tag)?))
                    }
                    Test::Relation { op, left, right } => Test::Relation {
                        op: *op,
                        left: left.less_a_tag(place)?,
                        right: right.less_a_tag(place)?,
                    },
                    other => other.clone(),
                };
                let mut layers = place.layers().iter();
                let behind = layers.try_fold(Place::behind_tags(1), |place, layer| place.behind(*layer));
                Self::test_at(behind?, test)
            }
        })
    }

    /// Whether the filter asks for tags.
    #[must_use]
    pub fn names_tags(&self) -> bool {
        match self {
            Self::Const(_) => false,
            Self::And(of) | Self::Or(of) => of.iter().any(Self::names_tags),
            Self::Not(of) => of.names_tags(),
            Self::Test(Primitive { place, test }) => {
                matches!(test, Test::Vlan(_)) || place.layers().contains(&Layer::Vlan)
            }
        }
    }
}

impl Arith {
    /// Of a test at this place.
    fn less_a_tag(&self, place: &Place) -> Option<Self> {
        let tag = Self::Const(u32::try_from(TAG).ok()?);
        Some(match self {
            Self::Const(value) => Self::Const(*value),
            Self::Len => Self::Binary {
                op: ArithOp::Sub,
                left: Box::new(Self::Len),
                right: Box::new(tag),
            },
            Self::Neg(of) => Self::Neg(Box::new(of.less_a_tag(place)?)),
            Self::Binary { op, left, right } => Self::Binary {
                op: *op,
                left: Box::new(left.less_a_tag(place)?),
                right: Box::new(right.less_a_tag(place)?),
            },
            Self::Load { base, at, size } => {
                let at = match **at {
                    // The frame's own beginning does not move.
                    Self::Const(at) if *base == Base::Frame && !place.begins_link() => {
                        let (begin, tag) = (u32::try_from(LINK_TYPE).ok()?, u32::try_from(TAG).ok()?);
                        let end = at.checked_add(u32::try_from(size.bytes()).ok()?)?;
                        match (end <= begin, at >= begin) {
                            (true, _) => Self::Const(at),
                            (_, true) => Self::Const(at.checked_add(tag)?),
                            _ => return None,
                        }
                    }
                    _ if *base == Base::Frame && !place.begins_link() => return None,
                    _ => at.less_a_tag(place)?,
                };
                Self::Load {
                    base: *base,
                    at: Box::new(at),
                    size: *size,
                }
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(tags: &[[u8; 2]], length: usize) -> Vec<u8> {
        let mut frame = vec![7; 12];
        for kind in tags {
            frame.extend(kind);
            frame.extend([0, 5]);
        }
        frame.extend([8, 0]);
        frame.extend((0..length).map(|n| n as u8));
        frame
    }

    #[test]
    fn tags_of_every_type_are_taken_out() {
        let kinds = [[0x81, 0], [0x88, 0xa8], [0x91, 0]];
        for length in [0, 60, 2000] {
            let plain = frame(&[], length);
            for n in 0..=3 {
                let tagged = frame(&kinds[..n], length);
                let wire = tagged.len() as u32 + 100;
                without_tags(&tagged, wire, |seen, wire| {
                    assert_eq!(seen, plain);
                    assert_eq!(wire as usize, plain.len() + 100);
                });
            }
        }
    }

    #[test]
    fn frames_that_end_within_their_tags_end_there() {
        let tagged = frame(&[[0x81, 0]], 0);
        for cut in 14..16 {
            without_tags(&tagged[..cut], cut as u32, |seen, _| {
                assert_eq!(seen.len(), 12, "{cut}")
            });
        }
        for cut in 0..14 {
            without_tags(&tagged[..cut], cut as u32, |seen, _| assert_eq!(seen.len(), cut));
        }
    }

    /// A tagged packet is taken where it is taken without the tag.
    #[test]
    fn filters_look_behind_one_tag() {
        for (filter, behind) in [
            ("(tcp)", "(and (vlan) (tcp@1))"),
            ("(not (port dst 22))", "(and (vlan) (not (port@1 dst 22)))"),
            ("(or (ip) (arp))", "(and (vlan) (or (ip@1) (arp@1)))"),
            ("(less 60)", "(and (vlan) (less 60))"),
        ] {
            let lowered: Expr = filter.parse().unwrap();
            assert_eq!(lowered.behind_tag().unwrap().to_string(), behind, "{filter}");
        }
        for filter in ["(vlan 5)", "(and (vlan) (tcp@1))", "(or (ip) (not (vlan)))"] {
            let lowered: Expr = filter.parse().unwrap();
            assert_eq!(lowered.behind_tag(), None, "{filter}");
        }
    }

    #[test]
    fn filters_take_tagged_frames_as_they_take_them_without() {
        for (filter, less) in [
            ("(tcp)", "(tcp@1)"),
            ("(mac src 02:00:00:00:00:01)", "(mac src 02:00:00:00:00:01)"),
            ("(or (vlan 5) (tcp@1))", "(or (vlan@1 5) (tcp@2))"),
            ("(less 60)", "(less 64)"),
            ("(= (frame 12 2) 2048)", "(= (frame 16 2) 2048)"),
            ("(= (frame 6 2) 2)", "(= (frame 6 2) 2)"),
            ("(= (len) 100)", "(= (- (len) 4) 100)"),
        ] {
            let lowered: Expr = filter.parse().unwrap();
            assert_eq!(lowered.less_a_tag().unwrap().to_string(), less, "{filter}");
        }
        for filter in ["(= (frame 10 4) 2)", "(= (frame (frame 12 1) 2) 7)"] {
            let lowered: Expr = filter.parse().unwrap();
            assert_eq!(lowered.less_a_tag(), None, "{filter}");
        }
        // Frames of every length, with bytes that no two places share.
        let kinds = [[0x81, 0]];
        for filter in [
            "(= (frame 20 2) (l3 8 1))",
            "(greater 50)",
            "(net src 6.7.8.9/32)",
            "(ip)",
            "(vlan@1 3)",
        ] {
            let lowered: Expr = filter.parse().unwrap();
            let less = lowered.less_a_tag().unwrap();
            for length in 0..80 {
                let (plain, tagged) = (frame(&[], length), frame(&kinds, length));
                assert_eq!(
                    lowered.decide(&plain, plain.len() as u32),
                    less.decide(&tagged, tagged.len() as u32),
                    "{filter} {length}"
                );
            }
        }
    }

    /// Without tags, both mean the same.
    #[test]
    fn filters_lose_their_tags() {
        for (filter, bare) in [
            ("(and (vlan) (tcp@1))", "(none)"),
            ("(or (vlan) (tcp@1))", "(tcp@1)"),
            ("(not (vlan 5))", "(all)"),
            ("(and (tcp) (not (vlan)))", "(tcp)"),
            ("(not (and (tcp) (vlan)))", "(not (and (tcp) (none)))"),
            ("(or (and (vlan) (arp@1)) (port dst 80))", "(port dst 80)"),
        ] {
            let lowered: Expr = filter.parse().unwrap();
            assert_eq!(lowered.without_tags().to_string(), bare, "{filter}");
        }
    }
}
