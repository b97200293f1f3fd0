//! A running `onvm-run`, watched and stopped from outside as an operator would.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use onvm_api::{
    API_VERSION, ApplyReply, ApplyRequest, CONTROL_SOCKET, Client, InstanceState, ManagerState, Status,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{BenchError, host};

const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Lines of the log shown with an error.
const LOG_LINES: usize = 12;

/// The manager with the NFs of one bundle; stopped on drop.
#[derive(Debug)]
pub struct Manager {
    child: Child,
    client: Client,
    /// Holds the bundle, the run directory, the log and the summary.
    dir: TempDir,
}

/// What leaves by a port in a second.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub packets: f64,
    pub bytes: f64,
}

impl Manager {
    /// Compiles `source`, with `files` beside it, and starts it; returns when every NF runs.
    pub fn start(source: &str, files: &[(&str, &str)]) -> Result<Self, BenchError> {
        Self::start_with(source, files, &[])
    }

    /// The same with further arguments.
    pub fn start_with(source: &str, files: &[(&str, &str)], arguments: &[&str]) -> Result<Self, BenchError> {
        let dir = TempDir::with_prefix("onvm-bench-").map_err(BenchError::system("a temporary directory"))?;
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).map_err(BenchError::system(name.to_owned()))
        };
        write("bench.chain", source)?;
        files.iter().try_for_each(|(name, text)| write(name, text))?;
        let bundle = dir.path().join("bench.bundle");
        host::must(
            Command::new(host::program("onvmc")?)
                .args(["build", "--out"])
                .arg(&bundle)
                .arg(dir.path().join("bench.chain")),
        )?;
        host::program("onvm-nf")?;
        let log = File::create(dir.path().join("log")).map_err(BenchError::system("the log"))?;
        let summary = File::create(dir.path().join("summary")).map_err(BenchError::system("the summary"))?;
        let run_dir = dir.path().join("run");
        let child = Command::new(host::program("onvm-run")?)
            .arg(&bundle)
            .arg("--run-dir")
            .arg(&run_dir)
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(summary)
            .stderr(log)
            .spawn()
            .map_err(BenchError::system("onvm-run cannot be started"))?;
        let mut manager = Self {
            child,
            client: Client::new(run_dir.join("bench").join(CONTROL_SOCKET)),
            dir,
        };
        manager.await_running()?;
        Ok(manager)
    }

    fn await_running(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failed(&format!("ended with {status} before it was ready")));
            }
            if self.status().is_ok_and(|s| is_running(&s)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.failed("was not ready in time"));
            }
            thread::sleep(LOOK_PERIOD);
        }
    }

    /// What `GET /v1/status` says now.
    pub fn status(&self) -> Result<Status, BenchError> {
        let status = self.client.status();
        status.map_err(|e| self.failed(&format!("gave no status: {e}")))
    }

    /// What leaves by a port in a second, measured after a while.
    pub fn rate(&self, port: &str, (warm_up, measured): (Duration, Duration)) -> Result<Rate, BenchError> {
        // The manager's own clock, since it reads the counters when it reads that.
        let delivered = || {
            let status = self.status()?;
            let port = status.ports.iter().find(|p| p.name == port);
            port.map(|p| (p.tx_packets, p.tx_bytes, status.uptime_s))
                .ok_or(BenchError::Needs("the port in the status"))
        };
        thread::sleep(warm_up);
        let (packets, bytes, began) = delivered()?;
        thread::sleep(measured);
        let (packets_then, bytes_then, ended) = delivered()?;
        let each = |before: u64, after: u64| (after - before) as f64 / (ended - began);
        Ok(Rate {
            packets: each(packets, packets_then),
            bytes: each(bytes, bytes_then),
        })
    }

    /// Goes over to another program.
    pub fn apply(&self, source: &str) -> Result<ApplyReply, BenchError> {
        let path = |name: &str| self.dir.path().join(name);
        std::fs::write(path("bench.chain"), source).map_err(BenchError::system("the source"))?;
        let bundle = path("next.bundle");
        host::must(
            Command::new(host::program("onvmc")?)
                .args(["build", "--out"])
                .arg(&bundle)
                .arg(path("bench.chain")),
        )?;
        let request = ApplyRequest {
            version: API_VERSION,
            bundle: bundle.display().to_string(),
            base: None,
        };
        let applied = self.client.apply(&request);
        applied.map_err(|e| self.failed(&format!("did not take an edit: {e}")))
    }

    /// Processor time of the manager and its NFs together since they started.
    pub fn processor_time(&self) -> Result<Duration, BenchError> {
        let status = self.status()?;
        let nfs = status
            .services
            .iter()
            .flat_map(|s| &s.instances)
            .filter_map(|i| i.pid);
        nfs.chain([self.child.id()]).map(processor_time).sum()
    }

    /// Stops it by SIGTERM, as an operator would, and requires that it ends well.
    pub fn stop(mut self) -> Result<(), BenchError> {
        self.end()
    }

    /// The same for one that was started with `--json`; what it prints at its end.
    pub fn stop_with_summary(mut self) -> Result<serde_json::Value, BenchError> {
        self.end()?;
        let text = std::fs::read(self.dir.path().join("summary")).unwrap_or_default();
        serde_json::from_slice(&text).map_err(|e| self.failed(&format!("ended without a summary: {e}")))
    }

    fn end(&mut self) -> Result<(), BenchError> {
        match self.terminate() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.failed(&format!("ended with {status} when it was stopped"))),
            None => Err(self.failed("did not stop in time")),
        }
    }

    fn terminate(&mut self) -> Option<std::process::ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(LOOK_PERIOD);
        }
        None
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn failed(&self, what: &str) -> BenchError {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        BenchError::Manager {
            what: what.to_owned(),
            log: lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if self.terminate().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn is_running(status: &Status) -> bool {
    let mut instances = status.services.iter().flat_map(|s| &s.instances);
    status.state == ManagerState::Running && instances.all(|i| i.state == InstanceState::Running)
}

/// User and system time of a process, all its threads together (`proc(5)`: fields 14 and 15 of `stat`, in clock ticks).
fn processor_time(pid: u32) -> Result<Duration, BenchError> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(BenchError::system(path))?;
    // The name, field 2, is in parentheses and may hold anything.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_secs_f64(
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
    ))
}

/// Seconds.
const DAY: f64 = 86_400.0;

/// Between two times of the log, as `2026-11-27T11:58:23.058308Z`, of which the second is less than a day later.
pub fn milliseconds_between(began: &str, ended: &str) -> Option<f64> {
    Some((of_day(ended)? - of_day(began)?).rem_euclid(DAY) * 1e3)
}

/// Seconds since midnight.
fn of_day(time: &str) -> Option<f64> {
    let (_, time) = time.strip_suffix('Z')?.split_once('T')?;
    let parts: Vec<f64> = time
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts[..] else {
        return None;
    };
    Some((hours * 60.0 + minutes) * 60.0 + seconds)
}
