//! Lowered filters decide as libpcap does, on whole and on damaged frames.

use std::cell::Cell;

use onvm_filter::Expr;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use crate::packets::{
    frames::frames,
    oracle::{Oracle, Tally},
    trees::trees,
};

/// Always the same filters and frames.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(11),
        ..ProptestConfig::default()
    }
}

#[test]
fn decides_as_libpcap() {
    let tally = Cell::new(Tally::default());
    let result = TestRunner::new(config(4000)).run(&(trees(), any::<u64>()), |(tree, seed)| {
        let text = tree.text();
        let expr = tree.lower(&mut 0);
        let mut sum = tally.get();
        let verdict =
            Oracle::new(&text).and_then(|oracle| oracle.compare(&expr, &frames(seed, 150), &mut sum));
        tally.set(sum);
        prop_assert!(verdict.is_ok(), "{}\nfilter: {text}", verdict.unwrap_err());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // The frames and filters must meet often enough to prove anything.
    let tally = tally.get();
    assert_eq!(tally.frames, 4000 * 150);
    assert!(tally.taken > tally.frames / 10, "{tally:?}");
    assert!(tally.rejected_by_load > tally.frames / 50, "{tally:?}");
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn survives_a_round_trip_through_text(tree in trees()) {
        let expr = tree.lower(&mut 0);
        let text = expr.to_string();
        prop_assert_eq!(text.parse::<Expr>(), Ok(expr), "{}", text);
    }
}
