//! Replays: captures through the real `onvm-run` and real NF processes, on ports that are captures.

use std::{
    collections::HashMap,
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use onvm_api::{ChainStatus, Drop, PortStatus, Reason, ServiceStatus};
use onvm_bundle::{HugePages, PathRef, Port, PortKind, hash_bytes};
use onvm_captures::{Capture, CaptureError};
use onvmc::{
    Program,
    artifact::Artifact,
    scenarios::{Failure, Observed, Replay, compare},
    sources::Sources,
};

use super::{disk::write_bundle, limited};

const MANAGER: &str = "onvm-run";

/// Runs the captures of a test to their end. Gives the expectations that do not hold.
pub(super) fn run(
    program: &Program,
    sources: &Sources,
    replay: &Replay,
    limit: Duration,
) -> Result<Vec<Failure>, String> {
    let captures = replay.captures.iter();
    let captures: Vec<_> = captures
        .map(|(port, c)| (port.as_str(), c.path.as_path()))
        .collect();
    let seen = Seen::of_run(program, sources, &captures, limit)?;
    let lost = seen.summary.drops.iter();
    let lost = lost.filter(|d| !Reason::named(&d.reason).is_some_and(Reason::is_decided));
    let lost: Vec<String> = lost
        .map(|d| format!("{} {} at {}", d.packets, d.reason, d.place))
        .collect();
    if !lost.is_empty() || !seen.summary.balanced {
        return Err(format!(
            "the run lost packets that no chain drops ({}). Run the bundle with {MANAGER} to see its log.",
            lost.join(", ")
        ));
    }
    Ok(compare(replay, &seen))
}

/// The program with captures in place of its ports, and nothing that needs a certain host.
fn on_captures(program: &Program, captures: &[(&str, &Path)], directory: &Path) -> Result<Program, String> {
    let mut program = program.clone();
    program.name = "test".to_owned();
    program.manager.hugepages = HugePages::Off;
    // As many threads as the program asks for, wherever they run.
    program.manager.workers.cores.clear();
    for port in &mut program.manager.ports {
        let read = captures.iter().find(|(name, _)| *name == port.name);
        let read = read
            .map(|(_, capture)| {
                std::path::absolute(capture)
                    .map(|whole| host(&whole))
                    .map_err(|e| format!("cannot use {}: {e}", capture.display()))
            })
            .transpose()?;
        *port = Port {
            queues: 1,
            mtu: None,
            mac: None,
            kind: PortKind::Pcap {
                read,
                write: Some(host(&output(directory, &port.name))),
                repeat: false,
            },
            ..port.clone()
        };
    }
    Ok(program)
}

fn host(path: &Path) -> PathRef {
    PathRef::Host(path.to_string_lossy().into_owned())
}

/// Where packets go that leave by a port.
fn output(directory: &Path, port: &str) -> PathBuf {
    directory.join(format!("out-{port}.pcap"))
}

/// The final balance of `onvm-run`, as far as it is looked at here.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Summary {
    pub(super) ports: Vec<PortStatus>,
    pub(super) chains: Vec<ChainStatus>,
    services: Vec<ServiceStatus>,
    pub(super) drops: Vec<Drop>,
    pub(super) balanced: bool,
}

fn manage(bundle: &Path, run_dir: &Path, limit: Duration) -> Result<Summary, String> {
    let beside = env::current_exe()
        .ok()
        .and_then(|p| Some(p.parent()?.join(MANAGER)));
    let program = beside.filter(|p| p.is_file()).unwrap_or_else(|| MANAGER.into());
    let mut command = Command::new(&program);
    command
        .arg(bundle)
        .args(["--exit-when-done", "--json", "--run-dir"])
        .arg(run_dir);
    let ended = limited::run(&mut command, limit).map_err(|e| match e.kind() {
        ErrorKind::NotFound => format!(
            "replays run on {MANAGER}, and there is none beside onvmc or in PATH. Install it with `make install`, or leave \
             replays out with --filter."
        ),
        _ => format!("cannot run {}: {e}", program.display()),
    })?;
    let done = ended.output;
    let said = String::from_utf8_lossy(&done.stderr);
    if ended.stopped {
        return Err(format!(
            "the run did not end within {} s and was stopped. Give it more time with --timeout, or run the bundle with \
             {MANAGER} to see what it waits for.",
            limit.as_secs()
        ));
    }
    if !done.status.success() {
        let why = said.lines().rev().find_map(|l| l.strip_prefix("error: "));
        return Err(format!(
            "{MANAGER}: {}",
            why.unwrap_or("it ended without a reason")
        ));
    }
    serde_json::from_slice(&done.stdout)
        .map_err(|e| format!("{MANAGER} is of another version than onvmc: its balance cannot be read ({e})"))
}

