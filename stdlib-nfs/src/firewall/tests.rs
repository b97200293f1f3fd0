use nflib::{FileMistakes, Verdict, testing::Bench};

use super::*;
use crate::test_packets as p;

mod reference;

fn params(rules: &str) -> Params {
    Params::default().with_file("rules", rules.as_bytes())
}

fn bench(rules: &str) -> Bench<Firewall> {
    Bench::new(params(rules)).unwrap()
}

fn hits(firewall: &Firewall, line: usize) -> u64 {
    firewall.hits[firewall.by_line[&line]].counter.get()
}

/// Whether a firewall with these rules and `default = drop` accepts the packet.
fn accepts(rules: &str, packet: &[u8]) -> bool {
    bench(rules).send(&[packet])[0].verdict == Verdict::Next
}

#[test]
fn the_first_rule_that_matches_decides_and_counts() {
    let mut bench =
        bench("# edge\ndrop tcp from 10.0.0.0/8 to any port 22\n\naccept tcp\naccept icmp # ping\n");
    let packets = [
        p::syn([10, 1, 2, 3], 22),
        p::syn([10, 1, 2, 3], 80),
        p::syn(p::CLIENT, 22),
        p::ping(),
        p::ping6(),
        p::udp(p::CLIENT, 1, 2, b""),
    ];
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    let (yes, no) = (Verdict::Next, Verdict::Drop);
    assert_eq!(verdicts, [no, yes, yes, yes, no, no]);
    let f = &bench.nf;
    assert_eq!((hits(f, 2), hits(f, 4), hits(f, 5)), (1, 2, 1));
    assert_eq!(
        (
            f.accepted.get(),
            f.denied.get(),
            f.malformed.get(),
            f.default_hits.get()
        ),
        (3, 3, 0, 2)
    );
}

#[test]
fn rules_say_what_they_mean() {
    let web = p::tcp(p::CLIENT, 443, b"");
    for (rules, packet, expected) in [
        ("accept tcp to any port 80, 443", &web, true),
        ("accept tcp to any port 440-450", &web, true),
        ("accept tcp from any port 443", &web, false),
        ("accept udp to any port 443", &web, false),
        ("accept proto 6 to 203.0.113.9 port 443", &web, true),
        ("accept from 198.51.100.0/24 to 203.0.113.0/24", &web, true),
        ("accept ip6", &web, false),
        ("accept ip", &web, true),
        ("accept tcp flags ack,!syn", &web, true),
        ("accept tcp flags syn", &web, false),
        ("accept tcp flags syn,!ack", &p::syn(p::CLIENT, 1), true),
        ("accept icmp type 8", &p::ping(), true),
        ("accept icmp type 0,3", &p::ping(), false),
        ("accept icmp6 type 128-129 from 2001:db8::/32", &p::ping6(), true),
        ("accept arp", &p::arp(), true),
        ("accept ether 0x0806", &p::arp(), true),
        ("accept ip", &p::arp(), false),
        ("accept any", &p::arp(), true),
        ("accept", &p::arp(), true),
        ("accept any from any", &p::arp(), true),
        ("accept vlan 7", &p::tagged(&web, 7), true),
        ("accept tcp to any port 443 vlan 8", &p::tagged(&web, 7), false),
        ("accept vlan 7", &web, false),
        (
            "accept udp from 10.0.0.0/8, 2001:db8::1 to any port 53",
            &p::udp6(1, 53, b""),
            true,
        ),
        (
            "accept udp from 10.0.0.0/8, 2001:db8::1 to any port 53",
            &p::udp6(2, 53, b""),
            false,
        ),
        // An IPv4 prefix is not the IPv6 addresses that have the same low bits.
        ("accept from 0.0.0.0/0", &p::udp6(1, 53, b""), false),
        ("accept from ::/0", &web, false),
    ] {
        assert_eq!(accepts(rules, packet), expected, "{rules}");
    }
}

#[test]
fn later_fragments_match_by_address_and_protocol_only() {
    let datagram = p::udp(p::CLIENT, 1, 53, &[0; 64]);
    let (first, later) = (
        p::fragment(&datagram, 0, true),
        p::fragment(&datagram, 1480, false),
    );
    assert!(accepts("accept udp to any port 53", &first));
    assert!(!accepts("accept udp to any port 53", &later));
    assert!(accepts("accept udp fragment", &later));
    assert!(!accepts("accept udp fragment", &first));
    assert!(!accepts("accept fragment", &datagram));
    assert!(accepts("accept udp", &later));
}

