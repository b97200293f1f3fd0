//! Ways and changes of ways: by example, and against every packet of a small world.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
};

use proptest::{prelude::*, sample::select, test_runner::TestRunner};

use super::*;
use crate::{
    Inputs, Program, check,
    interpret::Interpreter,
    sets::{
        Frame,
        brute::{config, whole_frames},
    },
    source::host::MemoryHost,
};

const GUARD: &str = "name = \"guard\"\nversion = \"1.0.0\"\nsummary = \"A guard\"\n[run]\nbinary = \"guard\"\n[effects]\nlookups = true\n\
    [[outputs]]\nname = \"suspect\"\ndoc = \"What looks suspect.\"\n\
    [[params]]\nname = \"strict\"\ntype = \"bool\"\ndefault = \"false\"\ndoc = \"How strict it is.\"\n";

fn program(source: &str, rules: &str) -> Program {
    let host = MemoryHost::default()
        .with("a.chain", source)
        .with("guard.nf.toml", GUARD)
        .with("a.rules", rules)
        .with("a.patterns", "attack\nprobe\n")
        .with("b.patterns", "attack\nworm\n");
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    checked.program.unwrap_or_else(|| panic!("{shown}"))
}

/// Ports, NFs and chains, with these rules of `wan`.
fn source(rules: &str) -> String {
    format!(
        "use \"guard.nf.toml\" as guard\n\
         port wan = null {{}}\nport lan = null {{}}\nport jail = null {{}}\n\
         nf fw = firewall {{ rules = file(\"a.rules\"), default = drop }}\n\
         nf scan = payload_scan {{ patterns = file(\"a.patterns\") }}\n\
         nf mon = monitor\n\
         nf own = guard\n\
         chain web = fw -> scan {{ match -> jail }} -> lan\n\
         chain plain = fw -> mon -> lan\n\
         chain guarded = own {{ suspect -> jail }} -> lan\n\
         steer wan {{\n{rules}\n}}\n\
         steer lan {{ else -> wan }}\nsteer jail {{ else -> drop }}\n"
    )
}

fn found(source: &str, rules: &str) -> Witnesses {
    let program = program(source, rules);
    let models = Models::new(program.contents(), &program.files).unwrap();
    let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
    witnesses(program.contents(), &models, &mut interpreter)
}

/// One line for each way of `wan`, then one for each that has none.
fn ways(rules: &str, firewall: &str) -> Vec<String> {
    let found = found(&source(rules), firewall);
    assert!(!found.more);
    let there = found.ways.iter().filter(|w| w.port == "wan");
    let there = there.map(|w| format!("{}: {}", w.packet, w.story.names().join(" -> ")));
    let missing = found.missing.iter().filter(|m| m.port == "wan");
    let missing = missing.map(|m| {
        let path = m.path.as_deref().unwrap_or("nothing");
        format!("{}: {path}, {:?}", m.rule, m.certainty)
    });
    there.chain(missing).collect()
}

const ACCEPT_WEB: &str = "accept tcp dst port 80\n";

#[test]
fn every_way_has_a_packet() {
    assert_eq!(
        ways("tcp -> web\nudp -> drop\nelse -> plain", ACCEPT_WEB),
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: fw -> scan -> lan",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [syn], payload = \"attack\" }: fw -> scan -> jail",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:81 }: fw -> drop",
            "udp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: drop",
            "icmp { src = 198.51.100.7, dst = 203.0.113.9 }: fw -> drop",
            // What the firewall lets out goes to `web`.
            "else -> plain: fw -> mon -> lan, Modelled",
        ]
    );
}

#[test]
fn ways_without_a_packet_are_told() {
    assert_eq!(
        ways(
            "tcp -> web\ntcp and dst port 80 -> plain\nelse -> drop",
            "accept udp\n"
        ),
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: fw -> drop",
            "udp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: drop",
            "tcp -> web: fw -> scan -> lan, Modelled",
            "tcp -> web: fw -> scan -(match)-> jail, Modelled",
            "tcp and dst port 80 -> plain: nothing, Proved",
        ]
    );
}

