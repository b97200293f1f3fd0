//! The places where libpcap's optimiser changes the meaning of a filter, pinned: here a filter means
//! what libpcap's own code means before it is optimised.

use onvm_filter::Expr;
use pcap::{Capture, Linktype};

/// `optimised`: what tcpdump would say, against `meant`.
#[track_caller]
fn differs(text: &str, expr: &str, frame: &[u8], meant: bool, optimised: bool) {
    let filter = |optimise| {
        let program = Capture::dead(Linktype::ETHERNET)
            .unwrap()
            .compile(text, optimise)
            .unwrap();
        program.filter(frame)
    };
    assert_eq!(filter(false), meant, "unoptimised");
    assert_eq!(filter(true), optimised, "optimised");
    let expr: Expr = expr.parse().unwrap();
    assert_eq!(expr.matches(frame, frame.len() as u32), meant, "ours");
}

fn frame(ether_type: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
    frame
}

#[test]
fn a_load_whose_value_does_not_matter_is_dropped() {
    differs(
        "ether[100] & 0 = 0",
        "(= (& (frame 100 1) 0) 0)",
        &frame(0x0800),
        false,
        true,
    );
    let short = &frame(0x0800)[..20];
    differs("src net 0.0.0.0/0", "(net src 0.0.0.0/0)", short, false, true);
}

#[test]
fn tests_are_reordered_to_load_a_field_once() {
    let text = "ip or ether[99] = 1 or arp";
    differs(
        text,
        "(or (ip) (= (frame 99 1) 1) (arp))",
        &frame(0x0806),
        false,
        true,
    );
}

#[test]
fn a_mask_of_all_ones_is_taken_for_a_match() {
    let text = "ether[0:4] & 0xffffffff != 0";
    differs(
        text,
        "(!= (& (frame 0 4) 0xffffffff) 0)",
        &frame(0x0800),
        false,
        true,
    );
}

#[test]
fn a_masked_test_that_stands_twice_loses_one_way() {
    let mut packet = frame(0x86dd);
    packet[22..26].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    let text = "net 2001:db8::/49 and net 2001:db8::/49";
    differs(
        text,
        "(and (net 2001:db8::/49) (net 2001:db8::/49))",
        &packet,
        true,
        false,
    );
}
