//! `onvmc trace` and `onvmc test` as an operator meets them.

use std::{fs, path::Path, process::Command, time::Duration};

use pcap_file::{
    DataLink,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
    pcapng::{
        PcapNgWriter,
        blocks::{enhanced_packet::EnhancedPacketBlock, interface_description::InterfaceDescriptionBlock},
    },
};

use crate::run;

const CHAIN: &str = r#"port wan = null {}
port lan = null {}
port jail = null {}

nf fw = firewall { rules = file("a.rules"), default = accept }
nf ids = payload_scan { patterns = file("a.patterns") }
nf own = guard
use "guard.nf.toml" as guard

chain inspect = fw -> ids { match -> jail } -> own -> lan

steer wan {
    tcp and
        dst port 80 -> inspect
    arp -> drop
    else -> fw -> lan
}

"#;

const TESTS: &str = r#"test "good" {
    send wan tcp { dst = 203.0.113.9:80 } times 2
    expect fw -> ids -> own -> lan
    expect passes ids
    expect lan 2 packets
    expect fw counter accepted == 2
    send wan tcp { dst = 203.0.113.9:80, payload = "attack" }
    expect fw -> ids -> jail
    expect ids counter matched == 1
    send wan arp
    expect drop
    expect drop at wan
    send wan udp { dst = 203.0.113.9:23 }
    expect drop at fw
    expect fw -> drop
}

test "bad" {
    send wan tcp { dst = 203.0.113.9:80 }
    send wan tcp { dst = 203.0.113.9:81 }
    expect fw -> ids -> own -> lan
    expect passes ids
    expect drop
    expect lan 3 packets
    expect fw counter accepted == 1
    expect fw counter rule_7 == 1
}
"#;

fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("a.chain", &format!("{CHAIN}{TESTS}"));
    write("a.rules", "drop udp dst port 23\n");
    write("a.patterns", "attack\n");
    write(
        "guard.nf.toml",
        "name = \"guard\"\nversion = \"1.0.0\"\nsummary = \"A guard\"\n[run]\nbinary = \"guard\"\n",
    );
    dir
}

#[test]
fn one_packet() {
    let dir = workspace();
    let trace = |packet: &[&str]| run(dir.path(), &[&["trace", "a.chain", "wan"], packet].concat(), 0).0;
    let told = [
        trace(&["tcp { dst = 203.0.113.9:80 }"]),
        trace(&["tcp", "dst", "203.0.113.9:80", "payload", "\"an attack\""]),
        trace(&["udp", "dst", "203.0.113.9:23"]),
        trace(&["arp"]),
        trace(&["udp", "size", "2200"]),
        run(dir.path(), &["trace", "a.chain", "lan", "icmp"], 0).0,
    ];
    insta::assert_snapshot!("one_packet", told.join("\n"));
    let json: serde_json::Value =
        serde_json::from_str(&trace(&["udp", "dst", "203.0.113.9:23", "--json"])).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["path"]["exit"]["dropped"], "nf_verdict");
    assert_eq!(json["path"]["hops"][0]["verdict"], "drop");
}

