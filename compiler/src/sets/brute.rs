//! The engine against enumeration: random rules over few values, and every packet that these values distinguish.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use ipnet::IpNet;
use onvm_bundle::filter::{
    Arith, Base, Comparison, Direction, DscpSet, Expr, Length, NetSet, PortRange, PortSet, Size, Test,
    Transport, Version, Within,
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

pub(crate) use super::exact::config;
use super::{Answer, Budget, Fields, Frame, RuleTable, Set, Verdict, common};

const NETS: [&str; 7] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.5/32",
    "192.168.0.0/16",
    "2001:db8::/32",
    "2001:db8:1::/48",
];
/// One address of each region that the prefixes make.
pub(super) const V4: [[u8; 4]; 6] = [
    [10, 9, 0, 1],
    [10, 1, 9, 1],
    [10, 1, 1, 9],
    [10, 1, 1, 5],
    [192, 168, 0, 1],
    [11, 0, 0, 1],
];
pub(super) const V6: [u128; 3] = [
    0x2001_0db8_0009 << 80 | 1,
    0x2001_0db8_0001 << 80 | 1,
    0x2001_0db9 << 96 | 1,
];
const RANGES: [(u16, u16); 4] = [(80, 80), (443, 443), (400, 2000), (1000, 65535)];
pub(super) const PORTS: [u16; 6] = [80, 443, 500, 1500, 5000, 1];
const PROTOCOLS: [u8; 5] = [6, 17, 132, 1, 47];

fn frame(kind: u16, payload: &[u8]) -> Frame {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend(kind.to_be_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().max(60), 0);
    whole(bytes)
}

fn whole(bytes: Vec<u8>) -> Frame {
    Frame {
        wire_len: bytes.len() as u32,
        bytes,
    }
}

/// Other protocols too may have bytes that look like ports.
fn transport() -> Vec<Vec<u8>> {
    let header = |port: &u16| {
        let mut header = vec![0x0f, 0xa0];
        header.extend(port.to_be_bytes());
        // Of TCP: a header of 20 bytes.
        header.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0]);
        header
    };
    PORTS.iter().map(header).collect()
}

/// Every packet that the filters below can distinguish, except those cut short.
pub(crate) fn whole_frames() -> Vec<Frame> {
    let mut all = vec![frame(0x88b5, &[0; 46])];
    for src in V4 {
        for dst in V4 {
            let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1];
            arp.extend(src);
            arp.extend([0; 6]);
            arp.extend(dst);
            all.extend([frame(0x0806, &arp), frame(0x8035, &arp)]);
            for (protocol, fragment, tos) in PROTOCOLS
                .iter()
                .flat_map(|p| [(p, 0, 0), (p, 0x0010, 0), (p, 0, 46 << 2), (p, 0x0010, 46 << 2)])
            {
                for l4 in transport() {
                    let mut ip = vec![0x45, tos, 0, 40, 0, 0];
                    ip.extend(u16::to_be_bytes(fragment));
                    ip.extend([64, *protocol, 0, 0]);
                    ip.extend(src);
                    ip.extend(dst);
                    ip.extend(l4);
                    all.push(frame(0x0800, &ip));
                }
            }
        }
    }
    for src in V6 {
        for dst in V6 {
            for (protocol, fragmented, dscp) in PROTOCOLS
                .iter()
                .flat_map(|p| [(*p, false, 0), (*p, true, 0), (*p, false, 46), (*p, true, 46)])
            {
                for l4 in transport() {
                    let mut ip = vec![
                        0x60 | dscp >> 2,
                        (dscp & 3) << 6,
                        0,
                        0,
                        0,
                        20,
                        if fragmented { 44 } else { protocol },
                        64,
                    ];
                    ip.extend(src.to_be_bytes());
                    ip.extend(dst.to_be_bytes());
                    if fragmented {
                        ip.extend([protocol, 0, 0, 0, 0, 0, 0, 1]);
                    }
                    ip.extend(l4);
                    all.push(frame(0x86dd, &ip));
                }
            }
        }
    }
    let tagged = |f: &Frame| whole([&f.bytes[..12], &[0x81, 0, 0, 7], &f.bytes[12..]].concat());
    let tagged: Vec<_> = all.iter().step_by(7).map(tagged).collect();
    all.extend(tagged);
    let long: Vec<_> = all
        .iter()
        .map(|f| Frame {
            wire_len: 1500,
            ..f.clone()
        })
        .collect();
    all.extend(long);
    all
}

pub(crate) fn cut_short(frames: &[Frame]) -> Vec<Frame> {
    let lengths = [13, 15, 20, 23, 25, 28, 32, 35, 37, 40, 45, 56];
    let cut = |f: &Frame, n: usize| whole(f.bytes[..lengths[n % lengths.len()]].to_vec());
    let ways = frames.iter().enumerate().step_by(3);
    ways.flat_map(|(n, f)| [cut(f, n / 3), cut(f, n / 3 + 5)])
        .collect()
}

