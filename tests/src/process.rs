//! Processes as `/proc` shows them.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// Looks again every few milliseconds until `look` gives something; none when the time is over.
pub fn wait_for<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn signal(pid: u32, signal: Signal) {
    let id = Pid::from_raw(pid as i32).expect("a process id is positive");
    rustix::process::kill_process(id, signal)
        .unwrap_or_else(|e| panic!("process {pid} gets no {signal:?}: {e}"));
}

/// A field of `/proc/PID/status`, e.g. `CapEff`.
pub fn status_field(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_else(|e| panic!("process {pid} cannot be looked at: {e}"));
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("/proc/{pid}/status has no {field}"))
        .trim()
        .to_owned()
}

/// The names of a process's threads.
pub fn thread_names(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let name = |task: std::io::Result<fs::DirEntry>| {
        let name = fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        Some(name.trim().to_owned())
    };
    tasks.filter_map(name).collect()
}

/// The process is gone or waits to be reaped.
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|rest| rest.trim_start().starts_with('Z') || rest.is_empty())
}

/// The process group of a process.
pub fn process_group(pid: u32) -> u32 {
    let pid = Pid::from_raw(pid as i32).expect("a process id is positive");
    let group = rustix::process::getpgid(Some(pid)).expect("the process runs");
    group.as_raw_nonzero().get() as u32
}

/// A process that no later one with its id can be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub pid: u32,
    /// In ticks since the host's start.
    started: u64,
}

impl Identity {
    /// It runs, and does not wait to be reaped.
    pub fn runs(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.state != 'Z' && stat.started == self.started)
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// All processes of this host.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// The running processes that a process has started, and those that these have started.
pub fn descendants(ancestor: u32) -> Vec<Identity> {
    let all: Vec<(u32, Stat)> = all().filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(
            all.iter()
                .filter(|(_, s)| s.parent == parent)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    let identity = |(pid, stat): &(u32, Stat)| Identity {
        pid: *pid,
        started: stat.started,
    };
    let below = |pid: &u32| *pid != ancestor && found.contains(pid);
    let running = all.iter().filter(|(pid, stat)| below(pid) && stat.state != 'Z');
    running.map(identity).collect()
}

/// The process's open descriptors and what they lead to.
pub fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let entries =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap_or_else(|e| panic!("descriptors of {pid}: {e}"));
    let read = |entry: fs::DirEntry| {
        Some((
            entry.file_name().to_str()?.parse().ok()?,
            fs::read_link(entry.path()).ok()?,
        ))
    };
    entries.flatten().filter_map(read).collect()
}

/// A process that is killed when dropped.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    pub fn start(mut command: Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        Self(
            command
                .spawn()
                .expect("the program can be started; `make setup` installs what the tests need"),
        )
    }

    /// The first line that it prints which holds `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines
            .find_map(|l| l.ok().filter(|l| l.contains(text)))
            .unwrap_or_else(|| panic!("it ended without printing {text:?}"))
    }

    /// Waits for its end, which must be a success, and gives what it printed.
    pub fn finish(mut self, within: Duration) -> String {
        let status = wait_for(within, || self.0.try_wait().unwrap()).expect("it ends in time");
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(status.success(), "{status}: {text}");
        text
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
