//! What the figures are taken on.

use std::{path::PathBuf, process::Command};

use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};

use crate::BenchError;

/// Written beside the figures, since none means anything without it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// Cores that this process may use.
    pub cores: usize,
    pub cpu: String,
    /// Nominal clock: what cycles per hop are counted in.
    pub clock_mhz: f64,
    pub kernel: String,
    pub huge_pages_free: u64,
    pub dpdk: String,
    pub rustc: String,
    /// Runnable threads over the last minute when the run began: much above zero, others were at work.
    pub load: f64,
}

impl Host {
    pub fn look() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo
                .lines()
                .find(|l| l.split(':').next().is_some_and(|k| k.trim() == name));
            line.and_then(|l| l.split_once(':'))
                .map(|(_, v)| v.trim().to_owned())
        };
        Self {
            cores: allowed_cores().len(),
            cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            clock_mhz: field("cpu MHz").and_then(|v| v.parse().ok()).unwrap_or(0.0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            huge_pages_free: read("/proc/meminfo")
                .lines()
                .find_map(|l| l.strip_prefix("HugePages_Free:"))
                .and_then(|n| n.trim().parse().ok())
                .unwrap_or(0),
            dpdk: ask("pkg-config", &["--modversion", "libdpdk"]),
            rustc: ask("rustc", &["--version"]),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0.0),
        }
    }
}

/// The cores that this process may use, in order.
pub fn allowed_cores() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).ok();
    (0..CpuSet::MAX_CPU)
        .filter(|&c| set.as_ref().is_some_and(|s| s.is_set(c)))
        .collect()
}

/// The cores of worker and NFs, where `onvm-run` puts them.
pub fn two_cores() -> Result<[usize; 2], BenchError> {
    match allowed_cores().as_slice() {
        &[worker, nfs, ..] => Ok([worker, nfs]),
        _ => Err(BenchError::Needs("two cores")),
    }
}

const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";
/// Of 2 MiB: enough for a manager, or for testpmd.
const WANTED_PAGES: u64 = 256;

/// Huge pages for programs that are started while this value lives; then their number is what it was.
#[derive(Debug)]
pub struct HugePages {
    before: Option<u64>,
    /// How many there are.
    pub there: u64,
}

impl HugePages {
    /// More of them where this process may have the kernel make some.
    pub fn reserve() -> Self {
        let number = || read(HUGE_PAGES).trim().parse().unwrap_or(0);
        let before = number();
        let more = before < WANTED_PAGES && std::fs::write(HUGE_PAGES, WANTED_PAGES.to_string()).is_ok();
        Self {
            before: more.then_some(before),
            there: number(),
        }
    }

    pub fn note(&self) -> String {
        match self.there {
            0 => "no huge pages: packets and rings lie in 4 KiB pages; as root the benchmark reserves some"
                .to_owned(),
            n => format!("with {n} huge pages"),
        }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = self.before
            && let Err(e) = std::fs::write(HUGE_PAGES, before.to_string())
        {
            eprintln!("{HUGE_PAGES} could not be set back to {before}: {e}");
        }
    }
}

/// Binds the calling thread to one core.
pub fn pin(core: usize) -> Result<(), BenchError> {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).map_err(BenchError::errno(format!(
        "a thread cannot be bound to core {core}"
    )))
}

/// A program that is built together with this one.
pub fn program(name: &'static str) -> Result<PathBuf, BenchError> {
    let own = std::env::current_exe().map_err(BenchError::system("this program's own path"))?;
    let dir = own.parent().unwrap_or(&own).to_owned();
    let path = dir.join(name);
    match path.is_file() {
        true => Ok(path),
        false => Err(BenchError::Missing { program: name, dir }),
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command that must succeed; returns its standard output.
/// The `onvm-nf` that needs no library, as `sh .ci/static --release` leaves it.
pub fn static_onvm_nf() -> Result<PathBuf, BenchError> {
    let own = program("onvm-nf")?;
    let dir = own.parent().unwrap_or(&own);
    let (target, profile) = (dir.parent().unwrap_or(dir), dir.file_name().unwrap_or_default());
    let machine = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let path = target.join(machine).join(profile).join("onvm-nf");
    match path.is_file() {
        true => Ok(path),
        false => Err(BenchError::Needs("a static onvm-nf (`sh .ci/static --release`)")),
    }
}

pub fn must(command: &mut Command) -> Result<String, BenchError> {
    let name = format!("`{} ...`", command.get_program().to_string_lossy());
    let output = command
        .output()
        .map_err(BenchError::system(format!("{name} cannot be run")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(BenchError::Command {
            command: name,
            status: output.status.to_string(),
            output: text(&output.stdout) + &text(&output.stderr),
        }),
    }
}

fn ask(program: &str, arguments: &[&str]) -> String {
    let output = must(Command::new(program).args(arguments));
    output.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The file's text; empty when there is none, as on a kernel without that feature.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
