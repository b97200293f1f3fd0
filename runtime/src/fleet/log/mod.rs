//! The output of an NF goes to the manager's log, line by line; a panic as an error.

pub(super) mod limit;
mod panics;
pub(super) mod quote;

use std::{io, os::fd::OwnedFd};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::unix::pipe,
};

use self::{
    limit::{Limit, WHEN_FLOODED},
    panics::{Line, Panics},
    quote::quote,
};

/// Bytes of a logged line; a longer one is logged in pieces, so that no NF can fill the manager's memory.
const LONGEST_LINE: usize = 4096;

/// Lines of one stream that are logged in one window.
const LINES_PER_WINDOW: u32 = 200;

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
        limit: Limit::new(LINES_PER_WINDOW),
        panics: Panics::default(),
    };
    let mut chunk = [0; 4096];
    loop {
        // A broken pipe is the stream's end.
        let n = stream.read(&mut chunk).await.unwrap_or(0);
        chunk[..n].iter().for_each(|&byte| lines.take(byte));
        if n == 0 {
            return lines.end();
        }
        if lines.limit.is_over() {
            tokio::time::sleep(WHEN_FLOODED).await;
        }
    }
}

struct Lines {
    instance: String,
    line: Vec<u8>,
    limit: Limit,
    panics: Panics,
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
        let Self {
            instance,
            line,
            limit,
            panics,
        } = self;
        // Empty lines count, so that an NF that prints these without end has to wait as well.
        if limit.pass(|n| left_out(instance, n)) && !line.is_empty() {
            for line in panics.look(line) {
                match line {
                    Line::Plain(line) => {
                        tracing::info!(target: "nf", instance = %instance, "{}", quote(line, LONGEST_LINE));
                    }
                    Line::Panic(line) => log_panic(instance, &line),
                }
            }
        }
        line.clear();
    }

    fn end(mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
        let Self {
            instance,
            limit,
            panics,
            ..
        } = &mut self;
        if let Some(line) = panics.end() {
            log_panic(instance, &line);
        }
        limit.close(|n| left_out(instance, n));
    }
}

fn log_panic(instance: &str, line: &[u8]) {
    tracing::error!(target: "nf", instance = %instance, "{}", quote(line, LONGEST_LINE));
}

fn left_out(instance: &str, lines: u64) {
    tracing::warn!(target: "nf", instance = %instance, lines, "printed too much; lines left out");
}