#[test]
fn what_third_parties_decide_on_is_not_guessed() {
    let found = found(&source("else -> guarded"), ACCEPT_WEB);
    assert_eq!(found.undecided, BTreeSet::from(["own".to_owned()]));
    let names: Vec<_> = found.ways.iter().map(|w| w.story.names().join(" -> ")).collect();
    assert_eq!(names, ["own -> lan", "wan", "drop"]);
    assert!(found.ways[0].story.hops[0].assumed);
}

/// One line for each change of path, and whether that is all.
fn changed(old: (&str, &str), new: (&str, &str)) -> (Vec<String>, Certainty) {
    let (old, new) = (program(old.0, old.1), program(new.0, new.1));
    let found = compare(&old, &new);
    let line = |c: &PathChange| {
        let given = c.given.iter().map(|g| format!(" if {} {}", g.nf, g.does));
        format!(
            "{}: {} => {}{}",
            c.packet,
            c.was.path,
            c.now.path,
            given.collect::<String>()
        )
    };
    let unknown = found.unknown.iter().map(|nf| format!("{nf} is changed"));
    let looked_up = found.looked_up.iter().map(|nf| format!("{nf} looks up"));
    (
        found
            .paths
            .iter()
            .map(line)
            .chain(unknown)
            .chain(looked_up)
            .collect(),
        found.certainty,
    )
}

fn compare(old: &Program, new: &Program) -> Changes {
    let models = [old, new].map(|p| Models::new(p.contents(), &p.files).unwrap());
    let [mut before, mut after] = [old, new].map(|p| Interpreter::new(p.contents(), &p.files).unwrap());
    changes(
        (old.contents(), &models[0], &mut before),
        (new.contents(), &models[1], &mut after),
    )
}

#[test]
fn an_edit_is_told_by_packets() {
    let old = source("tcp -> web\nelse -> plain");
    let edit = |new: &str, rules: &str| changed((&old, ACCEPT_WEB), (new, rules));
    assert_eq!(edit(&old, ACCEPT_WEB), (vec![], Certainty::Proved));
    let dns = source("udp port 53 -> mon -> lan\ntcp -> web\nelse -> plain");
    let (lines, certainty) = edit(&dns, ACCEPT_WEB);
    assert_eq!(
        lines,
        ["udp { src = 198.51.100.7:53, dst = 203.0.113.9:80 }: fw -(drops)-> drop => mon -> lan"]
    );
    assert_eq!(certainty, Certainty::Modelled);
    let (lines, certainty) = edit(&old, "accept tcp dst port 443\n");
    assert_eq!(
        lines,
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: fw -> scan -> lan => fw -(drops)-> drop",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [syn], payload = \"attack\" }: fw -> scan -(match)-> jail => fw -(drops)-> drop",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:443 }: fw -(drops)-> drop => fw -> scan -> lan",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:443, flags = [syn], payload = \"attack\" }: fw -(drops)-> drop => fw -> scan -(match)-> jail"
        ]
    );
    assert_eq!(certainty, Certainty::Modelled);
    let worm = old.replace("a.patterns", "b.patterns");
    let (lines, certainty) = edit(&worm, ACCEPT_WEB);
    assert_eq!(
        lines,
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [syn], payload = \"worm\" }: fw -> scan -> lan => fw -> scan -(match)-> jail",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [syn], payload = \"probe\" }: fw -> scan -(match)-> jail => fw -> scan -> lan"
        ]
    );
    assert_eq!(certainty, Certainty::Modelled);
    let screened = old.replace("fw -> mon -> lan", "fw -> scan { match -> drop } -> lan");
    let (lines, certainty) = edit(&screened, ACCEPT_WEB);
    // Of the packets that come to `plain` the firewall lets none out.
    assert_eq!(lines, [""; 0]);
    assert_eq!(certainty, Certainty::Modelled);
}

#[test]
fn an_edit_of_what_is_searched_is_told_by_packets() {
    let old = source("tcp -> web\nelse -> plain");
    let narrow = old.replace(
        "file(\"a.patterns\")",
        "file(\"a.patterns\"), only = dst port 443",
    );
    let rules = "accept tcp dst port 80 or 443\n";
    let attack = "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [syn], payload = \"attack\" }";
    let (before, after) = ("fw -> scan -(match)-> jail", "fw -> scan -> lan");
    let (lines, certainty) = changed((&old, rules), (&narrow, rules));
    assert_eq!(lines, [format!("{attack}: {before} => {after}")]);
    assert_eq!(certainty, Certainty::Modelled);
    let (lines, _) = changed((&narrow, rules), (&old, rules));
    assert_eq!(lines, [format!("{attack}: {after} => {before}")]);
}

