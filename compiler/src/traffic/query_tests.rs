//! Where packets go, against every packet of a small world.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{cell::Cell, path::Path};

use onvm_bundle::filter::Expr;
use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    Inputs, Program, check,
    interpret::Interpreter,
    lower::filter::lower_alone,
    sets::{
        Frame,
        brute::{cut_short, run, whole_frames},
    },
    source::host::MemoryHost,
};

const FILTERS: [&str; 14] = [
    "tcp",
    "udp",
    "ip6",
    "arp",
    "src net 10.0.0.0/8",
    "dst net 10.1.0.0/16 and tcp",
    "dst port 80 or dst port 443",
    "udp dst portrange 400-2000",
    "vlan 7",
    "vlan 9",
    "vlan and tcp",
    "udp or (vlan and udp)",
    "ip[8] = 64 and not udp",
    "not ip",
];
const TARGETS: [&str; 7] = [
    "fw0 -> lan",
    "fw0 { denied -> jail } -> lan",
    "fw1 { denied -> mon -> lan } -> jail",
    "fw0 { denied -> fw1 -> jail } -> fw1 -> lan",
    "mon -> lan",
    "lan",
    "drop",
];
const FIREWALL: [&str; 9] = [
    "accept tcp dst port 80",
    "drop ip and src net 10.0.0.0/8",
    "accept udp",
    "accept ip6",
    "drop tcp and dst net 10.1.0.0/16",
    "accept ip",
    "accept vlan 7 and tcp",
    "drop vlan",
    "drop arp",
];

const MOVER: &str = "name = \"mover\"\nversion = \"1.0.0\"\nsummary = \"x\"\n[run]\nbinary = \"mover\"\n\
    [effects]\nreads = [\"ip.src\"]\nwrites = [\"ip.src\"]\n";