fn tests() -> impl Strategy<Value = Expr> {
    let dir = || select(&[Direction::Src, Direction::Dst, Direction::Either, Direction::Both]);
    let nets = prop::collection::vec(select(&NETS), 1..3);
    let net =
        (dir(), nets, select(&[Within::Any, Within::Any, Within::Ip])).prop_map(|(dir, nets, within)| {
            let nets = NetSet::new(nets.iter().map(|n| n.parse::<IpNet>().unwrap())).unwrap();
            Test::Net { within, dir, nets }
        });
    let ports = prop::collection::vec(select(&RANGES), 1..3);
    let transport = select(&[Transport::Any, Transport::Tcp, Transport::Udp]);
    let port = (ports, transport).prop_map(|(ports, transport)| {
        let ports = PortSet::new(ports.iter().map(|(low, high)| PortRange::new(*low, *high))).unwrap();
        Test::Port {
            transport,
            dir: Direction::Dst,
            ports,
        }
    });
    let proto = (
        select(&[6, 17, 1]),
        select(&[Version::Any, Version::V4, Version::V6]),
    )
        .prop_map(|(number, version)| Test::Proto { version, number });
    let ether = select(&[0x0800, 0x0806, 0x86dd]).prop_map(Test::EtherProto);
    let other = select(vec![
        Test::FirstFragment,
        Test::Length(Length::AtMost(1000)),
        Test::Dscp(DscpSet::new([46]).unwrap()),
        Test::Relation {
            op: Comparison::Gt,
            left: Arith::Load {
                base: Base::Ip4Payload,
                at: Box::new(Arith::Const(2)),
                size: Size::Half,
            },
            right: Arith::Const(999),
        },
    ]);
    prop_oneof![4 => net, 3 => port, 3 => proto, 2 => ether, 1 => other].prop_map(|test| match test {
        // As the compiler lowers them: behind a test for IPv4.
        Test::FirstFragment | Test::Relation { .. } => Expr::and([
            Expr::test(0, Test::EtherProto(0x0800)),
            Expr::test(0, Test::FirstFragment),
            Expr::test(0, test),
        ]),
        test => Expr::test(0, test),
    })
}

pub(super) fn filters() -> impl Strategy<Value = Expr> {
    prop_oneof![8 => tests(), 1 => Just(Expr::Const(true))].prop_recursive(3, 6, 3, |inner| {
        let some = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            4 => some().prop_map(Expr::and),
            2 => some().prop_map(Expr::or),
            2 => inner.clone().prop_map(Expr::negate),
        ]
    })
}

pub(super) fn matches(filter: &Expr, frame: &Frame) -> bool {
    filter.matches(&frame.bytes, frame.wire_len)
}

pub(super) fn show(rules: &[Expr]) -> String {
    rules.iter().map(|r| format!("\n    {r}")).collect()
}

pub(crate) fn run<T: std::fmt::Debug>(
    cases: u32,
    seed: u64,
    strategy: impl Strategy<Value = T>,
    check: impl Fn(T) -> Result<(), TestCaseError>,
) {
    if let Err(error) = TestRunner::new(config(cases, seed)).run(&strategy, check) {
        panic!("{error}");
    }
}

#[test]
fn verdicts_are_those_of_enumeration() {
    let whole = whole_frames();
    let cut = cut_short(&whole);
    let counts = Cell::new([0_u32; 4]);
    run(3000, 1, prop::collection::vec(filters(), 2..9), |rules| {
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        rules.iter().for_each(|rule| table.push(&mut fields, rule));
        let verdicts = table.verdicts(&fields, &mut Budget::new(u64::MAX));
        for (n, verdict) in verdicts.iter().enumerate() {
            let mut count = counts.get();
            let own = |b: &&Frame| matches(&rules[n], b) && !rules[..n].iter().any(|r| matches(r, b));
            let takes_whole = whole.iter().find(own);
            let takes_cut = cut.iter().find(own);
            match verdict {
                Verdict::Useful => {
                    count[0] += 1;
                    prop_assert!(takes_whole.is_some(), "rule {n} takes nothing: {}", show(&rules));
                }
                Verdict::Empty => {
                    count[1] += 1;
                    let taken = whole.iter().chain(&cut).find(|b| matches(&rules[n], b));
                    prop_assert!(
                        taken.is_none(),
                        "rule {n} is not empty: {taken:02x?} {}",
                        show(&rules)
                    );
                }
                Verdict::Shadowed { by, but_cut_off } => {
                    count[2 + usize::from(*but_cut_off)] += 1;
                    prop_assert!(
                        takes_whole.is_none(),
                        "rule {n} takes {takes_whole:02x?} of {}",
                        show(&rules)
                    );
                    prop_assert!(
                        *but_cut_off || takes_cut.is_none(),
                        "rule {n} takes {takes_cut:02x?} of {}",
                        show(&rules)
                    );
                    let together = |without: Option<usize>| {
                        whole.iter().all(|b| {
                            let by = by.iter().filter(|r| Some(**r) != without);
                            !matches(&rules[n], b) || by.into_iter().any(|r| matches(&rules[*r], b))
                        })
                    };
                    prop_assert!(together(None), "{by:?} do not cover rule {n} of {}", show(&rules));
                }
            }
            counts.set(count);
        }
        Ok(())
    });
    let counts = counts.get();
    assert!(counts.iter().all(|n| *n > 50), "{counts:?}");
}

