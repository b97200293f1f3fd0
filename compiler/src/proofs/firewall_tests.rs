//! Proofs through firewalls: by example, and against every packet of a small world that goes through the firewalls' own code.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    path::Path,
};

use nflib::{Verdict, testing::AnyBench};
use onvm_bundle::{Chain, Target};
use proptest::{prelude::*, sample::select};

use super::lookup_tests::{ADDRESSES, frames};
use crate::{
    Checked, Inputs, Program, check,
    interpret::of_instance,
    render,
    scenarios::{Body, Statement},
    sets::{Frame, brute::run},
    source::host::MemoryHost,
};

const GUARD: &str = "name = \"guard\"\nversion = \"1.0.0\"\nsummary = \"x\"\nbypassable = true\n[run]\nbinary = \"guard\"\n\
    [[outputs]]\nname = \"suspect\"\ndoc = \"x\"\n";
/// The standard firewall, which packets may go around.
fn open() -> String {
    let manifest = include_str!("../../../stdlib-nfs/src/firewall/manifest.toml");
    manifest.replace("reconfigure = true\n", "bypassable = true\n")
}
const MOVER: &str = "name = \"mover\"\nversion = \"1.0.0\"\nsummary = \"x\"\n[run]\nbinary = \"mover\"\n\
    [effects]\nreads = [\"ip.src\"]\nwrites = [\"ip.src\"]\n";
const MAKER: &str = "name = \"maker\"\nversion = \"1.0.0\"\nsummary = \"x\"\n[run]\nbinary = \"maker\"\n\
    [effects]\ngenerates = true\n";

/// Rules of a firewall.
const RULES: [&str; 9] = [
    "accept tcp dst port 80",
    "drop tcp dst port 80",
    "accept tcp dst port 99",
    "drop udp",
    "accept ip and src net 10.0.0.0/8",
    "drop ip and src net 10.0.0.0/8",
    "accept udp dst port 53 and ip and src net 192.168.0.0/16",
    "drop ip and src net 172.16.0.0/12",
    "accept udp dst portrange 50-99",
];

/// A program with two firewalls, of these rules.
fn program(firewalls: &[(Vec<&str>, &str, &str)], rules: &str) -> (String, Vec<(String, String)>) {
    program_with(firewalls, &[], rules)
}

/// The same where packets go around these NFs.
fn program_with(
    firewalls: &[(Vec<&str>, &str, &str)],
    bypassed: &[&str],
    rules: &str,
) -> (String, Vec<(String, String)>) {
    let on_loss = |nf: &str| if bypassed.contains(&nf) { "bypass" } else { "drop" };
    let mut source =
        "use \"open.nf.toml\" as open\nuse \"guard.nf.toml\" as guard\nuse \"mover.nf.toml\" as mover\nuse \"maker.nf.toml\" as maker\nport wan = null\nport lan = null\n\
         port jail = null\nnf m = mover\nnf k = maker\n"
            .to_owned();
    for (nf, kind) in [("g", "guard"), ("mon", "forward")] {
        source += &format!("nf {nf} = {kind} with {{ on_loss = {} }}\n", on_loss(nf));
    }
    let mut files = Vec::new();
    for (n, (rules, default, deny)) in firewalls.iter().enumerate() {
        source += &format!(
            "nf fw{n} = open {{ rules = file(\"{n}.rules\"), default = {default}, on_deny = {deny} }} with {{ sees = rewritten, on_loss = {} }}\n",
            on_loss(&format!("fw{n}"))
        );
        files.push((format!("{n}.rules"), rules.join("\n") + "\n"));
    }
    source += &format!("steer wan {{\n{rules}\n}}\n");
    (source, files)
}

fn checked(source: &str, files: &[(String, String)], packet: Option<&str>) -> Checked {
    let host = MemoryHost::default()
        .with("edge.chain", source)
        .with("guard.nf.toml", GUARD)
        .with("open.nf.toml", open())
        .with("mover.nf.toml", MOVER)
        .with("maker.nf.toml", MAKER);
    let host = files
        .iter()
        .fold(host, |host, (name, text)| host.with(name, text.as_str()));
    let inputs = Inputs {
        packet: packet.map(|packet| ("wan", packet)),
        ..Inputs::default()
    };
    check(&host, Path::new("edge.chain"), &inputs).unwrap()
}

