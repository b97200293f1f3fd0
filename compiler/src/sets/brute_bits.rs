//! Tests that read the same bytes in different ways, against enumeration: loads of all widths under any mask, at offsets that
//! overlap, beside tests of addresses, ports, fragments and lengths.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use onvm_bundle::filter::{Arith, ArithOp, Base, Comparison, Expr, Size};
use proptest::{prelude::*, sample::select};

use super::{
    Answer, Budget, Fields, Frame, RuleTable, Set, Verdict, Witness,
    brute::{matches, run, show},
    exact::frames,
};

const MASKS: [u32; 16] = [
    0xff00_ff00,
    0xffff_0001,
    0xffff_ffff,
    0xff00_0000,
    0x0000_00ff,
    0x3fff,
    0x1fff,
    0x2000,
    0xff00,
    0x00ff,
    0x0f,
    0xf0,
    0x01,
    0x8000_0001,
    0x0ff0,
    0x55,
];

/// Frames of IPv4 over every mix of few values of few bytes, and others that were damaged.
fn world() -> Vec<Frame> {
    let whole = |bytes: Vec<u8>| Frame {
        wire_len: bytes.len() as u32,
        bytes,
    };
    let mut all = Vec::new();
    for dst in [[0xff; 6], [2, 0, 0, 0, 0, 2], [3, 0, 0, 0, 0, 2]] {
        for (words, fragment) in [(5, 0), (6, 0), (5, 0x2000), (5, 0x0010), (5, 0x4000)] {
            for src in [
                [10, 1, 0, 4],
                [10, 0, 0, 1],
                [10, 0, 1, 1],
                [11, 1, 0, 4],
                [192, 168, 0, 1],
            ] {
                for (protocol, port) in [(6, 80_u16), (6, 443), (17, 80), (17, 53), (1, 80)] {
                    let mut bytes = dst.to_vec();
                    bytes.extend([2, 0, 0, 0, 0, 1, 8, 0, 0x40 | words, 0, 0, 44, 0, 0]);
                    bytes.extend(u16::to_be_bytes(fragment));
                    bytes.extend([64, protocol, 0, 0]);
                    bytes.extend(src);
                    bytes.extend([203, 0, 113, 9]);
                    bytes.resize(14 + 4 * usize::from(words), 0);
                    bytes.extend([0x0f, 0xa0]);
                    bytes.extend(port.to_be_bytes());
                    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0]);
                    bytes.resize(60, 0);
                    all.push(whole(bytes));
                }
            }
        }
    }
    all.extend(frames::frames(7, 2000).into_iter().map(whole));
    all
}

/// A load somewhere in the world's bytes, masked, against one of the values that they have, or near it.
fn relation(ops: &'static [Comparison]) -> impl Strategy<Value = Expr> {
    let size = select(&[(1_u32, Size::Byte), (2, Size::Half), (4, Size::Word)]);
    let place = prop_oneof![
        (0..13_u32).prop_map(|at| (Base::Frame, at)),
        (0..20_u32).prop_map(|at| (Base::L3, at)),
        (24..38_u32).prop_map(|at| (Base::Frame, at)),
        (0..14_u32).prop_map(|at| (Base::Ip4Payload, at)),
    ];
    let world = world();
    (place, size, select(&MASKS), select(ops), select(world), 0..6_u32).prop_map(
        |((base, at), (bytes, size), mask, op, frame, off)| {
            let frame = frame.bytes;
            let start = match base {
                Base::Frame => 0,
                Base::L3 | Base::Ip6Payload => 14,
                Base::Ip4Payload => 14 + usize::from(frame.get(14).copied().unwrap_or(0) & 15) * 4,
            } + at as usize;
            let value = (start..start + bytes as usize).fold(0_u32, |v, at| {
                v << 8 | u32::from(frame.get(at).copied().unwrap_or(0))
            });
            let shift = if off == 5 { 4 } else { 0 };
            let masked = Arith::Binary {
                op: ArithOp::And,
                left: Box::new(Arith::Load {
                    base,
                    at: Box::new(Arith::Const(at)),
                    size,
                }),
                right: Box::new(Arith::Const(mask)),
            };
            let left = match shift {
                0 => masked,
                n => Arith::Binary {
                    op: ArithOp::Shr,
                    left: Box::new(masked),
                    right: Box::new(Arith::Const(n)),
                },
            };
            let right = ((value & mask) >> shift).wrapping_add(u32::from(off == 4));
            Expr::test(
                0,
                onvm_bundle::filter::Test::Relation {
                    op,
                    left,
                    right: Arith::Const(right),
                },
            )
        },
    )
}

