//! The state that every check shares: the sources, the host, and the list of diagnostics.

use std::{
    cell::RefCell,
    collections::HashSet,
    path::{Path, PathBuf},
};

use onvm_lang::{Diagnostic, Severity, syntax::Span};

use crate::{
    diagnostics::is_claim,
    source::{
        host::Host,
        sources::{FileId, Place, Sources},
    },
};

pub(crate) struct Context<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) host: &'a dyn Host,
    found: RefCell<Vec<Diagnostic>>,
    elsewhere: RefCell<Vec<Elsewhere>>,
}

/// A file that is not a source, and what is wrong in it.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Errors, with spans of the file.
    pub(crate) found: Vec<Diagnostic>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(sources: &'a Sources, host: &'a dyn Host, found: Vec<Diagnostic>) -> Self {
        Self {
            sources,
            host,
            found: RefCell::new(found),
            elsewhere: RefCell::default(),
        }
    }

    pub(crate) fn place(&self, file: FileId, span: Span) -> Place {
        self.sources.place(file, span)
    }

    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// Reports on a file that is not a source.
    pub(crate) fn report_elsewhere(&self, file: Elsewhere) {
        let mut known = self.elsewhere.borrow_mut();
        match known.iter_mut().find(|known| known.path == file.path) {
            Some(known) => known.found.extend(file.found),
            None => known.push(file),
        }
    }

    /// Errors, other than that assertions do not hold.
    pub(crate) fn is_broken(&self) -> bool {
        let is_broken = |d: &Diagnostic| d.severity == Severity::Error && !is_claim(d.code);
        let elsewhere = !self.elsewhere.borrow().is_empty();
        elsewhere || self.found.borrow().iter().any(is_broken)
    }

    /// Whether something within `place` could not be read.
    pub(crate) fn is_damaged(&self, place: Place) -> bool {
        let whole = place.span();
        let within = |span: Span| whole.start <= span.start && span.start <= whole.end;
        let damages = |d: &Diagnostic| d.severity == Severity::Error && d.code.starts_with("C00");
        let found = self.found.borrow();
        found.iter().any(|d| damages(d) && within(d.span()))
    }

    /// The directory that relative paths in `file` start from.
    pub(crate) fn directory(&self, file: FileId) -> &Path {
        self.sources.get(file).path.parent().unwrap_or(Path::new(""))
    }

    /// The reports, in the sources and elsewhere.
    pub(crate) fn into_found(self) -> (Vec<Diagnostic>, Vec<Elsewhere>) {
        (self.found.into_inner(), self.elsewhere.into_inner())
    }
}

/// All diagnostics in source order, each once: what stands in a segment is found again for each use of it. Files that are no
/// sources follow them.
pub(crate) fn in_order(
    sources: &mut Sources,
    (mut all, elsewhere): (Vec<Diagnostic>, Vec<Elsewhere>),
) -> Vec<Diagnostic> {
    for Elsewhere { path, text, found } in elsewhere {
        let file = sources.add(&path, path.display().to_string(), text);
        all.extend(found.into_iter().map(|d| globalise(sources, file, d)));
    }
    all.sort_by_key(|d| (d.span(), std::cmp::Reverse(d.severity), d.code));
    let mut seen = HashSet::new();
    all.retain(|d| seen.insert((d.span(), d.code, d.message.clone())));
    all
}

/// Moves the spans of a diagnostic from those of `file` to the common space.
pub(crate) fn globalise(sources: &Sources, file: FileId, mut diagnostic: Diagnostic) -> Diagnostic {
    for label in &mut diagnostic.labels {
        label.span = sources.place(file, label.span).span();
    }
    for fix in &mut diagnostic.fixes {
        fix.span = sources.place(file, fix.span).span();
    }
    diagnostic
}
