//! The captures and rules under `chains/` against the NFs that the chain puts them through.

use std::{fs::File, path::PathBuf};

use nflib::{Nf, Params, Verdict, testing::Bench};
use pcap_file::pcap::PcapReader;
use stdlib_nfs::{monitor::Monitor, payload_scan::PayloadScan};

#[allow(dead_code, unreachable_pub, reason = "it is a program with a main of its own")]
#[path = "../../../stdlib-nfs/examples/make_capture.rs"]
mod make_capture;

use self::make_capture::{Side, traffic, write};
use crate::firewall;

fn chains(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../chains")
        .join(name)
}

fn packets(name: &str) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(chains(name)).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        packets.push(packet.unwrap().data.into_owned());
    }
    packets
}

fn firewall(file: &str) -> Bench<stdlib_nfs::firewall::Firewall> {
    firewall::firewall(&std::fs::read_to_string(chains(file)).unwrap(), "")
}

fn bench<N: Nf>(param: &str, file: &str) -> Bench<N> {
    let content = std::fs::read(chains(file)).unwrap();
    let params = Params::default().with_file(param, &content);
    Bench::new(params.with_outputs(["match"])).unwrap()
}

#[test]
fn the_captures_are_what_the_generator_writes() {
    let events = traffic().unwrap();
    for (side, name) in [(Side::Wan, "edge.pcap"), (Side::Lan, "edge-lan.pcap")] {
        let mut written = Vec::new();
        write(&events, side, &mut written).unwrap();
        assert!(
            written == std::fs::read(chains(name)).unwrap(),
            "{name} differs; run the make_capture example"
        );
    }
}

/// The generator makes 120 unwanted packets, 6 spanning-tree frames and 16 broken ones, and 17 attacks among the rest.
#[test]
fn firewall_and_scanner_find_what_was_put_there() {
    let all = packets("edge.pcap");
    let mut firewall = firewall("edge.rules");
    // As edge.chain has it: some of the traffic is tagged.
    firewall.ignore_tags = true;
    let handled = firewall.send(&all);
    let (accepted, denied): (Vec<_>, Vec<_>) = handled.into_iter().partition(|h| h.verdict == Verdict::Next);
    assert_eq!(denied.len(), 120 + 6 + 16);
    assert_eq!(accepted.len() + denied.len(), all.len());

    let accepted: Vec<Vec<u8>> = accepted.into_iter().map(|h| h.data).collect();
    let mut scanner = bench::<PayloadScan>("patterns", "web.patterns");
    let found: Vec<_> = scanner
        .send(&accepted)
        .into_iter()
        .filter(|h| h.verdict == Verdict::Output(0))
        .collect();
    assert_eq!(found.len(), 17);
}

#[test]
fn nothing_is_written_and_nothing_panics_on_whole_and_cut_packets() {
    let mut firewall = firewall("edge.rules");
    let mut scanner = bench::<PayloadScan>("patterns", "web.patterns");
    let mut monitor = Bench::<Monitor>::new(Params::default()).unwrap();
    for (i, packet) in packets("edge.pcap")
        .iter()
        .chain(&packets("edge-lan.pcap"))
        .enumerate()
    {
        for cut in [packet.len(), 1 + i % packet.len()] {
            let sent = &packet[..cut];
            for handled in [
                firewall.send(&[sent]),
                scanner.send(&[sent]),
                monitor.send(&[sent]),
            ] {
                assert_eq!(handled[0].data, sent);
            }
        }
    }
}

#[test]
fn the_rules_for_veth_are_read() {
    let mut firewall = firewall("veth.rules");
    let all = packets("edge.pcap");
    let accepted = firewall
        .send(&all)
        .iter()
        .filter(|h| h.verdict == Verdict::Next)
        .count();
    // Broken packets and the 20 that knock at telnet.
    assert_eq!(accepted, all.len() - 16 - 20);
}
