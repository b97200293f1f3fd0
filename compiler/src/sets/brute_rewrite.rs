//! Where rewritten packets come to, against every rewriting of every packet of a small world.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use onvm_bundle::{Effects, filter::Expr};
use proptest::{prelude::*, sample::select};

use super::{
    Budget, Fields, Frame, Rewritten, RuleTable, Set, Written,
    brute::{PORTS, V4, V6, filters, matches, run, show, whole_frames},
    shapes,
};

const WRITES: [&[&str]; 7] = [
    &["ip.dst"],
    &["ip.src", "ip.checksum"],
    &["tcp.dst_port"],
    &["udp.dst_port", "ip.dst"],
    &["ip.dscp", "tcp.dst_port"],
    &["ether.src"],
    &["ip.ttl", "icmp.type"],
];

/// Where the IP header of a frame begins, if it has one, and whether that is of IPv4.
fn ip(frame: &[u8]) -> Option<(usize, bool)> {
    let l3 = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    match frame[l3 - 2..l3] {
        [0x08, 0x00] => Some((l3, true)),
        [0x86, 0xdd] => Some((l3, false)),
        _ => None,
    }
}

/// The protocol, and where the transport header begins; none in fragments that have none.
fn transport(frame: &[u8]) -> Option<(u8, usize)> {
    match ip(frame)? {
        (l3, true) => (frame[l3 + 6..l3 + 8] == [0, 0]).then(|| (frame[l3 + 9], l3 + 20)),
        (l3, false) if frame[l3 + 6] == 44 => Some((frame[l3 + 40], l3 + 48)),
        (l3, false) => Some((frame[l3 + 6], l3 + 40)),
    }
}

/// Every frame that one becomes when this field has another of the values that matter.
fn rewritten(frame: &Frame, field: &str) -> Vec<Frame> {
    let mut all = vec![frame.clone()];
    let mut put = |at: usize, value: &[u8]| {
        let mut made = frame.clone();
        made.bytes[at..at + value.len()].copy_from_slice(value);
        all.push(made);
    };
    let ports = |protocol| transport(&frame.bytes).filter(|(own, _)| *own == protocol);
    match (field, ip(&frame.bytes)) {
        ("ip.src", Some((l3, true))) => V4.iter().for_each(|v| put(l3 + 12, v)),
        ("ip.dst", Some((l3, true))) => V4.iter().for_each(|v| put(l3 + 16, v)),
        ("ip.src", Some((l3, false))) => V6.iter().for_each(|v| put(l3 + 8, &v.to_be_bytes())),
        ("ip.dst", Some((l3, false))) => V6.iter().for_each(|v| put(l3 + 24, &v.to_be_bytes())),
        ("ip.dscp", Some((l3, true))) => [0, 46 << 2].iter().for_each(|v| put(l3 + 1, &[*v])),
        ("ip.dscp", Some((l3, false))) => {
            [[0x60, 0], [0x6b, 0x80]].iter().for_each(|v| put(l3, v));
        }
        ("tcp.dst_port", _) => {
            if let Some((_, l4)) = ports(6) {
                PORTS.iter().for_each(|p| put(l4 + 2, &p.to_be_bytes()));
            }
        }
        ("udp.dst_port", _) => {
            if let Some((_, l4)) = ports(17) {
                PORTS.iter().for_each(|p| put(l4 + 2, &p.to_be_bytes()));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn rewritten_packets_come_to_what_enumeration_says() {
    let frames: Vec<Frame> = whole_frames()
        .into_iter()
        .filter(|f| f.bytes.len() == f.wire_len as usize)
        .step_by(5)
        .collect();
    let counts = Cell::new([0_u32; 3]);
    let rules = prop::collection::vec(filters(), 1..5);
    run(
        1500,
        8,
        (rules, filters(), select(&WRITES)),
        |(rules, asked, writes)| {
            let mut fields = Fields::default();
            let mut table = RuleTable::default();
            rules.iter().for_each(|rule| table.push(&mut fields, rule));
            let set = Set::new(&mut fields, &asked);
            let all = shapes(&mut fields);
            let written = Written::by(&Effects {
                writes: writes.iter().map(|w| (*w).to_owned()).collect(),
                ..Effects::default()
            });
            let first = |f: &Frame| rules.iter().position(|r: &Expr| matches(r, f));
            let mut there = std::collections::HashMap::new();
            for frame in frames.iter().filter(|f| matches(&asked, f)) {
                let mut after = vec![frame.clone()];
                for field in writes {
                    after = after.iter().flat_map(|f| rewritten(f, field)).collect();
                }
                for made in after {
                    there.entry((first(frame), first(&made))).or_insert((frame, made));
                }
            }
            let takers = || (0..rules.len()).map(Some).chain([None]);
            for (from, to) in takers().flat_map(|a| takers().map(move |b| (a, b))) {
                let answer = table.effective(from).becomes(
                    &table.effective(to),
                    &set,
                    written,
                    (&fields, &all),
                    &mut Budget::new(u64::MAX),
                );
                let found = there.get(&(from, to));
                let mut count = counts.get();
                match answer {
                    Rewritten::No => {
                        count[0] += 1;
                        prop_assert!(
                            found.is_none(),
                            "{from:?} {to:?} {writes:?} {asked} {found:02x?} {}",
                            show(&rules)
                        );
                    }
                    Rewritten::Yes(shown) => {
                        count[1] += 1;
                        let (before, after) = (&shown.before.frame, &shown.after.frame);
                        prop_assert!(matches(&asked, before));
                        prop_assert_eq!((first(before), first(after)), (from, to));
                        prop_assert_eq!(&written.applied(before, after), after);
                    }
                    Rewritten::Unknown => {
                        count[2] += 1;
                    }
                }
                counts.set(count);
            }
            Ok(())
        },
    );
    let [no, yes, unknown] = counts.get();
    assert!(
        no > 500 && yes > 500 && unknown < (no + yes) / 50,
        "{no} {yes} {unknown}"
    );
}

#[test]
fn what_moves_other_fields_counts_as_everything() {
    let by = |writes: &[&str]| {
        Written::by(&Effects {
            writes: writes.iter().map(|w| (*w).to_owned()).collect(),
            ..Effects::default()
        })
    };
    assert!(by(&[]).is_nothing());
    for field in [
        "ip",
        "tcp",
        "vlan.id",
        "ether.type",
        "ip.options",
        "ip.protocol",
        "udp.length",
        "gtp.teid",
    ] {
        assert!(by(&[field]).is_anything(), "{field}");
    }
    for field in ["ip.src", "ether.dst", "tcp.dst_port", "icmp", "sctp"] {
        assert!(
            !by(&[field]).is_anything() && !by(&[field]).is_nothing(),
            "{field}"
        );
    }
    assert!(by(&["icmp"]).includes(by(&["icmp.type"])));
    assert!(!by(&["icmp.type"]).includes(by(&["icmp"])));
}
