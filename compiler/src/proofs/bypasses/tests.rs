//! Rules that packets get past, against every pair of packets of a small world.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use onvm_bundle::filter::Expr;
use proptest::{prelude::*, sample::select};

use crate::{
    Checked, Inputs, check,
    interpret::{Exit, Interpreter, Steered},
    lower::filter::lower_alone,
    render,
    sets::{Frame, brute::run},
    source::host::MemoryHost,
};

pub(super) const FILTERS: [&str; 17] = [
    "tcp dst port 22",
    "tcp",
    "dst port 80",
    "src net 10.0.0.0/8",
    "ip",
    "udp",
    "not tcp",
    "not dst port 22",
    "ip6 and tcp dst port 22",
    "arp",
    "vlan",
    "vlan 7 and tcp",
    "ip[6:2] & 0x1fff != 0",
    "ip[6:2] & 0x1fff = 0 and udp",
    "tcp[13] & 2 != 0",
    "tcp or (vlan and tcp)",
    "ip or ip[6:2] & 0x1fff = 0",
];
const TARGETS: [&str; 9] = [
    "drop",
    "drop",
    "mon -> drop",
    "lan",
    "fw0 -> lan",
    "fw0 { denied -> jail } -> lan",
    "fw1 -> fw0 -> lan",
    "fw0 { denied -> mon -> fw1 -> jail } -> lan",
    "fw0 { denied -> drop } -> fw1 { denied -> drop } -> jail",
];
const RULES: [&str; 11] = [
    "drop tcp dst port 22",
    "drop dst port 80",
    "drop tcp",
    "drop src net 10.0.0.0/8",
    "drop not tcp",
    "drop vlan",
    "drop ip[6:2] & 0x1fff != 0",
    "accept tcp",
    "accept udp dst port 80",
    "accept vlan 7",
    "accept ip[6:2] & 0x1fff != 0 and src net 10.0.0.0/8",
];

type Firewall = (Vec<&'static str>, &'static str, &'static str);

/// What the two packets of each pair differ in: the warning, the word by which a filter names it, and the pairs.
pub(super) type Kind = (&'static str, &'static str, Vec<(Frame, Frame)>);

fn frame(kind: u16, rest: &[u8]) -> Frame {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend(kind.to_be_bytes());
    bytes.extend(rest);
    bytes.resize(bytes.len().max(60), 0);
    Frame {
        wire_len: bytes.len() as u32,
        bytes,
    }
}

/// Every packet that the filters distinguish, without a tag and in one piece.
fn packets() -> Vec<Frame> {
    const SOURCES: [[u8; 4]; 2] = [[10, 0, 0, 7], [192, 168, 0, 7]];
    let mut all = vec![frame(0x88b5, &[])];
    for (kind, source) in [0x0806, 0x8035]
        .iter()
        .flat_map(|kind| SOURCES.map(|s| (*kind, s)))
    {
        let arp = [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1][..], &source].concat();
        all.push(frame(kind, &arp));
    }
    let kinds = [6, 17, 132, 47]
        .iter()
        .flat_map(|protocol| [22, 80, 99].map(|port| (*protocol, port)));
    for ((protocol, port), flags) in kinds.flat_map(|kind| [(kind, 2), (kind, 16)]) {
        let transport = [
            0x0f, 0xa0, 0, port, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0,
        ];
        for source in SOURCES {
            let ip = [
                &[0x45, 0, 0, 40, 0, 1, 0, 0, 64, protocol, 0, 0][..],
                &source,
                &[11, 0, 0, 9],
            ];
            all.push(frame(0x0800, &[&ip.concat()[..], &transport].concat()).mended());
        }
        let ip6 = |next: u8| [&[0x60, 0, 0, 0, 0, 20, next, 64][..], &[0x20; 32]].concat();
        all.push(frame(0x86dd, &[&ip6(protocol)[..], &transport].concat()).mended());
        let fragment = [protocol, 0, 0, 1, 0, 0, 0, 1];
        all.push(frame(0x86dd, &[&ip6(44)[..], &fragment, &transport].concat()).mended());
    }
    all
}

