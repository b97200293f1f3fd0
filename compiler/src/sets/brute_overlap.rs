//! Overlaps against enumeration.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use onvm_bundle::filter::Expr;
use proptest::prelude::*;

use super::{
    Budget, Fields, RuleTable, Verdict,
    brute::{filters, matches, run, show, whole_frames},
};

fn table_of(rules: &[Expr]) -> (Fields, RuleTable<'_>) {
    let mut fields = Fields::default();
    let mut table = RuleTable::default();
    rules.iter().for_each(|rule| table.push(&mut fields, rule));
    (fields, table)
}

#[test]
fn overlaps_are_those_of_enumeration() {
    let whole = whole_frames();
    let counts = Cell::new([0_u32; 3]);
    run(2000, 6, prop::collection::vec(filters(), 2..8), |rules| {
        let (fields, table) = table_of(&rules);
        let found = table.overlaps(&fields, usize::MAX, &|_, _| true, &mut Budget::new(u64::MAX));
        let of: Vec<Vec<bool>> = rules
            .iter()
            .map(|r| whole.iter().map(|f| matches(r, f)).collect())
            .collect();
        let mut count = counts.get();
        for (later, earlier) in
            (0..rules.len()).flat_map(|later| (0..later).map(move |earlier| (later, earlier)))
        {
            let some = |packet: &dyn Fn(usize) -> bool| (0..whole.len()).any(packet);
            let first = |n: usize| of[earlier][n] && !of[..earlier].iter().any(|rule| rule[n]);
            let wanted = some(&|n| first(n) && of[later][n])
                && some(&|n| of[earlier][n] && !of[later][n])
                && some(&|n| of[later][n] && !of[earlier][n]);
            let pair = found
                .shown
                .iter()
                .find(|o| (o.earlier, o.later) == (earlier, later));
            let told = format!("{earlier} and {later} of {}", show(&rules));
            match pair {
                Some(overlap) => {
                    let frame = &overlap.packet.frame;
                    prop_assert!(wanted, "not so: {} {told}", overlap.packet);
                    prop_assert_eq!(table.taker(frame), Some(earlier));
                    prop_assert!(matches(&rules[later], frame));
                    count[0] += 1;
                }
                None if found.complete => {
                    prop_assert!(!wanted, "not found: {told}");
                    count[1] += 1;
                }
                None => count[2] += 1,
            }
        }
        counts.set(count);
        Ok(())
    });
    let [yes, no, unknown] = counts.get();
    assert!(
        yes > 1000 && no > 1000 && unknown < (yes + no) / 50,
        "{yes} {no} {unknown}"
    );
}

/// With less budget and room nothing else is said, and what is missing is.
#[test]
fn what_is_left_out_is_said() {
    run(300, 7, prop::collection::vec(filters(), 2..8), |rules| {
        let (fields, table) = table_of(&rules);
        let overlaps =
            |most: usize, units: u64| table.overlaps(&fields, most, &|_, _| true, &mut Budget::new(units));
        let all = overlaps(usize::MAX, u64::MAX);
        let one = overlaps(1, u64::MAX);
        prop_assert_eq!(&one.shown[..], &all.shown[..all.shown.len().min(1)]);
        prop_assert_eq!(one.shown.len() + one.more, all.shown.len());
        for units in [0, 50, 500, 5000] {
            let less = overlaps(usize::MAX, units);
            prop_assert!(less.shown.iter().all(|overlap| all.shown.contains(overlap)));
            prop_assert!(!less.complete || less == all, "{units}: {}", show(&rules));
        }
        Ok(())
    });
}

/// Rules that are shadowed by several others are reported as such; whether they overlap is then not asked.
#[test]
fn a_shadowed_rule_can_overlap() {
    let rules = [
        "(net src 10.0.0.0/9)",
        "(net src 10.128.0.0/9)",
        "(net src 10.64.0.0/10)",
        "(and (tcp) (net src 10.0.0.0/8))",
    ];
    let rules: Vec<Expr> = rules.iter().map(|r| r.parse().unwrap()).collect();
    let (fields, table) = table_of(&rules);
    let verdict = table.verdict(&fields, 3, &mut Budget::new(u64::MAX));
    assert!(matches!(verdict, Verdict::Shadowed { .. }));
    let found = table.overlaps(&fields, 9, &|_, _| true, &mut Budget::new(u64::MAX));
    let pairs: Vec<_> = found.shown.iter().map(|o| (o.earlier, o.later)).collect();
    assert_eq!(pairs, [(0, 3), (1, 3)], "rule 2 takes nothing");
}

/// Units are counted and not time, so that this is the same on every machine.
#[test]
fn rules_that_do_not_meet_cost_little_each() {
    let filter = |n: u32| {
        let net = format!("10.{}.{}.{}", n >> 12, n >> 4 & 255, (n & 15) << 4);
        match n % 3 {
            0 => format!("(net dst {net}/28)"),
            1 => format!("(and (tcp) (net dst {net}/32) (tcp-port dst 443))"),
            _ => format!("(and (udp) (net dst {net}/32) (udp-port dst 5000-5100))"),
        }
    };
    for count in [1_000_u32, 8_000] {
        let rules: Vec<Expr> = (0..count).map(|n| filter(n).parse().unwrap()).collect();
        let (fields, table) = table_of(&rules);
        let mut budget = Budget::new(u64::from(count) * 40);
        let found = table.overlaps(&fields, 9, &|_, _| true, &mut budget);
        assert!(found.complete && found.shown.is_empty(), "{count} rules");
    }
}

/// Rules of one end before rules of the other, all of which overlap: there is not room for all, and for some there is.
#[test]
fn some_of_very_many_are_shown() {
    let of = |end: &str, n: u32| format!("(net {end} 10.{}.{}.0/24)", n >> 8, n & 255);
    let sources = (0..1500).map(|n| of("src", n));
    let filters = sources.chain((0..1500).map(|n| of("dst", n)));
    let rules: Vec<Expr> = filters.map(|filter| filter.parse().unwrap()).collect();
    let (fields, table) = table_of(&rules);
    let found = table.overlaps(&fields, 50, &|_, _| true, &mut Budget::new(2_000_000));
    assert_eq!(found.shown.len(), 50);
    assert!(found.more > 1000 && !found.complete, "{}", found.more);
}
