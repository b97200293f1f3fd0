//! B0: packets a second from port to port without an NF, beside `dpdk-testpmd` on the same core.

use crate::{
    BenchError, Effort,
    chain_length::{self, bare_ring, millions},
    host::{self, HugePages},
    results::{Goal, Record, rounded},
    testpmd::{self, Mode},
};

pub const ID: &str = "b0";

/// Of what testpmd moves in its mode `mac`.
const GOAL_SHARE: f64 = 0.8;

/// Everything in turn, all again for each repetition.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Port to port",
        "64-byte packets of a null port go to another null port, without an NF: through onvm-run, and through dpdk-testpmd in its modes \
         `io`, which reads no packet, and `mac`, which writes Ethernet addresses; one forwarding core, the same for all.",
        "design: 80 % of testpmd `mac` in the same run",
    );
    let cores = host::two_cores()?;
    let pages = HugePages::reserve();
    let (warm_up, measured) = effort.windows();
    let mut samples: [Vec<f64>; 4] = Default::default();
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        let testpmd = |mode| testpmd::rate(mode, cores, &pages, warm_up, measured).map(millions);
        let rates = [
            bare_ring(cores)?,
            testpmd(Mode::Io)?,
            testpmd(Mode::Mac)?,
            millions(chain_length::packets_per_second(0, effort)?),
        ];
        for (samples, rate) in samples.iter_mut().zip(rates) {
            samples.push(rate);
        }
    }
    let [ring, io, mac, ours] = samples;
    let ring = record
        .add("bare ring, there and back", "M/s", ring)
        .unwrap_or(0.0);
    record.add("testpmd io", "Mpps", io);
    let mac = record.add("testpmd mac", "Mpps", mac).unwrap_or(0.0);
    let ours = record.add("onvm-run", "Mpps", ours).unwrap_or(0.0);
    record.goals.push(Goal::at_least(
        "80 % of testpmd mac",
        "Mpps",
        GOAL_SHARE * mac,
        ours,
    ));
    let share = rounded(100.0 * ours / mac);
    record
        .notes
        .push(format!("onvm-run moves {share} % of testpmd mac"));
    record.notes.push(chain_length::mode(ring).to_owned());
    record.notes.push(pages.note());
    Ok(record)
}