#[test]
fn malformed_packets_are_denied_whatever_the_rules_say() {
    let tcp = p::tcp(p::CLIENT, 80, b"payload");
    let mut version = tcp.clone();
    version[14] = 0x75;
    let cases = [
        tcp[..10].to_vec(),
        tcp[..30].to_vec(),
        tcp[..40].to_vec(),
        tcp[..tcp.len() - 1].to_vec(),
        version,
        p::udp6(1, 53, b"")[..50].to_vec(),
        p::tagged(&tcp, 1)[..16].to_vec(),
        p::fragment(&tcp, 8, false),
    ];
    let mut bench = bench("accept any");
    assert!(bench.send(&cases).iter().all(|h| h.verdict == Verdict::Drop));
    assert_eq!((bench.nf.malformed.get(), bench.nf.denied.get()), (8, 0));
}

#[test]
fn denied_packets_leave_by_the_output_on_request() {
    let mut bench = Bench::<Firewall>::new(params("accept tcp").with("on_deny", "output")).unwrap();
    let packets = [p::ping(), p::syn(p::CLIENT, 1), vec![0; 3]];
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    assert_eq!(verdicts, [Verdict::Output(0), Verdict::Next, Verdict::Output(0)]);
}

#[test]
fn without_rules_the_default_decides() {
    let verdict = |params| Bench::<Firewall>::new(params).unwrap().send(&[p::ping()])[0].verdict;
    assert_eq!(verdict(Params::default()), Verdict::Drop);
    assert_eq!(
        verdict(Params::default().with("default", "accept")),
        Verdict::Next
    );
}

#[test]
fn new_rules_keep_the_counters_of_unchanged_lines() {
    let mut bench = bench("accept icmp\ndrop tcp\naccept udp");
    let packets = [p::ping(), p::syn(p::CLIENT, 1)];
    bench.send(&packets);
    let new = params("accept  icmp # same words\naccept tcp\n").with("default", "accept");
    assert_eq!(bench.nf.reconfigure(&new).unwrap(), Reconfigured::Done);
    assert_eq!((hits(&bench.nf, 1), hits(&bench.nf, 2)), (1, 0));
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    assert_eq!(verdicts, [Verdict::Next, Verdict::Next]);
    assert_eq!((hits(&bench.nf, 1), hits(&bench.nf, 2)), (2, 1));
    // The fourth line has no counter; wrong rules change nothing.
    assert_eq!(
        bench.nf.reconfigure(&params("\n\n\naccept any")).unwrap(),
        Reconfigured::Unsupported
    );
    assert!(bench.nf.reconfigure(&params("accept anything")).is_err());
    assert_eq!(bench.send(&packets)[1].verdict, Verdict::Next);
}

#[test]
fn rules_beyond_the_counters_share_one() {
    let rules: String = (0..2000)
        .map(|n| format!("accept udp to any port {n}\n"))
        .collect();
    let mut bench = bench(&rules);
    bench.send(&[
        p::udp(p::CLIENT, 1, 1023, b""),
        p::udp(p::CLIENT, 1, 1024, b""),
        p::udp(p::CLIENT, 1, 1999, b""),
    ]);
    assert_eq!(
        (hits(&bench.nf, 1024), bench.nf.hits[OTHERS].counter.get()),
        (1, 2)
    );
}

