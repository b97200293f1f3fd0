//! B1: packets a second through chains of one to six NFs, beside the bare ring between the same two cores.

use std::time::Duration;

use crate::{
    BenchError, Effort,
    host::{self, Host, HugePages},
    manager::Manager,
    results::{Goal, Record, rounded},
    ring::{self, Course},
    testpmd::{self, Mode},
};

pub const ID: &str = "b1";

const RING_MEASURED: Duration = Duration::from_millis(300);
/// Millions a second of the bare ring there and back from which on cores are near, or at least far: near ones gave 250, far ones
/// 70 to 85.
const NEAR: f64 = 150.0;
const FAR: f64 = 50.0;
/// Hops a second as a share of the bare ring there and back: between near cores, and between far ones, by number of NFs.
const GOALS: [(usize, [f64; 2]); 2] = [(1, [0.25, 0.45]), (5, [0.5, 0.75])];
/// Hops a second through six NFs, of those through five.
const GOAL_SIXTH: f64 = 0.9;
/// Samples of the bare ring below this share of their median mean that something else ran on its cores.
const QUIET: f64 = 0.7;

/// Bytes of the packets that go from one security domain to another.
const SIZES: [u16; 2] = [64, 1500];

/// Samples of one call, in millions a second.
#[derive(Debug, Default)]
struct Samples {
    forward: Vec<f64>,
    there_and_back: Vec<f64>,
    testpmd: Vec<f64>,
    /// Of two NFs in one security domain, and in two, by [`SIZES`].
    domains: [[Vec<f64>; 2]; SIZES.len()],
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
    let cores = host::two_cores()?;
    let pages = HugePages::reserve();
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
            let forward = ring::rate(Course::Forward, cores, RING_MEASURED)?;
            samples.forward.push(millions(forward));
            samples.there_and_back.push(bare_ring(cores)?);
            chain.push(millions(packets_per_second(*length, effort)?));
        }
        for (size, samples) in SIZES.into_iter().zip(&mut samples.domains) {
            for (domain, samples) in ["", " with { domain = \"other\" }"].iter().zip(samples) {
                samples.push(millions(rate(&pair(size, domain), effort)?));
            }
        }
        let (warm_up, measured) = effort.windows();
        match testpmd::rate(Mode::Mac, cores, &pages, warm_up, measured) {
            Ok(rate) => samples.testpmd.push(millions(rate)),
            Err(e) if repetition == 1 => record.notes.push(e.to_string()),
            Err(_) => {}
        }
    }
    describe(&mut record, lengths, samples, host);
    record.notes.push(pages.note());
    Ok(record)
}

pub(crate) fn millions(rate: f64) -> f64 {
    rate / 1e6
}

/// Through so many NFs, each one `forward`.
pub(crate) fn packets_per_second(length: usize, effort: Effort) -> Result<f64, BenchError> {
    rate(&source(length), effort)
}

/// Packets a second that a program delivers to its sink.
fn rate(source: &str, effort: Effort) -> Result<f64, BenchError> {
    let manager = Manager::start(source, &[])?;
    let rate = manager.rate("sink", effort.windows())?;
    manager.stop()?;
    Ok(rate.packets)
}

/// Millions a second of the bare ring there and back, which says whether the cores are near each other.
pub(crate) fn bare_ring(cores: [usize; 2]) -> Result<f64, BenchError> {
    ring::rate(Course::ThereAndBack, cores, RING_MEASURED).map(millions)
}

/// On some virtual machines cores are at times near each other and at times far, and that changes between runs.
pub(crate) fn mode(there_and_back: f64) -> &'static str {
    match there_and_back {
        NEAR.. => "the cores were near each other, by the bare ring",
        FAR.. => "the cores were far from each other, by the bare ring",
        _ => {
            "BUSY MACHINE: so slow is the bare ring only where others take its cores; repeat this run before judging by it"
        }
    }
}

