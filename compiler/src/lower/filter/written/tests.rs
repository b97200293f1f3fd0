#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::{
    filter::lower_alone,
    sets::exact::{config, frames, trees},
};

#[track_caller]
fn check(filters: &[&str], wanted: &str) {
    let filters = filters.iter().map(|f| match f.strip_prefix("! ") {
        Some(f) => Expr::negate(lower_alone(f).unwrap()),
        None => lower_alone(f).unwrap(),
    });
    assert_eq!(written(&Expr::and(filters)).as_deref(), Some(wanted));
}

#[test]
fn filters_are_written_as_they_are_read() {
    for text in [
        "all",
        "tcp dst port 80",
        "tcp dst portrange [80, 400-2000] or arp",
        "src and dst net [10.0.0.0/8, 2001:db8::/32]",
        "ip and not host 10.0.0.1",
        "ip[6:2] & 8191 != 0",
        "tcp[13] & 2 != 0",
        "vlan [7, 9-12] and tcp",
        "vlan and vlan 3 and ip6 proto 17",
        "ether dst host 02:00:00:00:00:01 and less 100",
        "mpls 5 and ip",
        "ether[ether[12] & 0xf:2] = 7",
        "dscp [0, 46]",
        "ip host 10.0.0.1 and not (icmp or udp)",
    ] {
        let wanted = text.replace("8191", "0x1fff").replace("0xf:", "15:");
        check(&[text], &wanted);
    }
}

#[test]
fn filters_that_shift_are_put_together() {
    check(&["! vlan 7", "! vlan 8", "tcp"], "tcp and not vlan [7, 8]");
    check(
        &["! vlan 7", "! vlan 9 and tcp"],
        "not vlan or (not (ether[14:2] & 0xfff = 7) and not (ether[14:2] & 0xfff = 9 and tcp))",
    );
    check(
        &["tcp or (vlan and tcp)", "! udp port 53 or (vlan and udp port 53)"],
        "(tcp and not udp port 53) or (vlan and tcp and not udp port 53)",
    );
    check(
        &["vlan and (net 10.0.0.0/8)", "! vlan 5 and tcp"],
        "vlan and net 10.0.0.0/8 and not (ether[14:2] & 0xfff = 5 and tcp)",
    );
    check(&["! mpls 5", "! mpls 7"], "not mpls [5, 7]");
    check(&["vlan 7", "! ip or (vlan and ip)"], "vlan 7 and not ip");
}

/// A load counts from its header, and does not wrap around; a sum does.
#[test]
fn loads_that_may_begin_before_their_header_are_not_written() {
    let text = |filter: &str| written(&filter.parse().unwrap());
    for (filter, wanted) in [
        (
            "(= (l3 (& (l3 0 1) 15) 1) 7)",
            Some("ether[14 + (ether[14] & 15)] = 7"),
        ),
        ("(= (l3 (- 0 2) 1) 7)", None),
        ("(= (l3 (- 0 (l3 0 1)) 1) 7)", None),
        ("(= (ip4-payload (l3 0 4) 1) 7)", None),
        ("(= (ip4-payload 4294967290 1) 7)", None),
        (
            "(= (frame (- 20 (frame 14 1)) 1) 7)",
            Some("ether[20 - ether[14]] = 7"),
        ),
    ] {
        assert_eq!(text(filter).as_deref(), wanted, "{filter}");
    }
}

#[test]
fn what_cannot_be_written_is_not() {
    let both = ["mpls 5 and ip", "udp or (mpls and udp)"].map(|f| lower_alone(f).unwrap());
    assert_eq!(written(&Expr::and(both)), None);
}

/// Compares on frames that no filter gives up on.
fn compare(expr: &Expr, frames: &[Vec<u8>]) -> Option<u32> {
    let text = written(expr)?;
    let again = lower_alone(&text).unwrap_or_else(|| panic!("{expr}\n{text}"));
    let mut compared = 0;
    for frame in frames {
        let length = frame.len() as u32;
        if let (Some(a), Some(b)) = (expr.decide(frame, length), again.decide(frame, length)) {
            assert_eq!(a, b, "{expr}\n{text}\n{again}\n{frame:02x?}");
            compared += 1;
        }
    }
    Some(compared)
}

#[test]
fn the_text_means_the_filter() {
    let (compared, none) = (Cell::new(0), Cell::new(0));
    let pairs = (
        prop::collection::vec((trees::trees(), any::<bool>()), 1..4),
        any::<u64>(),
    );
    let run = TestRunner::new(config(3000, 12)).run(&pairs, |(filters, seed)| {
        let filters = filters.iter().map(|(tree, negated)| {
            let expr = tree.lower(&mut 0);
            match negated {
                true => Expr::negate(expr),
                false => expr,
            }
        });
        match compare(&Expr::and(filters), &frames::frames(seed, 40)) {
            Some(n) => compared.set(compared.get() + n),
            None => none.set(none.get() + 1),
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(
        compared.get() > 60_000 && none.get() < compared.get() / 200,
        "{} {}",
        compared.get(),
        none.get()
    );
}
