//! Proofs where lookups are permitted: by example, and against every packet and every rewriting of a small world.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{cell::Cell, collections::HashSet, path::Path};

use onvm_bundle::{Chain, Target};
use onvm_lang::syntax::PacketProto::{Tcp, Udp};
use proptest::{prelude::*, sample::select};

use crate::{
    Checked, Inputs, Program, check, render,
    sets::{Frame, brute::run},
    source::host::MemoryHost,
};

/// Rewrites the given fields, and answers `lookup`.
fn manifest(name: &str, effects: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\nsummary = \"x\"\n[run]\nbinary = \"{name}\"\n[effects]\n{effects}\n"
    )
}

const PORTS: &str = "port wan = null\nport lan = null\nport secret_net = null\n";

fn checked(source: &str, jumper: &str) -> Checked {
    let host = MemoryHost::default()
        .with("hole.chain", source)
        .with("jumper.nf.toml", manifest("jumper", jumper))
        .with(
            "mover.nf.toml",
            manifest("mover", "writes = [\"ip.src\"]\nlookups = true"),
        )
        .with("looker.nf.toml", manifest("looker", "lookups = true"))
        .with("guide.nf.toml", manifest("guide", "steers = true"))
        .with(
            "opener.nf.toml",
            manifest("opener", "payload = \"write\"\nlookups = true"),
        )
        .with(
            "maker.nf.toml",
            manifest("maker", "generates = true\nlookups = true"),
        )
        .with("sdn.nf.toml", manifest("sdn", "programs = true"));
    check(&host, Path::new("hole.chain"), &Inputs::default()).unwrap()
}

const DECLARES: &str = "reads = [\"tcp.dst_port\"]\nwrites = [\"tcp.dst_port\"]\nlookups = true";
const SILENT: &str = "reads = [\"tcp.dst_port\"]\nwrites = [\"tcp.dst_port\"]";

fn hole(allow: &str) -> String {
    format!(
        "use \"jumper.nf.toml\" as jumper_nf\n{PORTS}nf j = jumper_nf\nnf fw = firewall {{ default = accept }}\n\
         steer wan {{\n    tcp dst port 99 -> fw -> secret_net\n    else -> j -> lan\n}}\n{allow}\
         assert wan: not (tcp dst port 99) never reaches secret_net\n"
    )
}

fn codes(checked: &Checked) -> Vec<&'static str> {
    checked.diagnostics.iter().map(|d| d.code).collect()
}

fn shown(checked: &Checked) -> String {
    render::human(&checked.sources, &checked.diagnostics, false, 100)
}

#[test]
fn what_is_overruled_breaks_no_proof() {
    assert_eq!(codes(&checked(&hole(""), SILENT)), [""; 0]);
    assert_eq!(codes(&checked(&hole(""), DECLARES)), ["C0602"]);
    // What the manifest does not declare is not granted.
    let granted = checked(&hole("allow j to lookup\n"), SILENT);
    assert_eq!(codes(&granted), ["C0601"]);
    let program = granted.program.unwrap();
    assert!(program.manager.permitted_lookups().is_empty());
}

#[test]
fn a_permitted_lookup_breaks_it() {
    let found = checked(&hole("allow j to lookup\n"), DECLARES);
    insta::assert_snapshot!("hole", shown(&found));
}

/// The codes for one assertion, and the help of the first.
fn prove(nfs: &str, rules: &str, claim: &str) -> (Vec<&'static str>, String) {
    let source = format!(
        "use \"jumper.nf.toml\" as jumper\nuse \"mover.nf.toml\" as mover\nuse \"looker.nf.toml\" as looker\n\
         use \"opener.nf.toml\" as opener\nuse \"guide.nf.toml\" as guide\nuse \"maker.nf.toml\" as maker\nuse \"sdn.nf.toml\" as sdn\n{PORTS}nf mon = forward\n{nfs}\nsteer wan {{\n{rules}\n}}\n\
         steer lan {{ else -> drop }}\nsteer secret_net {{ else -> mon -> drop }}\nassert wan: {claim}\n"
    );
    let found = checked(&source, DECLARES);
    let help = found.diagnostics.iter().find(|d| d.code == "C0607");
    let help = help.and_then(|d| d.help.clone()).unwrap_or_default();
    let own = |code: &&str| {
        code.starts_with("C060") && !["C0601", "C0602"].contains(code) || code.starts_with("C00")
    };
    (codes(&found).into_iter().filter(own).collect(), help)
}

