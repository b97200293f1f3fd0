use std::{collections::BTreeMap, path::Path};

use nflib::{
    Verdict,
    testing::{AnyBench, Bench},
};
use nflib_testing::packet;

use super::*;
use crate::test_packets as p;

const MANIFEST: &str = include_str!("manifest.toml");

const ME: &str = "198.51.100.7:40000";
const WEB: &str = "203.0.113.9:80";

fn bench(params: Params) -> Bench<FlowTracker> {
    nflib_testing::bench::<FlowTracker>(MANIFEST, params).unwrap()
}

fn fresh() -> Bench<FlowTracker> {
    bench(Params::default())
}

fn counts(bench: &Bench<FlowTracker>) -> BTreeMap<String, u64> {
    let counters = bench.counters().into_iter();
    counters.map(|(name, n)| (name.to_owned(), n)).collect()
}

fn count(bench: &Bench<FlowTracker>, name: &str) -> u64 {
    counts(bench)[name]
}

fn flows(bench: &mut Bench<FlowTracker>, fields: Params) -> Value {
    let fields = match fields == Params::default() {
        true => fields.with("count", 20),
        false => fields,
    };
    bench.nf.message(&Message::new("flows", fields)).unwrap()
}

/// The state of the only flow.
fn state(bench: &mut Bench<FlowTracker>) -> String {
    let shown = flows(bench, Params::default());
    assert_eq!(shown["active"], 1, "{shown}");
    shown["flows"][0]["state"].as_str().unwrap_or_default().to_owned()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn both_directions_are_one_flow_and_nothing_changes() {
    let mut bench = fresh();
    let there = packet::udp("198.51.100.7:4000", "203.0.113.9:53")
        .payload(b"query")
        .build();
    let back = packet::udp("203.0.113.9:53", "198.51.100.7:4000")
        .payload(b"the answer")
        .build();
    let packets = [
        there.clone(),
        back.clone(),
        back.clone(),
        p::tagged(&there, 7),
        p::udp6(1, 53, b"q"),
        p::ping(),
    ];
    let handled = bench.send(&packets);
    let unchanged =
        |(h, sent): (&nflib::testing::Handled, &Vec<u8>)| h.verdict == Verdict::Next && h.data == *sent;
    assert!(handled.iter().zip(&packets).all(unchanged));
    let shown = flows(&mut bench, Params::default());
    assert_eq!(shown["active"], 4);
    let first = json!({
        "source": "198.51.100.7", "source_port": 4000, "destination": "203.0.113.9", "destination_port": 53,
        "protocol": 17, "packets": [1, 2], "bytes": [there.len(), 2 * back.len()], "duration_ms": 0,
    });
    assert_eq!(shown["flows"][0], first);
    let mut of = |address: &str| {
        let shown = flows(
            &mut bench,
            Params::default().with("count", 3).with("address", address),
        );
        (shown["active"].clone(), shown["flows"].clone())
    };
    let (active, tagged) = of("198.51.100.7");
    assert_eq!(active, 3);
    let vlans: Vec<_> = tagged
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["vlans"].clone())
        .collect();
    assert!(vlans.contains(&json!([7])), "{vlans:?}");
    assert_eq!(count(&bench, "tracked"), 6);
    assert_eq!((count(&bench, "started"), count(&bench, "active")), (4, 4));
    let few = flows(&mut bench, Params::default().with("count", 1));
    assert_eq!(
        (few["active"].clone(), few["flows"].as_array().unwrap().len()),
        (json!(4), 1)
    );
    assert_eq!(few["flows"][0], first);
}

#[test]
fn connections_are_followed_from_syn_to_fin() {
    let mut bench = fresh();
    let there = || packet::tcp(ME, WEB);
    let back = || packet::tcp(WEB, ME);
    for (sent, after) in [
        (there().syn().build(), "opening"),
        // A SYN that is sent again says nothing new.
        (there().syn().build(), "opening"),
        (back().syn().ack(1).build(), "opening"),
        (there().ack(1).build(), "established"),
        (back().ack(1).payload(b"page").build(), "established"),
        (there().ack(1).fin().build(), "half_closed"),
        (back().ack(1).payload(b"rest").build(), "half_closed"),
        (back().ack(1).fin().build(), "closed"),
        (there().ack(1).build(), "closed"),
    ] {
        bench.send(&[sent]);
        assert_eq!(state(&mut bench), after);
    }
    assert_eq!(count(&bench, "started"), 1);
    // The same ports once more.
    bench.send(&[there().syn().build()]);
    assert_eq!(state(&mut bench), "opening");
    assert_eq!((count(&bench, "started"), count(&bench, "ended_closed")), (2, 1));
    bench.send(&[back().ack(1).rst().build()]);
    assert_eq!(state(&mut bench), "reset");
    // The other side may begin the next.
    bench.send(&[back().syn().build()]);
    let shown = flows(&mut bench, Params::default());
    assert_eq!(shown["flows"][0]["source"], "203.0.113.9");
    assert_eq!((count(&bench, "started"), count(&bench, "ended_reset")), (3, 1));
    // One whose beginning was not seen.
    let mut late = fresh();
    late.send(&[back().ack(1).build()]);
    assert_eq!(state(&mut late), "established");
}

