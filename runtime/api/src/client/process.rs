//! A manager's process, to wait for its end.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// A manager's process, whatever process has its id later.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    pub(super) fn open(pid: Pid) -> io::Result<Self> {
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Whether it ends in that time.
    pub fn ends_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut ended = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut ended, Timespec::try_from(left).ok().as_ref()) {
                Ok(n) if n > 0 => return true,
                Ok(_) | Err(_) if left.is_zero() => return false,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(Pid::from_child(&child)).unwrap();
        assert!(!process.ends_within(Duration::from_millis(20)));
        child.kill().unwrap();
        assert!(process.ends_within(Duration::from_secs(20)));
        child.wait().unwrap();
    }
}