#[test]
fn only_declared_fields_are_rewritten() {
    let rules = "tcp dst port 99 -> secret_net\nudp dst port 99 -> mon -> secret_net\n\
                 src net 10.0.0.0/8 -> drop\nelse -> j -> lan";
    let nfs = "nf j = jumper\nallow j to lookup";
    let proved = |claim: &str| assert_eq!(prove(nfs, rules, claim).0, [""; 0], "{claim}");
    proved("udp dst port 53 never reaches secret_net");
    proved("udp dst port 53 never passes mon");
    proved("arp never reaches secret_net");
    proved("ip6 and udp dst port 53 reaches lan");
    let (codes, help) = prove(nfs, rules, "tcp dst port 80 never reaches secret_net");
    assert_eq!(codes, ["C0607"]);
    assert!(help.ends_with("its path: j -(looks up)-> secret_net"), "{help}");
    // Addresses stay what they were: from inside nothing comes to `j`, and so nothing back.
    proved("src net 10.0.0.0/8 and tcp dst port 80 dropped");
}

#[test]
fn one_that_writes_nothing_gets_the_rule_that_it_had() {
    let rules = "tcp dst port 99 -> secret_net\nsrc net 10.0.0.0/8 -> m -> l -> lan\nelse -> l -> lan";
    let nfs = "nf m = mover\nnf l = looker\nallow l to lookup";
    let (codes, _) = prove(nfs, rules, "not src net 10.0.0.0/8 and udp reaches lan");
    assert_eq!(codes, [""; 0]);
    // Unless somebody before it on the path has written.
    let (codes, help) = prove(nfs, rules, "src net 10.0.0.0/8 and udp passes m before l");
    assert_eq!((codes.as_slice(), help.as_str()), ([""; 0].as_slice(), ""));
    let rules = "src net 192.168.0.0/16 -> secret_net\nsrc net 10.0.0.0/8 -> m -> l -> lan\nelse -> l -> lan";
    let (codes, help) = prove(nfs, rules, "src net 10.0.0.0/8 never reaches secret_net");
    assert_eq!(codes, ["C0607"]);
    assert!(help.contains("when `l` has it looked up: "), "{help}");
    assert!(
        help.ends_with("its path: m -> l -(looks up)-> secret_net"),
        "{help}"
    );
    let (codes, _) = prove(nfs, rules, "src net 172.16.0.0/12 never reaches secret_net");
    assert_eq!(codes, [""; 0]);
}

#[test]
fn a_payload_written_and_a_packet_made_are_everything_written() {
    let rules = "arp -> secret_net\ntcp -> o -> lan\nelse -> lan";
    for nf_type in ["opener", "maker"] {
        let nfs = format!("nf o = {nf_type}\nallow o to lookup");
        let (codes, help) = prove(&nfs, rules, "tcp never reaches secret_net");
        assert_eq!(codes, ["C0607"], "{nf_type}");
        assert!(help.contains("when `o` has it looked up: arp "), "{help}");
        let (codes, _) = prove(&nfs, rules, "udp never reaches secret_net");
        assert_eq!(codes, [""; 0], "{nf_type}");
    }
}

#[test]
fn a_lookup_after_a_lookup() {
    let rules = "src net 192.168.0.0/16 and tcp dst port 99 -> secret_net\n\
                 tcp dst port 80 -> j -> lan\ntcp dst port 99 -> m -> lan\nelse -> lan";
    let nfs = "nf j = jumper\nnf m = mover\nallow j to lookup\nallow m to lookup";
    let (codes, help) = prove(
        nfs,
        rules,
        "src net 10.0.0.0/8 and dst port 80 never reaches secret_net",
    );
    assert_eq!(codes, ["C0607"]);
    assert!(
        help.ends_with("its path: j -(looks up)-> m -(looks up)-> secret_net"),
        "{help}"
    );
    assert_eq!(help.matches("has it looked up").count(), 2, "{help}");
}

