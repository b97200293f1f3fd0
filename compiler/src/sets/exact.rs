//! Cubes hold exactly the packets that the filter takes.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

use std::cell::Cell;

use onvm_bundle::filter::Expr;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use super::{cube::Cube, field::Fields, lower::lower};

#[path = "../../bundle/tests/filter_packets/frames.rs"]
pub(super) mod frames;
#[path = "../../bundle/tests/filter_packets/trees.rs"]
pub(super) mod trees;

pub(crate) fn config(cases: u32, seed: u64) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    }
}

fn holds(fields: &Fields, cube: &Cube, frame: &[u8]) -> bool {
    let wire_len = frame.len() as u32;
    cube.terms()
        .iter()
        .all(|(f, values)| values.contains(fields.get(*f).read(frame, wire_len)))
}

#[test]
fn cubes_are_exact() {
    let (decided, complex) = (Cell::new(0_u32), Cell::new(0_u32));
    let run = TestRunner::new(config(4000, 5)).run(&(trees::trees(), any::<u64>()), |(tree, seed)| {
        let expr = tree.lower(&mut 0);
        let mut fields = Fields::default();
        let (yes, no) = match (
            lower(&mut fields, &expr),
            lower(&mut fields, &Expr::negate(expr.clone())),
        ) {
            (Ok(yes), Ok(no)) => (yes, no),
            _ => {
                complex.set(complex.get() + 1);
                return Ok(());
            }
        };
        for frame in frames::frames(seed, 60) {
            let is_in = |cubes: &[Cube]| cubes.iter().any(|c| holds(&fields, c, &frame));
            let decision = match (is_in(&yes), is_in(&no)) {
                (true, false) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
                (true, true) => panic!("in both: {}\n{frame:02x?}", tree.text()),
            };
            prop_assert_eq!(
                decision,
                expr.decide(&frame, frame.len() as u32),
                "{}\n{:02x?}",
                tree.text(),
                frame
            );
            decided.set(decided.get() + u32::from(decision.is_some()));
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(complex.get() < 40, "{}", complex.get());
    assert!(decided.get() > 100_000, "{}", decided.get());
}
