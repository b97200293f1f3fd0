//! The chain language: syntax tree, parser, formatter, and diagnostics as data.
//!
//! Pure: no I/O, no `unsafe`. [`parse`] always returns a tree; a declaration that does not parse is
//! [`syntax::DeclKind::Error`] in it and has a diagnostic, and the declarations after it are read as
//! if it were right.
//!
//! ```
//! let parsed = onvm_lang::parse("port wan =\nport lan = tap");
//! assert_eq!(parsed.file.decls.len(), 2);
//! assert_eq!(parsed.diagnostics.len(), 1);
//! assert!(parsed.diagnostics[0].message.contains("a port kind such as `tap`"));
//! ```

#![forbid(unsafe_code)]

mod codes;
mod diagnostic;
mod filter;
mod format;
mod parse;
mod rules;
mod scan;
pub mod syntax;
mod units;
pub mod words;

pub use codes::CODES;
pub use diagnostic::{Diagnostic, Fix, Label, Severity};
pub use scan::{Kind as TokenKind, Token};
pub use units::UNITS;

/// How deeply parentheses, lists, records, arms and `not` may be nested. A limit far above any use
/// that keeps every recursive walk over the tree within a small stack.
pub const MAX_NESTING: usize = 64;

/// The largest source that is read, in bytes: 64 MiB.
pub const MAX_SOURCE: usize = 64 << 20;

/// Whether this is written like a name: lower-case ASCII letters, digits and `_`, a letter first. Words of the language are
/// written so, too; see [`words::is_reserved`].
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain)
}

/// A tree and what was wrong with its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Parse {
    /// The tree; always there, perhaps with [`syntax::DeclKind::Error`] in it.
    pub file: syntax::File,
    /// In source order.
    pub diagnostics: Vec<Diagnostic>,
}

/// The rules of a file, and what was wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct RulesParse {
    /// All that have a verdict and a filter, in order; a filter that is wrong is [`syntax::FilterKind::Error`].
    pub rules: Vec<syntax::RuleLine>,
    /// In the order in which they stand there.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads one source file.
pub fn parse(source: &str) -> Parse {
    parse::file(source)
}

/// Splits a source into strings, comments, brackets, words and single characters, whether it parses or not: for editors,
/// whose sources mostly do not.
pub fn tokens(source: &str) -> Vec<Token> {
    scan::scan(source)
}

/// Reads a filter alone, as on a command line. `None` when it is wrong; the diagnostics say why.
pub fn parse_filter(source: &str) -> (Option<syntax::Filter>, Vec<Diagnostic>) {
    filter::alone(source)
}

/// Reads a filter that begins at byte `start` of its file. One that is wrong is [`syntax::FilterKind::Error`].
pub fn parse_filter_at(text: &str, start: u32) -> (syntax::Filter, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let filter = filter::parse_at(text, start, "the end of the filter", &mut diagnostics);
    (filter, diagnostics)
}

/// Reads a file of rules, `[NAME:] VERDICT FILTER` a line.
pub fn parse_rules(source: &str) -> RulesParse {
    rules::file(source)
}

/// Lays a file of rules out in the one style.
///
/// # Errors
/// As [`format()`].
pub fn format_rules(source: &str) -> Result<String, Vec<Diagnostic>> {
    format::rules_file(source)
}

/// Lays a source file out in the one style.
///
/// # Errors
/// The diagnostics of a source that does not parse; nothing is laid out then. Also one where the text would mean something
/// else than the source, which would be a mistake of the formatter.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    format::file(source)
}