#[test]
fn one_that_is_steered_to_may_look_up_there() {
    let rules = "tcp dst port 99 -> secret_net\ntcp -> g -> lan\nelse -> lan";
    let nfs = "nf g = guide\nnf j = jumper\nallow g to steer j\nallow j to lookup";
    let (codes, help) = prove(nfs, rules, "tcp dst port 80 never reaches secret_net");
    assert_eq!(codes, ["C0607"]);
    assert!(
        help.ends_with("its path: g -(steers)-> j -(looks up)-> secret_net"),
        "{help}"
    );
    assert_eq!(prove(nfs, rules, "udp never reaches secret_net").0, [""; 0]);
}

#[test]
fn a_packet_visits_no_more_nfs_than_max_hops() {
    let rules = "tcp dst port 99 -> mon -> secret_net\nelse -> j -> lan";
    let of = |hops: usize| format!("manager {{ max_hops = {hops} }}\nnf j = jumper\nallow j to lookup");
    let claim = "not (tcp dst port 99) never passes mon";
    assert_eq!(prove(&of(1), rules, claim).0, [""; 0]);
    assert_eq!(prove(&of(2), rules, claim).0, ["C0607"]);
}

const FILTERS: [&str; 8] = [
    "tcp dst port 99",
    "dst port 80",
    "src net 10.0.0.0/8",
    "src net 10.0.0.0/8 and tcp",
    "udp",
    "tcp",
    "not dst port 80",
    "src net 192.168.0.0/16 and dst port 99",
];
const TARGETS: [&str; 8] = [
    "j -> lan",
    "m -> lan",
    "m -> j -> lan",
    "j -> m -> lan",
    "l -> lan",
    "secret_net",
    "mon -> secret_net",
    "drop",
];
const CLAIMS: [&str; 6] = [
    "never reaches secret_net",
    "passes mon before secret_net",
    "never passes m",
    "reaches lan",
    "dropped",
    "passes j",
];
pub(super) const ADDRESSES: [[u8; 4]; 3] = [[10, 0, 0, 1], [192, 168, 0, 1], [172, 16, 0, 1]];
const DESTINATIONS: [u16; 3] = [80, 99, 53];

pub(super) fn frames() -> Vec<Frame> {
    let kinds = [("tcp", Tcp), ("udp", Udp)];
    let all = ADDRESSES
        .iter()
        .flat_map(|a| DESTINATIONS.iter().map(move |p| (a, p)));
    all.flat_map(|(a, p)| {
        kinds.map(|(_, proto)| {
            let [a, b, c, d] = a;
            let fields = format!("src = '{a}.{b}.{c}.{d}:4000'\ndst = '203.0.113.9:{p}'");
            let bytes = crate::packet::frame(proto, &fields.parse().unwrap()).unwrap();
            Frame {
                wire_len: bytes.len() as u32,
                bytes,
            }
        })
    })
    .collect()
}

/// An edit of a class changes what an NF may do, and a manifest without the effect permits nothing.
#[test]
fn a_permission_is_what_is_lowered() {
    let program = |class: &str, nf: &str| {
        let source = format!(
            "use \"sdn.nf.toml\" as sdn\nuse \"looker.nf.toml\" as looker\n{PORTS}class web = {class}\nnf c = {nf}\n\
             chain fast = lan\nsteer wan {{ else -> c -> lan }}\nallow c to program wan {{ web -> fast, drop }}\n"
        );
        checked(&source, DECLARES)
    };
    let [one, other] = ["tcp dst port 80", "udp"].map(|class| program(class, "sdn").program.unwrap());
    let of = |program: &Program| program.flows.programs.clone();
    assert_eq!(of(&one)[0].arms[0].targets, ["drop", "fast"]);
    assert_eq!(of(&one)[0].arms[0].text, of(&other)[0].arms[0].text);
    let diff = onvm_bundle::diff::diff(one.contents(), other.contents());
    let changed = diff.changes.iter().filter(|c| c.kind == "permission to program");
    assert_eq!(changed.count(), 2, "{:?}", diff.changes);
    let not_declared = program("tcp", "looker");
    assert!(
        codes(&not_declared).contains(&"C0601"),
        "{:?}",
        codes(&not_declared)
    );
    assert!(of(&not_declared.program.unwrap()).is_empty());
}

