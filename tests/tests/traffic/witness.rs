//! `onvmc test --witness`: for every way through a program, the interpreter and the running manager agree on a packet.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

use onvm_tests::{Scratch, capture, programs};

fn witness(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = programs::command("onvmc");
    command
        .args(["test", "--witness"])
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn agrees(dir: &Path, arguments: &[&str]) -> String {
    let done = witness(dir, arguments);
    let said = said(&done);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("witness result: ok"), "{said}");
    said
}

#[test]
fn examples_agree_and_their_packets_are_written() {
    let scratch = Scratch::new();
    scratch.take_examples();
    let dir = &scratch.path("");
    let said = agrees(dir, &["edge.chain", "--out", "packets"]);
    assert!(said.contains("6 packets went through onvm-run"), "{said}");
    let written = |name: &str| capture::read(&dir.join("packets").join(name));
    assert_eq!(written("in-wan.pcap").len(), 5);
    let jailed = written("out-jail.pcap");
    assert_eq!(jailed.len(), 1);
    assert!(written("in-wan.pcap").contains(&jailed[0]));
    assert!(
        jailed[0].windows(11).any(|w| w == b"/etc/passwd"),
        "{jailed:02x?}"
    );
    // What was not written by us reads them, and finds nothing wrong with the packets.
    let path = dir.join("packets/in-wan.pcap");
    let read = programs::tool("tcpdump", &["-nn", "-vv", "-r", path.to_str().unwrap()]);
    assert!(
        read.contains("203.0.113.9.80: Flags [S], cksum") && !read.contains("incorrect"),
        "{read}"
    );
    agrees(dir, &["edge-v2.chain", "veth.chain"]);
}

const FILTERS: [&str; 32] = [
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
    "greater 1000",
    "less 100",
    "less 20",
    "vlan and tcp",
    "vlan 3 and vlan 4",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "icmp",
    "icmp6",
    "ip6 proto 44",
    "ip proto 47",
    "ether proto 0x88cc",
    "ether host 02:00:00:00:00:09",
    "dscp 46",
    "sctp",
    "ip[6:2] & 0x1fff != 0",
    "net 192.168.0.0/16",
    "host 2001:db8::1",
    "udp[4:2] > 100",
    "ip[8] < 3",
    "len > 1400 and udp",
    "tcp src port 22 or tcp dst port 22",
];
const TARGETS: [&str; 6] = [
    "web",
    "plain",
    "mon -> lan",
    "scan -> mon -> jail",
    "drop",
    "jail",
];
const RULES: [&str; 11] = [
    "accept tcp dst port 80",
    "drop ip and src net 10.0.0.0/8",
    "accept udp",
    "accept ip6",
    "drop tcp and dst net 10.1.0.0/16",
    "accept ip",
    "accept icmp[icmptype] == icmp-echo",
    "accept arp",
    "accept tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "drop vlan 7 and udp",
    "accept udp and ip[6:2] & 0x1fff != 0",
];

/// The captures of the witnesses go to one worker each, or are spread over all.
const THREADS: [&str; 5] = [
    "workers = 1",
    "workers = 2, receivers = 1",
    "workers = 3",
    "workers = 3, receivers = 2",
    "workers = 5, receivers = 1",
];

/// The same numbers every time (xorshift, Marsaglia 2003).
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }

    fn filter(&mut self) -> String {
        let (a, b) = (self.of(&FILTERS), self.of(&FILTERS));
        match self.below(5) {
            0 => format!("({a}) and not ({b})"),
            1 => format!("({a}) and ({b})"),
            2 => format!("({a}) or ({b})"),
            _ => a.to_owned(),
        }
    }

    fn program(&mut self, dir: &Path) {
        let rules =
            (0..1 + self.below(7)).map(|_| format!("    {} -> {}\n", self.filter(), self.of(&TARGETS)));
        let rules: String = rules.collect();
        let firewall: Vec<&str> = (0..1 + self.below(5)).map(|_| self.of(&RULES)).collect();
        fs::write(dir.join("a.rules"), firewall.join("\n")).unwrap();
        fs::write(dir.join("a.patterns"), "attack\n").unwrap();
        let source = format!(
            "port wan = null {{}}\nport lan = null {{}}\nport jail = null {{}}\n\
             nf fw = firewall {{ rules = file(\"a.rules\"), default = {} }}\n\
             nf scan = payload_scan {{ patterns = file(\"a.patterns\") }} with {{ replicas = {} }}\n\
             nf mon = monitor\n\
             chain web = fw -> scan {{ match -> jail }} -> lan\n\
             chain plain = fw -> mon -> lan\n\
             steer wan {{\n{rules}    else -> {}\n}}\n\
             steer lan {{ else -> wan }}\nsteer jail {{ else -> drop }}\nmanager {{ {} }}\n",
            self.of(&["accept", "drop"]),
            1 + self.below(2),
            self.of(&TARGETS),
            self.of(&THREADS)
        );
        fs::write(dir.join("a.chain"), source).unwrap();
    }
}

