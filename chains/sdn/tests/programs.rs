//! The programs as they are called. With this test Cargo builds them for the suites, too.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::process::Command;

#[test]
fn traffic_is_a_capture_of_whole_flows() {
    let traffic = |flows: &str| {
        Command::new(env!("CARGO_BIN_EXE_sdn-traffic"))
            .arg(flows)
            .output()
            .unwrap()
    };
    let output = traffic("3");
    assert!(output.status.success());
    let (header, mut records) = output.stdout.split_at(24);
    assert_eq!(header[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let mut lengths = Vec::new();
    while !records.is_empty() {
        let length = u32::from_le_bytes(records[8..12].try_into().unwrap()) as usize;
        lengths.push(length);
        records = &records[16 + length..];
    }
    // And one of ARP behind them.
    assert_eq!(lengths.len(), 3 * 100 + 1);
    let refused = traffic("many");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("takes a number of flows"));
}

#[test]
fn an_nf_that_is_not_there_is_refused() {
    let refused = Command::new(env!("CARGO_BIN_EXE_sdn-nf"))
        .arg("other")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sdn-nf decide or sdn-nf watch"));
}
