//! Sets of values of one field.

use std::sync::Arc;

/// Both ends included.
pub(crate) type Range = (u128, u128);

/// Disjoint ranges in ascending order that do not touch; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Values {
    One(u128, u128),
    Many(Arc<[Range]>),
}

/// How many of some values are in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    None,
    Some,
    All,
}

impl Values {
    pub(crate) fn one(value: u128) -> Self {
        Self::One(value, value)
    }

    /// None when there is no range. Ends of a range stand in order.
    pub(crate) fn new(mut ranges: Vec<Range>) -> Option<Self> {
        ranges.sort_unstable();
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match joined.last_mut() {
                Some((_, last)) if low <= last.saturating_add(1) => *last = high.max(*last),
                _ => joined.push((low, high)),
            }
        }
        Self::sorted(joined)
    }

    fn sorted(ranges: Vec<Range>) -> Option<Self> {
        match ranges.as_slice() {
            [] => None,
            [(low, high)] => Some(Self::One(*low, *high)),
            _ => Some(Self::Many(ranges.into())),
        }
    }

    /// In ascending order.
    pub(crate) fn ranges(&self) -> Ranges<'_> {
        match self {
            Self::One(low, high) => Ranges {
                one: Some((*low, *high)),
                many: [].iter(),
            },
            Self::Many(ranges) => Ranges {
                one: None,
                many: ranges.iter(),
            },
        }
    }

    /// How many ranges.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Many(ranges) => ranges.len(),
        }
    }

    pub(crate) fn min(&self) -> u128 {
        match self {
            Self::One(low, _) => *low,
            Self::Many(ranges) => ranges.first().map_or(0, |r| r.0),
        }
    }

    pub(crate) fn max(&self) -> u128 {
        match self {
            Self::One(_, high) => *high,
            Self::Many(ranges) => ranges.last().map_or(0, |r| r.1),
        }
    }

    pub(crate) fn contains(&self, value: u128) -> bool {
        match self {
            Self::One(low, high) => *low <= value && value <= *high,
            Self::Many(ranges) => {
                let after = ranges.partition_point(|(low, _)| *low <= value);
                after.checked_sub(1).is_some_and(|at| value <= ranges[at].1)
            }
        }
    }

    /// How many of the values from `low` to `high` are in it.
    pub(crate) fn share(&self, low: u128, high: u128) -> Share {
        let of = |(from, to): Range| match (from <= low && high <= to, from <= high && low <= to) {
            (true, _) => Share::All,
            (false, true) => Share::Some,
            (false, false) => Share::None,
        };
        match self {
            Self::One(from, to) => of((*from, *to)),
            Self::Many(ranges) => {
                let ending = ranges.partition_point(|(_, to)| *to < low);
                ranges.get(ending).map_or(Share::None, |range| of(*range))
            }
        }
    }

    /// The values in both.
    pub(crate) fn and(&self, other: &Self) -> Option<Self> {
        if let (Self::One(a, b), Self::One(c, d)) = (self, other) {
            let (low, high) = (*a.max(c), *b.min(d));
            return (low <= high).then_some(Self::One(low, high));
        }
        let (mut left, mut right) = (self.ranges().peekable(), other.ranges().peekable());
        let mut both = Vec::new();
        while let (Some((a, b)), Some((c, d))) = (left.peek(), right.peek()) {
            let (low, high) = (*a.max(c), *b.min(d));
            if low <= high {
                both.push((low, high));
            }
            if b < d {
                left.next();
            } else {
                right.next();
            }
        }
        Self::sorted(both)
    }

    /// Each value larger by `by`; those up to `max`, which stands for all beyond it.
    pub(crate) fn raised(&self, by: u128, max: u128) -> Option<Self> {
        let raised = self
            .ranges()
            .map(|(low, high)| (low.saturating_add(by), high.saturating_add(by).min(max)));
        Self::new(raised.filter(|(low, high)| low <= high).collect())
    }

    /// All values of both, and those between where there would be many ranges.
    pub(crate) fn around(&self, other: &Self) -> Self {
        const MAX_RANGES: usize = 8;
        let between = Self::One(self.min().min(other.min()), self.max().max(other.max()));
        if self.count() + other.count() > MAX_RANGES {
            return between;
        }
        Self::new(self.ranges().chain(other.ranges()).collect()).unwrap_or(between)
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(a, b), Self::One(c, d)) => c <= a && b <= d,
            _ => self.minus(other).is_none(),
        }
    }

    /// The values that are not in `other`.
    pub(crate) fn minus(&self, other: &Self) -> Option<Self> {
        let mut rest = Vec::new();
        let mut holes = other.ranges().peekable();
        for (mut low, high) in self.ranges() {
            while holes.next_if(|(_, end)| *end < low).is_some() {}
            let mut open = true;
            while let Some((from, to)) = holes.peek().copied().filter(|(from, _)| *from <= high) {
                if low < from {
                    rest.push((low, from - 1));
                }
                if to >= high {
                    open = false;
                    break;
                }
                low = to + 1;
                holes.next();
            }
            if open {
                rest.push((low, high));
            }
        }
        Self::sorted(rest)
    }
}

pub(crate) struct Ranges<'v> {
    one: Option<Range>,
    many: std::slice::Iter<'v, Range>,
}

impl Iterator for Ranges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        self.one.take().or_else(|| self.many.next().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Values;

    fn sets() -> impl Strategy<Value = Vec<(u128, u128)>> {
        let range = prop_oneof![
            4 => (0_u128..24, 0_u128..6).prop_map(|(low, size)| (low, low + size)),
            1 => (0_u128..4).prop_map(|n| (u128::MAX - n, u128::MAX)),
        ];
        prop::collection::vec(range, 0..5)
    }

    fn holds(set: Option<&Values>, value: u128) -> bool {
        set.is_some_and(|s| s.contains(value))
    }

    proptest! {
        #[test]
        fn sets_behave_as_their_members(a in sets(), b in sets()) {
            let (left, right) = (Values::new(a.clone()), Values::new(b.clone()));
            let universe = (0..32).chain(u128::MAX - 5..=u128::MAX);
            let is_in = |ranges: &[(u128, u128)], v| ranges.iter().any(|(l, h)| *l <= v && v <= *h);
            for v in universe.clone() {
                prop_assert_eq!(holds(left.as_ref(), v), is_in(&a, v));
            }
            let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
            for v in universe {
                prop_assert_eq!(holds(left.and(&right).as_ref(), v), is_in(&a, v) && is_in(&b, v));
                let around = left.around(&right);
                prop_assert!(around.contains(v) || !(is_in(&a, v) || is_in(&b, v)));
                prop_assert!(holds(Some(&right), v) || !(left.is_within(&right) && holds(Some(&left), v)));
                prop_assert_eq!(holds(left.minus(&right).as_ref(), v), is_in(&a, v) && !is_in(&b, v));
            }
            let ranges: Vec<_> = left.ranges().collect();
            prop_assert!(ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0));
        }
    }
}
