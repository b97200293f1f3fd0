//! Where output goes, and in which form.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    io::{ErrorKind, IsTerminal, Write, stderr, stdout},
    path::Path,
};

use onvm_lang::{Diagnostic, Severity};
use onvmc::{
    render::{self, SarifLog},
    sources::Sources,
};

use super::args::{Cli, ErrorFormat};

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    format: ErrorFormat,
    colour: bool,
    /// Data did not reach stdout.
    lost: Cell<bool>,
    /// Nobody reads stdout any more.
    unread: Cell<bool>,
    /// SARIF has one log for a whole run.
    sarif: RefCell<SarifLog>,
}

impl Output {
    pub(crate) fn new(cli: &Cli) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let format = if cli.json {
            ErrorFormat::Json
        } else {
            cli.error_format
        };
        Self {
            json: cli.json,
            format,
            colour: !plain && stderr().is_terminal(),
            lost: Cell::new(false),
            unread: Cell::new(false),
            sarif: RefCell::default(),
        }
    }

    /// Writes what is written once, at the end: the SARIF log. Commands that have no other data write it to stdout.
    pub(crate) fn finish(&self, to_stdout: bool) {
        if self.format != ErrorFormat::Sarif {
            return;
        }
        let log = self.sarif.borrow().finish() + "\n";
        if to_stdout {
            self.data(&log);
        } else {
            let _ = stderr().lock().write_all(log.as_bytes());
        }
    }

    /// To stdout. A reader that went away is not an error of ours.
    pub(crate) fn data(&self, text: &str) {
        let mut stdout = stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                self.error("write", &format!("cannot write to stdout: {e}"));
                self.lost.set(true);
            }
            Err(_) => self.unread.set(true),
            Ok(()) => {}
        }
    }

    /// Whether the reader of stdout went away.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// Whether all data reached stdout, or somebody who wanted no more of it.
    pub(crate) fn complete(&self) -> bool {
        !self.lost.get()
    }

    /// A value to stdout, as JSON on one line.
    pub(crate) fn data_json(&self, value: &serde_json::Value) {
        self.data(&format!("{value}\n"));
    }

    /// A line to stderr, for people: programs that read diagnostics there do not get it.
    pub(crate) fn note(&self, text: &str) {
        if matches!(self.format, ErrorFormat::Json | ErrorFormat::Sarif) {
            return;
        }
        let _ = writeln!(stderr().lock(), "{text}");
    }

    /// An error that belongs to no place in a source.
    pub(crate) fn error(&self, code: &str, message: &str) {
        match self.format {
            ErrorFormat::Json => {
                let error =
                    serde_json::json!({ "version": 1, "error": { "code": code, "message": message } });
                let _ = writeln!(stderr().lock(), "{error}");
            }
            ErrorFormat::Sarif => self.sarif.borrow_mut().fail(message),
            ErrorFormat::Human | ErrorFormat::Short => {
                let word = if self.colour {
                    "\u{1b}[31merror\u{1b}[0m"
                } else {
                    "error"
                };
                let _ = writeln!(stderr().lock(), "{word}: {message}");
            }
        }
    }

    /// A source that cannot be read.
    pub(crate) fn unreadable(&self, file: &Path, e: &std::io::Error) {
        let remedy = match e.kind() {
            _ if file.is_dir() => "it is a directory. Name a `.chain` file.".to_owned(),
            ErrorKind::InvalidData => format!("{e}. Save it as UTF-8."),
            _ => format!("{e}. Check that the file exists and can be read."),
        };
        self.error("source", &format!("cannot read {}: {remedy}", file.display()));
    }

    /// Diagnostics to stderr, with a count at the end for people. True: the source is refused.
    pub(crate) fn diagnostics(&self, sources: &Sources, found: &[Diagnostic], deny_warnings: bool) -> bool {
        let found = if deny_warnings {
            denied(found)
        } else {
            Cow::Borrowed(found)
        };
        let text = match self.format {
            ErrorFormat::Human => render::human(sources, &found, self.colour, 100),
            ErrorFormat::Short => render::short(sources, &found),
            ErrorFormat::Json => render::json(sources, &found) + "\n",
            ErrorFormat::Sarif => {
                self.sarif.borrow_mut().add(sources, &found);
                String::new()
            }
        };
        let _ = stderr().lock().write_all(text.as_bytes());
        let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
        if self.format == ErrorFormat::Human {
            self.summary(&found);
        }
        errors > 0
    }

    fn summary(&self, found: &[Diagnostic]) {
        let error = found.iter().find(|d| d.severity == Severity::Error);
        let Some(Diagnostic { code, .. }) = error.or(found.first()) else {
            return;
        };
        let of = |severity| found.iter().filter(|d| d.severity == severity).count();
        let mut counts = format!(
            "{}, {}",
            count(of(Severity::Error), "error"),
            count(of(Severity::Warning), "warning")
        );
        match of(Severity::Note) {
            0 => {}
            notes => counts += &format!(", {}", count(notes, "note")),
        }
        self.note(&format!("\n{counts}; `onvmc explain {code}` says more"));
    }
}

/// With every warning as an error. A note says nothing against a source.
fn denied(found: &[Diagnostic]) -> Cow<'_, [Diagnostic]> {
    let mut found = found.to_vec();
    let warnings = found.iter_mut().filter(|d| d.severity == Severity::Warning);
    warnings.for_each(|d| d.severity = Severity::Error);
    Cow::Owned(found)
}

/// An error of usage where the options that say its form could not be read.
pub(crate) fn usage_as_json(text: &str) {
    let message = text.trim().trim_start_matches("error: ");
    let error = serde_json::json!({ "version": 1, "error": { "code": "usage", "message": message } });
    let _ = writeln!(stderr().lock(), "{error}");
}

pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}