#[test]
fn what_may_be_programmed_may_happen() {
    let rules = "tcp dst port 99 -> c -> lan\nelse -> lan";
    let nfs = "nf c = sdn\nchain secret = secret_net\nallow c to program wan { udp -> secret, drop }";
    let (codes, help) = prove(nfs, rules, "udp never reaches secret_net");
    assert_eq!(
        (codes.as_slice(), help.contains("udp {")),
        (["C0607"].as_slice(), true),
        "{help}"
    );
    assert_eq!(prove(nfs, rules, "tcp never reaches secret_net").0, [""; 0]);
    assert_eq!(prove(nfs, rules, "tcp dst port 80 reaches lan").0, [""; 0]);
    assert_eq!(prove(nfs, rules, "udp reaches lan").0, ["C0607"]);
    // Looked up again, a packet may meet any entry.
    let rules = "tcp dst port 99 -> c -> lan\ntcp dst port 80 -> j -> lan\nelse -> lan";
    let nfs = format!("nf j = jumper\n{nfs}\nallow j to lookup");
    assert_eq!(
        prove(&nfs, rules, "tcp dst port 80 never reaches secret_net").0,
        ["C0608"]
    );
    assert_eq!(
        prove(&nfs, rules, "tcp dst port 53 never reaches secret_net").0,
        [""; 0]
    );
}

/// All that an NF makes of a frame.
fn made(nf: &str, frame: &Frame) -> Vec<Frame> {
    let put = |at: usize, value: &[u8]| {
        let mut frame = frame.clone();
        frame.bytes[at..at + value.len()].copy_from_slice(value);
        frame
    };
    match nf {
        "j" if frame.bytes[23] == 6 => DESTINATIONS.iter().map(|p| put(36, &p.to_be_bytes())).collect(),
        "m" => ADDRESSES.iter().map(|a| put(26, a)).collect(),
        _ => vec![frame.clone()],
    }
}

struct Enumeration<'p> {
    program: &'p Program,
    claim: &'p str,
    seen: HashSet<(Vec<u8>, String, usize)>,
}

impl Enumeration<'_> {
    /// The chains that the frame may enter: that of its rule, and those of entries.
    fn enters(&self, frame: &Frame) -> Vec<Chain> {
        let programs = self.program.flows.programs.iter().flat_map(|p| &p.arms);
        let arms = programs.filter(|arm| arm.filter.matches(&frame.bytes, frame.wire_len));
        let chains = &self.program.manager.chains;
        let named = |name: &String| chains.iter().find(|c| c.name == *name).unwrap().clone();
        let entered = arms.flat_map(|arm| arm.targets.iter().map(named));
        entered.chain([self.classify(frame).clone()]).collect()
    }

    fn classify(&self, frame: &Frame) -> &Chain {
        let table = self
            .program
            .flows
            .tables
            .iter()
            .find(|t| t.port == "wan")
            .unwrap();
        let rule = table
            .rules
            .iter()
            .find(|r| r.filter.matches(&frame.bytes, frame.wire_len));
        let name = rule.map_or(&table.otherwise, |r| &r.chain);
        self.program
            .manager
            .chains
            .iter()
            .find(|c| c.name == *name)
            .unwrap()
    }

    /// Whether some path of the frame from here breaks the claim.
    fn breaks(&mut self, frame: &Frame, chain: &Chain, at: usize) -> bool {
        let hop = &chain.hops[at];
        let name = hop.at.name();
        let ends = !matches!(hop.at, Target::Nf(_));
        let broken = match self.claim {
            "never reaches secret_net" => name == "secret_net",
            "passes mon before secret_net" => name == "secret_net",
            "never passes m" => name == "m",
            "reaches lan" => ends && name != "lan",
            "dropped" | "passes j" => ends && name != "drop",
            other => panic!("{other}"),
        };
        let safe = match self.claim {
            "passes mon before secret_net" => name == "mon",
            "reaches lan" => name == "lan",
            "passes j" => name == "j",
            _ => false,
        };
        if broken || safe || ends {
            return broken;
        }
        if !self.seen.insert((frame.bytes.clone(), chain.name.clone(), at)) {
            return false;
        }
        let next = usize::from(hop.next.unwrap());
        made(name, frame).iter().any(|frame| {
            let again = self.enters(frame);
            self.breaks(frame, chain, next)
                || hop.lookup && again.iter().any(|chain| self.breaks(frame, chain, 0))
        })
    }
}