#[test]
fn flows_end_by_the_time_of_their_state() {
    let mut bench = fresh();
    let from = |port: u16| ([198, 51, 100, 7], port);
    let (opening, closed, other) = (from(1), from(2), from(3));
    bench.send(&[
        packet::tcp(opening, WEB).syn().build(),
        packet::tcp(closed, WEB).ack(1).fin().build(),
        packet::tcp(WEB, closed).ack(1).fin().build(),
        packet::udp(other, "203.0.113.9:53").build(),
        packet::tcp(from(4), WEB).ack(1).build(),
    ]);
    // Up to a hundredth of the longest time late, and a tick.
    let late = seconds(3) + 2 * TICK;
    let began = bench.now();
    for (after, name, active) in [
        (seconds(5), "ended_closed", 3),
        (seconds(10), "ended_idle", 2),
        (seconds(30), "ended_idle", 1),
        (seconds(300), "ended_idle", 0),
    ] {
        bench.advance((began + after - bench.now()).saturating_sub(2 * TICK));
        assert_eq!(count(&bench, "active"), active + 1, "before {after:?}");
        bench.advance((began + after + late) - bench.now());
        assert_eq!(count(&bench, "active"), active, "after {after:?}");
        assert!(count(&bench, name) > 0);
    }
    let counts = counts(&bench);
    let ends: u64 = End::ALL
        .iter()
        .map(|end| counts[&format!("ended_{}", end.word())])
        .sum();
    assert_eq!((ends, counts["started"], counts["ended_closed"]), (4, 4, 1));
}

#[test]
fn other_times_hold_from_the_next_packet_on() {
    let mut bench = fresh();
    let query = |n: u16| packet::udp(([198, 51, 100, 7], n), "203.0.113.9:53").build();
    bench.send(&[query(1), query(2)]);
    let params = || Params::default().with("other", 1_000_000_000);
    assert_eq!(bench.nf.reconfigure(&params()).unwrap(), Reconfigured::Done);
    bench.send(&[query(2)]);
    bench.advance(seconds(5));
    assert_eq!(count(&bench, "active"), 1);
    bench.advance(seconds(30));
    assert_eq!(count(&bench, "active"), 0);
    for larger in [
        Params::default().with("flows", 7),
        Params::default().with("tcp_opening", 301_000_000_000_u64),
    ] {
        assert_eq!(bench.nf.reconfigure(&larger).unwrap(), Reconfigured::Unsupported);
    }
}

#[test]
fn what_is_in_no_flow_is_counted_by_its_reason() {
    let mut bench = fresh();
    let tcp = p::tcp(p::CLIENT, 80, &[0; 64]);
    let first = p::fragment(&tcp, 0, true);
    let extension = {
        // Hop-by-hop options before UDP.
        let mut packet = p::udp6(1, 53, &[0; 16]);
        packet[20] = 0;
        packet.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
        let length = (packet.len() - 54) as u16;
        packet[18..20].copy_from_slice(&length.to_be_bytes());
        packet
    };
    let fragments6 = packet::udp("[2001:db8::1]:1", "[2001:db8::2]:2")
        .payload(&[0; 3000])
        .fragments(1480);
    let mut packets = vec![
        tcp.clone(),
        first,
        p::fragment(&tcp, 1480, false),
        tcp[..40].to_vec(),
        vec![1, 2, 3],
        p::arp(),
        vec![0; 64],
        extension,
        p::tagged(&p::tagged(&tcp, 1), 2),
    ];
    let of_fragments = fragments6.len() as u64 + 1;
    packets.extend(fragments6);
    bench.send(&packets);
    let counts = counts(&bench);
    let shown = ["tracked", "fragments", "malformed", "untracked", "started"].map(|name| counts[name]);
    assert_eq!(shown, [3, of_fragments, 2, 3, 2], "{counts:?}");
    assert_eq!(counts["packets"], packets.len() as u64);
}

#[test]
fn the_table_is_bounded_and_evictions_are_counted() {
    let mut bench = bench(Params::default().with("flows", 100).with("export", 0));
    let packets: Vec<_> = (1..=1000)
        .map(|n| packet::udp(([198, 51, 100, 7], n), "203.0.113.9:53").build())
        .collect();
    bench.send(&packets);
    let counts = counts(&bench);
    let shown = ["started", "ended_evicted", "active", "exported", "not_exported"].map(|name| counts[name]);
    assert_eq!(shown, [1000, 900, 100, 0, 0]);
}

/// Logs nowhere: what would be logged is counted as not exported, since nobody shows it.
#[test]
fn what_is_not_logged_is_counted() {
    let mut bench = bench(Params::default().with("other", 1_000_000_000));
    bench.send(&[p::ping(), p::ping6()]);
    bench.advance(seconds(10));
    let counts = counts(&bench);
    assert_eq!(counts["exported"] + counts["not_exported"], 2);
}

