//! What lies beyond a filter's reach does not change its decision.

use std::cell::Cell;

use crate::packets::{frames::frames, trees::trees};
use onvm_filter::Expr;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

#[test]
fn a_frame_cut_at_the_reach_meets_the_same_decision() {
    let config = ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    };
    let (cut, taken) = (Cell::new(0), Cell::new(0));
    let result = TestRunner::new(config).run(&(trees(), any::<u64>()), |(tree, seed)| {
        let expr = tree.lower(&mut 0);
        for frame in frames(seed, 100) {
            let head = &frame[..frame.len().min(expr.reach())];
            let length = frame.len() as u32;
            let whole = expr.decide(&frame, length);
            prop_assert_eq!(
                expr.decide(head, length),
                whole,
                "{}\n{:02x?}",
                tree.text(),
                frame
            );
            cut.set(cut.get() + usize::from(head.len() < frame.len()));
            taken.set(taken.get() + usize::from(head.len() < frame.len() && whole == Some(true)));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(cut.get() > 50_000 && taken.get() > 5_000, "{cut:?} {taken:?}");
}

#[track_caller]
fn reach(text: &str) -> usize {
    let expr: Expr = text.parse().unwrap_or_else(|error| panic!("{error}"));
    expr.reach()
}

#[test]
fn reach_of_each_test() {
    assert_eq!(reach("(all)"), 0);
    assert_eq!(reach("(greater 100)"), 0);
    assert_eq!(reach("(mac src 02:00:00:00:00:01)"), 12);
    assert_eq!(reach("(vlan 5)"), 16);
    assert_eq!(reach("(tcp-port dst 80)"), 78);
    assert_eq!(reach("(and (vlan 5) (port@1 80))"), 82);
    assert_eq!(reach("(not (or (ip) (net 10.0.0.0/8)))"), 54);
    assert_eq!(reach("(= (ip4-payload 13 1) 2)"), 88);
    assert_eq!(reach("(= (frame 0xffffffff 4) 2)"), 0x1_0000_0003);
    assert_eq!(reach("(= (frame (len) 1) 2)"), usize::MAX);
}