#[test]
fn rules_of_all_kinds_agree() {
    let scratch = Scratch::new();
    let dir = &scratch.path("");
    let mut choice = Choice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20 {
        choice.program(dir);
        agrees(dir, &["a.chain"]);
    }
}

#[test]
fn ways_that_only_others_know_are_left_out() {
    let scratch = Scratch::new();
    let dir = &scratch.path("");
    scratch.manifest("probe", "[[outputs]]\nname = \"odd\"\ndoc = \"What is odd.\"\n");
    let source = "use \"probe.nf.toml\" as probe\nport wan = null {}\nport lan = null {}\nnf own = probe\n\
        steer wan {\n    udp -> own { odd -> drop } -> lan\n    tcp -> lan\n    tcp and dst port 80 -> drop\n    else -> drop\n}\n\
        steer lan { else -> drop }\n";
    fs::write(dir.join("a.chain"), source).unwrap();
    let done = witness(dir, &["a.chain", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let file = &report["files"][0];
    assert_eq!(file["undecided"], serde_json::json!(["own"]), "{report}");
    assert_eq!(file["missing"][0]["rule"]["text"], "tcp and dst port 80");
    assert_eq!(file["missing"][0]["certainty"], "proved");
    assert_eq!(
        (&report["agreed"], &report["left_out"]),
        (&3.into(), &1.into()),
        "{report}"
    );
}

/// A manager that says something else than what it did.
#[test]
fn a_disagreement_is_told() {
    let scratch = Scratch::new();
    scratch.take_examples();
    let dir = &scratch.path("");
    fs::create_dir(dir.join("bin")).unwrap();
    let run = programs::path("onvm-run");
    let script = format!(
        "#!/bin/sh\nset -e\n'{}' \"$@\" | sed 's/\"at\":\"scan\",\"drops\":0,\"packets\":2/\"at\":\"scan\",\"drops\":0,\"packets\":1/'\n",
        run.display()
    );
    fs::write(dir.join("bin/onvm-run"), script).unwrap();
    fs::set_permissions(dir.join("bin/onvm-run"), fs::Permissions::from_mode(0o755)).unwrap();
    // A link would lead back to the true manager.
    fs::copy(programs::path("onvmc"), dir.join("bin/onvmc")).unwrap();
    symlink(programs::path("onvm-nf"), dir.join("bin/onvm-nf")).unwrap();
    let done = Command::new(dir.join("bin/onvmc"))
        .args(["test", "--witness", "edge.chain"])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = said(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("disagreement: hop 1 of `inspect` (`scan`): expected 2 packets, got 1"),
        "{said}"
    );
    assert!(said.contains("witness result: FAILED"), "{said}");
}

#[test]
fn what_cannot_be_done_says_why() {
    let scratch = Scratch::new();
    scratch.take_examples();
    let dir = &scratch.path("");
    let two = witness(dir, &["edge.chain", "veth.chain", "--out", "packets"]);
    assert_eq!(two.status.code(), Some(2));
    assert!(
        said(&two).contains("--out takes the packets of one FILE"),
        "{}",
        said(&two)
    );
    fs::write(dir.join("taken"), "").unwrap();
    let taken = witness(dir, &["edge.chain", "--out", "taken"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(said(&taken).contains("cannot make taken"), "{}", said(&taken));
    fs::write(dir.join("edge.rules"), "forbid everything\n").unwrap();
    let refused = witness(dir, &["edge.chain"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("edge.rules:1:1"), "{}", said(&refused));
}