pub(super) fn kinds() -> [Kind; 2] {
    let tagged = |packet: &Frame, id: u8| {
        let bytes = [&packet.bytes[..12], &[0x81, 0, 0, id], &packet.bytes[12..]].concat();
        Frame {
            wire_len: bytes.len() as u32,
            bytes,
        }
    };
    let fragment = |packet: &Frame, offset: u8| {
        let mut fragment = packet.clone();
        fragment.bytes[21] = offset;
        fragment.mended()
    };
    let packets = packets();
    let ip = packets.iter().filter(|p| p.bytes[12..14] == [8, 0]);
    let fragments = ip.flat_map(|p| [100, 185].map(|offset| (p.clone(), fragment(p, offset))));
    let fragments: Vec<(Frame, Frame)> = fragments.collect();
    let plain = packets
        .iter()
        .chain(fragments.iter().map(|(_, fragment)| fragment));
    let tags = plain.flat_map(|p| [7, 9].map(|id| (p.clone(), tagged(p, id))));
    [("C0614", "vlan", tags.collect()), ("C0615", "ip[6:2]", fragments)]
}

fn program(rules: &[(&str, &str)], last: &str, firewalls: &[Firewall]) -> (String, Checked) {
    let mut source =
        "port wan = tap { name = \"a\" }\nport lan = null\nport jail = null\nnf mon = forward\n".to_owned();
    let mut host = MemoryHost::default();
    for (n, (rules, default, deny)) in firewalls.iter().enumerate() {
        source += &format!(
            "nf fw{n} = firewall {{ rules = file(\"{n}.rules\"), default = {default}, on_deny = {deny} }}\n"
        );
        host = host.with(format!("{n}.rules"), rules.join("\n") + "\n");
    }
    let rules: String = rules.iter().map(|(f, t)| format!("    {f} -> {t}\n")).collect();
    source += &format!("steer wan {{\n{rules}    else -> {last}\n}}\n");
    let host = host.with("a.chain", source.as_str());
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    (source, checked)
}

/// By the port (none) or a firewall: its rules that drop a packet of a pair of which the other gets out.
type Holes = BTreeMap<Option<usize>, BTreeSet<usize>>;

/// As the interpreter shows them.
struct World<'w> {
    rules: &'w [(&'w str, &'w str)],
    last: &'w str,
    firewalls: &'w [Firewall],
    /// Of the port's rules, and of each firewall's.
    filters: (Vec<Expr>, Vec<Vec<Expr>>),
    interpreter: Interpreter<'w>,
}

/// The way of a packet: the rule of the port, the rules of firewalls, and whether it gets out.
type Sent = (Option<usize>, Vec<(usize, Option<usize>)>, bool);

impl World<'_> {
    fn send(&mut self, frame: &Frame) -> Sent {
        let path = self.interpreter.send(0, &frame.bytes, frame.wire_len);
        let story = self.interpreter.tell(&path, &[]);
        let rule = match path.steered {
            Steered::Rule(rule) => Some(rule),
            _ => None,
        };
        assert_eq!(first(&self.filters.0, frame), rule);
        let by = story.names().into_iter().filter_map(|name| {
            let fw = name.strip_prefix("fw")?.parse::<usize>().unwrap();
            Some((fw, first(&self.filters.1[fw], frame)))
        });
        (rule, by.collect(), matches!(path.exit, Exit::Port(_)))
    }

    fn holes(&mut self, (_, word, pairs): &Kind) -> Holes {
        let mut holes = Holes::new();
        for (plain, beside) in pairs {
            let (dropped, out) = (self.send(plain), self.send(beside));
            if dropped.2 || !out.2 {
                continue;
            }
            let target = dropped.0.map_or(self.last, |rule| self.rules[rule].1);
            let has_exit = target.contains("lan") || target.contains("jail");
            let by = match dropped.1.last() {
                _ if !has_exit => dropped.0.map(|rule| (None, rule, self.rules[rule].0)),
                Some((fw, Some(rule))) => Some((Some(*fw), *rule, self.firewalls[*fw].0[*rule])),
                _ => None,
            };
            let Some((by, rule, _)) = by.filter(|(.., text)| !text.contains(word)) else {
                continue;
            };
            // A rule that takes only the one that gets out speaks of it.
            let of_port = out
                .0
                .filter(|_| out.0 != dropped.0)
                .map(|rule| self.rules[rule].0);
            let decided = out.1.iter().filter(|by| !dropped.1.contains(by));
            let decided = decided.filter_map(|(fw, rule)| Some(self.firewalls[*fw].0[(*rule)?]));
            let meant = decided.chain(of_port).any(|text| text.contains(word));
            if !meant {
                holes.entry(by).or_default().insert(rule);
            }
        }
        holes
    }
}

fn first(filters: &[Expr], frame: &Frame) -> Option<usize> {
    filters
        .iter()
        .position(|f| f.matches(&frame.bytes, frame.wire_len))
}