#[test]
fn only_the_packets_asked_for_are_looked_at() {
    let mut bench = bench(Params::default().with_filter("only", "(tcp)"));
    bench.send(&[p::tcp(p::CLIENT, 80, b""), p::ping()]);
    assert_eq!((count(&bench, "packets"), count(&bench, "active")), (1, 1));
}

#[test]
fn counters_are_those_of_the_manifest() {
    let manifest: onvm_bundle::Manifest = toml::from_str(MANIFEST).unwrap();
    let mut described: Vec<&str> = manifest.counters.iter().map(|c| c.name.as_str()).collect();
    described.sort_unstable();
    let bench = bench(Params::default());
    assert_eq!(counts(&bench).keys().collect::<Vec<_>>(), described);
    let mib: u64 = manifest
        .resources
        .memory
        .strip_suffix(" MiB")
        .unwrap()
        .parse()
        .unwrap();
    let default = bench.nf.settings.flows * FlowTable::<Record>::BYTES_PER_FLOW;
    assert!(
        (default as u64) < mib << 20,
        "{default} bytes for the flows that are the default"
    );
}

/// The demo's captures, both directions, against another reader of their headers.
#[test]
fn flows_of_a_capture_are_those_that_another_reader_finds() {
    let mut bench = fresh();
    let chains = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains");
    let mut packets = Vec::new();
    for name in ["edge.pcap", "edge-lan.pcap"] {
        let file = std::fs::File::open(chains.join(name)).unwrap();
        let mut reader = pcap_file::pcap::PcapReader::new(file).unwrap();
        while let Some(packet) = reader.next_packet() {
            packets.push(packet.unwrap().data.into_owned());
        }
    }
    assert!(packets.len() > 3000);
    bench.send(&packets);
    let counts = counts(&bench);
    let sum: u64 = ["tracked", "fragments", "malformed", "untracked"]
        .iter()
        .map(|name| counts[*name])
        .sum();
    assert_eq!((counts["packets"], sum), (packets.len() as u64, sum));
    assert_eq!(counts["packets"], sum);
    let found: BTreeMap<_, u64> =
        packets
            .iter()
            .filter_map(|packet| ends(packet))
            .fold(BTreeMap::new(), |mut found, ends| {
                *found.entry(ends).or_default() += 1;
                found
            });
    let ours = bench
        .nf
        .flows
        .iter()
        .filter(|(key, _)| [6, 17].contains(&key.protocol()));
    let ours: BTreeMap<_, u64> = ours
        .map(|(key, record)| {
            let ((a, b), (x, y)) = (key.addresses(), key.ports());
            let json = record.json(&key, record.last());
            let packets = json["packets"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_u64)
                .sum();
            (undirected((a, x), (b, y), key.protocol(), key.vlans()), packets)
        })
        .collect();
    // A connection that uses ports anew is another flow here.
    assert!(counts["ended_closed"] + counts["ended_reset"] == 0, "{counts:?}");
    assert!(ours.len() > 400, "{}", ours.len());
    let only = |a: &BTreeMap<Ends, u64>, b: &BTreeMap<Ends, u64>| {
        let other = a.iter().filter(|(ends, n)| b.get(ends) != Some(n));
        other
            .map(|(ends, n)| format!("{ends:?}: {n}"))
            .collect::<Vec<_>>()
    };
    assert_eq!((only(&ours, &found), only(&found, &ours)), (vec![], vec![]));
}

type Ends = ((IpAddr, u16), (IpAddr, u16), u8, [Option<u16>; 2]);

fn undirected(a: (IpAddr, u16), b: (IpAddr, u16), protocol: u8, vlans: [Option<u16>; 2]) -> Ends {
    (a.min(b), a.max(b), protocol, vlans)
}

/// Of whole TCP and UDP packets.
fn ends(packet: &[u8]) -> Option<Ends> {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let sliced = SlicedPacket::from_ethernet(packet).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let (x, y, protocol) = match (sliced.transport.as_ref(), sliced.net.as_ref()?) {
        (Some(TransportSlice::Tcp(tcp)), _) => (tcp.source_port(), tcp.destination_port(), 6),
        (Some(TransportSlice::Udp(udp)), _) => (udp.source_port(), udp.destination_port(), 17),
        // The first fragment of a datagram, whose ports the other reader does not look at.
        (None, NetSlice::Ipv4(ip))
            if ip.header().more_fragments() && ip.header().fragments_offset().value() == 0 =>
        {
            let port =
                |at: usize| u16::from_be_bytes([ip.payload().payload[at], ip.payload().payload[at + 1]]);
            (port(0), port(2), ip.header().protocol().0)
        }
        _ => return None,
    };
    // Within what our reader calls malformed there may be ports.
    Headers::parse(packet).fault.is_none().then_some(())?;
    let mut vlans = sliced.vlan_ids().into_iter().map(|id| Some(id.value()));
    let vlans = [vlans.next().flatten(), vlans.next().flatten()];
    Some(undirected((source, x), (destination, y), protocol, vlans))
}
