//! Ending an NF's process and all that it has started.

use std::{
    io,
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

/// Kills the process if it still runs, and reaps it.
pub(super) async fn end_process(child: Option<&mut Child>) {
    if let Some(child) = child {
        kill_group(child);
        // Fails only for a process that has been reaped.
        let _ = child.kill().await;
    }
}

pub(super) fn describe_exit(status: io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("its process ended ({status})"),
        Err(e) => format!("its process cannot be waited for: {e}"),
    }
}
