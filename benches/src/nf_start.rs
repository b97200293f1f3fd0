//! B5: how long an NF process takes from its start to the first packet that comes back from it.
//!
//! The benchmark is the manager: it speaks the session protocol to an `onvm-nf` that it starts itself, so that nothing but
//! the NF's own start is in the figure. Beside it stands the start by `onvm-run`, with the jail ([`jailed`]).

mod jailed;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nflib::{
    Descriptor, Region,
    layout::{ABI_VERSION, Layout},
    memory::{Geometry, create_file, reopen_read_only},
    session::{self, Configuration, FromNf, IdlePolicy, ToNf},
};

use crate::{BenchError, host, results::Goal, results::Record};

pub const ID: &str = "b5";

const STARTS: usize = 20;
const DEADLINE: Duration = Duration::from_secs(5);
const LOOK_PERIOD: Duration = Duration::from_micros(20);
const GOAL_MS: f64 = 10.0;
const COUNTERS: u32 = 4096;

/// As the runtime makes them with the default settings.
const GEOMETRY: Geometry = Geometry {
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

/// The process under measurement; ended on drop.
struct Nf(Child);

impl Drop for Nf {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn one_start() -> Result<Start, BenchError> {
    let dir = tempfile::tempdir().map_err(BenchError::system("a temporary directory"))?;
    let path = dir.path().join("nf.sock");
    let listener = session::listen(&path).map_err(BenchError::system("the NF's socket"))?;
    let packets =
        create_file("bench-packets", GEOMETRY.bytes(), false).map_err(BenchError::system("packet file"))?;
    let packets = reopen_read_only(packets.as_fd()).map_err(BenchError::system("packet file"))?;
    let mut command = Command::new(host::program("onvm-nf")?);
    command
        .arg("forward")
        .env_clear()
        .env(session::SOCKET_VARIABLE, &path)
        .env(session::REATTACH_VARIABLE, "0")
        .stdin(Stdio::null());
    let began = Instant::now();
    let mut nf = Nf(command
        .spawn()
        .map_err(BenchError::system("onvm-nf cannot be started"))?);
    let connection = patiently(&mut nf, || would_block(session::accept(&listener)))?;
    let region = greet(&mut nf, &connection, &packets)?;
    let ready = began.elapsed();
    let mut burst = [Descriptor {
        offset: GEOMETRY.headroom as u16,
        length: 60,
        ..Descriptor::default()
    }];
    let damaged = |e: nflib::ring::Corrupt| BenchError::Nf(format!("damaged its ring: {e}"));
    region.to_nf_producer(0).push(&burst).map_err(damaged)?;
    region.nf_bell().ring();
    let mut returns = region.from_nf_consumer(0);
    patiently(&mut nf, || {
        Ok((returns.pop(&mut burst).map_err(damaged)? == 1).then_some(()))
    })?;
    Ok(Start {
        ready,
        first_packet: began.elapsed(),
    })
}

/// Hello, welcome, counters, ready.
fn greet(nf: &mut Nf, connection: &OwnedFd, packets: &OwnedFd) -> Result<Region, BenchError> {
    let mut hear = || patiently(nf, || would_block(session::receive::<FromNf>(connection)));
    match hear()? {
        Some((FromNf::Hello { abi: ABI_VERSION, .. }, _)) => {}
        other => {
            return Err(BenchError::Nf(format!(
                "began with {other:?} in place of a hello"
            )));
        }
    }
    let failed = || BenchError::system("the NF cannot be welcomed");
    let (region_fd, region) = Region::create("bench-nf", Layout::new(1, RING, COUNTERS)).map_err(failed())?;
    let configuration = serde_json::to_vec(&Configuration::default()).map_err(|e| failed()(e.into()))?;
    let configuration = session::content_descriptor("configuration", &configuration).map_err(failed())?;
    let welcome = ToNf::Welcome {
        instance: "forward-0".to_owned(),
        geometry: GEOMETRY,
        idle: IDLE,
        log: None,
    };
    let fds = [region_fd.as_fd(), packets.as_fd(), configuration.as_fd()];
    session::send(connection, &welcome, &fds).map_err(failed())?;
    loop {
        match hear()? {
            Some((FromNf::Counters { .. }, _)) => {}
            Some((FromNf::Ready, _)) => return Ok(region),
            other => return Err(BenchError::Nf(format!("said {other:?} before it was ready"))),
        }
    }
}

fn would_block<T>(result: io::Result<T>) -> Result<Option<T>, BenchError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(BenchError::system("talking to the NF")(e)),
    }
}

/// Asks again, with short sleeps that leave the core to the NF, until there is an answer.
fn patiently<T>(
    nf: &mut Nf,
    mut ask: impl FnMut() -> Result<Option<T>, BenchError>,
) -> Result<T, BenchError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if let Ok(Some(status)) = nf.0.try_wait() {
            return Err(BenchError::Nf(format!("ended with {status}")));
        }
        if Instant::now() >= deadline {
            return Err(BenchError::Nf(format!(
                "did not answer within {} s",
                DEADLINE.as_secs()
            )));
        }
        thread::sleep(LOOK_PERIOD);
    }
}
