//! Ending an NF's process and all that it has started.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use crate::jail::{self, NfProcess};

/// Kills the process if it still runs, reaps it, and ends processes that it left behind.
pub(crate) async fn end(process: &mut NfProcess) {
    process.kill();
    // Fails only where the kernel refuses to say how it ended.
    let _ = process.wait().await;
    sweep();
}

/// Ends and reaps the children of this process that it did not start: what NFs left behind, be it in a session of its own. Those
/// of the killed become children in turn, so it looks again.
pub(crate) fn sweep() {
    const DEEPEST: usize = 16;
    for _ in 0..DEEPEST {
        let strangers: Vec<u32> = children()
            .into_iter()
            .filter(|id| !jail::has_started(*id))
            .collect();
        if strangers.is_empty() {
            return;
        }
        strangers.into_iter().for_each(kill_and_reap);
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

pub(crate) fn describe_exit(process: &NfProcess, status: io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(_) if process.ran_out_of_memory() => {
            "the kernel ended it: it took more than its `memory`, kernel memory included".to_owned()
        }
        Ok(status) => format!("its process ended ({status})"),
        Err(e) => format!("its process cannot be waited for: {e}"),
    }
}