/// What the warnings of a code say: whose rule it is, which one, and how many more.
fn warned(checked: &Checked, code: &str) -> BTreeMap<Option<usize>, (Option<usize>, usize)> {
    let found = checked.diagnostics.iter().filter(|d| d.code == code);
    let warning = |d: &onvm_lang::Diagnostic| {
        let by = d.message.strip_prefix("rule_").map(|rest| {
            let (line, rest) = rest.split_once(" of `fw").unwrap();
            (rest[..1].parse().unwrap(), line.parse::<usize>().unwrap() - 1)
        });
        let help = d.help.as_deref().unwrap();
        let more = help.split_once("; so do").map_or(0, |(_, rest)| {
            let digits: String = rest.chars().filter(char::is_ascii_digit).take(1).collect();
            digits.parse().unwrap()
        });
        (by.map(|(fw, _)| fw), (by.map(|(_, rule)| rule), more))
    };
    found.map(warning).collect()
}

#[test]
fn rules_are_reported_that_packets_get_past() {
    let rules = prop::collection::vec((select(&FILTERS), select(&TARGETS)), 0..5);
    let firewall = (
        prop::collection::vec(select(&RULES), 0..5),
        select(&["accept", "drop"]),
        select(&["drop", "output"]),
    );
    let programs = (rules, select(&TARGETS), prop::collection::vec(firewall, 2));
    let kinds = kinds();
    let counts = Cell::new([0_u32; 5]);
    run(600, 14, programs, |(rules, last, firewalls)| {
        let (source, checked) = program(&rules, last, &firewalls);
        let shown = render::human(&checked.sources, &checked.diagnostics, false, 100);
        let Some(program) = checked.program.as_ref() else {
            panic!("{source}{shown}");
        };
        let filters = |of: &[&str]| of.iter().map(|f| lower_alone(f).unwrap()).collect::<Vec<_>>();
        let of_firewall = |(rules, ..): &Firewall| {
            let texts: Vec<&str> = rules.iter().map(|rule| rule.split_once(' ').unwrap().1).collect();
            filters(&texts)
        };
        let texts: Vec<&str> = rules.iter().map(|(filter, _)| *filter).collect();
        let mut world = World {
            rules: &rules,
            last,
            firewalls: &firewalls,
            filters: (filters(&texts), firewalls.iter().map(of_firewall).collect()),
            interpreter: Interpreter::new(program.contents(), &program.files).unwrap(),
        };
        let mut count = counts.get();
        for kind in &kinds {
            let holes = world.holes(kind);
            let expected: BTreeMap<_, _> = holes
                .iter()
                .map(|(by, rules)| {
                    let first = by.and(rules.first().copied());
                    (*by, (first, rules.len() - 1))
                })
                .collect();
            let found = warned(&checked, kind.0);
            prop_assert_eq!(
                &found,
                &expected,
                "{} {:?}\n{:?}\n{}{}",
                kind.0,
                holes,
                firewalls,
                source,
                shown
            );
            for (by, (_, more)) in &found {
                count[if by.is_some() { 1 } else { 0 }] += 1;
                count[2] += u32::from(*more > 0);
            }
            count[3] += u32::from(found.is_empty());
            count[4] += u32::from(shown.contains("come to it"));
        }
        counts.set(count);
        Ok(())
    });
    let counts = counts.get();
    assert!(counts.iter().all(|n| *n > 30), "{counts:?}");
}

/// What takes long to say of some rules leaves room for the others, of the same firewall, of the port, and of the other kind.
#[test]
fn no_rule_is_forgotten_for_others_that_take_long() {
    let nets = (0..8).flat_map(|a| (0..256).map(move |b| format!("10.{a}.{b}.0/24")));
    let mut rules: Vec<(String, &str)> = nets.map(|net| (format!("src net {net}"), "drop")).collect();
    rules.insert(0, ("udp dst port 53".to_owned(), "drop"));
    let rules: Vec<(&str, &str)> = rules.iter().map(|(filter, to)| (filter.as_str(), *to)).collect();
    // The port drops all that these would.
    let of_firewall = vec![
        "drop src net 10.0.0.0/13 and dst port 1000",
        "drop src net 10.0.0.0/13 and dst port 1001",
        "drop src net 10.0.0.0/13 and dst port 1002",
        "drop src net 10.0.0.0/13 and dst port 1003",
        "drop src net 10.0.0.0/13 and dst port 1004",
        "drop tcp dst port 22",
    ];
    let firewalls = [(of_firewall, "accept", "drop"), (Vec::new(), "accept", "drop")];
    let (_, checked) = program(&rules, "fw0 -> lan", &firewalls);
    for code in ["C0614", "C0615"] {
        let found = warned(&checked, code);
        assert_eq!(found.get(&Some(0)), Some(&(Some(5), 0)), "{code}");
        assert!(found.contains_key(&None), "{code}");
    }
}