/// The results of a run.
pub(super) struct Seen {
    pub(super) summary: Summary,
    /// With what left by each port.
    scratch: tempfile::TempDir,
}

impl Seen {
    /// Runs captures, each into its port, to their end.
    pub(super) fn of_run(
        program: &Program,
        sources: &Sources,
        captures: &[(&str, &Path)],
        limit: Duration,
    ) -> Result<Self, String> {
        let scratch = tempfile::Builder::new()
            .prefix("onvmc-test-")
            .tempdir()
            .map_err(|e| format!("cannot make a directory for the run: {e}"))?;
        let bundle = scratch.path().join("bundle");
        let replaced = on_captures(program, captures, scratch.path())?;
        let artifact =
            Artifact::new(&replaced, sources).map_err(|e| format!("{e}. This is a fault of onvmc."))?;
        write_bundle(&artifact, &bundle).map_err(|e| e.to_string())?;
        let summary = manage(&bundle, &scratch.path().join("run"), limit)?;
        Ok(Self { summary, scratch })
    }

    /// What left by the port.
    pub(super) fn output(&self, port: &str) -> PathBuf {
        output(self.scratch.path(), port)
    }
}

impl Observed for Seen {
    fn packets(&self, port: &str) -> Option<u64> {
        let status = self.summary.ports.iter().find(|p| p.name == port)?;
        Some(status.tx_packets)
    }

    fn counter(&self, nf: &str, counter: &str) -> Option<u64> {
        let service = self.summary.services.iter().find(|s| s.name == nf)?;
        let values = service.instances.iter().map(|i| i.counters.get(counter).copied());
        values.collect::<Option<Vec<u64>>>().map(|v| v.iter().sum())
    }

    /// In any order: NFs run beside each other, so packets of different flows may change places.
    fn same_as(&self, port: &str, capture: &Path) -> Result<(), String> {
        let mut balance: HashMap<String, (i64, u64)> = HashMap::new();
        let unread = |e: CaptureError| e.to_string();
        let wanted = Capture::open(capture).map_err(unread)?.for_each(|p| {
            let entry = balance.entry(hash_bytes(p.data)).or_insert((0, p.number));
            entry.0 += 1;
        });
        wanted.map_err(unread)?;
        let mut extra = 0;
        let mut first_extra = 0;
        let seen = Capture::open(&self.output(port)).map_err(unread)?.for_each(|p| {
            let entry = balance.entry(hash_bytes(p.data)).or_insert((0, 0));
            entry.0 -= 1;
            if entry.0 < 0 {
                extra += 1;
                first_extra = if extra == 1 { p.number } else { first_extra };
            }
        });
        seen.map_err(unread)?;
        let missing: i64 = balance.values().map(|(n, _)| (*n).max(0)).sum();
        let absent = balance
            .values()
            .filter(|(n, _)| *n > 0)
            .map(|(_, number)| *number);
        let mut differences = Vec::new();
        if let Some(first) = absent.min() {
            differences.push(format!(
                "packets of it that do not leave: {missing}, number {first} is the first"
            ));
        }
        if extra > 0 {
            differences.push(format!(
                "packets that leave and that it does not hold: {extra}, number {first_extra} of those that leave is the first"
            ));
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(differences.join("; ")),
        }
    }
}
