//! The index over filters answers as the walk over them does, for every frame.

use std::cell::Cell;

use onvm_filter::{Classifier, Expr};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use crate::packets::{
    carried::{carried, chained, vxlan},
    frames::{Random, damage, frames},
    lists::{Kind, list},
    trees::trees,
};

/// What the classifier says, and how many frames some filter took.
fn compare(filters: &[Expr], frames: &[Vec<u8>]) -> Result<usize, String> {
    let classifier = Classifier::new(filters);
    let mut taken = 0;
    for frame in frames {
        for length in [frame.len() as u32, frame.len() as u32 + 30] {
            let found = classifier.first(|n| filters.get(n), frame, length);
            let walked = filters.iter().position(|filter| filter.matches(frame, length));
            if found != walked {
                let rule = |n: Option<usize>| n.map_or("none".to_owned(), |n| format!("{n}: {}", filters[n]));
                return Err(format!("{} and not {}\n{frame:02x?}", rule(found), rule(walked)));
            }
            taken += usize::from(walked.is_some());
        }
    }
    Ok(taken)
}

fn rounds() -> u32 {
    let rounds = std::env::var("ONVM_TEST_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    rounds.unwrap_or(1)
}

#[track_caller]
fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig {
        cases: cases * rounds(),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    };
    if let Err(error) = TestRunner::new(config).run(&strategy, test) {
        panic!("{error}");
    }
}

fn every_kind_of_frame(seed: u64, each: usize) -> Vec<Vec<u8>> {
    let mut all = frames(seed, each * 3);
    all.extend(carried(seed, each));
    all.extend(vxlan(seed, each));
    all.extend(chained(seed, each));
    all
}

/// Behind filters that take nothing the index alone brings a frame to the filter.
fn alone(filter: Expr) -> Vec<Expr> {
    let mut filters = vec![Expr::Const(false); 20];
    filters.push(filter);
    filters
}

#[test]
fn each_filter_is_found_for_every_frame_that_it_takes() {
    let taken = Cell::new(0);
    check(6000, (trees(), any::<u64>()), |(tree, seed)| {
        let frames = every_kind_of_frame(seed, 20);
        let found = compare(&alone(tree.lower(&mut 0)), &frames);
        let found = found.map_err(|error| TestCaseError::fail(format!("{}\n{error}", tree.text())))?;
        taken.set(taken.get() + found);
        Ok(())
    });
    assert!(taken.get() > 100_000, "{taken:?}");
}

#[test]
fn the_first_of_many_filters_is_found() {
    let taken = Cell::new(0);
    let lists = prop::collection::vec(trees(), 1..120);
    check(300, (lists, any::<u64>()), |(trees, seed)| {
        let filters: Vec<Expr> = trees.iter().map(|tree| tree.lower(&mut 0)).collect();
        let found = compare(&filters, &every_kind_of_frame(seed, 10)).map_err(TestCaseError::fail)?;
        taken.set(taken.get() + found);
        Ok(())
    });
    assert!(taken.get() > 10_000, "{taken:?}");
}

/// Tests that the random trees have none of: behind labels, sessions and tunnels, of code points, sets and chains of headers.
const RARE: [&str; 30] = [
    "(mpls)",
    "(mpls 5)",
    "(and (mpls) (ip@mpls))",
    "(and (mpls) (tcp-port@mpls dst 80))",
    "(and (vlan 5) (mpls@1) (net@1.mpls 10.0.0.0/8))",
    "(pppoes)",
    "(pppoes 5)",
    "(and (pppoes) (ip@pppoes))",
    "(geneve)",
    "(geneve 5)",
    "(vxlan)",
    "(vxlan 5)",
    "(and (vxlan) (ip@vxlan))",
    "(and (geneve) (net@geneve 10.0.0.0/8))",
    "(or (vxlan) (port 53))",
    "(ip6-protochain 17)",
    "(protochain 6)",
    "(dscp 0 46)",
    "(and (ip6) (proto 44))",
    "(proto 44)",
    "(proto 6)",
    "(vlan 0 5 6 7 100)",
    "(and (vlan) (vlan@1 5))",
    "(and (vlan 5) (arp@1))",
    "(not (or (ip) (ip6)))",
    "(not (not (tcp)))",
    "(or (and (vlan) (tcp@1)) (udp))",
    "(port both 53 80)",
    "(net both 10.0.0.0/8 192.168.0.0/16)",
    "(net 10.0.0.0/8 2001:db8::/32 ::1/128 fe80::/10 192.168.0.0/24)",
];

#[test]
fn rare_tests_are_found_too() {
    let mut taken = 0;
    for text in RARE {
        let filter: Expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        for seed in 0..u64::from(rounds()) {
            let frames = every_kind_of_frame(seed * 77 + 5, 400);
            taken += compare(&alone(filter.clone()), &frames).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert!(taken > 10_000, "{taken}");
}

#[test]
fn lists_as_operators_keep_them() {
    for (kind, six) in [
        (Kind::Acl, 0),
        (Kind::Fw, 0),
        (Kind::Ipc, 0),
        (Kind::Fw, 1),
        (Kind::Ipc, 3),
    ] {
        for rules in [9, 40, 300, 2000] {
            let mut random = Random(rules as u64 * 31 + 1);
            let rules = list(&mut random, kind, rules, six);
            let mut filters: Vec<Expr> = rules.iter().map(|rule| rule.filter().parse().unwrap()).collect();
            let mut frames = every_kind_of_frame(9, 50);
            for n in 0..1000 {
                let mut frame = rules[random.below(rules.len())].frame(&mut random);
                if n % 3 == 0 {
                    damage(&mut random, &mut frame);
                }
                frames.push(frame);
            }
            let taken = compare(&filters, &frames).unwrap_or_else(|error| panic!("{error}"));
            assert!(taken > 1000, "{kind:?} {}: {taken}", rules.len());
            // Wide ones first, and those that say nothing among them.
            filters.reverse();
            filters.insert(filters.len() / 2, "(greater 90)".parse().unwrap());
            compare(&filters, &frames).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Frames of one flow, each with other bytes cut off: fields that are not there count as any value.
#[test]
fn every_length_of_a_frame() {
    let mut random = Random(3);
    for six in [0, 1] {
        let rules = list(&mut random, Kind::Ipc, 200, six);
        let filters: Vec<Expr> = rules.iter().map(|rule| rule.filter().parse().unwrap()).collect();
        for rule in &rules {
            let whole = rule.frame(&mut random);
            let frames: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
            compare(&filters, &frames).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn memory_grows_with_the_number_of_filters() {
    for kind in [Kind::Acl, Kind::Fw, Kind::Ipc] {
        let rules = list(&mut Random(5), kind, 5000, 4);
        let filters: Vec<Expr> = rules.iter().map(|rule| rule.filter().parse().unwrap()).collect();
        let bytes = Classifier::new(&filters).bytes();
        assert!(bytes < 5000 * 400, "{kind:?}: {bytes}");
    }
}

#[test]
fn alike_filters_and_none_at_all() {
    let frames = every_kind_of_frame(1, 50);
    let same: Expr = "(and (tcp) (port dst 80))".parse().unwrap();
    compare(&vec![same; 500], &frames).unwrap();
    compare(&vec![Expr::Const(true); 500], &frames).unwrap();
    compare(&[], &frames).unwrap();
}
