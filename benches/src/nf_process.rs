//! One `onvm-nf` process of which the benchmark is the manager: it speaks the session protocol to it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nflib::{
    Region,
    layout::{ABI_VERSION, Layout},
    memory::Geometry,
    session::{self, Configuration, FromNf, IdlePolicy, ToNf},
};
use tempfile::TempDir;

use crate::{BenchError, host};

pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
const LOOK_PERIOD: Duration = Duration::from_micros(20);
const COUNTERS: u32 = 4096;

/// What it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) geometry: Geometry,
    /// Descriptors that a ring holds.
    pub(crate) ring: u32,
    pub(crate) idle: IdlePolicy,
}

/// `forward`, ready for packets; ended on drop.
#[derive(Debug)]
pub(crate) struct NfProcess {
    process: Process,
    pub(crate) region: Region,
    /// When it was started.
    pub(crate) began: Instant,
    _connection: OwnedFd,
    _dir: TempDir,
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl NfProcess {
    /// `packets` is the packet file, open for reading.
    pub(crate) fn start(packets: &OwnedFd, terms: Terms) -> Result<Self, BenchError> {
        let dir = tempfile::tempdir().map_err(BenchError::system("a temporary directory"))?;
        let path = dir.path().join("nf.sock");
        let listener = session::listen(&path).map_err(BenchError::system("the NF's socket"))?;
        let mut command = Command::new(host::program("onvm-nf")?);
        command
            .arg("forward")
            .env_clear()
            .env(session::SOCKET_VARIABLE, &path)
            .env(session::REATTACH_VARIABLE, "0")
            .stdin(Stdio::null());
        let began = Instant::now();
        let mut process = Process(
            command
                .spawn()
                .map_err(BenchError::system("onvm-nf cannot be started"))?,
        );
        let connection = patiently(&mut process, || would_block(session::accept(&listener)))?;
        let region = greet(&mut process, &connection, packets, terms)?;
        Ok(Self {
            process,
            region,
            began,
            _connection: connection,
            _dir: dir,
        })
    }

    /// Asks again, with short sleeps that leave the core to the NF, until there is an answer.
    pub(crate) fn patiently<T>(
        &mut self,
        ask: impl FnMut() -> Result<Option<T>, BenchError>,
    ) -> Result<T, BenchError> {
        patiently(&mut self.process, ask)
    }
}

/// Hello, welcome, counters, ready.
fn greet(
    nf: &mut Process,
    connection: &OwnedFd,
    packets: &OwnedFd,
    terms: Terms,
) -> Result<Region, BenchError> {
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
    let (region_fd, region) =
        Region::create("bench-nf", Layout::new(1, terms.ring, COUNTERS)).map_err(failed())?;
    let configuration = serde_json::to_vec(&Configuration::default()).map_err(|e| failed()(e.into()))?;
    let configuration = session::content_descriptor("configuration", &configuration).map_err(failed())?;
    let welcome = ToNf::Welcome {
        instance: "forward-0".to_owned(),
        geometry: terms.geometry,
        idle: terms.idle,
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
    nf: &mut Process,
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