/// C0607, C0608 or nothing; and the help.
fn verdict(found: &Checked) -> (Option<&'static str>, String) {
    let own = found
        .diagnostics
        .iter()
        .find(|d| ["C0607", "C0608"].contains(&d.code));
    let errors = found
        .diagnostics
        .iter()
        .filter(|d| d.severity == onvm_lang::Severity::Error);
    assert_eq!(errors.count(), usize::from(own.is_some()), "{}", shown(found));
    (
        own.map(|d| d.code),
        own.and_then(|d| d.help.clone()).unwrap_or_default(),
    )
}

fn shown(checked: &Checked) -> String {
    render::human(&checked.sources, &checked.diagnostics, false, 100)
}

fn prove(firewalls: &[(Vec<&str>, &str, &str)], rules: &str, claim: &str) -> (Option<&'static str>, String) {
    let (source, files) = program(firewalls, rules);
    verdict(&checked(&format!("{source}assert wan: {claim}\n"), &files, None))
}

fn two() -> Vec<(Vec<&'static str>, &'static str, &'static str)> {
    vec![
        (
            vec![
                "accept tcp dst port 80",
                "accept udp dst port 53 and ip and src net 192.168.0.0/16",
            ],
            "drop",
            "output",
        ),
        (vec!["drop ip and src net 10.0.0.0/8"], "accept", "drop"),
    ]
}

const THROUGH: &str = "ip and not vlan -> fw0 { denied -> jail } -> fw1 -> lan\nelse -> drop";

#[test]
fn a_claim_is_proved_by_the_rules_on_the_way() {
    for claim in [
        "tcp dst port 23 never reaches lan",
        "src net 10.0.0.0/8 never reaches lan",
        "tcp dst port 80 never reaches jail",
        "ip and udp and not dst port 53 and not vlan reaches jail",
        "tcp dst port 23 never passes fw1",
        "ip and dst port 23 and not vlan reaches jail",
        "arp dropped",
    ] {
        let (code, help) = prove(&two(), THROUGH, claim);
        assert_eq!(code, None, "{claim}: {help}");
    }
}

#[test]
fn a_packet_that_refutes_it_has_been_through_them() {
    let (code, help) = prove(&two(), THROUGH, "ip never reaches lan");
    assert_eq!(code, Some("C0607"));
    assert!(help.contains("`fw0` lets it on by rule_1"), "{help}");
    assert!(
        help.contains("`fw1` lets it on by its default, as no rule takes it"),
        "{help}"
    );
    assert!(help.ends_with("its path: fw0 -> fw1 -> lan"), "{help}");
    let (code, help) = prove(&two(), THROUGH, "ip never reaches jail");
    assert_eq!(code, Some("C0607"));
    assert!(
        help.contains("`fw0` puts it out on `denied` by its default"),
        "{help}"
    );
}

#[test]
fn what_a_firewall_drops_reaches_what_it_would() {
    // As other drops by an NF's own decision.
    assert_eq!(
        prove(
            &two(),
            THROUGH,
            "src net 10.0.0.0/8 and tcp dst port 80 and not vlan reaches lan"
        )
        .0,
        None
    );
    assert_eq!(
        prove(&two(), THROUGH, "src net 10.0.0.0/8 and tcp dst port 80 dropped").0,
        None
    );
    assert_eq!(prove(&two(), THROUGH, "tcp dst port 80 dropped").0, Some("C0607"));
}

/// Whatever its rules say, and whether it is claimed that packets pass it.
#[test]
fn packets_can_go_around_one_that_is_lost() {
    let prove = |bypassed: &[&str], claim: &str| {
        let (source, files) = program_with(&two(), bypassed, THROUGH);
        verdict(&checked(&format!("{source}assert wan: {claim}\n"), &files, None))
    };
    for (claim, path) in [
        (
            "tcp dst port 23 never reaches lan",
            "fw0 -(bypassed)-> fw1 -> lan",
        ),
        ("ip passes fw0 before lan", "fw0 -(bypassed)-> fw1 -> lan"),
        (
            "ip and dst port 23 and not vlan reaches jail",
            "fw0 -(bypassed)-> fw1 -> lan",
        ),
    ] {
        assert_eq!(prove(&[], claim).0, None, "{claim}");
        let (code, help) = prove(&["fw0"], claim);
        assert_eq!(code, Some("C0607"), "{claim}: {help}");
        assert!(help.ends_with(&format!("its path: {path}")), "{claim}: {help}");
    }
    // The others are as before.
    for claim in [
        "src net 10.0.0.0/8 never reaches lan",
        "ip passes fw1 before lan",
        "arp dropped",
    ] {
        assert_eq!(prove(&["fw0"], claim).0, None, "{claim}");
    }
}

