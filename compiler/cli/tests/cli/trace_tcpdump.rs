//! `onvmc trace --pcap` sorts the packets of the shipped captures by rule as tcpdump does, packet for packet.
//!
//! tcpdump is asked with `-O`: its optimiser changes the meaning of some filters.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pcap_file::pcap::PcapReader;

/// A filter of ours and the text that tcpdump gets instead: it has no classes, lists and `dscp`.
const WEB: &str = "(tcp and (dst port 80 or 443)) or (vlan and tcp and (dst port 80 or 443))";
const DNS: &str = "(udp and port 53)";

const FILTERS: &[(&str, &str)] = &[
    ("web", "(tcp and dst port (80 or 443))"),
    ("not web", "not (tcp and dst port (80 or 443))"),
    (
        "web and src net $clients",
        "(tcp and dst port (80 or 443)) and (src net 198.51.100.0/24 or src net 2001:db8::/32)",
    ),
    (
        "src net $clients",
        "(src net 198.51.100.0/24 or src net 2001:db8::/32)",
    ),
    ("host $servers", "(host 203.0.113.9 or host 203.0.113.53)"),
    ("port [53, 443]", "(port 53 or port 443)"),
    ("dscp 0", "(ip[1] & 0xfc = 0 or ip6[0:2] & 0x0fc0 = 0)"),
];

/// Filters that mean the same in both.
const PLAIN: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "icmp",
    "icmp6",
    "tcp",
    "udp",
    "vlan",
    "vlan 20",
    "vlan 20 and tcp",
    "vlan and ip6",
    "tcp or vlan and udp",
    "dst port 80 or 443",
    "tcp port 80",
    "udp portrange 50-60",
    "src host 203.0.113.9",
    "ip6 host 2001:db8:1::9",
    "net 198.51.0.0/16",
    "dst net 10.0.0.0/8",
    "ether host ff:ff:ff:ff:ff:ff",
    "ether proto 0x0806",
    "ip proto 1",
    "proto 17",
    "less 64",
    "greater 200",
    "len > 100 and len < 400",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) == (tcp-syn|tcp-fin)",
    "ip[6:2] & 0x1fff != 0",
    "udp[4:2] > 60",
    "icmp[icmptype] == icmp-echo",
    "not ip and not ip6",
    "tcp and not port 443 or udp",
];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../chains")
        .join(name)
}

/// Time and bytes of each packet.
type Packets = Vec<(u128, Vec<u8>)>;

fn read(path: &Path) -> Packets {
    let mut reader = PcapReader::new(fs::File::open(path).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        packets.push((packet.timestamp.as_nanos(), packet.data.to_vec()));
    }
    packets
}

/// Numbers of the packets that tcpdump takes.
fn tcpdump(capture: &Path, filter: &str, scratch: &Path) -> Vec<u64> {
    let taken = scratch.join("taken.pcap");
    let output = Command::new("tcpdump")
        .args([
            "-O",
            "-r",
            capture.to_str().unwrap(),
            "-w",
            taken.to_str().unwrap(),
            filter,
        ])
        .output()
        .expect("tcpdump is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tcpdump {filter}: {said}");
    let mut numbers = Vec::new();
    let mut all = (1..).zip(read(capture));
    for packet in read(&taken) {
        let (number, _) = all
            .find(|(_, p)| *p == packet)
            .expect("taken packets are in order");
        numbers.push(number);
    }
    numbers
}

/// Packet numbers by the text of the rule that took them.
fn trace(chain: &Path, port: &str, capture: &Path, arguments: &[&str]) -> BTreeMap<String, Vec<u64>> {
    let output = Command::new(env!("CARGO_BIN_EXE_onvmc"))
        .args([
            "trace",
            chain.to_str().unwrap(),
            port,
            "--each",
            "--json",
            "--pcap",
        ])
        .arg(capture)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut taken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let rule = line["path"]["rule"]["text"].as_str().unwrap().to_owned();
        taken
            .entry(rule)
            .or_default()
            .push(line["number"].as_u64().unwrap());
    }
    taken
}

/// Rules in order, first match wins, against tcpdump on each rule's filter alone.
fn agree(chain: &Path, port: &str, rules: &[(String, String)], capture: &Path) -> usize {
    let scratch = tempfile::tempdir().unwrap();
    let traced = trace(chain, port, capture, &[]);
    let all = read(capture).len() as u64;
    let mut left: Vec<u64> = (1..=all).collect();
    let mut compared = 0;
    for (ours, theirs) in rules {
        let theirs = tcpdump(capture, theirs, scratch.path());
        let (taken, rest) = left.into_iter().partition(|n| theirs.binary_search(n).is_ok());
        left = rest;
        let taken: Vec<u64> = taken;
        compared += usize::from(!taken.is_empty());
        assert_eq!(
            traced.get(ours).cloned().unwrap_or_default(),
            taken,
            "{ours} on {}",
            capture.display()
        );
    }
    assert_eq!(traced.get("else").cloned().unwrap_or_default(), left, "else");
    compared
}

#[test]
fn shipped_chains() {
    let same = |ours: &str, theirs: &str| (ours.to_owned(), theirs.to_owned());
    let edge = [same("web", WEB)];
    assert_eq!(
        agree(&shipped("edge.chain"), "wan", &edge, &shipped("edge.pcap")),
        1
    );
    agree(&shipped("edge.chain"), "lan", &[], &shipped("edge-lan.pcap"));
    let text = fs::read_to_string(shipped("edge-v2.chain")).unwrap();
    let rules: Vec<(String, String)> = text
        .lines()
        .skip_while(|l| !l.starts_with("steer wan"))
        .skip(1)
        .take_while(|l| !l.starts_with('}'))
        .filter_map(|l| l.split_once("->"))
        .map(|(rule, _)| rule.trim().to_owned())
        .filter(|rule| rule != "else")
        .map(|rule| {
            let theirs = rule.replace("web", WEB).replace("dns", DNS);
            (rule, theirs)
        })
        .collect();
    assert!(rules.len() >= 2, "{rules:?}");
    agree(&shipped("edge-v2.chain"), "wan", &rules, &shipped("edge.pcap"));
}

#[test]
fn every_kind_of_filter() {
    let plain = PLAIN.iter().map(|f| (f.to_string(), f.to_string()));
    let named = FILTERS.iter().map(|(o, t)| (o.to_string(), t.to_string()));
    let all: Vec<(String, String)> = named.chain(plain).collect();
    let dir = tempfile::tempdir().unwrap();
    let chain = dir.path().join("a.chain");
    let write = |rules: &[(String, String)]| {
        let rules: String = rules.iter().map(|(o, _)| format!("    {o} -> lan\n")).collect();
        let head = "let clients = [198.51.100.0/24, 2001:db8::/32]\nlet servers = [203.0.113.9, 203.0.113.53]\n\
                    class web = tcp and dst port (80 or 443)\nport wan = null {}\nport lan = null {}\n";
        fs::write(
            &chain,
            format!("{head}steer wan {{\n{rules}    else -> drop\n}}\n"),
        )
        .unwrap();
    };
    let mut useful = 0;
    for capture in ["edge.pcap", "edge-lan.pcap"].map(shipped) {
        for rule in &all {
            write(std::slice::from_ref(rule));
            useful += agree(&chain, "wan", std::slice::from_ref(rule), &capture);
        }
        // The order matters, too: narrow ones first.
        let mut together = all.clone();
        together.reverse();
        write(&together);
        agree(&chain, "wan", &together, &capture);
    }
    assert!(
        useful > all.len(),
        "only {useful} filters of {} take any packet",
        2 * all.len()
    );
}
