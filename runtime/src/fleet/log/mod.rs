//! The output of an NF goes to the manager's log, line by line, at the level that the line states; a panic as an error.

pub(crate) mod journal;
pub(super) mod limit;
mod panics;
pub(super) mod quote;

use std::{io, os::fd::OwnedFd, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use nflib::log::Level;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::unix::pipe,
};
use tokio_util::io::StreamReader;

use self::{
    journal::Journal,
    limit::{Limit, WHEN_FLOODED},
    panics::{Line, Panics},
    quote::quote,
};

/// Bytes of a logged line; a longer one is logged in pieces, so that no NF can fill the manager's memory.
const LONGEST_LINE: usize = 4096;

/// Lines of one stream that are logged in one window.
const LINES_PER_WINDOW: u32 = 200;

/// Logs a stream until the process closes it.
pub(super) fn forward(instance: &str, journal: &Arc<Journal>, stream: OwnedFd) -> io::Result<()> {
    let stream = pipe::Receiver::from_owned_fd(stream)?;
    tokio::task::spawn_local(log(instance.to_owned(), journal.clone(), stream));
    Ok(())
}

/// Logs pieces of output as they come.
pub(super) fn forward_pieces(
    instance: &str,
    journal: &Arc<Journal>,
    pieces: impl Stream<Item = Bytes> + 'static,
) {
    let pieces = pieces.map(Ok::<_, io::Error>);
    let stream = StreamReader::new(Box::pin(pieces));
    tokio::task::spawn_local(log(instance.to_owned(), journal.clone(), stream));
}

async fn log(instance: String, journal: Arc<Journal>, mut stream: impl AsyncRead + Unpin) {
    let mut lines = Lines {
        instance,
        journal,
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
    journal: Arc<Journal>,
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
            journal,
            line,
            limit,
            panics,
        } = self;
        // Empty lines count, so that an NF that prints these without end has to wait as well.
        if limit.pass(|n| left_out(instance, n)) && !line.is_empty() {
            for line in panics.look(line) {
                match line {
                    Line::Plain(line) => log_line(instance, journal, line),
                    Line::Panic(line) => log_panic(instance, journal, &line),
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
            journal,
            limit,
            panics,
            ..
        } = &mut self;
        if let Some(line) = panics.end() {
            log_panic(instance, journal, &line);
        }
        limit.close(|n| left_out(instance, n));
    }
}

/// The least severe level of which messages of NFs are shown.
pub(super) fn shown() -> &'static str {
    if tracing::enabled!(target: "nf", tracing::Level::TRACE) {
        "trace"
    } else if tracing::enabled!(target: "nf", tracing::Level::DEBUG) {
        "debug"
    } else if tracing::enabled!(target: "nf", tracing::Level::INFO) {
        "info"
    } else if tracing::enabled!(target: "nf", tracing::Level::WARN) {
        "warn"
    } else {
        "error"
    }
}

/// At the level that the line states.
fn log_line(instance: &str, journal: &Journal, line: &[u8]) {
    let (level, line) = nflib::log::level_of(line);
    let line = quote(line, LONGEST_LINE);
    journal.write(instance, level, &line);
    match level {
        Level::Error => tracing::error!(target: "nf", instance = %instance, "{line}"),
        Level::Warn => tracing::warn!(target: "nf", instance = %instance, "{line}"),
        Level::Info => tracing::info!(target: "nf", instance = %instance, "{line}"),
        Level::Debug | Level::Trace => tracing::debug!(target: "nf", instance = %instance, "{line}"),
    }
}

fn log_panic(instance: &str, journal: &Journal, line: &[u8]) {
    let line = quote(line, LONGEST_LINE);
    journal.write(instance, Level::Error, &line);
    tracing::error!(target: "nf", instance = %instance, "{line}");
}

fn left_out(instance: &str, lines: u64) {
    tracing::warn!(target: "nf", instance = %instance, lines, "printed too much; lines left out");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock, Mutex};

    use tracing::{Dispatch, subscriber::NoSubscriber};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What is logged, as text.
    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What is enabled is looked up in one place for all threads, which the filter of one test changes for the others.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    /// Where there is one subscriber alone, a thread that looks first, and has none, would have its answer kept for all threads: that
    /// nothing is enabled.
    static OTHERS: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::default())));

    /// The log under a filter, and the level that NFs are told.
    fn logged(filter: &str, printed: &str) -> (Vec<String>, &'static str) {
        let _guard = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        LazyLock::force(&OTHERS);
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(written.clone())
            .without_time()
            .with_ansi(false)
            .finish();
        let shown = tracing::subscriber::with_default(subscriber, || {
            let mut lines = Lines {
                instance: "fw-0".to_owned(),
                journal: Arc::default(),
                line: Vec::new(),
                limit: Limit::new(LINES_PER_WINDOW),
                panics: Panics::default(),
            };
            printed.bytes().for_each(|byte| lines.take(byte));
            lines.end();
            shown()
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines = text
            .lines()
            .map(|line| line.replace(" nf: ", " ").replace(" instance=fw-0", ""));
        (lines.map(|line| line.trim().to_owned()).collect(), shown)
    }

    #[test]
    fn a_line_is_logged_at_the_level_that_it_states() {
        let printed = "plain\n<3>bad\n<4>doubtful\n<7>detail\n<6>last";
        let (lines, level) = logged("trace", printed);
        assert_eq!(
            lines,
            [
                "INFO plain",
                "ERROR bad",
                "WARN doubtful",
                "DEBUG detail",
                "INFO last"
            ]
        );
        assert_eq!(level, "trace");
        let (lines, level) = logged("info,nf=warn", printed);
        assert_eq!((lines.len(), level), (2, "warn"));
    }

    #[test]
    fn nfs_are_told_what_is_shown_of_them() {
        for (filter, expected) in [
            ("error", "error"),
            ("info", "info"),
            ("warn,nf=debug", "debug"),
            ("off", "error"),
        ] {
            assert_eq!(logged(filter, "").1, expected, "{filter}");
        }
    }
}
