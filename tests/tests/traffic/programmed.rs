//! A function that programs the flow table: packets go by its entries once these are in force, within what the program permits.

use std::fmt::Write as _;

use onvm_api::{FlowsReply, Status};
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    process,
};

const MANIFEST: &str = "[effects]\nreads = [\"tcp.dst_port\"]\nprograms = true\n\
    [[param]]\nname = \"idle\"\ntype = \"time\"\ndefault = \"1 h\"\ndoc = \"for entries\"\n";
const PERMISSION: &str = "allow sort to program wan { tcp or udp -> fast, drop }";

/// A capture that is repeated through the sorter, until its entries send flows past it.
fn build(scratch: &Scratch, out: &str, with: &str, allow: &str, workers: usize) -> std::path::PathBuf {
    let mut chain = String::from(
        "use \"sorter.nf.toml\" as sorter\nport wan = pcap { read = file(\"in.pcap\"), repeat = true }\n",
    );
    let lan = scratch.path("lan.pcap");
    let _ = write!(
        chain,
        "port lan = null\nport copy = pcap {{ write = \"{}\" }}\n\
         nf sort = sorter {{ idle = 1 h }} {with}\nnf mon = monitor\n\
         chain slow = sort -> lan\nchain fast = mon -> lan\nchain traced = sort -> copy\n\
         steer wan {{ arp -> traced else -> slow }}\n{allow}\n\
         manager {{ workers = {workers} }}\n",
        lan.display()
    );
    scratch.build(&chain, out)
}

fn flows(manager: &Manager, args: &[&str]) -> FlowsReply {
    let output = manager.onvmc(&[&["flows", "--json"], args].concat());
    serde_json::from_str(&output).unwrap()
}

fn packets(flows: u16) -> Vec<Vec<u8>> {
    (0..flows).map(|flow| capture::udp_to(flow, 1000 + flow, 30)).collect()
}

fn start(scratch: &Scratch, flows: u16, with: &str, allow: &str, workers: usize) -> Manager {
    scratch.manifest("sorter", MANIFEST);
    capture::write(&scratch.path("in.pcap"), &packets(flows));
    let bundle = build(scratch, "bundle", with, allow, workers);
    Manager::ready(&bundle, "test", &scratch.run_dir(), &[])
}

fn counter(status: &Status, name: &str) -> u64 {
    let all = status.services.iter().flat_map(|s| &s.instances);
    all.map(|i| i.counters.get(name).copied().unwrap_or(0)).sum()
}

/// All that was asked for is in force.
fn await_done(manager: &Manager, flows: u64) -> Status {
    manager.wait_until("the entries of all flows are in force", SOON, |s| {
        let asked = counter(s, "requests");
        asked >= flows && counter(s, "done") == asked
    })
}
