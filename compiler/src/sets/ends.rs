//! The two ends of a packet against a set: source and destination address, or port.

use onvm_bundle::filter::Direction;

use super::{
    cube::Cube,
    field::FieldId,
    lower::{MAX_CUBES, TooComplex},
    primitive::Tests,
    values::{Range, Values},
};

/// The members of a set, as ranges in the order written.
pub(super) struct Members {
    first: Values,
    pub(super) all: Values,
    pub(super) ranges: Vec<Range>,
}

impl Members {
    /// None of none.
    pub(super) fn new(ranges: Vec<Range>) -> Option<Self> {
        let (low, high) = *ranges.first()?;
        Some(Self {
            first: Values::One(low, high),
            all: Values::new(ranges.clone())?,
            ranges,
        })
    }

    /// Whether the first member is all there is.
    pub(super) fn is_single(&self) -> bool {
        self.first == self.all
    }

    /// The set cut up so that each piece lies in the same members throughout, each with the union of those members.
    pub(super) fn pieces(&self) -> Result<Vec<(Values, Values)>, TooComplex> {
        let mut sorted = self.ranges.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let apart = sorted.windows(2).all(|w| w[0].1 < w[1].0);
        if apart {
            let one = |r: &Range| Values::One(r.0, r.1);
            return Ok(sorted.iter().map(|r| (one(r), one(r))).collect());
        }
        if sorted.len() > MAX_CUBES / 8 {
            return Err(TooComplex);
        }
        let ends = sorted.iter().flat_map(|r| [Some(r.0), r.1.checked_add(1)]);
        let mut starts: Vec<u128> = ends.flatten().collect();
        starts.sort_unstable();
        starts.dedup();
        let mut pieces = Vec::new();
        for (n, low) in starts.iter().enumerate() {
            let high = starts.get(n + 1).map_or(u128::MAX, |next| next - 1);
            let holders = sorted.iter().filter(|r| r.0 <= *low && high <= r.1);
            if let Some(union) = Values::new(holders.copied().collect()) {
                pieces.push((Values::One(*low, high), union));
            }
        }
        Ok(pieces)
    }
}

/// Two fields, and how much must be captured to read each.
pub(super) struct Ends {
    pub(super) src: FieldId,
    pub(super) dst: FieldId,
    /// The field that says how much is captured.
    pub(super) captured: FieldId,
    pub(super) src_end: u128,
    pub(super) dst_end: u128,
}

impl Ends {
    /// The packets of `base` whose ends are, or are not, in the set. Loads happen in libpcap's order: member by member,
    /// the source first.
    pub(super) fn cubes(
        &self,
        tests: &mut Tests<'_>,
        base: &Cube,
        dir: Direction,
        set: &Members,
        wanted: bool,
    ) -> Result<Vec<Cube>, TooComplex> {
        let with_src = tests.at_least(base.clone(), self.captured, self.src_end);
        let with_both = tests.at_least(base.clone(), self.captured, self.dst_end);
        let all = || Some(set.all.clone());
        Ok(match (dir, wanted) {
            (Direction::Src, _) => tests.split(with_src, self.src, all(), wanted),
            (Direction::Dst, _) => tests.split(with_both, self.dst, all(), wanted),
            (Direction::Either, true) => {
                // With the source in the first member, the destination is not looked at.
                let mut cubes = tests.split(with_src, self.src, Some(set.first.clone()), true);
                if !set.is_single() {
                    cubes.extend(tests.split(with_both.clone(), self.src, all(), true));
                }
                cubes.extend(tests.split(with_both, self.dst, all(), true));
                cubes
            }
            (Direction::Either, false) => {
                let neither = tests.split(with_both, self.src, all(), false);
                neither
                    .into_iter()
                    .flat_map(|cube| tests.split(cube, self.dst, all(), false))
                    .collect()
            }
            (Direction::Both, _) => {
                // With the source in no member, the destination is not looked at.
                let mut cubes = if wanted {
                    Vec::new()
                } else {
                    tests.split(with_src, self.src, all(), false)
                };
                for (piece, union) in set.pieces()? {
                    for cube in tests.split(with_both.clone(), self.src, Some(piece), true) {
                        cubes.extend(tests.split(cube, self.dst, Some(union.clone()), wanted));
                    }
                }
                cubes
            }
        })
    }
}