#[test]
fn proofs_are_those_of_enumeration() {
    let rules = prop::collection::vec((select(&FILTERS), select(&TARGETS)), 1..5);
    let allows = prop::collection::vec(select(&["j", "m", "l"]), 0..4);
    let asked = (select(&FILTERS), select(&CLAIMS));
    let arms = prop::collection::vec((select(&FILTERS), 0..3_usize), 0..3);
    let counts = Cell::new([0_u32; 4]);
    run(
        600,
        9,
        (rules, select(&TARGETS), allows, arms, asked),
        |(rules, last, allows, arms, (filter, claim))| {
            let rules: String = rules.iter().map(|(f, t)| format!("    {f} -> {t}\n")).collect();
            let allows: HashSet<_> = allows.into_iter().collect();
            let allows: String = allows
                .iter()
                .map(|nf| format!("allow {nf} to lookup\n"))
                .collect();
            let source = format!(
                "use \"jumper.nf.toml\" as jumper\nuse \"mover.nf.toml\" as mover\nuse \"looker.nf.toml\" as looker\n{PORTS}\
             nf j = jumper\nnf m = mover\nnf l = looker\nnf mon = forward\n\
             use \"sdn.nf.toml\" as sdn\nnf s = sdn\nchain c0 = mon -> secret_net\nchain c1 = m -> j -> lan\n\
             steer wan {{\n{rules}    else -> {last}\n}}\nsteer lan {{ arp -> s -> c0 else -> c1 }}\n{allows}"
            );
            let programmed: String = arms
                .iter()
                .map(|(f, to)| {
                    format!(
                        "allow s to program wan {{ {f} -> {} }}\n",
                        ["c0", "c1", "drop"][*to]
                    )
                })
                .collect();
            let coarse = !arms.is_empty() && !allows.is_empty();
            let source = source + &programmed;
            let plain = checked(&source, DECLARES).program.unwrap();
            let mut there = None;
            for frame in frames().iter() {
                let mut enumeration = Enumeration {
                    program: &plain,
                    claim,
                    seen: HashSet::new(),
                };
                let asked = format!(
                    "use \"jumper.nf.toml\" as jumper\n{PORTS}steer wan {{ {filter} -> drop\nelse -> lan }}\n"
                );
                let asked = checked(&asked, DECLARES).program.unwrap().flows.tables[0].rules[0]
                    .filter
                    .clone();
                let chains = enumeration.enters(frame);
                let mut breaks = || chains.iter().any(|chain| enumeration.breaks(frame, chain, 0));
                if asked.matches(&frame.bytes, frame.wire_len) && breaks() {
                    there = Some(frame.clone());
                }
            }
            let found = checked(&format!("{source}assert wan: {filter} {claim}\n"), DECLARES);
            let codes = codes(&found);
            let mut count = counts.get();
            if codes.contains(&"C0607") {
                count[1] += 1;
                // Packets that the enumeration leaves out, such as IPv6, may break it too.
            } else if codes.contains(&"C0608") {
                count[if coarse { 3 } else { 2 }] += 1;
            } else {
                count[0] += 1;
                prop_assert!(
                    there.is_none(),
                    "{there:02x?} breaks `{filter} {claim}` of\n{source}"
                );
            }
            if there.is_some() {
                prop_assert!(
                    codes.contains(&"C0607") || coarse && codes.contains(&"C0608"),
                    "{there:02x?} {source} {filter} {claim}: {}",
                    shown(&found)
                );
            }
            counts.set(count);
            Ok(())
        },
    );
    // Where packets may be looked up and meet any entry, more is left open.
    let [proved, refuted, unknown, coarse] = counts.get();
    assert!(
        proved > 60 && refuted > 60 && unknown <= (proved + refuted) / 50 && coarse < refuted,
        "{proved} {refuted} {unknown} {coarse}"
    );
}
