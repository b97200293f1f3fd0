//! Fused NFs: packets a second through NFs that share a process, beside the same ones in processes of their own.

use crate::{
    BenchError, Effort,
    chain_length::{self, bare_ring, millions},
    host,
    manager::Manager,
    results::{Goal, Record, rounded},
};

pub const ID: &str = "fused";

/// Packets through five fused `forward`s, of those through one.
const GOAL_FIVE: f64 = 0.9;
/// Packets through firewall and monitor in one process, of those through the pair in two.
const GOAL_PAIR: f64 = 1.6;

/// A chain: its name, its NFs, and whether they share a process.
type Chain = (&'static str, &'static [&'static str], bool);

const FORWARD: &str = "forward";
const PAIR: [&str; 2] = [
    "firewall { default = accept, rules = { drop tcp dst port 9\n drop udp dst port 7 } }",
    "monitor",
];
const CHAINS: [Chain; 5] = [
    ("one forward", &[FORWARD], false),
    ("five forward apart", &[FORWARD; 5], false),
    ("five forward fused", &[FORWARD; 5], true),
    ("firewall and monitor apart", &PAIR, false),
    ("firewall and monitor fused", &PAIR, true),
];

/// All chains in turn, again for each repetition.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Fused NFs",
        "As `b1`: 64-byte packets of a null port through NFs to another one, the worker on one core and all NFs on the other; the NFs \
         in processes of their own, and in one.",
        "FastClick, one process without isolation: 223 M hops/s through five null elements on one core",
    );
    let cores = host::two_cores()?;
    let mut samples = vec![Vec::new(); CHAINS.len()];
    let mut ring = Vec::new();
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        ring.push(bare_ring(cores)?);
        for (chain, samples) in CHAINS.iter().zip(&mut samples) {
            let manager = Manager::start(&source(chain), &[])?;
            let rate = manager.rate("sink", effort.windows())?;
            manager.stop()?;
            samples.push(millions(rate.packets));
        }
    }
    let ring = record
        .add("bare ring, there and back", "M/s", ring)
        .unwrap_or(0.0);
    let medians = CHAINS.iter().zip(samples);
    let medians: Vec<f64> = medians
        .map(|((name, ..), samples)| record.add(*name, "Mpps", samples).unwrap_or(0.0))
        .collect();
    if let [one, apart, five, pair, fused] = medians[..] {
        record.goals.push(Goal::at_least(
            "five fused: 90 % of the packets of one",
            "Mpps",
            GOAL_FIVE * one,
            five,
        ));
        record.goals.push(Goal::at_least(
            "firewall and monitor fused: 1.6 times the pair apart",
            "Mpps",
            GOAL_PAIR * pair,
            fused,
        ));
        record.notes.push(format!(
            "five fused move {} times the packets of five apart, {} M hops/s",
            rounded(five / apart),
            rounded(5.0 * five)
        ));
    }
    record.notes.push(chain_length::mode(ring).to_owned());
    Ok(record)
}

fn source((_, nfs, fused): &Chain) -> String {
    let with = if *fused { " with { fuse = \"one\" }" } else { "" };
    let names: Vec<String> = (1..=nfs.len()).map(|n| format!("f{n}")).collect();
    let declared = names.iter().zip(*nfs);
    let declared: String = declared
        .map(|(name, nf)| format!("nf {name} = {nf}{with}\n"))
        .collect();
    format!(
        "port source = null {{ size = 64 }}\n\
         port sink = vdev {{ device = \"net_null_sink,size=64,no-rx=1\" }}\n\
         {declared}chain through = {} -> sink\nsteer source {{ else -> through }}\n",
        names.join(" -> ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_nfs_stand_apart_and_together() {
        let [apart, fused] = [1, 2].map(|n| source(&CHAINS[n]));
        assert_eq!(apart.matches("= forward\n").count(), 5);
        assert_eq!(fused.matches("= forward with { fuse = \"one\" }\n").count(), 5);
        assert!(fused.contains("chain through = f1 -> f2 -> f3 -> f4 -> f5 -> sink\n"));
    }
}
