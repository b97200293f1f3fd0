//! What an NF prints goes to the manager's log, line by line.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::unix::pipe,
};

/// Bytes of a logged line; a longer one is logged in pieces, so that no NF can fill the manager's memory.
const LONGEST_LINE: usize = 4096;

/// Lines of one stream that are logged in one window; the others are counted.
const LINES_PER_WINDOW: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);
/// Pause between reads of a stream that prints more.
const WHEN_FLOODED: Duration = Duration::from_millis(10);

/// Logs a stream until the process closes it.
pub(super) fn forward(instance: &str, stream: OwnedFd) -> io::Result<()> {
    let stream = pipe::Receiver::from_owned_fd(stream)?;
    tokio::task::spawn_local(log(instance.to_owned(), stream));
    Ok(())
}

async fn log(instance: String, mut stream: impl AsyncRead + Unpin) {
    let mut lines = Lines {
        instance,
        line: Vec::with_capacity(LONGEST_LINE),
        window: Instant::now(),
        logged: 0,
        left_out: 0,
    };
    let mut chunk = [0; 4096];
    loop {
        // A broken pipe is the stream's end.
        let n = stream.read(&mut chunk).await.unwrap_or(0);
        chunk[..n].iter().for_each(|&byte| lines.take(byte));
        if n == 0 {
            if !lines.line.is_empty() {
                lines.emit();
            }
            return lines.next_window();
        }
        if lines.left_out > 0 {
            // Who prints that much must not keep the control thread busy.
            tokio::time::sleep(WHEN_FLOODED).await;
        }
    }
}

struct Lines {
    instance: String,
    line: Vec<u8>,
    window: Instant,
    /// Lines in this window.
    logged: u32,
    left_out: u64,
}

impl Lines {
    fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            self.line.push(byte);
        }
        if byte == b'\n' || self.line.len() == LONGEST_LINE {
            self.emit();
        }
    }

    fn emit(&mut self) {
        if self.window.elapsed() >= WINDOW {
            self.next_window();
        }
        if self.logged >= LINES_PER_WINDOW {
            self.left_out += 1;
        } else {
            // Empty lines count, so that who prints these without end has to wait as well.
            self.logged += 1;
            if !self.line.is_empty() {
                tracing::info!(target: "nf", instance = %self.instance, "{}", String::from_utf8_lossy(&self.line));
            }
        }
        self.line.clear();
    }

    fn next_window(&mut self) {
        if self.left_out > 0 {
            tracing::warn!(target: "nf", instance = %self.instance, lines = self.left_out, "printed too much; lines left out");
        }
        (self.window, self.logged, self.left_out) = (Instant::now(), 0, 0);
    }
}