#[test]
fn a_packet_is_copied_from_one_domain_to_another() {
    let dir = workspace();
    let chain = r#"port wan = null { domain = "red" }
port lan = null
nf a = forward with { domain = "red" }
nf b = forward with { domain = "blue" }
nf c = monitor
steer wan { else -> a -> b -> c -> lan }
"#;
    fs::write(dir.path().join("domains.chain"), chain).unwrap();
    let (text, _) = run(dir.path(), &["trace", "domains.chain", "wan", "udp"], 0);
    let whats: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_once(':').map(|(_, what)| what))
        .collect();
    let has = |at: usize, what: &str| assert!(whats[at].ends_with(what), "{what}: {text}");
    has(1, " a    forward: next");
    has(2, " b    copied into domain blue, forward: next");
    has(3, " c    copied into domain default, monitor: next");
    has(4, " lan  leaves");
    let (json, _) = run(dir.path(), &["trace", "domains.chain", "wan", "udp", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let copied: Vec<_> = json["path"]["hops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| hop["copied_into"].as_str())
        .collect();
    assert_eq!(copied, [None, Some("blue"), Some("default"), None]);
    let (graph, _) = run(dir.path(), &["graph", "domains.chain", "--format", "mermaid"], 0);
    for label in ["null, domain red", "forward, domain red", "forward, domain blue"] {
        assert!(graph.contains(label), "{label}: {graph}");
    }
    let (placement, _) = run(dir.path(), &["check", "domains.chain", "--explain-placement"], 0);
    for line in [
        "default: lan receive into it; c see it",
        "red: wan receive into it; a see it",
        "blue: nothing is received into it; b see it",
        "16384 in each of 3 domains",
    ] {
        assert!(placement.contains(line), "{line}: {placement}");
    }
}

#[test]
fn wrong_packets() {
    let dir = workspace();
    let refused = |args: &[&str], code| run(dir.path(), &[&["trace", "a.chain"], args].concat(), code).1;
    let said = [
        refused(&["wna", "tcp"], 1),
        refused(&["wan", "tcpp"], 1),
        refused(&["wan", "tcp", "dts", "203.0.113.9:80"], 1),
        refused(&["wan", "tcp", "dst", "80"], 1),
        refused(&["wan", "tcp", "ttl", "256"], 1),
        refused(&["wan", "tcp", "flags", "[sin]"], 1),
        refused(&["wan", "icmp { src = 10.0.0.1, dst = 2001:db8::1 }"], 1),
        refused(&["wan", "tcp times 2"], 1),
        refused(&["wan", "tcp {} times 2"], 2),
        refused(&["wan", "tcp {}\nexpect drop"], 2),
    ];
    insta::assert_snapshot!("wrong_packets", said.join("\n"));
    refused(&["wan"], 2);
    refused(&["wan", "tcp", "--pcap", "x"], 2);
    refused(&["wan", "tcp", "--each"], 2);
    fs::write(dir.path().join("a.rules"), "forbid everything\n").unwrap();
    let said = refused(&["wan", "tcp"], 1);
    assert!(said.contains("C0204") && said.contains("a.rules:1:1"), "{said}");
}

fn frames(dir: &Path) -> Vec<Vec<u8>> {
    let from_json = |packet: &str| {
        let (out, _) = run(dir, &["trace", "a.chain", "wan", packet, "--json"], 0);
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["bytes"]
            .as_u64()
            .unwrap() as usize
    };
    assert_eq!(from_json("arp"), 60);
    let mut arp = vec![0xff; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    vec![arp.clone(), vec![0; 60], arp, vec![0; 60], vec![0; 60]]
}

#[test]
fn captures_of_both_formats() {
    let dir = workspace();
    let frames = frames(dir.path());
    let mut pcap = PcapWriter::new(fs::File::create(dir.path().join("a.pcap")).unwrap()).unwrap();
    let mut pcapng = PcapNgWriter::new(fs::File::create(dir.path().join("a.pcapng")).unwrap()).unwrap();
    let interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 65_535);
    pcapng.write_pcapng_block(interface).unwrap();
    for frame in &frames {
        pcap.write_packet(&PcapPacket::new(Duration::ZERO, frame.len() as u32, frame))
            .unwrap();
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::ZERO,
            original_len: frame.len() as u32,
            data: frame.into(),
            options: Vec::new(),
        };
        pcapng.write_pcapng_block(block).unwrap();
    }
    drop((pcap, pcapng));
    let trace = |args: &[&str]| {
        run(
            dir.path(),
            &[&["trace", "a.chain", "wan", "--pcap"], args].concat(),
            0,
        )
        .0
    };
    insta::assert_snapshot!("captures", trace(&["a.pcap"]));
    assert_eq!(trace(&["a.pcap"]), trace(&["a.pcapng"]));
    for (tool, ending) in [("gzip", "gz"), ("zstd", "zst")] {
        let done = Command::new(tool)
            .args(["-qk", "a.pcap"])
            .current_dir(dir.path())
            .status();
        assert!(done.unwrap().success());
        assert_eq!(trace(&["a.pcap"]), trace(&[&format!("a.pcap.{ending}")]));
    }
    let each = trace(&["a.pcapng", "--each"]);
    assert_eq!(each.lines().nth(2), Some("3  a.chain:15:5  drop"), "{each}");
    let json: serde_json::Value = serde_json::from_str(&trace(&["a.pcap", "--json"])).unwrap();
    assert_eq!(
        (&json["packets"], &json["paths"][0]["first"]),
        (&5.into(), &2.into())
    );
    assert_eq!(json["paths"][1]["packets"], 2);
}

#[test]
fn damaged_captures() {
    let dir = workspace();
    let refused = |name: &str| run(dir.path(), &["trace", "a.chain", "wan", "--pcap", name], 1).1;
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    for _ in 0..3 {
        writer
            .write_packet(&PcapPacket::new(Duration::ZERO, 60, &[0; 60]))
            .unwrap();
    }
    let whole = writer.into_writer();
    fs::write(dir.path().join("cut.pcap"), &whole[..whole.len() - 7]).unwrap();
    let (shown, said) = run(dir.path(), &["trace", "a.chain", "wan", "--pcap", "cut.pcap"], 1);
    assert!(shown.ends_with("2 packets, 1 path\n"), "{shown}");
    assert!(said.contains("cut short after packet 2"), "{said}");
    let (shown, _) = run(
        dir.path(),
        &["trace", "a.chain", "wan", "--pcap", "cut.pcap", "--each"],
        1,
    );
    assert_eq!(shown.lines().count(), 2, "{shown}");
    let (shown, said) = run(
        dir.path(),
        &["trace", "a.chain", "wan", "--pcap", "cut.pcap", "--json"],
        1,
    );
    let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(json["packets"], 2);
    assert!(said.contains("cut short after packet 2"), "{said}");
    let mut huge = whole.clone();
    huge[24 + 8..24 + 12].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    fs::write(dir.path().join("huge.pcap"), huge).unwrap();
    assert!(refused("huge.pcap").contains("damaged after packet 0"));
    fs::write(dir.path().join("text.pcap"), "hello, this is text").unwrap();
    assert!(refused("text.pcap").contains("neither a pcap nor a pcapng"));
    assert!(refused("none.pcap").contains("none.pcap"));
    let header = PcapHeader {
        datalink: DataLink::IEEE802_11_RADIOTAP,
        ..PcapHeader::default()
    };
    let radio = PcapWriter::with_header(Vec::new(), header).unwrap().into_writer();
    fs::write(dir.path().join("radio.pcap"), radio).unwrap();
    let said = refused("radio.pcap");
    assert!(
        said.contains("link type") && said.contains("tcprewrite"),
        "{said}"
    );
}

#[test]
fn tests_pass_and_fail() {
    let dir = workspace();
    let (report, said) = run(dir.path(), &["test", "a.chain"], 1);
    assert_eq!(said, "");
    insta::assert_snapshot!("report", report);
    let (report, _) = run(dir.path(), &["test", "a.chain", "--filter", "good"], 0);
    assert!(
        report.ends_with("test result: ok. 1 passed; 0 failed; 1 left out\n"),
        "{report}"
    );
    let (json, _) = run(dir.path(), &["test", "a.chain", "--json"], 1);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let bad = &json["files"][0]["tests"][1];
    assert_eq!((&json["passed"], &bad["passed"]), (&1.into(), &false.into()));
    assert_eq!(bad["failures"][0]["source"], "a.chain:39:5");
    assert_eq!(bad["failures"][0]["found"], "fw -> lan");
}

#[test]
fn sources_with_errors_fail() {
    let dir = workspace();
    fs::write(
        dir.path().join("b.chain"),
        "port wan = null {}\nsteer wan { else -> wna }\n",
    )
    .unwrap();
    let (out, err) = run(dir.path(), &["test", "b.chain", "a.chain", "--filter", "good"], 1);
    assert!(
        err.contains("C0101") && out.contains("test good ... ok"),
        "{out}{err}"
    );
    run(dir.path(), &["test", "none.chain"], 1);
    run(dir.path(), &["test"], 2);
}

#[test]
fn a_replay_needs_the_manager() {
    let dir = workspace();
    // A link and no copy: what has just been written cannot be started while another test starts a process (ETXTBSY).
    let bin = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let onvmc = bin.path().join("onvmc");
    fs::hard_link(env!("CARGO_BIN_EXE_onvmc"), &onvmc).unwrap();
    fs::write(
        dir.path().join("b.chain"),
        "port wan = null {}\nsteer wan { else -> wan }\ntest \"replayed\" {\n    replay wan file(\"a.rules\")\n    expect wan 1 packet\n}\n",
    )
    .unwrap();
    let output = Command::new(onvmc)
        .args(["test", "b.chain"])
        .current_dir(dir.path())
        .env("PATH", "")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("onvm-run") && said.contains("make install"),
        "{said}"
    );
}
