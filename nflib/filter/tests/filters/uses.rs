//! What a filter says that it reads is all that it reads.

use std::cell::Cell;

use onvm_filter::{Expr, Fields};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use crate::packets::{
    frames::{Random, frames},
    trees::trees,
};

/// Another packet of the same flow: everything but the flow key made random. None for frames that are
/// classified one by one.
fn sibling(random: &mut Random, frame: &[u8]) -> Option<Vec<u8>> {
    frame.get(..14)?;
    let mut other = frame.to_vec();
    scramble(random, &mut other, 0..12);
    let mut at = 12;
    while let [0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00] = frame.get(at..at + 2)? {
        frame.get(at + 2..at + 4)?;
        other[at + 2] = other[at + 2] & 0x0f | (random.next() as u8) & 0xf0;
        at += 4;
    }
    let l3 = at + 2;
    let l4 = match frame.get(at..l3)? {
        [0x08, 0x00] if frame.len() >= l3 + 20 && frame[l3] & 0x0f >= 5 => {
            scramble(random, &mut other, l3 + 1..l3 + 6);
            other[l3 + 6] ^= (random.next() as u8) & 0xe0;
            if frame[l3 + 6] & 0x1f != 0 || frame[l3 + 7] != 0 {
                other[l3 + 7] = random.next() as u8 | 1;
            }
            scramble(random, &mut other, l3 + 8..l3 + 9);
            scramble(random, &mut other, l3 + 10..l3 + 12);
            l3 + usize::from(frame[l3] & 0x0f) * 4
        }
        [0x86, 0xdd] if frame.len() >= l3 + 40 && frame[l3 + 6] != 44 => {
            scramble(random, &mut other, l3 + 1..l3 + 6);
            scramble(random, &mut other, l3 + 7..l3 + 8);
            l3 + 40
        }
        _ => return None,
    };
    let payload = l4 + 4;
    if frame.len() < payload {
        return None;
    }
    let length = payload + random.below(80);
    other.resize(length, 0);
    scramble(random, &mut other, payload..length);
    Some(other)
}

fn scramble(random: &mut Random, frame: &mut [u8], range: std::ops::Range<usize>) {
    for byte in &mut frame[range] {
        *byte = random.next() as u8;
    }
}

#[test]
fn a_decision_on_the_flow_key_holds_for_the_flow() {
    let config = ProptestConfig {
        cases: 6000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(3),
        ..ProptestConfig::default()
    };
    let (compared, taken) = (Cell::new(0), Cell::new(0));
    let result = TestRunner::new(config).run(&(trees(), any::<u64>()), |(tree, seed)| {
        let expr = tree.lower(&mut 0);
        if !expr.uses().flow_key_only() {
            return Ok(());
        }
        let mut random = Random(seed);
        for first in frames(seed, 100) {
            let Some(second) = sibling(&mut random, &first) else {
                continue;
            };
            let decide = |frame: &[u8]| expr.decide(frame, frame.len() as u32);
            prop_assert_eq!(
                decide(&first),
                decide(&second),
                "{}\n{:02x?}\n{:02x?}",
                tree.text(),
                first,
                second
            );
            compared.set(compared.get() + 1);
            taken.set(taken.get() + usize::from(decide(&first) == Some(true)));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(
        compared.get() > 50_000 && taken.get() > compared.get() / 10,
        "{compared:?} {taken:?}"
    );
}

#[track_caller]
fn uses(text: &str) -> Fields {
    let expr: Expr = text.parse().unwrap_or_else(|error| panic!("{error}"));
    expr.uses()
}

#[test]
fn fields_of_each_test() {
    assert_eq!(uses("(all)"), Fields::NONE);
    assert_eq!(uses("(mac src 02:00:00:00:00:01)"), Fields::MAC);
    assert_eq!(uses("(ip)"), Fields::ETHER_TYPE);
    assert_eq!(
        uses("(ip-net 10.0.0.0/8)"),
        Fields::ETHER_TYPE | Fields::ADDRESSES
    );
    assert_eq!(uses("(greater 100)"), Fields::LENGTH);
    assert_eq!(uses("(dscp 46)"), Fields::ETHER_TYPE | Fields::DSCP);
    assert_eq!(
        uses("(tcp-port dst 80)"),
        Fields::ETHER_TYPE | Fields::PROTOCOL | Fields::FRAGMENT | Fields::PORTS
    );
    assert!(uses("(and (net 10.0.0.0/8) (tcp) (port 80))").flow_key_only());
    for text in [
        "(= (ip4-payload 13 1) 2)",
        "(= (len) 60)",
        "(dscp 0)",
        "(less 60)",
        "(ether-proto 0x0042)",
    ] {
        assert!(!uses(text).flow_key_only(), "{text}");
    }
}

#[test]
fn a_tag_that_may_be_absent_is_not_in_the_flow_key() {
    assert!(uses("(and (vlan 5) (ip@1))").flow_key_only());
    assert!(uses("(and (vlan) (vlan@1) (or (tcp@2) (net@2 10.0.0.0/8)))").flow_key_only());
    assert!(uses("(or (not (vlan 5)) (ip@1))").flow_key_only());
    assert!(!uses("(or (vlan 5) (ip@1))").flow_key_only());
    assert!(!uses("(and (not (vlan 5)) (ip@1))").flow_key_only());
    assert!(!uses("(and (or (vlan) (ip)) (tcp@1))").flow_key_only());
    assert!(!uses("(vlan@1 5)").flow_key_only());
}
