//! The signals that end a manager.

use crate::error::RunError;

/// SIGTERM, SIGINT, and SIGHUP: the terminal or the session goes, as after `onvm-run … &` and a logout.
#[derive(Debug)]
pub(super) struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    /// None, where it was ignored when this process was started, as `nohup` does.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    pub(super) fn new() -> Result<Self, RunError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = RunError::system("signals cannot be watched");
        Ok(Self {
            term: signal(SignalKind::terminate()).map_err(&failed)?,
            int: signal(SignalKind::interrupt()).map_err(&failed)?,
            hangup: match ignores_hangup() {
                true => None,
                false => Some(signal(SignalKind::hangup()).map_err(&failed)?),
            },
        })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            Some(_) = async { self.hangup.as_mut()?.recv().await } => {}
        }
    }
}

fn ignores_hangup() -> bool {
    // A mask of all signals, of which that is the first.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 != 0))
}
