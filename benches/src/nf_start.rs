//! B5: how long an NF process takes from its start to the first packet that comes back from it.
//!
//! The benchmark is the manager: it speaks the session protocol to an `onvm-nf` that it starts itself, so that nothing but
//! the NF's own start is in the figure. Beside it stands the start by `onvm-run`, with the jail ([`jailed`]).

mod jailed;

use std::{os::fd::AsFd, time::Duration};

use nflib::{
    Descriptor,
    memory::{Geometry, create_file, reopen_read_only},
    session::IdlePolicy,
};

use crate::{
    BenchError,
    nf_process::{NfProcess, Terms},
    results::{Goal, Record},
};

pub const ID: &str = "b5";

const STARTS: usize = 20;
const GOAL_MS: f64 = 10.0;

/// As the runtime makes them with the default settings.
const GEOMETRY: Geometry = Geometry {
    first: 0,
    buffers: 16_384,
    stride: 2240,
    headroom: 128,
};
const RING: u32 = 4096;
const IDLE: IdlePolicy = IdlePolicy {
    spins: 2000,
    yields: 16,
    sleeps: true,
};

/// Starts `forward` twenty times, and lets `onvm-run` do it as often.
pub fn run() -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Start of an NF",
        "`onvm-nf forward` is started as a process, welcomed over its socket as onvm-run does it, and given one packet as soon \
         as it is ready; the clock runs from before fork to the packet's return. Then onvm-run has twenty of them, each is killed, \
         and the time is what its log has from `restarting` to `running`.",
        "paper: 0.526 s until an NF is ready (a container of openNetVM)",
    );
    let (mut ready, mut first) = (Vec::new(), Vec::new());
    eprintln!("{ID}: {STARTS} starts");
    for _ in 0..STARTS {
        let start = one_start()?;
        ready.push(start.ready.as_secs_f64() * 1e3);
        first.push(start.first_packet.as_secs_f64() * 1e3);
    }
    record.add("process: start to ready", "ms", ready);
    let median = record
        .add("process: start to first packet", "ms", first)
        .unwrap_or(f64::INFINITY);
    record.goals.push(Goal::below(
        "process start to first packet, median of 20",
        "ms",
        GOAL_MS,
        median,
    ));
    eprintln!("{ID}: {STARTS} starts by onvm-run");
    let (isolation, restarts) = jailed::restarts(STARTS)?;
    record.notes.push(format!("onvm-run holds NFs with: {isolation}"));
    let median = record
        .add("onvm-run: restarting to running", "ms", restarts)
        .unwrap_or(f64::INFINITY);
    record.goals.push(Goal::below(
        "start by onvm-run with the jail, median of 20",
        "ms",
        GOAL_MS,
        median,
    ));
    Ok(record)
}

struct Start {
    ready: Duration,
    first_packet: Duration,
}

fn one_start() -> Result<Start, BenchError> {
    let packets =
        create_file("bench-packets", GEOMETRY.bytes(), false).map_err(BenchError::system("packet file"))?;
    let packets = reopen_read_only(packets.as_fd()).map_err(BenchError::system("packet file"))?;
    let terms = Terms {
        geometry: GEOMETRY,
        ring: RING,
        idle: IDLE,
    };
    let mut nf = NfProcess::start(&packets, terms)?;
    let ready = nf.began.elapsed();
    let mut burst = [Descriptor {
        offset: GEOMETRY.headroom as u16,
        length: 60,
        ..Descriptor::default()
    }];
    let damaged = |e: nflib::ring::Corrupt| BenchError::Nf(format!("damaged its ring: {e}"));
    nf.region.to_nf_producer(0).push(&burst).map_err(damaged)?;
    nf.region.nf_bell().ring();
    let mut returns = nf.region.from_nf_consumer(0);
    nf.patiently(|| Ok((returns.pop(&mut burst).map_err(damaged)? == 1).then_some(())))?;
    Ok(Start {
        ready,
        first_packet: nf.began.elapsed(),
    })
}
