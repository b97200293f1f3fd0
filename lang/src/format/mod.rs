//! The formatter: one style, every comment kept.
//!
//! The tree says how the source is laid out anew, and each piece of text carries its place in the
//! old source. Before a piece is written, the comments that stood before it are; so none is lost,
//! whatever the layout. Values and filters are copied from the source, their meaning untouched.

mod chain;
mod decl;
mod printer;
mod test;
mod value;

use printer::Printer;

use crate::diagnostic::{Diagnostic, Severity};

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
    Ok(printer.finish())
}
