//! From captures to captures: what comes out is what went in, less what was dropped and counted.

use std::{collections::HashMap, path::Path, time::Duration};

use onvm_tests::{Finished, Manager, Scratch, Summary, capture, programs};

const LONG: Duration = Duration::from_secs(60);

fn run(scratch: &Scratch, bundle: &Path, name: &str) -> Finished {
    Manager::start(bundle, name, &scratch.run_dir(), &["--exit-when-done"]).finish(LONG)
}

fn port<'a>(summary: &'a Summary, name: &str) -> &'a onvm_api::PortStatus {
    summary.ports.iter().find(|p| p.name == name).unwrap()
}

#[test]
fn the_edge_example_delivers_or_counts_every_packet() {
    let scratch = Scratch::new();
    scratch.take_examples();
    let [lan, wan, jail] = ["lan", "wan", "jail"].map(|n| scratch.path(&format!("{n}-out.pcap")));
    let set =
        [("lan_out", &lan), ("wan_out", &wan), ("jail_out", &jail)].map(|(n, p)| (n, p.to_str().unwrap()));
    let bundle = scratch.build_as("edge.chain", "edge", "edge.bundle", &set);
    let summary = run(&scratch, &bundle, "edge").summary();

    let (outside, servers) = (
        capture::read(&scratch.path("edge.pcap")),
        capture::read(&scratch.path("edge-lan.pcap")),
    );
    let (to_lan, to_wan, to_jail) = (capture::read(&lan), capture::read(&wan), capture::read(&jail));
    assert_eq!(summary.balance.received as usize, outside.len() + servers.len());
    assert_eq!(to_wan, servers, "answers pass unchanged and in order");
    assert_eq!(
        outside.len() - to_lan.len() - to_jail.len(),
        summary.dropped("nf_verdict") as usize
    );
    let before = capture::multiset(&outside);
    for (packet, times) in capture::multiset(to_lan.iter().chain(&to_jail)) {
        assert!(
            times <= before.get(packet).copied().unwrap_or(0),
            "made up or doubled: {packet:02x?}"
        );
    }
    assert_flows_in_order(&outside, &to_lan);
    assert_flows_in_order(&outside, &to_jail);
    for (name, packets, path) in [
        ("lan", &to_lan, &lan),
        ("wan", &to_wan, &wan),
        ("jail", &to_jail, &jail),
    ] {
        assert_eq!(port(&summary, name).tx_packets as usize, packets.len());
        assert_eq!(read_by_tshark(path), packets.len(), "{name}");
    }
}

/// Each flow of `after` is what is left of the same flow of `before`, in the same order.
fn assert_flows_in_order(before: &[Vec<u8>], after: &[Vec<u8>]) {
    let mut waiting: HashMap<&[u8], std::slice::Iter<'_, Vec<u8>>> = HashMap::new();
    for packet in after {
        let Some(flow) = addresses(packet) else { continue };
        let rest = waiting.entry(flow).or_insert_with(|| before.iter());
        assert!(
            rest.any(|p| p == packet),
            "it has passed another packet of its flow: {packet:02x?}"
        );
    }
}

/// Addresses and ports of an unfragmented IPv4 packet, VLAN or not, as bytes.
fn addresses(frame: &[u8]) -> Option<&[u8]> {
    let ip = match frame.get(12..14)? {
        [0x81, 0] => 18,
        _ => 14,
    };
    let plain = frame.get(ip - 2..ip)? == [8, 0] && frame.get(ip)? == &0x45;
    let whole = plain && u16::from_be_bytes([*frame.get(ip + 6)?, *frame.get(ip + 7)?]) & 0x3fff == 0;
    if whole { frame.get(ip + 12..ip + 24) } else { None }
}

fn read_by_tshark(path: &Path) -> usize {
    let text = programs::tool(
        "tshark",
        &[
            "-n",
            "-r",
            path.to_str().unwrap(),
            "-T",
            "fields",
            "-e",
            "frame.number",
        ],
    );
    text.lines().count()
}