#[test]
fn what_was_rewritten_before_is_another_packet() {
    let rules = "ip and not vlan -> m -> fw1 -> lan\nelse -> drop";
    // It may come from anywhere by then.
    let (code, help) = prove(&two(), rules, "src net 10.0.0.0/8 never reaches lan");
    assert_eq!(code, Some("C0608"));
    assert!(
        help.ends_with("`fw1` decides by header fields that NFs before it may have rewritten"),
        "{help}"
    );
    assert_eq!(
        prove(&two(), rules, "src net 11.0.0.0/8 never reaches lan").0,
        Some("C0607")
    );
    // Ports are what they were.
    let ports = [(vec!["accept tcp dst port 80"], "drop", "drop")];
    let through = "ip -> m -> fw0 -> lan\nelse -> drop";
    assert_eq!(
        prove(&ports, through, "tcp dst port 23 never reaches lan").0,
        None
    );
    assert_eq!(
        prove(&ports, through, "tcp dst port 80 never reaches lan").0,
        Some("C0607")
    );
    let rules = "ip and not vlan -> fw1 -> m -> lan\nelse -> drop";
    assert_eq!(
        prove(&two(), rules, "src net 10.0.0.0/8 never reaches lan").0,
        None
    );
}

/// It stands where the packet stands in whose name it is, and may look like any: a firewall behind judges it by that.
#[test]
fn a_packet_that_is_made_is_another_packet_at_the_same_place() {
    let ports = [(vec!["accept tcp dst port 80"], "drop", "drop")];
    let rules = "tcp -> k -> fw0 -> lan\nudp -> fw0 -> jail\nelse -> drop";
    let (code, help) = prove(&ports, rules, "tcp dst port 23 never reaches lan");
    assert_eq!(code, Some("C0608"), "{help}");
    for claim in [
        "tcp never reaches jail",
        "udp never passes k",
        "udp never reaches lan",
        "udp never reaches jail",
    ] {
        assert_eq!(prove(&ports, rules, claim).0, None, "{claim}");
    }
    let rules = "tcp -> fw0 -> k -> lan\nelse -> drop";
    assert_eq!(prove(&ports, rules, "tcp dst port 23 never reaches lan").0, None);
}

/// The rules of a firewall are compared with each other alone, so that it does not matter what comes to it.
#[test]
fn a_rule_is_useless_by_those_before_it_whatever_was_rewritten() {
    let dead = |chain: &str| {
        let rules = vec![
            "accept src net 10.0.0.0/8",
            "accept src net 10.1.0.0/16",
            "accept src net 192.168.0.0/16",
        ];
        let (source, files) = program(
            &[(rules, "drop", "drop")],
            &format!("src net 10.0.0.0/8 -> {chain} -> lan\nelse -> drop"),
        );
        let found = checked(&source, &files, None).diagnostics;
        found.iter().filter(|d| d.code == "C0505").count()
    };
    assert_eq!(dead("fw0"), 1);
    assert_eq!(dead("m -> fw0"), 1);
}

#[test]
fn a_proof_names_the_rules_that_it_rests_on() {
    let (source, files) = program(&two(), THROUGH);
    let claims = "assert wan: tcp dst port 23 never reaches lan\nassert wan: arp dropped\n";
    let found = checked(&format!("{source}{claims}"), &files, None);
    let rests: Vec<Vec<String>> = found.proofs.iter().map(|p| p.rests_on.clone()).collect();
    assert_eq!(rests, [vec!["fw0".to_owned(), "fw1".to_owned()], Vec::new()]);
    assert_eq!(found.proofs[0].text, "wan: tcp dst port 23 never reaches lan");
}

