//! B4: gigabits a second for each worker core with the paper's mix of web traffic.

use std::fmt::Write;

use crate::{
    BenchError, Effort,
    host::{self, HugePages},
    manager::Manager,
    results::{Goal, Record, rounded},
};

pub const ID: &str = "b4";

/// Null ports of one size each, served in turn with a full burst: their numbers are the paper's shares of 44.3 % of 64 bytes,
/// 18.5 % of 65 to 1023 and 37.2 % of 1024 to 1518, the latter two by their middle.
const MIX: [(usize, u32); 3] = [(12, 64), (5, 544), (10, 1271)];
/// Gigabits a second through one NF.
const GOAL: f64 = 40.0;
/// What it is measured through: name, definitions, chain.
const COURSES: [(&str, &str, &str); 3] = [
    ("1 NF", "nf f1 = forward\n", "f1"),
    (
        "1 NF with 2 replicas",
        "nf f1 = forward with { replicas = 2 }\n",
        "f1",
    ),
    (
        "5 NFs",
        "nf f1 = forward\nnf f2 = forward\nnf f3 = forward\nnf f4 = forward\nnf f5 = forward\n",
        "f1 -> f2 -> f3 -> f4 -> f5",
    ),
];

/// All courses in turn, all again for each repetition.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "HTTP mix",
        "Null ports give packets of 64, 544 and 1271 bytes in shares of 44.4, 18.5 and 37.0 %, `forward` NFs pass them on, and another \
         null port takes them: one worker core, another one for all NFs. Ethernet bytes are counted. No card copies the payload, and \
         neither do we.",
        "paper: 48 Gbps through one chain with 1 RX and 1 TX thread, 68 Gbps with 2 RX and 5 TX",
    );
    host::two_cores()?;
    let pages = HugePages::reserve();
    let mut samples: [[Vec<f64>; 2]; COURSES.len()] = Default::default();
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        for ((_, nfs, chain), [gigabits, packets]) in COURSES.iter().zip(&mut samples) {
            let manager = Manager::start(&source(nfs, chain), &[])?;
            let rate = manager.rate("sink", effort.windows())?;
            manager.stop()?;
            gigabits.push(rate.bytes * 8.0 / 1e9);
            packets.push(rate.packets / 1e6);
        }
    }
    for ((name, ..), [gigabits, packets]) in COURSES.iter().zip(samples) {
        let found = record.add(*name, "Gbps", gigabits).unwrap_or(0.0);
        let packets = record.add(format!("{name}: packets"), "Mpps", packets);
        if let Some(packets) = packets {
            let mean = rounded(found * 1e9 / 8.0 / (packets * 1e6));
            record.notes.push(format!("{name}: {mean} bytes a packet"));
        }
        if *name == COURSES[0].0 {
            record
                .goals
                .push(Goal::at_least("1 NF, for one worker core", "Gbps", GOAL, found));
        }
    }
    record.notes.push(pages.note());
    Ok(record)
}

fn source(nfs: &str, chain: &str) -> String {
    let mut source = "port sink = vdev { device = \"net_null_sink,size=64,no-rx=1\" }\n".to_owned();
    let sizes = MIX
        .iter()
        .flat_map(|&(ports, size)| std::iter::repeat_n(size, ports));
    let mut steers = String::new();
    // Writing to a string does not fail.
    for (i, size) in sizes.enumerate() {
        let _ = writeln!(source, "port p{i} = null {{ size = {size} }}");
        let _ = writeln!(steers, "steer p{i} {{ else -> through }}");
    }
    format!("{source}{nfs}chain through = {chain} -> sink\n{steers}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_those_of_the_paper() {
        let all: usize = MIX.iter().map(|(ports, _)| ports).sum();
        let shares = MIX.map(|(ports, _)| 100.0 * ports as f64 / all as f64);
        for (share, paper) in shares.iter().zip([44.3, 18.5, 37.2]) {
            assert!((share - paper).abs() < 0.3, "{share} % for {paper} %");
        }
        let source = source(COURSES[0].1, COURSES[0].2);
        for (ports, size) in MIX {
            assert_eq!(source.matches(&format!("{{ size = {size} }}")).count(), ports);
        }
    }
}
