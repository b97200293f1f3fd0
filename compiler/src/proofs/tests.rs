//! What assertions mean, form by form, and paths against enumeration.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use onvm_bundle::{Chain, Hop, SourceRef, Target};
use proptest::prelude::*;

use super::{
    Models,
    faults::{Faults, Rewriting},
    paths::{Fault, Goal, Step, describe},
};
use crate::testing::checked;

/// Checks one assertion on a fixed program; the codes of what is found, and the help of the first.
fn assert(claim: &str) -> (Vec<&'static str>, String) {
    let source = format!(
        "use \"guard.nf.toml\" as guard_type\n\
         port wan = null\nport lan = null\nport jail = null\n\
         nf fw = firewall {{ default = accept }}\nnf ids = payload_scan {{ patterns = file(\"web.patterns\") }}\nnf mon = forward\n\
         nf guard = guard_type\nnf scrub = forward\n\
         allow guard to steer scrub, jail\n\
         chain web = fw -> ids {{ match -> mon -> drop }} -> lan\n\
         chain guarded = guard {{ suspect -> jail }} -> lan\n\
         steer wan {{\n tcp and dst port 80 -> web\n tcp and dst port 443 -> fw -> lan\n tcp -> guarded\n\
         udp -> drop\n else -> fw -> drop }}\n\
         steer lan {{ else -> drop }}\n\
         assert wan: {claim}\n"
    );
    let found = checked(&source).diagnostics;
    let help = found.first().and_then(|d| d.help.clone()).unwrap_or_default();
    (found.iter().map(|d| d.code).collect(), help)
}

fn holds(claim: &str) {
    let (codes, help) = assert(claim);
    assert!(codes.is_empty(), "{claim}: {codes:?} {help}");
}

fn fails(claim: &str, path: &str) {
    let (codes, help) = assert(claim);
    assert_eq!(codes, ["C0607"], "{claim}");
    assert!(help.ends_with(&format!("its path: {path}")), "{claim}: {help}");
}

#[test]
fn passes() {
    holds("tcp and dst port 80 passes ids");
    holds("tcp and dst port (80 or 443) passes fw");
    fails("tcp and dst port (80 or 443) passes ids", "fw -> lan");
    // What is dropped has passed nothing by.
    holds("udp passes ids");
    fails("tcp passes fw", "guard -> lan");
}

#[test]
fn passes_before() {
    holds("tcp and dst port 80 passes fw before ids");
    fails("tcp and dst port 80 passes mon before lan", "fw -> ids -> lan");
    // Only what comes to the node matters: packets for `jail` do not come to `lan`.
    holds("tcp and dst port 22 passes guard before lan");
    fails("tcp and dst port 80 passes ids before fw", "fw");
}

#[test]
fn never_passes() {
    holds("udp never passes fw");
    holds("tcp and dst port 443 never passes ids");
    fails("tcp never passes mon", "fw -> ids -(match)-> mon");
    fails("tcp never passes scrub", "guard -(steers)-> scrub");
}

#[test]
fn reaches() {
    // The firewall may drop by its own decision.
    holds("tcp and dst port 443 reaches lan");
    fails(
        "tcp and dst port 80 reaches lan",
        "fw -> ids -(match)-> mon -> drop",
    );
    holds("tcp and dst port 80 reaches ids");
    fails("tcp and dst port 22 reaches lan", "guard -(suspect)-> jail");
    fails("udp reaches lan", "drop");
}

#[test]
fn never_reaches_and_dropped() {
    holds("tcp never reaches wan");
    fails("all never reaches jail", "guard -(suspect)-> jail");
    holds("udp or arp dropped");
    holds("not tcp dropped");
    fails("all dropped", "fw -> ids -> lan");
}

#[test]
fn a_port_without_rules_drops_all() {
    let source = |claim: &str| {
        format!("port wan = null\nport lan = null\nsteer lan {{ else -> wan }}\nassert wan: {claim}\n")
    };
    let codes = |claim: &str| -> Vec<_> {
        checked(&source(claim))
            .diagnostics
            .iter()
            .map(|d| d.code)
            .collect()
    };
    assert_eq!(codes("tcp dropped"), Vec::<&str>::new());
    assert_eq!(codes("tcp never reaches lan"), Vec::<&str>::new());
    assert_eq!(codes("tcp reaches lan"), ["C0607"]);
}