fn tests() -> impl Strategy<Value = Expr> {
    const OPS: &[Comparison] = &[
        Comparison::Eq,
        Comparison::Eq,
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Ge,
    ];
    let plain = select(vec![
        "(mac dst ff:ff:ff:ff:ff:ff)",
        "(mac dst 02:00:00:00:00:02)",
        "(net src 10.0.0.0/8)",
        "(net src 10.1.0.4/32)",
        "(net 10.0.0.1/32 192.168.0.0/16)",
        "(proto 6)",
        "(port dst 80)",
        "(port 443 50-60)",
        "(and (ip) (first-fragment))",
        "(ip)",
        "(tcp)",
        "(less 59)",
    ]);
    prop_oneof![
        4 => relation(OPS),
        2 => plain.prop_map(|text| text.parse::<Expr>().unwrap()),
    ]
}

fn filters() -> impl Strategy<Value = Expr> {
    tests().prop_recursive(2, 4, 3, |inner| {
        let some = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            4 => some().prop_map(Expr::and),
            2 => some().prop_map(Expr::or),
            2 => inner.clone().prop_map(Expr::negate),
        ]
    })
}

/// Whatever is said is so, and whether a packet is left to a rule is nearly always said.
#[test]
fn rules_over_the_same_bytes_are_decided() {
    let world = world();
    let counts = Cell::new([0_u32; 4]);
    run(3000, 11, prop::collection::vec(filters(), 2..7), |rules| {
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        rules.iter().for_each(|rule| table.push(&mut fields, rule));
        let verdicts = table.verdicts(&fields, &mut Budget::new(u64::MAX));
        for (n, verdict) in verdicts.iter().enumerate() {
            let own = |frame: &&Frame| table.taker(frame) == Some(n);
            let there = world.iter().find(own);
            let answer = table
                .effective(Some(n))
                .meets(&fields, None, &mut Budget::new(u64::MAX));
            let mut count = counts.get();
            match &answer {
                Answer::No => {
                    count[0] += 1;
                    prop_assert!(there.is_none(), "rule {n} takes {there:02x?} of {}", show(&rules));
                }
                Answer::Yes(Witness { frame }) => {
                    count[1] += 1;
                    prop_assert!(table.taker(frame) == Some(n), "{n} {frame:02x?} {}", show(&rules));
                }
                Answer::Unknown => count[2] += 1,
            }
            match verdict {
                Verdict::Useful => {
                    count[3] += u32::from(answer == Answer::No);
                }
                Verdict::Empty => {
                    let taken = world.iter().find(|frame| matches(&rules[n], frame));
                    prop_assert!(taken.is_none(), "rule {n} takes {taken:02x?} of {}", show(&rules));
                    prop_assert_eq!(&answer, &Answer::No);
                }
                Verdict::Shadowed { by, but_cut_off } => {
                    // One that ends within what the rules read is cut off.
                    let is_whole = |frame: &&Frame| {
                        let mut rules = rules.iter();
                        rules.all(|rule| rule.decide(&frame.bytes, frame.wire_len).is_some())
                    };
                    let of_rule = |frame: &&Frame| matches(&rules[n], frame);
                    let mut left = world
                        .iter()
                        .filter(|f| of_rule(f) && (!but_cut_off || is_whole(f)));
                    let left = left.find(|frame| !by.iter().any(|rule| matches(&rules[*rule], frame)));
                    prop_assert!(left.is_none(), "{by:?} and {n} of {}", show(&rules));
                }
            }
            counts.set(count);
        }
        Ok(())
    });
    let [no, yes, unknown, unseen] = counts.get();
    assert!(
        no > 1000 && yes > 1000 && unknown * 100 < no + yes && unseen * 100 < no,
        "{no} {yes} {unknown} {unseen}"
    );
}

/// One filter against another, both ways: within it, apart from it or neither.
#[test]
fn one_reading_of_bytes_follows_from_another() {
    let world = world();
    let counts = Cell::new([0_u32; 3]);
    run(6000, 12, (filters(), filters()), |(a, b)| {
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        table.push(&mut fields, &a);
        let set = Set::new(&mut fields, &b);
        for taker in [Some(0), None] {
            let mut count = counts.get();
            let both = |frame: &Frame| table.taker(frame) == taker && matches(&b, frame);
            match table
                .effective(taker)
                .meets(&fields, Some(&set), &mut Budget::new(u64::MAX))
            {
                Answer::No => {
                    count[0] += 1;
                    let there = world.iter().find(|frame| both(frame));
                    prop_assert!(there.is_none(), "{there:02x?} {taker:?}\n{a}\n{b}");
                }
                Answer::Yes(Witness { frame }) => {
                    count[1] += 1;
                    prop_assert!(both(&frame), "{frame:02x?} {taker:?}\n{a}\n{b}");
                }
                Answer::Unknown => count[2] += 1,
            }
            counts.set(count);
        }
        Ok(())
    });
    let [no, yes, unknown] = counts.get();
    assert!(
        no > 500 && yes > 1000 && unknown * 100 < no + yes,
        "{no} {yes} {unknown}"
    );
}

