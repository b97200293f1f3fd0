//! Ending an NF's process and all that it has started.

use std::{
    collections::HashSet,
    fs, io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::process::Child;

/// Waits until the process has ended, without reaping it: until then its group can be named safely.
pub(super) async fn has_ended(child: &Child, at_most: Duration) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let Some(pid) = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
    else {
        return;
    };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let began = Instant::now();
    while matches!(waitid(WaitId::Pid(pid), look), Ok(None)) && began.elapsed() < at_most {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Kills what the process has started, and the process: it leads a process group of its own.
pub(super) fn kill_group(child: &Child) {
    if let Some(group) = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
    {
        // Fails when there is nobody left in the group.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// The processes that this manager started and has not reaped.
#[derive(Debug, Default)]
pub(super) struct Children(Mutex<HashSet<u32>>);

impl Children {
    pub(super) fn add(&self, child: &Child) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(child.id());
    }

    /// Kills the process if it still runs, reaps it, and ends what it left behind.
    pub(super) async fn end(&self, child: Option<&mut Child>, id: Option<u32>) {
        let Some(child) = child else { return };
        kill_group(child);
        // Fails only for a process that has been reaped.
        let _ = child.kill().await;
        if let Some(id) = id {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.remove(&id);
        }
        self.sweep();
    }

    /// Ends and reaps the children of this process that it did not start: what NFs left behind, be it in a session of its
    /// own. Those of the killed become children in turn, so it looks again.
    pub(super) fn sweep(&self) {
        const DEEPEST: usize = 16;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..DEEPEST {
            let strangers: Vec<u32> = children().into_iter().filter(|id| !known.contains(id)).collect();
            if strangers.is_empty() {
                return;
            }
            strangers.into_iter().for_each(kill_and_reap);
        }
    }
}

/// The children of all threads of this process; none, where the kernel does not list them.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let numbers = |list: String| {
        list.split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect::<Vec<u32>>()
    };
    lists.flat_map(numbers).collect()
}

fn kill_and_reap(id: u32) {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
    let Some(pid) = Pid::from_raw(id as i32) else {
        return;
    };
    let _ = kill_process(pid, Signal::KILL);
    // One that takes longer to go is reaped by a later sweep.
    let began = Instant::now();
    while matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) && began.elapsed() < MOMENT {
        std::thread::yield_now();
    }
}

/// How long the control thread waits for a killed process.
const MOMENT: Duration = Duration::from_millis(2);

pub(super) fn describe_exit(status: io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("its process ended ({status})"),
        Err(e) => format!("its process cannot be waited for: {e}"),
    }
}