/// The sink receives nothing, so that only the chain's packets are under way.
fn source(length: usize) -> String {
    let names: Vec<String> = (1..=length).map(|i| format!("f{i}")).collect();
    let through = match length {
        0 => String::new(),
        _ => format!("chain through = {} -> sink\n", names.join(" -> ")),
    };
    let to = if length == 0 { "sink" } else { "through" };
    let nfs: String = names
        .iter()
        .map(|name| format!("nf {name} = forward\n"))
        .collect();
    format!(
        "port source = null {{ size = 64 }}\n\
         port sink = vdev {{ device = \"net_null_sink,size=64,no-rx=1\" }}\n\
         {nfs}{through}steer source {{ else -> {to} }}\n"
    )
}

/// Two NFs, the second with this `with`.
fn pair(size: u16, with: &str) -> String {
    format!(
        "port source = null {{ size = {size} }}\n\
         port sink = vdev {{ device = \"net_null_sink,size=64,no-rx=1\" }}\n\
         nf f1 = forward\nnf f2 = forward{with}\nsteer source {{ else -> f1 -> f2 -> sink }}\n"
    )
}

/// What it costs that a packet is copied between its two NFs.
fn describe_domains(record: &mut Record, samples: [[Vec<f64>; 2]; SIZES.len()]) {
    for (size, [one, two]) in SIZES.into_iter().zip(samples) {
        let crossing = one
            .iter()
            .zip(&two)
            .map(|(one, two)| 1e3 / two - 1e3 / one)
            .collect();
        record.add(format!("2 NFs, {size} B, one domain: packets"), "Mpps", one);
        record.add(format!("2 NFs, {size} B, two domains: packets"), "Mpps", two);
        record.add(format!("crossing of {size} B"), "ns", crossing);
    }
}

fn describe(record: &mut Record, lengths: &[usize], samples: Samples, host: &Host) {
    let forward = record
        .add("bare ring, forward", "M/s", samples.forward)
        .unwrap_or(0.0);
    let back = record
        .add("bare ring, there and back", "M/s", samples.there_and_back)
        .unwrap_or(0.0);
    record.add("testpmd mac, without NFs", "Mpps", samples.testpmd);
    describe_domains(record, samples.domains);
    let mut five = None;
    for (&length, packets) in lengths.iter().zip(samples.chains) {
        let name = |what: &str| format!("{length} NF{}: {what}", if length == 1 { "" } else { "s" });
        let hops: Vec<f64> = packets.iter().map(|p| p * length as f64).collect();
        let cycles = hops.iter().map(|h| host.clock_mhz / h).collect();
        record.add(name("packets"), "Mpps", packets);
        let hops = record.add(name("hops"), "M hops/s", hops).unwrap_or(0.0);
        record.add(name("cycles per hop of either core"), "cycles", cycles);
        record.notes.push(format!(
            "{length} NF: hops/s are {} % of the bare ring forward and {} % of it there and back",
            rounded(100.0 * hops / forward),
            rounded(100.0 * hops / back)
        ));
        record.goals.extend(goal(length, hops, back, five));
        if length == 5 {
            five = Some(hops);
        }
    }
    record.notes.push(mode(back).to_owned());
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
}

/// What hops/s through so many NFs are to reach.
fn goal(length: usize, hops: f64, ring: f64, five: Option<f64>) -> Option<Goal> {
    if let (6, Some(five)) = (length, five) {
        let text = "6 NFs: 90 % of the hops/s of five";
        return Some(Goal::at_least(text, "M hops/s", GOAL_SIXTH * five, hops));
    }
    let (_, [near, far]) = GOALS.iter().find(|(nfs, _)| *nfs == length)?;
    let share = if ring >= NEAR { near } else { far };
    let text = format!(
        "{length} NF: {} % of the bare ring there and back",
        rounded(100.0 * share)
    );
    Some(Goal::at_least(text, "M hops/s", share * ring, hops))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_cores_are_judged_by_another_share_than_far_ones() {
        let target = |length, ring| goal(length, 1.0, ring, Some(100.0)).map(|g| g.target);
        assert_eq!(
            [
                target(1, 200.0),
                target(5, 200.0),
                target(5, 80.0),
                target(6, 80.0)
            ],
            [Some(50.0), Some(100.0), Some(60.0), Some(90.0)]
        );
        assert_eq!(target(3, 200.0), None);
    }

    #[test]
    fn without_an_nf_packets_go_from_port_to_port() {
        assert!(source(0).ends_with("steer source { else -> sink }\n"));
    }

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
