//! Rules as they are written: what they mean in the firewall, and what is wrong with them.

use std::path::Path;

use etherparse::PacketBuilder;
use nflib::Verdict;
use onvmc::{Inputs, check, host::MemoryHost};

use crate::firewall::{firewall, program};

fn tcp(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([198, 51, 100, 7], [203, 0, 113, 9], 64)
        .tcp(4000, port, 0, 512)
        .syn();
    builder.write(&mut packet, b"hello").unwrap();
    packet
}

fn udp6(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let (source, destination) = ([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0; 16]);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv6(source, destination, 64)
        .udp(4000, port);
    builder.write(&mut packet, b"hello").unwrap();
    packet
}

fn tagged(mut packet: Vec<u8>, vlan: u16) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    packet.splice(12..12, [0x81, 0, high, low]);
    packet
}

/// A rule is a filter of the language: negation, ranges, lists, flags, VLANs, classes and `$lists` of the program.
#[test]
fn rules_are_filters_of_the_language() {
    for (rules, packet, accepted) in [
        ("accept tcp dst port [80, 400-500]", tcp(443), true),
        ("accept tcp dst port [80, 400-500]", tcp(22), false),
        ("accept web", tcp(80), true),
        ("accept web", tcp(81), false),
        ("accept src net $inside", udp6(53), true),
        ("accept src net $inside", tcp(53), false),
        ("accept not web", tcp(22), true),
        (
            "accept tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
            tcp(1),
            true,
        ),
        ("accept tcp[tcpflags] & tcp-ack != 0", tcp(1), false),
        ("accept vlan 7 and tcp dst port 22", tagged(tcp(22), 7), true),
        ("accept vlan 7 and tcp dst port 22", tagged(tcp(22), 8), false),
        // As in libpcap, a filter that does not name the tag does not look behind it.
        ("accept tcp dst port 22", tagged(tcp(22), 7), false),
        ("accept less 60", tcp(22), true),
        ("drop tcp\naccept all", tcp(22), false),
        ("drop udp\naccept all", tcp(22), true),
    ] {
        let verdict = firewall(rules, "").send(&[&packet])[0].verdict;
        assert_eq!(verdict == Verdict::Next, accepted, "{rules}");
    }
}

/// On a port whose tags are ignored every filter looks behind them.
#[test]
fn rules_see_packets_as_their_port_says() {
    let mut firewall = firewall("drop vlan\naccept tcp dst port 22", "");
    firewall.ignore_tags = true;
    let packets = [
        tcp(22),
        tagged(tcp(22), 7),
        tagged(tagged(tcp(22), 7), 8),
        tagged(tcp(23), 7),
    ];
    let verdicts: Vec<bool> = firewall
        .send(&packets)
        .iter()
        .map(|h| h.verdict == Verdict::Next)
        .collect();
    assert_eq!(verdicts, [true, true, true, false]);
}

/// Of a program whose port has this setting.
fn codes(tags: &str) -> Vec<&'static str> {
    let source = format!(
        "port wan = pcap {{ read = \"x\"{tags} }}\nport lan = null\n\
         steer wan {{ tcp dst port 22 -> drop vlan and udp -> drop else -> lan }}\nsteer lan {{ else -> wan }}\n\
         assert wan: vlan 5 and tcp dst port 22 never reaches lan\nassert wan: tcp dst port 22 never reaches lan\n"
    );
    let host = MemoryHost::default().with("a.chain", source);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    checked.diagnostics.iter().map(|d| d.code).collect()
}

#[test]
fn proofs_see_packets_as_their_port_says() {
    // Later fragments are another matter.
    let codes = |tags: &str| {
        codes(tags)
            .into_iter()
            .filter(|code| *code != "C0612")
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(""), ["C0607", "C0611"]);
    assert_eq!(codes(", tags = visible"), ["C0607"]);
    // `vlan` takes nothing then: a rule and an assertion are about no packet.
    assert_eq!(codes(", tags = ignored"), ["C0506", "C0506"]);
}

#[test]
fn rules_may_stand_in_the_source() {
    let source = "port wan = null\nnf fw = firewall {\n    default = accept,\n    rules = {\n        // telnet\n        drop tcp dst port 23\n        ssh: drop tcp dst port 22\n    },\n}\nsteer wan { else -> fw -> wan }\n";
    let host = MemoryHost::default().with("a.chain", source);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    assert_eq!(checked.diagnostics, []);
    let program = checked.program.unwrap();
    let rules = program.files.values().next().unwrap();
    assert_eq!(
        String::from_utf8_lossy(rules),
        "drop rule_1 (tcp-port dst 23)\ndrop rule_ssh (tcp-port dst 22)\n"
    );
}

/// Code, place and message of each diagnostic.
fn found(rules: &str) -> Vec<String> {
    let checked = program(rules, "");
    let shown = checked.diagnostics.iter().map(|d| {
        let place = checked.sources.reference_of(d.span()).0;
        format!("{place} {} {}", d.code, d.message)
    });
    shown.collect()
}

#[test]
fn every_mistake_is_told_at_its_place() {
    assert_eq!(
        found(
            "accept tcp dst port 22x\nacept udp\nweb: drop icmp\nweb: drop arp\naccept bogus\ndrop src net 10.0.0.1/8\n-A INPUT -j DROP\n"
        ),
        [
            "a.rules:1:21 C0007 `22x` is not a number",
            "a.rules:2:1 C0204 `a verdict` cannot be `acept`",
            "a.rules:4:1 C0102 two rules are named `web`",
            "a.rules:5:8 C0101 unknown name `bogus`",
            "a.rules:6:14 C0021 `10.0.0.1/8` has bits set beyond its length",
            "a.rules:7:1 C0026 this is a line of iptables",
        ]
    );
}

/// As in `steer`: proved, and each with the rules that take its packets.
#[test]
fn rules_that_never_match_are_found() {
    assert_eq!(
        found("drop tcp\naccept udp dst port 53\ndrop tcp dst port 22\naccept tcp and udp\n"),
        [
            "a.rules:3:6 C0505 an earlier rule takes every packet of this one",
            "a.rules:4:8 C0506 no packet matches this rule",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_told_where_it_is_named() {
    let source =
        "port wan = null\nnf fw = firewall { rules = file(\"no.rules\") }\nsteer wan { else -> fw -> wan }\n";
    let host = MemoryHost::default().with("a.chain", source);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    let codes: Vec<_> = checked.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["C0208"]);
}

#[test]
fn other_values_are_refused() {
    for (value, wanted) in [
        ("\"edge.rules\"", "file(\"edge.rules\")"),
        ("7", "rules"),
        ("[1]", "rules"),
    ] {
        let source = format!(
            "port wan = null\nnf fw = firewall {{ rules = {value} }}\nsteer wan {{ else -> fw -> wan }}\n"
        );
        let host = MemoryHost::default().with("a.chain", source);
        let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
        let [found] = checked.diagnostics.as_slice() else {
            panic!("{value}: {:?}", checked.diagnostics);
        };
        let text = format!("{} {}", found.message, found.help.as_deref().unwrap_or_default());
        assert!(found.code == "C0201" && text.contains(wanted), "{value}: {text}");
    }
}