/// Addresses of either version, and bytes that are read in two ways.
#[test]
fn an_edit_that_says_the_same_otherwise_moves_nothing() {
    for (old, new) in [
        ("host 10.0.0.1", "src host 10.0.0.1 or dst host 10.0.0.1"),
        ("host 2001:db8::1", "src host 2001:db8::1 or dst host 2001:db8::1"),
        (
            "not host 2001:db8::1",
            "not (src host 2001:db8::1 or dst host 2001:db8::1)",
        ),
        (
            "net [10.0.0.0/8, 2001:db8::/32]",
            "net 10.0.0.0/8 or net 2001:db8::/32",
        ),
        ("ether[0:2] & 0x0100 != 0", "(ether[0:2] >> 8) & 1 = 1"),
        ("ip[6:2] & 0x1fff = 0", "ip[6] & 0x1f = 0 and ip[7] = 0"),
    ] {
        let [old, new] = [old, new].map(|filter| source(&format!("{filter} -> mon -> lan\nelse -> drop")));
        let (lines, certainty) = changed((&old, ""), (&new, ""));
        assert_eq!((lines, certainty), (vec![], Certainty::Proved), "{old} {new}");
    }
}

#[test]
fn third_parties_are_named() {
    let old = source("else -> guarded");
    let elsewhere = old.replace("suspect -> jail", "suspect -> drop");
    let (lines, certainty) = changed((&old, ""), (&elsewhere, ""));
    assert_eq!(
        lines,
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: own -(suspect)-> jail => own -(suspect)-> drop if own puts out on `suspect`"
        ]
    );
    assert_eq!(certainty, Certainty::Proved);
    let strict = old.replace("nf own = guard", "nf own = guard { strict = true }");
    let (lines, certainty) = changed((&old, ""), (&strict, ""));
    assert_eq!(lines, ["own is changed"]);
    assert_eq!(certainty, Certainty::Proved);
}

#[test]
fn where_lookups_lead_is_not_guessed() {
    let plain = source("tcp -> guarded\nelse -> plain");
    let allowed = format!("{plain}allow own to lookup\n");
    let ways = found(&allowed, ACCEPT_WEB);
    assert_eq!(ways.undecided, BTreeSet::from(["own".to_owned()]));
    // Nothing is changed, and what is looked up goes where it went.
    let same = |old: &str, new: &str| changed((old, ACCEPT_WEB), (new, ACCEPT_WEB));
    assert_eq!(same(&allowed, &allowed), (vec![], Certainty::Proved));
    let (lines, certainty) = same(&plain, &allowed);
    assert_eq!(
        lines,
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: own -(looks up)-> lan => own -(looks up)-> steer if own has it looked up",
            "own looks up"
        ]
    );
    assert_eq!(certainty, Certainty::Partial);
    // Packets that come to `own` go by the rule that is changed, if they are what it takes by then.
    let edited = allowed.replace("else -> plain", "else -> drop");
    assert_eq!(same(&allowed, &edited).1, Certainty::Partial);
    assert_eq!(
        same(&plain, &edited.replace("allow own to lookup\n", "")).1,
        Certainty::Modelled
    );
}

const FILTERS: [&str; 10] = [
    "tcp",
    "udp",
    "ip6",
    "arp",
    "src net 10.0.0.0/8",
    "dst net 10.1.0.0/16 and tcp",
    "dst port 80 or dst port 443",
    "dst portrange 400-2000",
    "vlan 7",
    "not ip",
];
const TARGETS: [&str; 5] = ["web", "plain", "mon -> lan", "scan -> mon -> jail", "drop"];
const FIREWALL: [&str; 6] = [
    "accept tcp dst port 80",
    "drop ip and src net 10.0.0.0/8",
    "accept udp",
    "accept ip6",
    "drop tcp and dst net 10.1.0.0/16",
    "accept ip",
];