/// Hop tables without circles: every way leads to a later hop.
fn chains() -> impl Strategy<Value = Chain> {
    let hop = (
        0_usize..6,
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        prop::bool::weighted(0.3),
    );
    prop::collection::vec(hop, 1..8).prop_map(|hops| {
        let count = hops.len();
        let make = |(n, (kind, ways, bypass)): (usize, (usize, Vec<prop::sample::Index>, bool))| {
            let later = |way: &prop::sample::Index| (n + 1 + way.index((count - n - 1).max(1))) as u16;
            let last = n + 1 == count;
            let at = match kind {
                0 => Target::Drop,
                1 => Target::Port("lan".to_owned()),
                _ if last => Target::Port("wan".to_owned()),
                kind => Target::Nf(format!("n{kind}")),
            };
            let leads = matches!(at, Target::Nf(_));
            let ways: Vec<u16> = if leads {
                ways.iter().map(later).collect()
            } else {
                Vec::new()
            };
            let table = |skip: usize, name: &str| -> BTreeMap<String, u16> {
                ways.iter()
                    .skip(skip)
                    .take(1)
                    .map(|to| (name.to_owned(), *to))
                    .collect()
            };
            Hop {
                at,
                source: SourceRef(String::new()),
                next: if leads {
                    Some(ways.first().copied().unwrap_or(n as u16 + 1))
                } else {
                    None
                },
                outputs: table(1, "out"),
                steers: table(2, "x"),
                lookup: false,
                bypass: bypass && leads,
            }
        };
        let hops = hops.into_iter().enumerate().map(make).collect();
        Chain {
            name: "c".to_owned(),
            source: SourceRef(String::new()),
            hops,
        }
    })
}

/// Each as its hops, and whether it went around the NF before.
fn all_paths(chain: &Chain, at: Step, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    path.push(at);
    found.push(path.clone());
    let hop = &chain.hops[at.hop];
    let ways = hop
        .next
        .iter()
        .chain(hop.outputs.values())
        .chain(hop.steers.values());
    let around = hop.next.iter().filter(|_| hop.bypass);
    for (to, around) in ways.map(|to| (to, false)).chain(around.map(|to| (to, true))) {
        let hop = usize::from(*to);
        all_paths(chain, Step { hop, around }, path, found);
    }
    path.pop();
}

proptest! {
    #[test]
    fn faults_are_those_of_all_paths(chain in chains(), goal in 0_usize..3, avoid in 2_usize..6) {
        let is_goal = |t: &Target| match goal {
            0 => matches!(t, Target::Port(_)),
            1 => matches!(t, Target::Drop | Target::Port(_)) && *t != Target::Port("lan".to_owned()),
            _ => *t == Target::Nf("n3".to_owned()),
        };
        let avoided = format!("n{avoid}");
        let is_avoided = |t: &Target| *t == Target::Nf(avoided.clone());
        let mut paths = Vec::new();
        all_paths(&chain, Step { hop: 0, around: false }, &mut Vec::new(), &mut paths);
        let at = |step: &Step| &chain.hops[step.hop].at;
        let faulty = |path: &&Vec<Step>| {
            // What was left around it was not visited.
            let visited = |pair: &[Step]| !pair[1].around && is_avoided(at(&pair[0]));
            is_goal(at(path.last().unwrap())) && !path.windows(2).any(visited)
        };
        let shortest = paths.iter().filter(faulty).map(Vec::len).min();
        let goal = match goal {
            0 => Goal::AnyPort,
            1 => Goal::EndBut("lan"),
            _ => Goal::Node("n3"),
        };
        let fault = Fault { goal, avoid: Some(&avoided), around: true };
        let found = Faults::new(&fault, &chain, &Models::default(), &Rewriting::NONE);
        let found = found.ways.first().map(|way| way.path.clone());
        prop_assert_eq!(found.as_ref().map(Vec::len), shortest);
        if let Some(found) = found {
            prop_assert!(paths.iter().filter(faulty).any(|path| *path == found));
            prop_assert!(!describe(&chain, &found).is_empty());
        }
    }
}