#[test]
fn witnesses_are_found_where_there_are_packets() {
    let whole = whole_frames();
    let counts = Cell::new([0_u32; 3]);
    let rules = prop::collection::vec(filters(), 1..6);
    run(2000, 2, (rules, filters()), |(rules, asked)| {
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        rules.iter().for_each(|rule| table.push(&mut fields, rule));
        let set = Set::new(&mut fields, &asked);
        for taker in (0..rules.len()).map(Some).chain([None]) {
            let mut count = counts.get();
            let answer = table
                .effective(taker)
                .meets(&fields, Some(&set), &mut Budget::new(u64::MAX));
            let first = |b: &Frame| rules.iter().position(|r| matches(r, b));
            let there = whole.iter().find(|b| matches(&asked, b) && first(b) == taker);
            match answer {
                Answer::No => {
                    count[0] += 1;
                    prop_assert!(
                        there.is_none(),
                        "{there:02x?} is in {asked} and rule {taker:?} of {}",
                        show(&rules)
                    );
                }
                Answer::Yes(witness) => {
                    count[1] += 1;
                    prop_assert!(matches(&asked, &witness.frame));
                    prop_assert_eq!(first(&witness.frame), taker);
                    prop_assert!(
                        there.is_some() || witness.frame.bytes.len() < 60,
                        "{} {asked} {}",
                        witness,
                        show(&rules)
                    );
                }
                Answer::Unknown => {
                    count[2] += 1;
                    prop_assert!(
                        there.is_none(),
                        "not found: {there:02x?} of {asked}, rule {taker:?} of {}",
                        show(&rules)
                    );
                }
            }
            counts.set(count);
        }
        Ok(())
    });
    let [no, yes, unknown] = counts.get();
    assert!(
        no > 1000 && yes > 1000 && unknown < (no + yes) / 50,
        "{no} {yes} {unknown}"
    );
}

#[test]
fn intersections_are_those_of_enumeration() {
    let whole = whole_frames();
    run(2000, 3, (filters(), filters()), |(a, b)| {
        let mut fields = Fields::default();
        let (left, right) = (Set::new(&mut fields, &a), Set::new(&mut fields, &b));
        let there = whole.iter().any(|p| matches(&a, p) && matches(&b, p));
        match common(&fields, &[], &[&left, &right], &mut Budget::new(u64::MAX)) {
            Answer::No => prop_assert!(!there, "{a} {b}"),
            Answer::Yes(w) => {
                prop_assert!(matches(&a, &w.frame) && matches(&b, &w.frame));
                prop_assert!(there || w.frame.bytes.len() < 60, "{w} {a} {b}");
            }
            Answer::Unknown => prop_assert!(!there, "{a} {b}"),
        }
        Ok(())
    });
}

#[test]
fn packets_that_change_hands_between_two_tables() {
    let whole = whole_frames();
    let tables = (
        prop::collection::vec(filters(), 1..4),
        prop::collection::vec(filters(), 1..4),
    );
    run(600, 4, tables, |(old, new)| {
        let mut fields = Fields::default();
        let (mut before, mut after) = (RuleTable::default(), RuleTable::default());
        old.iter().for_each(|rule| before.push(&mut fields, rule));
        new.iter().for_each(|rule| after.push(&mut fields, rule));
        let takers = |n: usize| (0..n).map(Some).chain([None]);
        for (from, to) in takers(old.len()).flat_map(|a| takers(new.len()).map(move |b| (a, b))) {
            let moves = |f: &Frame| before.taker(f) == from && after.taker(f) == to;
            let there = whole.iter().any(moves);
            let (left, right) = (before.effective(from), after.effective(to));
            match common(&fields, &[left, right], &[], &mut Budget::new(u64::MAX)) {
                Answer::Yes(w) => {
                    prop_assert!(moves(&w.frame));
                    prop_assert!(there || w.frame.bytes.len() < 60, "{w} {from:?} {to:?}");
                }
                Answer::No | Answer::Unknown => prop_assert!(!there, "{from:?} {to:?} {}", show(&old)),
            }
        }
        Ok(())
    });
}