const FILTERS: [&str; 8] = [
    "tcp dst port 99",
    "dst port 80",
    "src net 10.0.0.0/8",
    "ip",
    "udp",
    "tcp",
    "not dst port 80",
    "src net 192.168.0.0/16 and dst port (53 or 99)",
];
const TARGETS: [&str; 10] = [
    "fw0 -> lan",
    "fw0 { denied -> jail } -> lan",
    "fw1 { denied -> mon -> lan } -> jail",
    "fw0 { denied -> fw1 -> jail } -> fw1 -> lan",
    "fw0 { denied -> drop } -> fw1 { denied -> jail } -> lan",
    "g { suspect -> fw0 -> jail } -> fw1 -> lan",
    "m -> fw0 -> lan",
    "fw0 -> m -> fw1 { denied -> jail } -> lan",
    "lan",
    "drop",
];
const CLAIMS: [&str; 8] = [
    "never reaches lan",
    "never reaches jail",
    "never passes fw1",
    "passes mon before lan",
    "passes fw0",
    "reaches lan",
    "reaches fw1",
    "dropped",
];

type Benches = BTreeMap<String, Box<dyn AnyBench>>;

/// The program by enumeration: firewalls by their own code.
struct World<'p> {
    program: &'p Program,
    benches: Benches,
    claim: &'p str,
    seen: HashSet<(Vec<u8>, usize)>,
}

impl<'p> World<'p> {
    fn new(program: &'p Program, claim: &'p str) -> Self {
        let benches = program.instances.values().filter_map(|config| {
            let (nf, params) = of_instance(config, &program.files)?;
            Some((config.service.clone(), (nf.bench)(params).unwrap()))
        });
        Self {
            program,
            benches: benches.collect(),
            claim,
            seen: HashSet::new(),
        }
    }

    fn fails(&mut self, frame: &Frame) -> bool {
        let table = self
            .program
            .flows
            .tables
            .iter()
            .find(|t| t.port == "wan")
            .unwrap();
        let mut rules = table.rules.iter();
        let rule = rules.find(|r| r.filter.matches(&frame.bytes, frame.wire_len));
        let name = rule.map_or(&table.otherwise, |r| &r.chain);
        let chain = self
            .program
            .manager
            .chains
            .iter()
            .find(|c| c.name == *name)
            .unwrap();
        self.seen.clear();
        self.breaks(frame, chain, 0)
    }

    /// Whether some path of the frame from here breaks the claim.
    fn breaks(&mut self, frame: &Frame, chain: &Chain, at: usize) -> bool {
        let hop = &chain.hops[at];
        let name = hop.at.name();
        let ends = !matches!(hop.at, Target::Nf(_));
        let (broken, safe) = match self.claim {
            "never reaches lan" => (name == "lan", false),
            "never reaches jail" => (name == "jail", false),
            "never passes fw1" => (name == "fw1", false),
            "passes mon before lan" => (name == "lan", name == "mon"),
            "passes fw0" => (ends && name != "drop", name == "fw0"),
            "reaches lan" => (ends && name != "lan", false),
            "reaches fw1" => (ends, name == "fw1"),
            "dropped" => (ends && name != "drop", false),
            other => panic!("{other}"),
        };
        let around = hop.next.map(usize::from).filter(|_| hop.bypass);
        if broken || ends || (safe && around.is_none()) {
            return broken;
        }
        if !self.seen.insert((frame.bytes.clone(), at)) {
            return false;
        }
        let next = hop.next.map(usize::from);
        let mut ways: Vec<(usize, Frame)> = Vec::new();
        ways.extend(around.map(|to| (to, frame.clone())));
        match self.benches.get_mut(name).filter(|_| !safe) {
            Some(nf) => match nf.send_one(&frame.bytes, false).verdict {
                Verdict::Drop => {}
                Verdict::Output(_) => {
                    let denied = hop.outputs.get("denied").map(|to| usize::from(*to));
                    ways.extend(denied.or(next).map(|to| (to, frame.clone())));
                }
                _ => ways.extend(next.map(|to| (to, frame.clone()))),
            },
            None if safe => {}
            None if name == "m" => {
                let made = ADDRESSES.iter().map(|address| {
                    let mut made = frame.clone();
                    made.bytes[26..30].copy_from_slice(address);
                    (next.unwrap(), made)
                });
                ways.extend(made.chain([(next.unwrap(), frame.clone())]));
            }
            None => {
                let all = hop.outputs.values().map(|to| usize::from(*to)).chain(next);
                ways.extend(all.map(|to| (to, frame.clone())));
            }
        }
        ways.iter().any(|(to, frame)| self.breaks(frame, chain, *to))
    }
}

