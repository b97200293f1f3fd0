//! The network function of docs/writing-an-nf.md that takes a filter and rules.

use nflib::{Params, Verdict, testing::Bench};

include!("gate/nf.rs");

const RULES: &str = "accept web (tcp-port dst 443)\ndrop other_tcp (tcp)\n";

fn tcp(port: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    frame[23] = 6;
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame
}

#[test]
fn the_first_rule_decides_and_is_counted() {
    let params = Params::default().with_rules("rules", RULES);
    let mut bench = Bench::<Gate>::new(params).unwrap();
    let handled = bench.send(&[tcp(443), tcp(80), vec![0; 60], tcp(80)]);
    let verdicts: Vec<Verdict> = handled.iter().map(|handled| handled.verdict).collect();
    assert_eq!(
        verdicts,
        [Verdict::Next, Verdict::Drop, Verdict::Next, Verdict::Drop]
    );
}

#[test]
fn what_the_filter_does_not_take_passes() {
    let params = Params::default()
        .with_rules("rules", RULES)
        .with_filter("only", "(tcp-port dst 80)");
    let mut bench = Bench::<Gate>::new(params).unwrap();
    let handled = bench.send(&[tcp(81), tcp(80)]);
    assert_eq!(handled[0].verdict, Verdict::Next);
    assert_eq!(handled[1].verdict, Verdict::Drop);
}

#[test]
fn a_fault_names_the_parameter_and_the_line() {
    let params = Params::default().with_rules("rules", "accept web (tcp)\nblock rest (all)\n");
    let error = Bench::<Gate>::new(params).err().unwrap().to_string();
    assert!(
        error.contains("parameter `rules`: rules:2:1: `block` is not a verdict; expected `accept` or `drop`"),
        "{error}"
    );
}

#[test]
fn the_page_shows_this_nf() {
    let page = include_str!("../../../docs/writing-an-nf.md");
    assert!(
        page.contains(include_str!("gate/nf.rs")),
        "copy nflib/tests/nflib/gate/nf.rs into the page"
    );
}
