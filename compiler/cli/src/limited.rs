//! Running a program to its end, or to a limit.

use std::{
    io::{self, Read},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Between looks whether it has ended.
const LOOK: Duration = Duration::from_millis(5);
/// For it to end in order once it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) output: Output,
    /// It was stopped at its limit.
    pub(super) stopped: bool,
}

/// Runs the command and collects what it prints. At the limit it gets SIGTERM, and SIGKILL if it does not obey.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    run_on(command, Stdio::null(), limit)
}

/// The same for a command that reads its input.
pub(super) fn run_on(command: &mut Command, input: Stdio, limit: Duration) -> io::Result<Ended> {
    let piped = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let in_time = ends_within(&mut child, limit)?;
    if !in_time {
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        if !ends_within(&mut child, GRACE)? {
            let _ = child.kill();
        }
    }
    let status = child.wait()?;
    let text = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    let output = Output {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    };
    Ok(Ended {
        output,
        stopped: !in_time,
    })
}

fn ends_within(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() >= limit {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
    Ok(true)
}

/// Reads to the end aside: a pipe that nobody reads would stop the writer.
fn collect(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Ended {
        run(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn one_that_ends_in_time_is_left_alone() {
        let ended = shell("echo out; echo err >&2; exit 3", Duration::from_secs(60));
        assert!(!ended.stopped);
        assert_eq!(ended.output.status.code(), Some(3));
        assert_eq!(
            (&*ended.output.stdout, &*ended.output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn one_that_does_not_end_is_stopped_and_what_it_said_is_kept() {
        let ended = shell("echo before; exec sleep 1000", Duration::from_millis(200));
        assert!(ended.stopped && !ended.output.status.success());
        assert_eq!(ended.output.stdout, b"before\n");
    }
}
