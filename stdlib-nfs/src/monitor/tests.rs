use std::time::Duration;

use nflib::{Verdict, testing::Bench};

use super::*;
use crate::test_packets as p;

const MANIFEST: &str = include_str!("manifest.toml");

fn count(m: &Monitor, name: &str) -> u64 {
    let names = NAMES.iter().chain(SIZES.iter().map(|(_, name)| name));
    let counters = m.counters.iter().chain(&m.sizes);
    names
        .zip(counters)
        .find(|(n, _)| **n == name)
        .map(|(_, c)| c.get())
        .unwrap()
}

#[test]
fn counts_by_protocol_and_size_and_changes_nothing() {
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, Params::default()).unwrap();
    let jumbo = p::udp(p::CLIENT, 1, 2, &[0; 3000]);
    let packets = [
        p::tcp(p::CLIENT, 80, b"x"),
        p::tagged(&p::tcp(p::CLIENT, 80, &[0; 100]), 7),
        p::fragment(&p::udp(p::CLIENT, 1, 2, &[0; 400]), 1480, false),
        jumbo,
        p::udp6(1, 53, b"q"),
        p::ping(),
        p::ping6(),
        p::arp(),
        vec![0; 64],
        p::tcp(p::CLIENT, 80, b"")[..40].to_vec(),
        vec![1, 2, 3],
    ];
    let handled = bench.send(&packets);
    assert!(
        handled
            .iter()
            .zip(&packets)
            .all(|(h, sent)| h.verdict == Verdict::Next && h.data == *sent)
    );
    let m = &bench.nf;
    let expected = [
        ("packets", 11),
        ("bytes", packets.iter().map(|p| p.len() as u64).sum()),
        ("ipv4", 6),
        ("ipv6", 2),
        ("arp", 1),
        ("tcp", 3),
        ("udp", 3),
        ("icmp", 2),
        ("other", 2),
        ("malformed", 2),
        ("size_128_255", 1),
        ("size_256_511", 1),
        ("size_1024_1518", 0),
        ("size_from_1519", 1),
    ];
    for (name, n) in expected {
        assert_eq!(count(m, name), n, "{name}");
    }
    let short = packets.iter().filter(|p| p.len() <= 64).count() as u64;
    assert_eq!(count(m, "size_to_64"), short);
    assert_eq!(count(m, "size_65_127"), 11 - 3 - short);
}

#[test]
fn bucket_limits_are_inclusive() {
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, Params::default()).unwrap();
    let sizes = [64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1518, 1519];
    bench.send(&sizes.map(|n| vec![0u8; n]));
    let counts: Vec<u64> = bench.nf.sizes.iter().map(Counter::get).collect();
    assert_eq!(counts, [1, 2, 2, 2, 2, 2, 1]);
}

#[test]
fn rates_are_over_the_time_that_passed() {
    let params = Params::default().with("every", 500_000_000);
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, params).unwrap();
    bench.send(&vec![vec![0u8; 100]; 50]);
    let rates = |bench: &Bench<Monitor>| {
        let m = &bench.nf;
        (m.packets_per_second.get(), m.bytes_per_second.get())
    };
    bench.advance(Duration::from_millis(499));
    assert_eq!(rates(&bench), (0, 0));
    bench.advance(Duration::from_millis(1));
    assert_eq!(rates(&bench), (100, 10_000));
    bench.advance(Duration::from_millis(500));
    assert_eq!(rates(&bench), (0, 0));
}

#[test]
fn publishes_the_busiest_senders() {
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, Params::default().with("top", 2)).unwrap();
    bench.send(&[
        p::udp6(9, 1, b""),
        p::ping(),
        p::udp6(9, 1, b""),
        p::udp([10, 0, 0, 1], 1, 2, b""),
    ]);
    bench.send(&[p::udp6(9, 1, b""), p::ping()]);
    bench.advance(Duration::from_secs(1));
    let rank = |i: usize| {
        let r = &bench.nf.ranks[i];
        let address = u128::from(r.address_high.get()) << 64 | u128::from(r.address_low.get());
        (
            r.packets.get(),
            r.error.get(),
            std::net::Ipv6Addr::from(address).to_string(),
        )
    };
    assert_eq!(rank(0), (3, 0, "2001:db8::9".to_owned()));
    assert_eq!(rank(1), (2, 0, "::ffff:198.51.100.7".to_owned()));
}

#[test]
fn takes_fewer_ranks_and_nothing_else() {
    let params = |every: u64, top: usize| Params::default().with("every", every).with("top", top);
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, params(1_000_000_000, 5)).unwrap();
    let mut ask = |every, top| bench.nf.reconfigure(&params(every, top)).unwrap();
    assert_eq!(ask(1_000_000_000, 3), Reconfigured::Done);
    assert_eq!(ask(1_000_000_000, 4), Reconfigured::Unsupported);
    assert_eq!(ask(2_000_000_000, 3), Reconfigured::Unsupported);
    assert_eq!(ask(1_000_000_000, 0), Reconfigured::Unsupported);
}

#[test]
fn counters_are_those_of_the_manifest() {
    let manifest: onvm_bundle::Manifest = toml::from_str(MANIFEST).unwrap();
    let described: Vec<&str> = manifest.counters.iter().map(|c| c.name.as_str()).collect();
    let fixed: Vec<&str> = NAMES.into_iter().chain(SIZES.map(|(_, name)| name)).collect();
    assert_eq!(described[..fixed.len()], fixed);
}

#[test]
fn only_the_packets_asked_for_are_counted() {
    let params = Params::default().with("only", "(and (tcp) (port dst 80))");
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, params).unwrap();
    bench.send(&[p::tcp(p::CLIENT, 80, b""), p::tcp(p::CLIENT, 81, b""), p::arp()]);
    assert_eq!((count(&bench.nf, "packets"), count(&bench.nf, "arp")), (1, 0));
}

#[test]
fn operators_get_the_busiest_senders_and_can_begin_anew() {
    let mut bench = nflib_testing::bench::<Monitor>(MANIFEST, Params::default().with("top", 3)).unwrap();
    let packets = [
        p::udp6(9, 1, b""),
        p::udp6(9, 1, b""),
        p::udp([10, 0, 0, 1], 1, 2, b""),
        p::arp(),
    ];
    bench.send(&packets);
    let bytes: usize = packets.iter().map(Vec::len).sum();
    let mut ask = |kind: &str, count: usize| {
        let fields = Params::default().with("count", count);
        bench.nf.message(&Message::new(kind, fields))
    };
    let first = json!({ "address": "2001:db8::9", "packets": 2, "error": 0 });
    let second = json!({ "address": "10.0.0.1", "packets": 1, "error": 0 });
    let top = |talkers| Ok(json!({ "packets": 4, "bytes": bytes, "talkers": talkers }));
    assert_eq!(ask("top", 10), top(json!([first, second])));
    assert_eq!(ask("top", 1), top(json!([first])));
    assert_eq!(ask("reset", 0), Ok(Value::Null));
    assert_eq!(ask("top", 10), top(json!([])));
    assert_eq!(ask("other", 0).unwrap_err(), "this NF takes no message `other`");
    let mut without = nflib_testing::bench::<Monitor>(MANIFEST, Params::default().with("top", 0)).unwrap();
    for kind in ["top", "reset"] {
        let message = Message::new(kind, Params::default().with("count", 10));
        assert!(
            without
                .nf
                .message(&message)
                .unwrap_err()
                .contains("no table of senders")
        );
    }
}
