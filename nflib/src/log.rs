//! Messages of an NF, each with its level: those of the macros of the crate [`log`], which this re-exports.
//!
//! ```
//! nflib::log::warn!("{} has no route", "10.0.0.1");
//! ```
//!
//! [`run`](crate::run) writes them to stderr, a line each, behind the level's number as systemd and the kernel know it (`<4>` is a
//! warning; sd-daemon(3)). The manager logs them under the instance's name at that level, and lines without a number, e.g. of
//! `println!`, as `info`. The level from which on it shows an NF's messages comes with the parameters; a message below costs a
//! comparison.

use std::io::{self, Write};

pub use log::{Level, LevelFilter, debug, error, info, log_enabled, max_level, trace, warn};
use log::{Log, Metadata, Record};

struct Stderr;

static STDERR: Stderr = Stderr;

/// Sends messages of this level and above to stderr, unless the program has a logger of its own.
pub(crate) fn start(level: LevelFilter) {
    // An error says that there is a logger: of the program, or this one from a session before.
    let _ = log::set_logger(&STDERR);
    log::set_max_level(level);
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // The reader of the output is often the manager, which may be gone.
            let _ = io::stderr().write_all(line(record).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// A record as one line, in one write, so that lines of several threads do not mix.
fn line(record: &Record<'_>) -> String {
    let text = record.args().to_string();
    // Each line of a message is one of the log.
    let lines = text
        .lines()
        .map(|line| format!("<{}>{line}\n", number(record.level())));
    lines.collect()
}

/// Priorities of syslog (RFC 5424), of which `trace` has none of its own.
fn number(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The level of a line that an NF printed, and what follows its number; lines without one are `info`.
pub fn level_of(line: &[u8]) -> (Level, &[u8]) {
    let level = match line {
        [b'<', b'0'..=b'3', b'>', ..] => Level::Error,
        [b'<', b'4', b'>', ..] => Level::Warn,
        [b'<', b'5' | b'6', b'>', ..] => Level::Info,
        [b'<', b'7', b'>', ..] => Level::Debug,
        _ => return (Level::Info, line),
    };
    (level, line.get(3..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(level: Level, text: &str) -> String {
        line(
            &Record::builder()
                .level(level)
                .args(format_args!("{text}"))
                .build(),
        )
    }

    #[test]
    fn the_manager_reads_what_an_nf_writes() {
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug] {
            let text = written(level, "the text");
            let line = text.strip_suffix('\n').unwrap();
            assert_eq!(level_of(line.as_bytes()), (level, &b"the text"[..]));
        }
        assert_eq!(written(Level::Trace, "x"), "<7>x\n");
        assert_eq!(written(Level::Warn, "one\ntwo\n"), "<4>one\n<4>two\n");
    }

    #[test]
    fn lines_without_a_level_stay_as_they_are() {
        for line in ["", "<", "<6", "<8>x", "<66>x", "[6]x", " <6>x"] {
            assert_eq!(level_of(line.as_bytes()), (Level::Info, line.as_bytes()));
        }
        assert_eq!(level_of(b"<0>x"), (Level::Error, &b"x"[..]));
        assert_eq!(level_of(b"<5>"), (Level::Info, &b""[..]));
    }
}
