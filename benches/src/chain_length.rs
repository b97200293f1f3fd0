//! B1: packets a second through chains of one to six NFs, beside the bare ring between the same two cores.

use std::{thread, time::Duration};

use crate::{
    BenchError, Effort,
    host::{self, Host},
    manager::Manager,
    results::{Goal, Record, rounded},
    ring::{self, Course},
};

pub const ID: &str = "b1";

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_millis(1500);
const RING_MEASURED: Duration = Duration::from_millis(500);
/// Packets a second at one NF, hops a second at five, and the share of the bare ring that is enough for either.
const GOAL_PACKETS: f64 = 30e6;
const GOAL_HOPS: f64 = 60e6;
const GOAL_SHARE: f64 = 0.2;
/// Samples of the bare ring below this share of their median mean that something else ran on its cores.
const QUIET: f64 = 0.7;

/// Samples of one call, in millions a second.
#[derive(Debug, Default)]
struct Samples {
    forward: Vec<f64>,
    there_and_back: Vec<f64>,
    /// Packets, by chain length; parallel to the lengths measured.
    chains: Vec<Vec<f64>>,
}

/// Bare ring and chains in turn, all again for each repetition.
pub fn run(effort: Effort, host: &Host) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Chain length",
        "A null port makes 64-byte packets, N `forward` NFs pass them on, and another null port takes them; the worker has \
         one core and all NFs the other. Packets are counted at the last port over 1.5 s after 1 s of warm-up.",
        "paper: chains of 1 to 6 NFs lose 4 % of packets/s in all, on seven cores. openNetVM v21.10 on two cores: 55 M hops/s \
         with one NF, 17 M with five that share a core",
    );
    let cores = host::allowed_cores();
    let &[worker, nfs, ..] = cores.as_slice() else {
        return Err(BenchError::Needs("two cores"));
    };
    let lengths: &[usize] = if effort.quick {
        &[1, 5]
    } else {
        &[1, 2, 3, 4, 5, 6]
    };
    let mut samples = Samples {
        chains: vec![Vec::new(); lengths.len()],
        ..Samples::default()
    };
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        for (length, chain) in lengths.iter().zip(&mut samples.chains) {
            let bare = |course| ring::rate(course, [worker, nfs], RING_MEASURED).map(millions);
            samples.forward.push(bare(Course::Forward)?);
            samples.there_and_back.push(bare(Course::ThereAndBack)?);
            chain.push(millions(packets_per_second(*length)?));
        }
    }
    describe(&mut record, lengths, samples, host);
    Ok(record)
}

fn millions(rate: f64) -> f64 {
    rate / 1e6
}

fn packets_per_second(length: usize) -> Result<f64, BenchError> {
    let manager = Manager::start(&source(length), &[])?;
    thread::sleep(WARM_UP);
    // The manager's own clock, since it reads the counters when it reads that.
    let delivered = || {
        let status = manager.status()?;
        let sink = status.ports.iter().find(|p| p.name == "sink");
        sink.map(|p| (p.tx_packets, status.uptime_s))
            .ok_or(BenchError::Needs("a port `sink` in the status"))
    };
    let (before, began) = delivered()?;
    thread::sleep(MEASURED);
    let (after, ended) = delivered()?;
    manager.stop()?;
    Ok((after - before) as f64 / (ended - began))
}

/// The sink receives nothing, so that only the chain's packets are under way.
fn source(length: usize) -> String {
    let names: Vec<String> = (1..=length).map(|i| format!("f{i}")).collect();
    let nfs: String = names
        .iter()
        .map(|name| format!("nf {name} = forward\n"))
        .collect();
    format!(
        "port source = null {{ size = 64 }}\n\
         port sink = vdev {{ device = \"net_null_sink,size=64,no-rx=1\" }}\n\
         {nfs}chain through = {} -> sink\n\
         steer source {{ else -> through }}\n",
        names.join(" -> ")
    )
}

fn describe(record: &mut Record, lengths: &[usize], samples: Samples, host: &Host) {
    let forward = record
        .add("bare ring, forward", "M/s", samples.forward)
        .unwrap_or(0.0);
    let back = record
        .add("bare ring, there and back", "M/s", samples.there_and_back)
        .unwrap_or(0.0);
    let enough = millions(GOAL_SHARE * forward * 1e6);
    for (&length, packets) in lengths.iter().zip(samples.chains) {
        let name = |what: &str| format!("{length} NF{}: {what}", if length == 1 { "" } else { "s" });
        let hops: Vec<f64> = packets.iter().map(|p| p * length as f64).collect();
        let cycles = hops.iter().map(|h| host.clock_mhz / h).collect();
        let packets = record.add(name("packets"), "Mpps", packets).unwrap_or(0.0);
        let hops = record.add(name("hops"), "M hops/s", hops).unwrap_or(0.0);
        record.add(name("cycles per hop of either core"), "cycles", cycles);
        record.notes.push(format!(
            "{length} NF: hops/s are {} % of the bare ring forward and {} % of it there and back",
            rounded(100.0 * hops / forward),
            rounded(100.0 * hops / back)
        ));
        let goal = |text: &str, unit, most: f64, found| {
            let text = format!("{text}, or 20 % of the bare ring if that is lower");
            Goal::at_least(text, unit, millions(most).min(enough), found)
        };
        match length {
            1 => record
                .goals
                .push(goal("packets/s through 1 NF", "Mpps", GOAL_PACKETS, packets)),
            5 => record
                .goals
                .push(goal("hops/s through 5 NFs", "M hops/s", GOAL_HOPS, hops)),
            _ => {}
        }
    }
    if let Some(doubt) = record.metrics.iter().take(2).find(|m| m.min < QUIET * m.median) {
        record.notes.push(format!(
            "BUSY MACHINE: `{}` fell to {} % of its median, so others took the cores; repeat this run before judging by it",
            doubt.name,
            rounded(100.0 * doubt.min / doubt.median)
        ));
    }
    record.notes.push(format!(
        "cycles are at the nominal {} MHz",
        rounded(host.clock_mhz)
    ));
    if host.huge_pages_free == 0 {
        record
            .notes
            .push("no huge pages: packets and rings lie in 4 KiB pages".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_visits_each_nf_once() {
        let source = source(3);
        assert!(
            source.contains("chain through = f1 -> f2 -> f3 -> sink\n"),
            "{source}"
        );
        assert_eq!(source.matches("= forward").count(), 3);
    }
}
