use std::path::Path as FilePath;

use onvm_bundle::Target;

use super::*;
use crate::{Inputs, Program, check, source::host::MemoryHost};

const GUARD: &str =
    "name = \"guard\"\nversion = \"1.0.0\"\nsummary = \"A guard\"\n[run]\nbinary = \"guard\"\n";

const CHAIN: &str = r#"
use "guard.nf.toml" as guard
port wan = null {}
port lan = null {}
port jail = null {}
port idle = null {}
nf fw = firewall { rules = file("a.rules"), default = accept }
nf scan = payload_scan { patterns = file("a.patterns") }
nf own = guard
chain inspect = fw -> scan { match -> jail } -> own -> lan
steer wan {
    udp -> drop
    tcp -> inspect
    else -> own -> lan
}
steer lan { else -> wan }
steer jail { else -> wan }
"#;

fn program(source: &str) -> Program {
    let host = MemoryHost::default()
        .with("a.chain", source)
        .with("guard.nf.toml", GUARD)
        .with("a.rules", "drop tcp dst port 23\n")
        .with("a.patterns", "attack\n");
    let checked = check(&host, FilePath::new("a.chain"), &Inputs::default()).unwrap();
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    checked.program.unwrap_or_else(|| panic!("{shown}"))
}

fn packet(fields: &str, proto: onvm_lang::syntax::PacketProto) -> Vec<u8> {
    crate::packet::frame(proto, &fields.parse().unwrap()).unwrap()
}

fn story(program: &Program, frame: &[u8]) -> Story {
    let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
    let port = interpreter.port("wan").unwrap();
    let (path, moved) = interpreter.send_and_watch(port, frame, frame.len() as u32);
    assert_eq!(
        interpreter.send(port, frame, frame.len() as u32),
        path,
        "nothing here has a memory"
    );
    interpreter.tell(&path, &moved)
}

use onvm_lang::syntax::PacketProto::{Arp, Tcp, Udp};

#[test]
fn standard_nfs_decide_and_others_pass_on() {
    let program = program(CHAIN);
    let web = story(&program, &packet("dst = '203.0.113.9:80'", Tcp));
    assert_eq!(web.names(), ["fw", "scan", "own", "lan"]);
    assert_eq!(web.rule.as_ref().unwrap().source.0, "a.chain:13:5");
    assert!(web.hops[2].assumed && !web.hops[0].assumed);
    let attack = story(
        &program,
        &packet("dst = '203.0.113.9:80'\npayload = 'an attack'", Tcp),
    );
    assert_eq!(attack.names(), ["fw", "scan", "jail"]);
    assert_eq!(attack.hops[1].verdict.as_deref(), Some("output match"));
    assert!(attack.hops[1].counted.contains(&("pattern_1".to_owned(), 1)));
    let telnet = story(&program, &packet("dst = '203.0.113.9:23'", Tcp));
    assert_eq!(telnet.names(), ["fw", "drop"]);
    assert_eq!(
        (telnet.exit.dropped, telnet.last_node()),
        (Some("nf_verdict"), "fw")
    );
}

#[test]
fn steering_drops_and_falls_through() {
    let program = program(CHAIN);
    let udp = story(&program, &packet("", Udp));
    assert_eq!((udp.names(), udp.last_node()), (vec!["drop"], "wan"));
    assert_eq!(udp.exit.dropped, Some("chain"));
    let arp = story(&program, &packet("", Arp));
    assert_eq!(arp.rule.unwrap().text, "else");
    let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
    let idle = interpreter.port("idle").unwrap();
    let unsteered = interpreter.send(idle, &[0; 60], 60);
    assert_eq!(
        (unsteered.steered, unsteered.exit),
        (Steered::Nowhere, Exit::Dropped(Reason::Chain))
    );
    let long = interpreter.send(idle, &[0; 3000], 3000);
    assert_eq!(long.exit, Exit::Dropped(Reason::TooLong));
}

