//! Which rules of an edited list are those of the old list.

use std::collections::HashMap;

use onvm_bundle::filter::Expr;

use crate::sets::Taker;

/// Rules with the same filter in the same order in both lists, as many as patience finds (unique filters, of those the
/// longest increasing run; Bram Cohen's diff). `else` belongs to `else`.
///
/// A packet that an edit brings from rule `a` to rule `b` brings it from a rule to its counterpart, or one of the two has none.
/// For if `a` had `a'` and `b` had `b'`: `a'` takes the packet and comes after `b`, `b'` takes it and comes after `a`; so `a`
/// is before `b'` and `a'` behind `b`, and the order would not be the same.
#[derive(Debug)]
pub(crate) struct Aligned {
    /// For each rule of the old list.
    old: Vec<Option<usize>>,
    /// For each rule of the new list.
    new: Vec<Option<usize>>,
}

impl Aligned {
    pub(crate) fn new(old: &[&Expr], new: &[&Expr]) -> Self {
        let first = once(old);
        let mut pairs: Vec<(usize, usize)> = once(new)
            .into_iter()
            .filter_map(|(filter, b)| Some((first.get(filter).copied()??, b?)))
            .collect();
        pairs.sort_unstable();
        let mut aligned = Self {
            old: vec![None; old.len()],
            new: vec![None; new.len()],
        };
        for (a, b) in longest_increasing(&pairs) {
            (aligned.old[a], aligned.new[b]) = (Some(b), Some(a));
        }
        aligned
    }

    /// Every pair of rules between which packets can have changed hands, counterparts first.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (Taker, Taker)> + '_ {
        let counterparts = self.old.iter().enumerate();
        let counterparts = counterparts.filter_map(|(a, b)| Some((Some(a), Some((*b)?))));
        let alone = |of: &'_ [Option<usize>]| -> Vec<usize> {
            let rules = of.iter().enumerate();
            rules
                .filter(|(_, other)| other.is_none())
                .map(|(n, _)| n)
                .collect()
        };
        let takers = |count: usize| (0..count).map(Some).chain([None]);
        let gone = alone(&self.old).into_iter();
        let gone = gone.flat_map(move |a| takers(self.new.len()).map(move |b| (Some(a), b)));
        let added = alone(&self.new).into_iter();
        let added = added.flat_map(move |b| {
            let has_counterpart = move |a: &Taker| a.is_none_or(|a| self.old[a].is_some());
            let from = takers(self.old.len()).filter(has_counterpart);
            from.map(move |a| (a, Some(b)))
        });
        counterparts.chain([(None, None)]).chain(gone).chain(added)
    }
}

/// Each filter that stands only once, with its place; none for the others.
fn once<'e>(list: &[&'e Expr]) -> HashMap<&'e Expr, Option<usize>> {
    let mut places = HashMap::with_capacity(list.len());
    for (n, filter) in list.iter().enumerate() {
        places
            .entry(*filter)
            .and_modify(|place| *place = None)
            .or_insert(Some(n));
    }
    places
}

/// The longest run of pairs whose second numbers increase; the first ones do already.
fn longest_increasing(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length, the pair with the smallest end of a run of that length; and what came before each pair in its run.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (n, (_, b)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end].1 < *b);
        before.push(length.checked_sub(1).map(|l| ends[l]));
        match ends.get_mut(length) {
            Some(end) => *end = n,
            None => ends.push(n),
        }
    }
    let mut run: Vec<_> = std::iter::successors(ends.last().copied(), |n| before[*n])
        .map(|n| pairs[n])
        .collect();
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn filters(ports: &[u8]) -> Vec<Expr> {
        ports
            .iter()
            .map(|n| format!("(port {n})").parse().unwrap())
            .collect()
    }

    fn counterparts(old: &[u8], new: &[u8]) -> Vec<(usize, usize)> {
        let (old, new) = (filters(old), filters(new));
        let aligned = Aligned::new(&old.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
        let of = aligned.old.iter().enumerate();
        of.filter_map(|(a, b)| Some((a, (*b)?))).collect()
    }

    #[test]
    fn edits_are_found() {
        assert_eq!(counterparts(&[1, 2, 3], &[1, 9, 2, 3]), [(0, 0), (1, 2), (2, 3)]);
        assert_eq!(counterparts(&[1, 2, 3], &[1, 3]), [(0, 0), (2, 1)]);
        assert_eq!(
            counterparts(&[1, 2, 3, 4], &[4, 1, 2, 3]),
            [(0, 1), (1, 2), (2, 3)]
        );
        assert_eq!(counterparts(&[1, 1, 2], &[1, 1, 2]), [(2, 2)]);
        assert_eq!(counterparts(&[], &[1]), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Rules are sets of numbers below 8: each number's takers before and after are among the candidates.
        #[test]
        fn no_change_of_hands_is_left_out(
            old in prop::collection::vec(1..=255_u8, 0..8),
            new in prop::collection::vec(1..=255_u8, 0..8),
        ) {
            let (before, after) = (filters(&old), filters(&new));
            let aligned = Aligned::new(&before.iter().collect::<Vec<_>>(), &after.iter().collect::<Vec<_>>());
            let candidates: Vec<_> = aligned.candidates().collect();
            let taker = |rules: &[u8], packet: u8| rules.iter().position(|rule| rule >> packet & 1 == 1);
            for packet in 0..8 {
                let hands = (taker(&old, packet), taker(&new, packet));
                prop_assert!(candidates.contains(&hands), "{packet}: {hands:?} of {candidates:?}");
            }
            let mut distinct = candidates.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), candidates.len());
        }
    }
}
