//! Cubes hold exactly the packets that the filter takes.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

use std::cell::Cell;

use onvm_bundle::filter::Expr;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use super::{cube::Cube, field::Fields, lower::lower};

#[path = "../../../nflib/filter/tests/filters/packets/carried.rs"]
mod carried;
#[path = "../../../nflib/filter/tests/filters/packets/frames.rs"]
pub(crate) mod frames;
#[path = "../../../nflib/filter/tests/filters/packets/trees.rs"]
pub(crate) mod trees;

/// `ONVM_TEST_ROUNDS` takes so many times as many cases.
pub(crate) fn config(cases: u32, seed: u64) -> ProptestConfig {
    let rounds = std::env::var("ONVM_TEST_ROUNDS").map_or(1, |n| n.parse().unwrap());
    ProptestConfig {
        cases: cases * rounds,
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

/// Compares the cubes of a filter and of its contrary with the filter on every frame; none where there are too many.
fn compare(expr: &Expr, frames: &[Vec<u8>]) -> Option<u32> {
    let mut fields = Fields::default();
    let yes = lower(&mut fields, expr).ok()?;
    let no = lower(&mut fields, &Expr::negate(expr.clone())).ok()?;
    let mut decided = 0;
    for frame in frames {
        let is_in = |cubes: &[Cube]| cubes.iter().any(|c| holds(&fields, c, frame));
        let decision = match (is_in(&yes), is_in(&no)) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
            (true, true) => panic!("in both: {expr}\n{frame:02x?}"),
        };
        assert_eq!(
            decision,
            expr.decide(frame, frame.len() as u32),
            "{expr}\n{frame:02x?}"
        );
        decided += u32::from(decision.is_some());
    }
    Some(decided)
}

/// Tests behind labels, sessions and tunnels, whether or not those are there.
fn encapsulated() -> impl Strategy<Value = Expr> {
    let place = prop::sample::select(vec![
        "",
        "@1",
        "@mpls",
        "@mpls2",
        "@1.mpls",
        "@pppoes",
        "@pppoes.mpls",
        "@1.pppoes",
        "@geneve",
        "@vxlan",
        "@geneve.mpls",
    ]);
    let test = prop::sample::select(vec![
        "mpls",
        "mpls 5 100",
        "pppoes",
        "pppoes 0-99",
        "vlan",
        "vlan 5",
        "geneve",
        "geneve 5",
        "vxlan",
        "ip",
        "ip6",
        "arp",
        "tcp",
        "ip-proto 17",
        "ip6-proto 58",
        "net 10.0.0.0/8",
        "net src ::1/128 10.0.0.1/32",
        "ip-net 10.0.0.2/32",
        "net dst 2001:db8::/32",
        "port 80",
        "udp-port dst 53 4789",
        "dscp 0 46",
        "ether-proto 0x8864",
        "ether-proto 0x0029",
        "first-fragment",
        "= (l3 8 1) 64",
        "!= (ip4-payload 13 1) 2",
        "> (l3 0 2) 17700",
        "ip-protochain 6",
    ]);
    let link = prop::sample::select(vec![
        "ether-multicast",
        "mac 02:00:00:00:00:01",
        "= (frame 12 2) 0x8847",
    ]);
    let links = prop::sample::select(vec!["", "@pppoes", "@geneve", "@vxlan"]);
    let text = |(test, place): (&str, &str)| {
        let (name, rest) = test
            .split_once(' ')
            .map_or((test, ""), |(name, rest)| (name, rest));
        format!("({name}{place} {rest})")
            .replace(" )", ")")
            .parse::<Expr>()
            .unwrap()
    };
    let leaf = prop_oneof![8 => (test, place).prop_map(text), 1 => (link, links).prop_map(text)];
    leaf.prop_recursive(3, 6, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            list.clone().prop_map(Expr::and),
            list.prop_map(Expr::or),
            inner.prop_map(Expr::negate),
        ]
    })
}

#[test]
fn cubes_of_what_is_carried_are_exact() {
    let (decided, complex) = (Cell::new(0_u32), Cell::new(0_u32));
    let run = TestRunner::new(config(3000, 6)).run(&(encapsulated(), any::<u64>()), |(expr, seed)| {
        match compare(&expr, &carried::carried(seed, 60)) {
            Some(n) => decided.set(decided.get() + n),
            None => complex.set(complex.get() + 1),
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(complex.get() < 60, "{}", complex.get());
    assert!(decided.get() > 60_000, "{}", decided.get());
}

#[test]
fn cubes_are_exact() {
    let (decided, complex) = (Cell::new(0_u32), Cell::new(0_u32));
    let run = TestRunner::new(config(4000, 5)).run(&(trees::trees(), any::<u64>()), |(tree, seed)| {
        match compare(&tree.lower(&mut 0), &frames::frames(seed, 60)) {
            Some(n) => decided.set(decided.get() + n),
            None => complex.set(complex.get() + 1),
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(complex.get() < 40, "{}", complex.get());
    assert!(decided.get() > 100_000, "{}", decided.get());
}
