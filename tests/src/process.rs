//! Processes as `/proc` shows them.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
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

/// Processes that work in a directory or below it, as network functions do in their instance's; ended ones, which may
/// not have been reaped, do not count.
pub fn below(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let works_there = |pid: &u32| {
        // Of a removed directory the name ends in " (deleted)".
        let there = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
        there && !has_ended(*pid)
    };
    pids.filter(works_there).collect()
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