/// The codes of what is found in a program with these rules, `lan` and one assertion.
fn codes_of(rules: &str, claim: &str) -> Vec<&'static str> {
    let source = format!("port wan = null\nport lan = null\nsteer wan {{\n{rules}\n}}\n{claim}\n");
    checked(&source).diagnostics.iter().map(|d| d.code).collect()
}

/// Bytes that are read in two ways, as operators write them.
#[test]
fn claims_over_the_same_bytes_are_proved() {
    for (rules, claim) in [
        (
            "ip[12:4] & 0xff00ff00 = 0x0a000000 -> lan\nelse -> drop",
            "assert wan: ip and src host 10.1.0.4 reaches lan",
        ),
        (
            "ether[0] & 1 = 1 -> drop\nelse -> lan",
            "assert wan: ether dst ff:ff:ff:ff:ff:ff dropped",
        ),
        (
            "ip[6:2] & 0x3fff != 0 -> drop\nelse -> lan",
            "assert wan: ip and ip[6:2] & 0x1fff != 0 dropped",
        ),
        (
            "ip[0] & 0xf > 5 -> drop\nelse -> lan",
            "assert wan: ip[0:2] & 0x0f00 = 0x0600 dropped",
        ),
        (
            "ip proto 6 -> lan\nelse -> drop",
            "assert wan: ip[8:2] & 0xff = 6 reaches lan",
        ),
        (
            "tcp dst port 80 -> lan\nelse -> drop",
            "assert wan: tcp[0:4] & 0xffff = 80 reaches lan",
        ),
        (
            "host 2001:db8::1 -> lan\nelse -> drop",
            "assert wan: not host 2001:db8::1 dropped",
        ),
        (
            "host 2001:db8::1 -> lan\nelse -> drop",
            "assert wan: not (src host 2001:db8::1 or dst host 2001:db8::1) dropped",
        ),
        (
            "net [10.0.0.0/8, 2001:db8::/32] -> lan\nelse -> drop",
            "assert wan: not net [10.0.0.0/8, 2001:db8::/32] dropped",
        ),
    ] {
        assert_eq!(codes_of(rules, claim), [""; 0], "{rules}\n{claim}");
    }
    let refuted = codes_of(
        "ip[12:4] & 0xff00ff00 = 0x0a000000 -> lan\nelse -> drop",
        "assert wan: ip and src host 10.1.1.4 reaches lan",
    );
    assert_eq!(refuted, ["C0607"]);
}

#[test]
fn rules_over_the_same_bytes_are_seen_to_be_dead() {
    for (rules, code) in [
        (
            "ip and src net 10.0.0.0/8 -> lan\nip[12:4] & 0xffff0001 = 0x0a000001 -> drop\nelse -> drop",
            "C0505",
        ),
        (
            "ether[0] & 1 = 1 -> drop\nether dst ff:ff:ff:ff:ff:ff -> lan\nelse -> drop",
            "C0505",
        ),
        (
            "ether[0] & 1 = 0 and ether dst ff:ff:ff:ff:ff:ff -> lan\nelse -> drop",
            "C0506",
        ),
        ("ip[12:4] & 0xff00ff00 = 0x0a010000 -> lan\nelse -> drop", "C0506"),
    ] {
        assert_eq!(codes_of(rules, ""), [code], "{rules}");
    }
}

/// What could not be read is not judged as if it were not there.
#[test]
fn a_rule_that_is_not_read_refutes_nothing() {
    let claim = "assert wan: tcp reaches lan";
    let broken = codes_of("tcp => lan\nelse -> drop", claim);
    assert!(!broken.is_empty() && !broken.contains(&"C0607"), "{broken:?}");
    assert_eq!(codes_of("udp -> lan\nelse -> drop", claim), ["C0607"]);
    let chain = "chain through = => lan\nassert wan: tcp reaches lan";
    let broken = codes_of("tcp -> through\nelse -> drop", chain);
    assert!(!broken.is_empty() && !broken.contains(&"C0607"), "{broken:?}");
}
