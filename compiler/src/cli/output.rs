//! Where output goes, and in which form.

use std::io::{IsTerminal, Write, stderr, stdout};

use onvm_lang::{Diagnostic, Severity};
use onvmc::{render, sources::Sources};

use super::args::{Cli, ErrorFormat};

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    format: ErrorFormat,
    colour: bool,
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
        }
    }

    /// To stdout. A reader that went away is no error of ours.
    pub(crate) fn data(&self, text: &str) {
        let _ = stdout().lock().write_all(text.as_bytes());
    }

    /// A value to stdout, as JSON on one line.
    pub(crate) fn data_json(&self, value: &serde_json::Value) {
        self.data(&format!("{value}\n"));
    }

    /// A line to stderr.
    pub(crate) fn note(&self, text: &str) {
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
            _ => {
                let word = if self.colour {
                    "\u{1b}[31merror\u{1b}[0m"
                } else {
                    "error"
                };
                let _ = writeln!(stderr().lock(), "{word}: {message}");
            }
        }
    }

    /// Diagnostics to stderr, with a count at the end for people. True: the source is refused.
    pub(crate) fn diagnostics(&self, sources: &Sources, found: &[Diagnostic], deny_warnings: bool) -> bool {
        let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
        let warnings = found.len() - errors;
        let text = match self.format {
            ErrorFormat::Human => render::human(sources, found, self.colour, 100),
            ErrorFormat::Short => render::short(sources, found),
            ErrorFormat::Json => render::json(sources, found) + "\n",
        };
        let _ = stderr().lock().write_all(text.as_bytes());
        if self.format == ErrorFormat::Human && !found.is_empty() {
            let code = found
                .iter()
                .find(|d| d.severity == Severity::Error)
                .or(found.first())
                .map_or("", |d| d.code);
            self.note(&format!(
                "{}, {}; `onvmc explain {code}` says more",
                count(errors, "error"),
                count(warnings, "warning")
            ));
        }
        errors > 0 || (deny_warnings && warnings > 0)
    }
}

pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}