fn some_rules() -> impl Strategy<Value = (String, String)> {
    let rule = (select(&FILTERS), select(&TARGETS)).prop_map(|(filter, to)| format!("{filter} -> {to}\n"));
    let rules = prop::collection::vec(rule, 0..5);
    let firewall = prop::collection::vec(select(&FIREWALL), 0..4);
    (rules, select(&TARGETS), firewall).prop_map(|(rules, last, firewall)| {
        (
            source(&format!("{}else -> {last}", rules.concat())),
            firewall.join("\n"),
        )
    })
}

/// Packets that filters, firewalls and scanners distinguish, well-formed and with one VLAN tag at most.
fn world() -> Vec<Frame> {
    let plain = whole_frames()
        .into_iter()
        .filter(|f| f.bytes.len() == f.wire_len as usize);
    let carries = |f: &Frame| ["", "attack", "worm", "probe"].map(|text| f.with_payload(text.as_bytes()));
    let frames = plain.step_by(3).flat_map(|f| match carries(&f) {
        [Some(a), Some(b), Some(c), Some(d)] => vec![a, b, c, d],
        _ => vec![f],
    });
    frames.collect()
}

fn way(interpreter: &mut Interpreter<'_>, frame: &Frame) -> String {
    let path = interpreter.send(0, &frame.bytes, frame.wire_len);
    interpreter.tell(&path, &[]).names().join(" -> ")
}

#[test]
fn changes_are_those_of_enumeration() {
    let world = world();
    let scanner = || {
        (
            select(&["a.patterns", "b.patterns"]),
            select(&["", "tcp", "udp or port 80", "net 10.0.0.0/8"]),
        )
    };
    let pairs = (some_rules(), some_rules(), any::<bool>(), scanner(), scanner());
    let seen = Cell::new(0);
    let run = TestRunner::new(config(300, 6)).run(&pairs, |(old, other, related, was, is)| {
        // Often an edit changes only one of the two.
        let rules = if related { &old.1 } else { &other.1 };
        let scans = |source: &str, (patterns, only): (&str, &str)| {
            let only = if only.is_empty() {
                String::new()
            } else {
                format!(", only = {only}")
            };
            source.replace("file(\"a.patterns\")", &format!("file(\"{patterns}\"){only}"))
        };
        let (before, new) = (scans(&old.0, was), scans(&other.0, is));
        let (before, after) = (program(&before, &old.1), program(&new, rules));
        let told = compare(&before, &after);
        let [mut was, mut now] = [&before, &after].map(|p| Interpreter::new(p.contents(), &p.files).unwrap());
        let mut there = BTreeMap::new();
        for frame in &world {
            let ways = (way(&mut was, frame), way(&mut now, frame));
            if ways.0 != ways.1 {
                there.entry(ways).or_insert(frame);
            }
        }
        let names = |path: &str| path.replace("-(match)->", "->").replace("-(drops)->", "->");
        let mut shown = BTreeSet::new();
        for change in told.paths.iter().filter(|c| c.port == "wan") {
            let ways = (names(&change.was.path), names(&change.now.path));
            prop_assert_eq!(
                (
                    way(&mut was, &change.packet.frame),
                    way(&mut now, &change.packet.frame)
                ),
                ways.clone()
            );
            shown.insert(ways);
        }
        let left_out = there.iter().find(|(ways, _)| !shown.contains(*ways));
        prop_assert!(left_out.is_none(), "{left_out:02x?} {} {new}", old.0);
        prop_assert!(told.certainty > Certainty::Partial);
        seen.set(seen.get() + there.len());
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(seen.get() > 500, "{}", seen.get());
}

#[test]
fn ways_are_those_of_enumeration() {
    let world = world();
    let seen = Cell::new(0);
    let run = TestRunner::new(config(100, 7)).run(&some_rules(), |(source, rules)| {
        let found = found(&source, &rules);
        let told: HashSet<_> = found.ways.iter().map(|w| w.path.clone()).collect();
        prop_assert_eq!(told.len(), found.ways.len(), "no way is there twice");
        let program = program(&source, &rules);
        let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
        let mut there = HashSet::new();
        for frame in &world {
            let path = interpreter.send(0, &frame.bytes, frame.wire_len);
            prop_assert!(told.contains(&path), "{frame:02x?} {path:?} {source}");
            there.insert(path);
        }
        prop_assert!(found.missing.iter().all(|m| m.certainty > Certainty::Partial));
        seen.set(seen.get() + there.len());
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(seen.get() > 300, "{}", seen.get());
}