type Firewall = (Vec<&'static str>, &'static str, &'static str);

fn checked(rules: &str, firewalls: &[Firewall], question: &str) -> (String, Program) {
    let mut source = "port wan = null\nport lan = null\nport jail = null\nnf mon = forward\n".to_owned();
    let mut host = MemoryHost::default();
    for (n, (rules, default, deny)) in firewalls.iter().enumerate() {
        source += &format!(
            "nf fw{n} = firewall {{ rules = file(\"{n}.rules\"), default = {default}, on_deny = {deny} }}\n"
        );
        host = host.with(format!("{n}.rules"), rules.join("\n") + "\n");
    }
    source += &format!("steer wan {{\n{rules}\n}}\n");
    let inputs = Inputs {
        question: Some(("wan", question)),
        ..Inputs::default()
    };
    let checked = check(
        &host.with("a.chain", source.as_str()),
        Path::new("a.chain"),
        &inputs,
    )
    .unwrap();
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    (source, checked.program.unwrap_or_else(|| panic!("{shown}")))
}

fn answers(program: &Program) -> Answers {
    let models = Models::new(program.contents(), &program.files).unwrap();
    let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
    let question = program.question.as_ref().unwrap();
    query(program.contents(), &models, &mut interpreter, question, None)
}

/// One line for each way.
fn ways(program: &Program) -> Vec<String> {
    let line = |way: &Reached| {
        let given = way.given.iter().map(|g| format!(" if {} {}", g.nf, g.does));
        let filter = match &way.which.filter {
            Some(filter) => filter.clone(),
            None => format!("{:?}", way.which.unwritten),
        };
        format!("{}: {filter}{}", way.path, given.collect::<String>())
    };
    answers(program).ways.iter().map(line).collect()
}

#[test]
fn what_is_not_decided_by_headers_is_said() {
    let source = "use \"mover.nf.toml\" as mover\nport wan = null\nport lan = null\nnf m = mover\n\
        nf fw = firewall { rules = { accept tcp } } with { sees = rewritten }\n\
        nf scan = payload_scan { patterns = file(\"a.patterns\"), only = tcp dst port 80 }\n\
        steer wan {\n vlan 7 -> drop\n vlan 8 -> drop\n ip and tcp -> m -> fw -> lan\n udp -> drop\n else -> fw -> scan { match -> drop } -> lan\n}\n";
    let host = MemoryHost::default()
        .with("a.chain", source)
        .with("a.patterns", "attack\n")
        .with("mover.nf.toml", MOVER);
    let inputs = Inputs {
        question: Some(("wan", "tcp")),
        ..Inputs::default()
    };
    let checked = check(&host, Path::new("a.chain"), &inputs).unwrap();
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    let program = checked.program.unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(
        ways(&program),
        [
            "m -> fw -> lan: ip and tcp if fw lets it on of what `m` has made of them",
            "m -> fw -(drops)-> drop: ip and tcp if fw drops it of what `m` has made of them",
            "fw -> scan -> lan: tcp and not (ip and tcp) if scan does not search them or finds none of its patterns",
            "fw -> scan -(match)-> drop: not (ip and tcp) and tcp dst port 80 if scan finds one of its patterns in them",
        ],
    );
    let all = Question {
        port: "wan".to_owned(),
        filter: Expr::Const(true),
    };
    let models = Models::new(program.contents(), &program.files).unwrap();
    let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
    let found = query(program.contents(), &models, &mut interpreter, &all, Some("drop"));
    let filters: Vec<_> = found
        .ways
        .iter()
        .filter_map(|way| way.which.filter.as_deref())
        .collect();
    assert_eq!(filters[..2], ["vlan 7", "vlan 8"]);
    assert!(filters.contains(&"udp"), "{filters:?}");
    assert!(
        filters.iter().any(|f| f.ends_with("not vlan [7, 8]")),
        "{filters:?}"
    );
}

#[test]
fn ways_around_lost_nfs_are_said() {
    let open = include_str!("../../../stdlib-nfs/src/firewall/manifest.toml");
    let source = "use \"open.nf.toml\" as open\nport wan = null\nport lan = null\n\
        nf fw = open { rules = { drop udp }, default = accept } with { on_loss = bypass }\n\
        nf mon = monitor with { on_loss = bypass }\nsteer wan { udp -> fw -> lan\n arp -> mon -> drop\n else -> drop }\n";
    let host = MemoryHost::default().with("a.chain", source).with(
        "open.nf.toml",
        open.replace("reconfigure = true\n", "bypassable = true\n"),
    );
    let inputs = Inputs {
        question: Some(("wan", "udp or arp")),
        ..Inputs::default()
    };
    let program = check(&host, Path::new("a.chain"), &inputs)
        .unwrap()
        .program
        .unwrap();
    let lost = "is lost, so that packets go around it";
    let expected = [
        "fw -(drops)-> drop: udp".to_owned(),
        format!("fw -(bypassed)-> lan: udp if fw {lost}"),
        "mon -> drop: arp".to_owned(),
        format!("mon -(bypassed)-> drop: arp if mon {lost}"),
    ];
    assert_eq!(ways(&program), expected);
}

#[test]
fn what_is_nested_too_deeply_is_said_to_be_too_long() {
    let rules: Vec<String> = (1..=100)
        .map(|n| format!("{} dst port {n}", ["accept tcp", "drop"][n % 2]))
        .collect();
    let rules: Vec<&'static str> = rules.into_iter().map(|rule| &*rule.leak()).collect();
    let firewalls = [(rules, "accept", "drop"), (vec![], "accept", "drop")];
    let (_, program) = checked(
        "    else -> fw0 { denied -> drop } -> fw1 { denied -> jail } -> lan",
        &firewalls,
        "all",
    );
    let ways = ways(&program);
    assert!(
        ways.iter().any(|way| way == "fw0 -> fw1 -> lan: Some(TooLong)"),
        "{ways:?}"
    );
}

/// Some filter gives up on the frame, as it is too short.
fn is_cut_off(program: &Program, frame: &Frame) -> bool {
    let steering = program
        .flows
        .tables
        .iter()
        .flat_map(|t| &t.rules)
        .map(|r| &r.filter);
    let models = Models::new(program.contents(), &program.files).unwrap();
    let gives_up = |filter: &Expr| filter.decide(&frame.bytes, frame.wire_len).is_none();
    steering.chain(models.filters()).any(gives_up)
}

#[test]
fn each_packet_is_in_the_filter_of_its_way_alone() {
    let mut world: Vec<Frame> = whole_frames();
    world.retain(|f| f.bytes.len() == f.wire_len as usize);
    let short = cut_short(&world).into_iter().step_by(17);
    // Firewalls drop malformed packets whatever their rules say.
    let whole = world.iter().step_by(9).map(Frame::mended);
    let whole = whole.map(|frame| (frame, false));
    let world: Vec<(Frame, bool)> = whole.chain(short.map(|frame| (frame, true))).collect();
    let rules = prop::collection::vec((select(&FILTERS), select(&TARGETS)), 0..5);
    let firewall = (
        prop::collection::vec(select(&FIREWALL), 0..5),
        select(&["accept", "drop"]),
        select(&["drop", "output"]),
    );
    let asked = prop_oneof![1 => Just("all"), 2 => select(&FILTERS)];
    let counts = Cell::new([0_u32; 4]);
    let programs = (rules, select(&TARGETS), prop::collection::vec(firewall, 2), asked);
    run(300, 10, programs, |(rules, last, firewalls, asked)| {
        let rules: String = rules.iter().map(|(f, t)| format!("    {f} -> {t}\n")).collect();
        let (source, program) = checked(&format!("{rules}    else -> {last}"), &firewalls, asked);
        let found = answers(&program);
        let case = || format!("{firewalls:?}\n{source}asked: {asked}\n{found:#?}");
        prop_assert!(found.certainty > Certainty::Partial, "{}", case());
        let filters: Vec<Option<Expr>> = found
            .ways
            .iter()
            .map(|way| way.which.filter.as_deref().map(|text| lower_alone(text).unwrap()))
            .collect();
        let mut count = counts.get();
        for way in &found.ways {
            let known = way.which.filter.is_some() || way.which.unwritten == Some(Unwritten::OnlyCutOff);
            prop_assert!(known, "{}", case());
            count[usize::from(way.which.except_cut_off)] += 1;
        }
        let question = &program.question.as_ref().unwrap().filter;
        let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
        for (frame, cut) in &world {
            let is_asked = question.matches(&frame.bytes, frame.wire_len);
            let path = interpreter.send(0, &frame.bytes, frame.wire_len);
            let story = interpreter.tell(&path, &[]);
            let names = story.names().join(" -> ");
            let is_short = is_cut_off(&program, frame);
            // Malformed.
            if *cut && names.contains("fw") {
                continue;
            }
            let shown = |why: &str| {
                format!(
                    "{why}: {frame:02x?}\ngoes {names} by {:?}\n{}",
                    story.rule,
                    case()
                )
            };
            // Of outputs that are not handled, several ways have the same names.
            let goes = |way: &Reached| {
                let visited = way.path.split(' ').filter(|word| !word.starts_with('-'));
                Some(&way.rule) == story.rule.as_ref() && visited.eq(names.split(" -> "))
            };
            let taken: Vec<&Reached> = (found.ways.iter().zip(&filters))
                .filter(|(_, f)| {
                    f.as_ref()
                        .is_some_and(|f| f.matches(&frame.bytes, frame.wire_len))
                })
                .map(|(way, _)| way)
                .collect();
            for way in &taken {
                let excepted = is_short && way.which.except_cut_off;
                prop_assert!(is_asked && goes(way) || excepted, "{}", shown("goes another way"));
            }
            let own = |way: &&Reached| goes(way);
            let excepted = |way: &Reached| {
                let unwritten = way.which.filter.is_none();
                is_short && (unwritten || way.which.except_cut_off)
            };
            prop_assert!(!is_asked || found.ways.iter().any(goes), "{}", shown("no way"));
            prop_assert!(
                !is_asked
                    || taken.iter().filter(|w| goes(w)).count() == 1
                    || found.ways.iter().filter(own).any(excepted),
                "{}",
                shown("not one way")
            );
            count[2 + usize::from(is_short)] += 1;
        }
        counts.set(count);
        Ok(())
    });
    let [exact, except, whole, short] = counts.get();
    assert!(
        exact > 300 && except > 100 && whole > 50_000 && short > 1000,
        "{exact} {except} {whole} {short}"
    );
}