#[test]
fn the_length_on_the_wire_counts() {
    let program = program(
        "port wan = null {}\nport lan = null {}\nsteer wan {\n greater 100 -> lan\n else -> drop\n}\n",
    );
    let mut interpreter = Interpreter::new(program.contents(), &program.files).unwrap();
    let exits = [60, 100].map(|wire| interpreter.send(0, &[0; 60], wire).exit);
    assert_eq!(exits, [Exit::Dropped(Reason::Chain), Exit::Port(1)]);
}

#[test]
fn a_packet_may_visit_no_more_nfs_than_max_hops() {
    let mut program =
        program("port wan = null {}\nnf a = forward\nnf b = forward\nsteer wan { else -> a -> b -> wan }\n");
    program.manager.max_hops = 1;
    let told = story(&program, &[0; 60]);
    assert_eq!(
        (told.names(), told.exit.dropped),
        (vec!["a", "b", "drop"], Some("hop_limit"))
    );
    assert_eq!(told.hops[1].verdict, None);
}

#[test]
fn an_output_that_the_chain_leaves_out_goes_on() {
    let program = program(&CHAIN.replace(" { match -> jail }", ""));
    let attack = story(&program, &packet("payload = 'an attack'", Tcp));
    assert_eq!(attack.names(), ["fw", "scan", "own", "lan"]);
    assert_eq!(attack.hops[1].verdict.as_deref(), Some("output match"));
}

#[test]
fn an_nf_that_would_not_start_is_refused() {
    let mut program = program(CHAIN);
    for content in program.files.values_mut() {
        *content = b"forbid everything\n".to_vec();
    }
    let refused = Interpreter::new(program.contents(), &program.files).unwrap_err();
    assert_eq!(
        (refused.service.as_str(), refused.source_ref.0.as_str()),
        ("fw", "a.chain:7:4")
    );
    assert!(refused.reason.contains("a.rules:1:1"), "{}", refused.reason);
}

/// What the verdicts of a steering NF come to, by the hop that they are given at.
#[test]
fn steers_are_followed_where_they_are_permitted() {
    let program = program(CHAIN);
    let tables = Tables::new(&program.manager, &program.flows, &HashMap::new());
    let mut manager = program.manager.clone();
    let chain = manager.chains.iter_mut().find(|c| c.name == "inspect").unwrap();
    assert_eq!(chain.hops[0].at, Target::Nf("fw".into()));
    chain.hops[0].steers.insert("scan".into(), 1);
    chain.hops[0].steers.insert("jail".into(), 4);
    let permitted = Tables::new(&manager, &program.flows, &HashMap::new());
    let first = tables.chains.iter().find(|c| c.name == "inspect").unwrap().first;
    let id = |name: &str| manager.services.iter().find(|s| s.name == name).unwrap().id;
    let resolved = |tables: &Tables, request| tables.hops[usize::from(first)].resolve(request);
    assert_eq!(
        resolved(&tables, Request::Steer(id("scan"))),
        Resolved::Overruled(first + 1)
    );
    assert_eq!(
        resolved(&permitted, Request::Steer(id("scan"))),
        Resolved::To(first + 1)
    );
    assert_eq!(resolved(&permitted, Request::Out(2)), Resolved::To(first + 4));
    assert_eq!(
        resolved(&permitted, Request::Out(1)),
        Resolved::Overruled(first + 1)
    );
    assert_eq!(
        resolved(&permitted, Request::Output(7)),
        Resolved::Overruled(first + 1)
    );
    assert_eq!(
        resolved(&permitted, Request::Unknown),
        Resolved::Overruled(first + 1)
    );
}

#[test]
fn lookups_are_overruled_where_they_are_not_permitted() {
    let program = program(CHAIN);
    let mut manager = program.manager.clone();
    let chain = manager.chains.iter_mut().find(|c| c.name == "inspect").unwrap();
    chain.hops[0].lookup = true;
    let tables = Tables::new(&manager, &program.flows, &HashMap::new());
    let first = tables.chains.iter().find(|c| c.name == "inspect").unwrap().first;
    let resolved = |hop: HopIndex| tables.hops[usize::from(hop)].resolve(Request::Lookup);
    assert_eq!(resolved(first), Resolved::Lookup(first + 1));
    assert_eq!(resolved(first + 1), Resolved::Overruled(first + 2));
    assert!(manager.permitted_lookups().into_iter().eq(["fw"]));
}
