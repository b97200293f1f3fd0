//! With rules as the compiler lowers them. What rules mean as they are written is tested where they are compiled.

use nflib::{Verdict, testing::Bench};

use super::*;
use crate::test_packets as p;

const MANIFEST: &str = include_str!("manifest.toml");

const TELNET: &str = "(and (tcp) (port dst 23))";

fn params(rules: &str) -> Params {
    Params::default()
        .with_file("rules", rules.as_bytes())
        .with_outputs(["denied"])
}

fn bench(rules: &str) -> Bench<Firewall> {
    nflib_testing::bench(MANIFEST, params(rules)).unwrap()
}

#[test]
fn the_first_rule_that_matches_decides_and_counts() {
    let mut bench = bench(
        "drop rule_2 (and (tcp) (net src 10.0.0.0/8) (port dst 22))\naccept rule_web (tcp)\naccept rule_5 (icmp)\n",
    );
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
    assert_eq!(
        (f.hits.get("rule_2"), f.hits.get("rule_web"), f.hits.get("rule_5")),
        (1, 2, 1)
    );
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

/// Headers that end early, a wrong version, a wrong length, a fragment that overlaps the header.
fn malformed() -> Vec<Vec<u8>> {
    let tcp = p::tcp(p::CLIENT, 80, b"payload");
    let mut version = tcp.clone();
    version[14] = 0x75;
    vec![
        tcp[..10].to_vec(),
        tcp[..30].to_vec(),
        tcp[..40].to_vec(),
        tcp[..tcp.len() - 1].to_vec(),
        version,
        p::udp6(1, 53, b"")[..50].to_vec(),
        p::tagged(&tcp, 1)[..16].to_vec(),
        p::fragment(&tcp, 8, false),
    ]
}

#[test]
fn malformed_packets_are_dropped_whatever_the_rules_say() {
    let cases = malformed();
    let mut bench =
        nflib_testing::bench::<Firewall>(MANIFEST, params("accept rule_1 (all)").with("on_deny", "output"))
            .unwrap();
    assert!(bench.send(&cases).iter().all(|h| h.verdict == Verdict::Drop));
    assert_eq!((bench.nf.malformed.get(), bench.nf.denied.get()), (8, 0));
}

#[test]
fn the_rules_decide_on_malformed_packets_on_request() {
    let cases = malformed();
    let mut bench = nflib_testing::bench::<Firewall>(
        MANIFEST,
        params("accept rule_1 (all)").with("malformed", "by_rules"),
    )
    .unwrap();
    assert!(bench.send(&cases).iter().all(|h| h.verdict == Verdict::Next));
    assert_eq!((bench.nf.malformed.get(), bench.nf.accepted.get()), (0, 8));
}

#[test]
fn denied_packets_leave_by_the_output_on_request() {
    let mut bench =
        nflib_testing::bench::<Firewall>(MANIFEST, params("accept rule_1 (tcp)").with("on_deny", "output"))
            .unwrap();
    let packets = [p::ping(), p::syn(p::CLIENT, 1), vec![0; 3]];
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    assert_eq!(verdicts, [Verdict::Output(0), Verdict::Next, Verdict::Drop]);
}

#[test]
fn without_rules_the_default_decides() {
    let verdict = |params| {
        nflib_testing::bench::<Firewall>(MANIFEST, params)
            .unwrap()
            .send(&[p::ping()])[0]
            .verdict
    };
    assert_eq!(verdict(Params::default()), Verdict::Drop);
    assert_eq!(
        verdict(Params::default().with("default", "accept")),
        Verdict::Next
    );
    let wrong = Params::default().with("default", "pass");
    let reason = nflib_testing::bench::<Firewall>(MANIFEST, wrong)
        .unwrap_err()
        .to_string();
    assert!(
        reason.contains("expected `accept` or `drop`, found `pass`"),
        "{reason}"
    );
}

#[test]
fn new_rules_keep_the_counters_of_unchanged_ones() {
    let mut bench = bench("accept rule_1 (icmp)\ndrop rule_2 (tcp)\naccept rule_3 (udp)");
    let packets = [p::ping(), p::syn(p::CLIENT, 1)];
    bench.send(&packets);
    let hits = |firewall: &Firewall| (firewall.hits.get("rule_1"), firewall.hits.get("rule_2"));
    let new = params("accept rule_1 (icmp)\naccept rule_2 (tcp)\n").with("default", "accept");
    assert_eq!(bench.nf.reconfigure(&new).unwrap(), Reconfigured::Done);
    assert_eq!(hits(&bench.nf), (1, 0));
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    assert_eq!(verdicts, [Verdict::Next, Verdict::Next]);
    assert_eq!(hits(&bench.nf), (2, 1));
    // The fourth has no counter; wrong rules change nothing.
    let fourth = params("accept rule_4 (all)");
    assert_eq!(bench.nf.reconfigure(&fourth).unwrap(), Reconfigured::Unsupported);
    assert!(
        bench
            .nf
            .reconfigure(&params("accept rule_1 (everything)"))
            .is_err()
    );
    assert_eq!(bench.send(&packets)[1].verdict, Verdict::Next);
}

#[test]
fn rules_beyond_the_counters_share_one() {
    let rules: String = (0..2000)
        .map(|n| format!("accept rule_{n} (and (udp) (port dst {n}))\n"))
        .collect();
    let mut bench = bench(&rules);
    bench.send(&[
        p::udp(p::CLIENT, 1, 1023, b""),
        p::udp(p::CLIENT, 1, 1024, b""),
        p::udp(p::CLIENT, 1, 1999, b""),
    ]);
    assert_eq!((bench.nf.hits.get("rule_1023"), bench.nf.hits.others()), (1, 2));
}

#[test]
fn the_model_is_what_the_rules_say() {
    let params = params(&format!("drop rule_1 {TELNET}\naccept rule_2 (all)\n"))
        .with("default", "accept")
        .with("on_deny", "output");
    let Ok(crate::Model::Rules {
        rules,
        otherwise,
        may_drop,
    }) = model::model(&params)
    else {
        panic!("the firewall has rules");
    };
    let told: Vec<_> = rules.iter().map(|r| (r.name.as_str(), r.verdict)).collect();
    assert_eq!(told, [("rule_1", Verdict::Output(0)), ("rule_2", Verdict::Next)]);
    assert_eq!((otherwise, may_drop), (Verdict::Next, true));
    assert_eq!(rules[0].filter.to_string(), TELNET);
}
