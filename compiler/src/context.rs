//! What every check shares: the sources, the host, and the list of diagnostics.

use std::{cell::RefCell, collections::HashSet, path::Path};

use onvm_lang::{Diagnostic, Severity, syntax::Span};

use crate::{
    host::Host,
    sources::{FileId, Place, Sources},
};

pub(crate) struct Context<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) host: &'a dyn Host,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(sources: &'a Sources, host: &'a dyn Host, found: Vec<Diagnostic>) -> Self {
        Self {
            sources,
            host,
            found: RefCell::new(found),
        }
    }

    pub(crate) fn place(&self, file: FileId, span: Span) -> Place {
        self.sources.place(file, span)
    }

    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|d| d.severity == Severity::Error)
    }

    /// The directory that relative paths in `file` start from.
    pub(crate) fn directory(&self, file: FileId) -> &Path {
        self.sources.get(file).path.parent().unwrap_or(Path::new(""))
    }

    /// All diagnostics in source order, each once: what stands in a segment is found again for each use of it.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut all = self.found.into_inner();
        all.sort_by_key(|d| (d.span(), std::cmp::Reverse(d.severity), d.code));
        let mut seen = HashSet::new();
        all.retain(|d| seen.insert((d.span(), d.code, d.message.clone())));
        all
    }
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