fn firewalls() -> impl Strategy<Value = Vec<(Vec<&'static str>, &'static str, &'static str)>> {
    let rules = prop::collection::vec(select(&RULES), 0..6);
    let one = (rules, select(&["accept", "drop"]), select(&["drop", "output"]));
    prop::collection::vec(one, 2)
}

/// The packet that a refutation shows, if it can be written.
fn packet(source: &str, files: &[(String, String)], help: &str) -> Option<Frame> {
    let line = help.lines().find_map(|l| l.strip_prefix("the packet: "))?;
    let program = checked(source, files, Some(line)).program?;
    let Body::Paths(statements) = &program.tests.last()?.body else {
        return None;
    };
    let Statement::Send(send) = statements.first()? else {
        return None;
    };
    Some(Frame {
        wire_len: send.frame.len() as u32,
        bytes: send.frame.clone(),
    })
}

#[test]
fn proofs_through_firewalls_are_those_of_enumeration() {
    let rules = prop::collection::vec((select(&FILTERS), select(&TARGETS)), 1..4);
    let asked = (select(&FILTERS), select(&CLAIMS));
    // Packets go around none of them, mostly.
    let bypassed = prop::sample::subsequence(vec!["fw0", "fw1", "mon", "g"], 0..3);
    let bypassed = (bypassed, prop::bool::weighted(0.4));
    let bypassed = bypassed.prop_map(|(nfs, any)| if any { nfs } else { Vec::new() });
    let counts = Cell::new([0_u32; 4]);
    run(
        400,
        11,
        (firewalls(), rules, asked, bypassed),
        |(firewalls, rules, (filter, claim), bypassed)| {
            let rules: String = rules.iter().map(|(f, t)| format!("    {f} -> {t}\n")).collect();
            let rules = format!("{rules}    else -> drop");
            let (source, files) = program_with(&firewalls, &bypassed, &rules);
            let plain = checked(&source, &files, None).program.unwrap();
            let asked =
                format!("port wan = null\nport lan = null\nsteer wan {{ {filter} -> lan\nelse -> drop }}\n");
            let asked = checked(&asked, &[], None).program.unwrap().flows.tables[0].rules[0]
                .filter
                .clone();
            let mut world = World::new(&plain, claim);
            let mut meant = |f: &Frame| asked.matches(&f.bytes, f.wire_len) && world.fails(f);
            let there = frames().into_iter().find(|f| meant(f));
            let found = checked(&format!("{source}assert wan: {filter} {claim}\n"), &files, None);
            let (code, help) = verdict(&found);
            let case = || {
                format!(
                    "{firewalls:?}\n{source}assert {filter} {claim}\n{there:02x?}\n{}",
                    shown(&found)
                )
            };
            let mut count = counts.get();
            match code {
                None => {
                    count[0] += 1;
                    prop_assert!(there.is_none(), "proved, but: {}", case());
                }
                Some("C0607") => {
                    count[1] += 1;
                    if let Some(frame) = packet(&source, &files, &help) {
                        count[2] += 1;
                        prop_assert!(meant(&frame), "this packet does not break it: {}", case());
                    }
                }
                // Behind an NF that rewrites addresses.
                _ => {
                    count[3] += 1;
                    prop_assert!(source.contains("m ->"), "not known: {}", case());
                }
            }
            counts.set(count);
            Ok(())
        },
    );
    let [proved, refuted, sent, unknown] = counts.get();
    assert!(
        proved > 100 && refuted > 100 && sent * 10 > refuted * 8 && unknown * 10 < proved + refuted,
        "{proved} {refuted} {sent} {unknown}"
    );
}