#[test]
fn errors_name_line_column_and_what_was_expected() {
    let message = |rules: &[u8]| {
        let mistakes = parse::rules(rules).unwrap_err();
        let file = "edge.rules".to_owned();
        FileMistakes { file, mistakes }.to_string()
    };
    for (rules, expected) in [
        (
            "\n  deny tcp",
            "edge.rules:2:3: expected `accept` or `drop`, found `deny`",
        ),
        (
            "drop tcp to any port 22x",
            "edge.rules:1:22: expected a port from 0 to 65535 or a range such as `1000-2000`, found `22x`",
        ),
        (
            "drop tcp to any port",
            "edge.rules:1:21: expected a port from 0 to 65535 or a range such as `1000-2000`, found the end of the line",
        ),
        (
            "drop tcp to any port 80,",
            "edge.rules:1:25: expected a port from 0 to 65535 or a range such as `1000-2000`, found the end of the line",
        ),
        (
            "drop tcp to any port 90-80",
            "edge.rules:1:22: the range is backwards: write `80-90`",
        ),
        (
            "drop tcp from 10.0.0.1/8",
            "edge.rules:1:15: `10.0.0.1/8` has bits set beyond its length: write `10.0.0.0/8`",
        ),
        (
            "drop tcp from 10.0.0.256",
            "edge.rules:1:15: expected `any`, an address, or a prefix such as `10.0.0.0/8` or `2001:db8::/32`, found `10.0.0.256`",
        ),
        (
            "drop from any port 80",
            "edge.rules:1:15: `port` needs the protocol `tcp`, `udp` or `sctp`",
        ),
        (
            "drop tcp port 80",
            "edge.rules:1:10: `port` follows an address, as in `to any port 80`",
        ),
        (
            "drop from 10.0.0.0/8 to ::1",
            "edge.rules:1:25: this rule is about IPv4 and here is an IPv6 address",
        ),
        (
            "drop icmp6 to 10.0.0.1",
            "edge.rules:1:15: this rule is about IPv6 and here is an IPv4 address",
        ),
        (
            "drop arp from 10.0.0.1",
            "edge.rules:1:10: `arp` and `ether` rules take no addresses",
        ),
        (
            "drop udp flags syn",
            "edge.rules:1:10: `flags` needs the protocol `tcp`",
        ),
        (
            "drop tcp flags syn,!syn",
            "edge.rules:1:20: the flag `syn` stands twice",
        ),
        (
            "drop tcp to any to any",
            "edge.rules:1:17: `to` stands twice in this rule",
        ),
        (
            "drop tcp to any port 1 fragment",
            "edge.rules:1:24: later fragments carry no ports, flags or types, so this rule could never match",
        ),
        (
            "drop vlan 4096",
            "edge.rules:1:11: expected a VLAN number from 0 to 4095, found `4096`",
        ),
        (
            "drop tcp via eth0",
            "edge.rules:1:10: expected `from`, `to`, `flags`, `type`, `vlan`, `fragment` or the end of the line, found `via`",
        ),
    ] {
        assert_eq!(message(rules.as_bytes()), expected);
    }
    assert_eq!(
        message(b"drop tcp\nx\n\ndrop tcp to any port 22x\n  deny"),
        "edge.rules:2:1: expected `accept` or `drop`, found `x` (and 2 more mistakes)"
    );
    let mistakes = parse::rules(b"accept tcp to any port 22x").unwrap_err();
    let at = mistakes[0].at.unwrap();
    assert_eq!((at.line, at.column, at.length), (1, 24, 3));
    let not_utf8 = message(b"drop tcp\ndrop \xff");
    assert_eq!(not_utf8, "edge.rules:2:6: this is not UTF-8 text");
    let in_param = Bench::<Firewall>::new(params("x")).unwrap_err().to_string();
    assert_eq!(
        in_param,
        "parameter `rules`: rules:1:1: expected `accept` or `drop`, found `x`"
    );
}

#[test]
fn the_model_knows_flags_types_tags_and_fragments() {
    let tagged = |packet: &[u8]| p::tagged(packet, 5);
    for (rule, packet, expected) in [
        ("accept tcp flags syn,!ack", p::syn(p::CLIENT, 22), true),
        ("accept tcp flags ack", p::syn(p::CLIENT, 22), false),
        ("accept icmp type 3,8-9", p::ping(), true),
        ("accept icmp type 0", p::ping(), false),
        ("accept icmp6 type 128", p::ping6(), true),
        ("accept icmp6 type 1", p::ping6(), false),
        ("accept arp", p::arp(), true),
        ("accept ether 0x88cc", p::arp(), false),
        (
            "accept udp to any port 2 vlan 5",
            tagged(&p::udp(p::CLIENT, 1, 2, b"")),
            true,
        ),
        (
            "accept tcp flags syn vlan 5",
            tagged(&p::syn(p::CLIENT, 22)),
            true,
        ),
        (
            "accept tcp flags syn vlan 6",
            tagged(&p::syn(p::CLIENT, 22)),
            false,
        ),
        ("accept icmp type 8 vlan 5", tagged(&p::ping()), true),
        ("accept arp vlan 5", tagged(&p::arp()), true),
        (
            "accept udp fragment",
            p::fragment(&p::udp(p::CLIENT, 1, 2, b"x"), 1480, false),
            true,
        ),
        ("accept udp fragment", p::udp(p::CLIENT, 1, 2, b"x"), false),
        (
            "accept udp to any port 2",
            p::fragment(&p::udp(p::CLIENT, 1, 2, b"x"), 1480, false),
            false,
        ),
        ("accept from 10.0.0.0/8,2001:db8::/32", p::udp6(1, 53, b""), true),
    ] {
        let Ok(crate::Model::Rules { rules, .. }) = model::model(&params(rule)) else {
            panic!("{rule}");
        };
        let filter: onvm_bundle::filter::Expr = rules[0].filter.parse().unwrap();
        assert_eq!(
            filter.matches(&packet, packet.len() as u32),
            expected,
            "{rule}: {filter}"
        );
        assert_eq!(accepts(rule, &packet), expected, "{rule}");
    }
}