#[test]
fn a_capture_longer_than_any_ring_comes_out_as_it_went_in() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..20_000u32)
        .map(|i| capture::udp((i % 300) as u16, i, (i % 1400) as usize))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = format!(
        "port a = pcap {{ read = file(\"in.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
         nf one = forward {{}}\nnf two = forward {{}}\nsteer a {{ else -> one -> two -> b }}\n",
        scratch.path("out.pcap").display()
    );
    let bundle = scratch.build(&chain, "bundle");
    let summary = run(&scratch, &bundle, "test").summary();
    assert_eq!(summary.balance.delivered, 20_000);
    assert!(
        capture::read(&scratch.path("out.pcap")) == packets,
        "not what went in, byte for byte and in order"
    );
    assert_eq!(read_by_tshark(&scratch.path("out.pcap")), 20_000);
}

#[test]
fn verdicts_are_those_that_the_chain_and_the_rules_say() {
    let scratch = Scratch::new();
    let ports = [22, 80, 443, 8080];
    let mixed = |i: u32| match i % 5 {
        4 => capture::udp((i % 97) as u16, i, 30),
        n => capture::tcp((i % 97) as u16, ports[n as usize], i, 30),
    };
    let packets: Vec<_> = (0..6000).map(mixed).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch.write(
        "fw.rules",
        "drop tcp dst port 443\ndrop tcp and src net 198.51.0.0/27\naccept all\n",
    );
    let chain = format!(
        "param dir: string = \"{}\"\nport a = pcap {{ read = file(\"in.pcap\") }}\n\
         port web = pcap {{ write = \"{}\" }}\nport rest = pcap {{ write = \"{}\" }}\n\
         nf fw = firewall {{ rules = file(\"fw.rules\"), default = accept }}\nnf fwd = forward {{}}\n\
         steer a {{\n tcp dst port 22 -> drop\n tcp and dst port (80 or 443) -> fw -> web\n else -> fwd -> rest\n}}\n",
        scratch.path("").display(),
        scratch.path("web.pcap").display(),
        scratch.path("rest.pcap").display()
    );
    let bundle = scratch.build(&chain.lines().skip(1).collect::<Vec<_>>().join("\n"), "bundle");
    let summary = run(&scratch, &bundle, "test").summary();

    // The same decisions, written down once more from the packets' own bytes.
    let is_tcp_to = |p: &[u8], port: u16| p[23] == 6 && u16::from_be_bytes([p[36], p[37]]) == port;
    let to = |want: &str| -> Vec<Vec<u8>> {
        let decide = |p: &&Vec<u8>| match p {
            p if is_tcp_to(p, 22) => want == "drop",
            p if is_tcp_to(p, 443) => want == "deny",
            p if is_tcp_to(p, 80) => want == if p[28] == 0 && p[29] < 32 { "deny" } else { "web" },
            _ => want == "rest",
        };
        packets.iter().filter(decide).cloned().collect()
    };
    assert!(capture::read(&scratch.path("web.pcap")) == to("web"));
    assert!(capture::read(&scratch.path("rest.pcap")) == to("rest"));
    assert_eq!(summary.dropped("chain") as usize, to("drop").len());
    assert_eq!(summary.dropped("nf_verdict") as usize, to("deny").len());
    assert!(!to("web").is_empty() && !to("deny").is_empty() && !to("drop").is_empty());
}

#[test]
fn an_empty_capture_ends_at_once_with_an_empty_output() {
    let scratch = Scratch::new();
    capture::write(&scratch.path("in.pcap"), &[]);
    let chain = format!(
        "port a = pcap {{ read = file(\"in.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
         nf fwd = forward {{}}\nsteer a {{ else -> fwd -> b }}\n",
        scratch.path("out.pcap").display()
    );
    let bundle = scratch.build(&chain, "bundle");
    assert_eq!(run(&scratch, &bundle, "test").summary().balance.received, 0);
    assert_eq!(read_by_tshark(&scratch.path("out.pcap")), 0);
}

#[test]
fn a_capture_that_is_cut_off_is_refused_with_the_remedy() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..10).map(|i| capture::udp(1, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let mut bytes = std::fs::read(scratch.path("in.pcap")).unwrap();
    bytes.truncate(bytes.len() - 7);
    scratch.write("in.pcap", bytes);
    let chain = "port a = pcap { read = file(\"in.pcap\") }\nport b = pcap { write = \"/dev/null\" }\n\
                 nf fwd = forward {}\nsteer a { else -> fwd -> b }\n";
    let bundle = scratch.build(chain, "bundle");
    run(&scratch, &bundle, "test").assert_refused(&["port `a`", "test.chain:1", "after packet 9", "editcap"]);
}
