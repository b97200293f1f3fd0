use nflib::{Verdict, testing::Bench};

use super::*;
use crate::test_packets as p;

const MANIFEST: &str = include_str!("manifest.toml");

fn params(patterns: &str) -> Params {
    Params::default()
        .with_file("patterns", patterns.as_bytes())
        .with_outputs(["match"])
}

fn bench(patterns: &str) -> Bench<PayloadScan> {
    nflib_testing::bench(MANIFEST, params(patterns)).unwrap()
}

fn hits(scan: &PayloadScan, line: usize) -> u64 {
    scan.hits.get(&format!("pattern_{line}"))
}

#[test]
fn finds_patterns_in_payloads_only() {
    let mut bench = bench("evil\n# 2\n|02 00 00|\n");
    let packets = [
        p::tcp(p::CLIENT, 80, b"GET /evil"),
        p::tcp(p::CLIENT, 80, b"GET /good"),
        p::tagged(&p::udp(p::CLIENT, 1, 2, b"evil"), 9),
        p::udp6(1, 53, b"..evil.."),
        p::ping6(),
        p::arp(),
    ];
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    // The MAC addresses of every packet hold 02 00 00.
    let m = Verdict::Output(0);
    assert_eq!(verdicts, [m, Verdict::Next, m, m, Verdict::Next, Verdict::Next]);
    let scan = &bench.nf;
    assert_eq!(
        (scan.scanned.get(), scan.skipped.get(), scan.matched.get()),
        (5, 1, 3)
    );
    assert_eq!(scan.bytes.get(), 9 + 9 + 4 + 8 + 4);
    assert_eq!((hits(scan, 1), hits(scan, 3)), (3, 0));
}

#[test]
fn only_the_packets_asked_for_are_searched() {
    let params = params("evil").with("only", "(and (tcp) (port dst 80))");
    let mut bench = nflib_testing::bench::<PayloadScan>(MANIFEST, params).unwrap();
    let packets = [p::tcp(p::CLIENT, 80, b"evil"), p::tcp(p::CLIENT, 81, b"evil")];
    let verdicts: Vec<_> = bench.send(&packets).iter().map(|h| h.verdict).collect();
    assert_eq!(verdicts, [Verdict::Output(0), Verdict::Next]);
    assert_eq!((bench.nf.scanned.get(), bench.nf.skipped.get()), (1, 1));
}

#[test]
fn padding_is_not_payload_and_fragments_are_scanned_whole() {
    let mut bench = bench("evil");
    let mut padded = p::udp(p::CLIENT, 1, 2, b"ok");
    padded.extend(b"evil");
    let fragment = p::fragment(&p::udp(p::CLIENT, 1, 2, b"evil"), 1480, false);
    let mut cut = p::tcp(p::CLIENT, 80, b"evil 12345");
    cut.truncate(cut.len() - 5);
    let verdicts: Vec<_> = bench
        .send(&[padded, fragment, cut])
        .iter()
        .map(|h| h.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::Next, Verdict::Output(0), Verdict::Output(0)]);
}

/// Each pattern counts once for a packet, wherever it lies: inside another, overlapping it, or many times.
#[test]
fn counts_packets_for_every_pattern_that_is_there() {
    let patterns = ["b", "abc", "xabcd", "cdef", "zzz"];
    let mut bench = bench(&patterns.join("\n"));
    let payloads: [&[u8]; 4] = [b"xabcdef abc b", b"bbbb", b"cdef", b"nothing"];
    bench.send(&payloads.map(|payload| p::tcp(p::CLIENT, 80, payload)));
    let contains =
        |payload: &[u8], pattern: &str| payload.windows(pattern.len()).any(|w| w == pattern.as_bytes());
    for (i, pattern) in patterns.iter().enumerate() {
        let expected = payloads
            .iter()
            .filter(|payload| contains(payload, pattern))
            .count() as u64;
        assert_eq!(hits(&bench.nf, i + 1), expected, "{pattern}");
    }
    assert_eq!(bench.nf.matched.get(), 3);
}

#[test]
fn parameters_choose_case_and_verdict() {
    let params = params("Evil")
        .with("case_sensitive", false)
        .with("on_match", "drop");
    let mut bench = nflib_testing::bench::<PayloadScan>(MANIFEST, params).unwrap();
    assert_eq!(
        bench.send(&[p::tcp(p::CLIENT, 80, b"EVIL")])[0].verdict,
        Verdict::Drop
    );
}

#[test]
fn takes_new_patterns_on_lines_that_it_counts() {
    let mut bench = bench("evil\nbad");
    let packets = [p::tcp(p::CLIENT, 80, b"evil bad")];
    bench.send(&packets);
    assert_eq!(
        bench.nf.reconfigure(&params("evil\nworse")).unwrap(),
        Reconfigured::Done
    );
    assert_eq!((hits(&bench.nf, 1), hits(&bench.nf, 2)), (1, 0));
    bench.send(&packets);
    assert_eq!((hits(&bench.nf, 1), hits(&bench.nf, 2)), (2, 0));
    assert_eq!(
        bench.nf.reconfigure(&params("evil\nworse\nthird")).unwrap(),
        Reconfigured::Unsupported
    );
    assert!(bench.nf.reconfigure(&params("")).is_err());
    assert_eq!(
        bench.send(&packets)[0].verdict,
        Verdict::Output(0),
        "a refused change leaves the old patterns"
    );
}

#[test]
fn errors_name_file_and_parameter() {
    let error = |params| {
        nflib_testing::bench::<PayloadScan>(MANIFEST, params)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(params("a|0")),
        "parameter `patterns`: patterns:1:3: between bars, expected bytes as two hexadecimal digits each, as in `|0d 0a|`"
    );
    assert_eq!(error(Params::default()), "parameter `patterns` is missing");
}