/// Pairs of filters in the words of operators: whether a packet that the second takes must be one of the first.
#[test]
fn what_operators_write_is_decided() {
    let ip = "(ip)";
    let tcp = "(ip) (tcp) (first-fragment)";
    let load = |base: &str, at: u32, size: u32, mask: &str, value: &str| {
        format!("(= (& ({base} {at} {size}) {mask}) {value})")
    };
    let wildcard = format!("(and {ip} {})", load("l3", 12, 4, "4278255360", "167772160"));
    let odd = format!("(and {ip} {})", load("l3", 12, 4, "4294901761", "167772161"));
    let more = format!("(and {ip} (!= (& (l3 6 2) 16383) 0))");
    let cases = [
        (wildcard.as_str(), "(and (ip) (net src 10.1.0.4/32))", true),
        (wildcard.as_str(), "(and (ip) (net src 10.1.1.4/32))", false),
        ("(net src 10.0.0.0/8)", odd.as_str(), true),
        ("(= (& (frame 0 1) 1) 1)", "(mac dst ff:ff:ff:ff:ff:ff)", true),
        ("(= (& (frame 0 1) 1) 1)", "(mac dst 02:00:00:00:00:01)", false),
        (more.as_str(), "(and (ip) (not (first-fragment)))", true),
        (more.as_str(), "(and (ip) (first-fragment))", false),
        ("(= (& (l3 0 1) 15) 5)", "(and (ip) (= (l3 0 2) 17664))", true),
        (
            "(= (>> (l3 12 4) 24) 10)",
            "(and (ip) (net src 10.2.0.0/16))",
            true,
        ),
    ];
    let flags = format!("(and {tcp} (= (& (ip4-payload 13 1) 18) 2))");
    let by_half = format!("(and {tcp} (= (& (ip4-payload 12 2) 63) 2))");
    let cases = cases
        .into_iter()
        .chain([(flags.as_str(), by_half.as_str(), true)]);
    for (wide, narrow, within) in cases {
        let (wide, narrow): (Expr, Expr) = (wide.parse().unwrap(), narrow.parse().unwrap());
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        table.push(&mut fields, &wide);
        let set = Set::new(&mut fields, &narrow);
        let answer = table
            .effective(None)
            .meets(&fields, Some(&set), &mut Budget::new(u64::MAX));
        match (&answer, within) {
            (Answer::No, true) | (Answer::Yes(_), false) => {}
            _ => panic!("{answer:?} {wide} {narrow}"),
        }
    }
}

/// IPv6 addresses, cut off or not, directed or not, in lists of any kind.
#[test]
fn the_contrary_of_an_address_is_the_rest() {
    let sets = [
        "(net 2001:db8::1/128)",
        "(net 2001:db8::/32)",
        "(net 10.0.0.1/32 2001:db8::1/128)",
        "(net 2001:db8::1/128 10.0.0.1/32 2001:db8:1::/48 fe80::/10)",
        "(net src 2001:db8::1/128)",
        "(net dst 2001:db8:1::/48 ::1/128)",
        "(net both 2001:db8::1/128 2001:db8::/32)",
    ];
    for set in sets {
        let (filter, contrary): (Expr, Expr) =
            (set.parse().unwrap(), format!("(not {set})").parse().unwrap());
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        table.push(&mut fields, &filter);
        let rest = Set::new(&mut fields, &contrary);
        let meets = |taker, set| {
            table
                .effective(taker)
                .meets(&fields, set, &mut Budget::new(u64::MAX))
        };
        assert_eq!(meets(Some(0), Some(&rest)), Answer::No, "{set}");
        assert!(matches!(meets(None, Some(&rest)), Answer::Yes(_)), "{set}");
    }
    let both: Expr = "(net 2001:db8::1/128)".parse().unwrap();
    let either: Expr = "(or (net src 2001:db8::1/128) (net dst 2001:db8::1/128))"
        .parse()
        .unwrap();
    for (a, b) in [(&both, &either), (&either, &both)] {
        let contrary = Expr::negate(b.clone());
        let mut fields = Fields::default();
        let (left, right) = (Set::new(&mut fields, a), Set::new(&mut fields, &contrary));
        let answer = super::common(&fields, &[], &[&left, &right], &mut Budget::new(u64::MAX));
        assert_eq!(answer, Answer::No, "{a} {b}");
    }
}

/// Units are counted and not time, so that this is the same on every machine.
#[test]
fn wildcards_between_prefixes_cost_little_each() {
    let filter = |n: u32| match n % 3 {
        0 => format!("(net src 10.{}.{}.0/24)", n >> 8 & 255, n & 255),
        1 => format!("(and (ip) (= (& (l3 12 4) 4278255615) {}))", 0x0a00_0000 | n),
        _ => format!(
            "(and (ip) (= (& (l3 14 2) 4095) {}) (= (l3 15 1) {}))",
            n & 0xfff,
            n & 255
        ),
    };
    for count in [1_000_u32, 8_000] {
        let rules: Vec<Expr> = (0..count).map(|n| filter(n).parse().unwrap()).collect();
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        rules.iter().for_each(|rule| table.push(&mut fields, rule));
        let mut budget = Budget::new(u64::from(count) * 400);
        table.verdicts(&fields, &mut budget);
        assert!(!budget.is_spent(), "{count} rules");
    }
}
