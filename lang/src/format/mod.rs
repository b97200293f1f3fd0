//! The formatter: one style, every comment kept.
//!
//! The tree says how the source is laid out anew, and each piece of text carries its place in the
//! old source. Before a piece is written, the comments that stood before it are; so none is lost,
//! whatever the layout. Values and filters are copied from the source, their meaning untouched. What was written is
//! read again, and given out only if it means the same.

mod chain;
mod decl;
mod printer;
mod rules;
mod test;
mod value;

use printer::Printer;
pub(crate) use rules::rules_file;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::syntax::{Decl, File, Span};

/// The widest line that a record, a list or a chain is laid out on, in characters.
const WIDTH: usize = 100;

/// Lays a source out. See [`crate::format`].
pub(crate) fn file(source: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = crate::parse::file(source);
    let wrong = |d: &Diagnostic| d.severity == Severity::Error;
    if parsed.diagnostics.iter().any(wrong) {
        return Err(parsed.diagnostics);
    }
    let mut printer = Printer::new(source);
    for decl in &parsed.file.decls {
        printer.decl(decl);
        printer.passed(decl.span().end);
    }
    let formatted = printer.finish();
    match changed(&parsed.file, &formatted) {
        None => Ok(formatted),
        Some(at) => Err(vec![at]),
    }
}

/// The error where the text that was written does not mean what the source does: a mistake of the formatter.
fn changed(file: &File, formatted: &str) -> Option<Diagnostic> {
    let again = crate::parse::file(formatted);
    // Trees compare without their spans.
    if again.file == *file {
        return None;
    }
    let decls = file.decls.iter().zip(&again.file.decls);
    let first = decls.take_while(|(a, b)| a == b).count();
    let span = file
        .decls
        .get(first)
        .or(file.decls.last())
        .map_or(Span::new(0, 0), Decl::span);
    Some(misread("declaration", span))
}

/// The error for text that would be read differently; `what` stands at `span`.
fn misread(what: &str, span: Span) -> Diagnostic {
    let found = Diagnostic::error(
        codes::CHANGED,
        format!("formatting would change the meaning of this {what}; the file is left as it is"),
        span,
        "would be read differently",
    );
    found.help(format!(
        "this is a bug in the formatter: please report it with this {what}"
    ))
}
