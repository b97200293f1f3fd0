//! Diagnostics as the protocol has them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gen_lsp_types::{
    Code, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, Location, Range, Uri,
};
use onvm_lang::{Label, Severity, syntax::Span};

use super::{analysis::Analysis, client::Client, documents::Documents, position::Lines};
use crate::diagnostics::{missing_input, unreachable_step, unused};

/// A program's diagnostics as its files' lines have them.
pub(super) struct Shown<'a> {
    analysis: &'a Analysis,
    documents: &'a Documents,
    lines: BTreeMap<&'a Path, Lines<'a>>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(analysis: &'a Analysis, documents: &'a Documents, client: &Client) -> Self {
        let files = analysis.sources.files().iter();
        Self {
            analysis,
            documents,
            lines: files
                .map(|f| (f.path.as_path(), Lines::new(&f.text, client.encoding)))
                .collect(),
        }
    }

    /// The file and the range of a span of the common space.
    pub(super) fn range(&self, span: Span) -> Option<(&'a Path, Range)> {
        let (file, span) = self.analysis.sources.locate(span)?;
        let range = self.lines.get(file.path.as_path())?.range(span);
        Some((&file.path, range))
    }

    /// A diagnostic and the file that it stands in.
    pub(super) fn diagnostic(&self, d: &onvm_lang::Diagnostic) -> Option<(PathBuf, Diagnostic)> {
        let primary = d.labels.iter().find(|l| l.primary).or(d.labels.first())?;
        let (path, range) = self.range(primary.span)?;
        let related = d.labels.iter().filter(|l| *l != primary).filter_map(|l| {
            let (path, range) = self.range(l.span)?;
            let uri = Uri(self.documents.uri(path));
            let location = Location { uri, range };
            Some(DiagnosticRelatedInformation::new(location, l.text.clone()))
        });
        let (path, range) = match path.to_str() {
            // What is wrong with the client's own settings has no file to stand in.
            Some(crate::source::sources::COMMAND_LINE) => (self.analysis.main.as_path(), Range::default()),
            _ => (path, range),
        };
        let shown = Diagnostic {
            range,
            severity: Some(severity(d)),
            code: Some(Code::String(d.code.to_owned())),
            code_description: None,
            source: Some("onvmc".to_owned()),
            message: text(d, primary).into(),
            tags: fades(d.code).then(|| vec![DiagnosticTag::Unnecessary]),
            related_information: Some(related.collect()).filter(|r: &Vec<_>| !r.is_empty()),
            data: None,
        };
        Some((path.to_path_buf(), shown))
    }
}

/// The diagnostics of a program by the file of their primary place. Every chain source has an entry.
pub(super) fn by_file(
    analysis: &Analysis,
    documents: &Documents,
    client: &Client,
) -> BTreeMap<PathBuf, Vec<Diagnostic>> {
    let shown = Shown::new(analysis, documents, client);
    let mut found: BTreeMap<PathBuf, Vec<Diagnostic>> = BTreeMap::new();
    for unit in analysis.units() {
        found.entry(analysis.source(unit.file).path.clone()).or_default();
    }
    for (path, diagnostic) in analysis.diagnostics.iter().filter_map(|d| shown.diagnostic(d)) {
        found.entry(path).or_default().push(diagnostic);
    }
    found
}

/// An input without a default is right as it stands; the build sets it.
fn severity(d: &onvm_lang::Diagnostic) -> DiagnosticSeverity {
    match d.severity {
        _ if d.code == missing_input::PAGE.code => DiagnosticSeverity::Information,
        Severity::Error => DiagnosticSeverity::Error,
        Severity::Warning => DiagnosticSeverity::Warning,
        Severity::Note => DiagnosticSeverity::Information,
    }
}

fn fades(code: &str) -> bool {
    [unused::PAGE.code, unreachable_step::PAGE.code].contains(&code)
}

fn text(d: &onvm_lang::Diagnostic, primary: &Label) -> String {
    let mut text = d.message.clone();
    if !primary.text.is_empty() {
        text.push('\n');
        text.push_str(&primary.text);
    }
    if let Some(help) = &d.help {
        text.push_str("\nhelp: ");
        text.push_str(help);
    }
    text
}
