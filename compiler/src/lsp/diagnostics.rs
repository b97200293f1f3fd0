//! Diagnostics as the protocol has them.

use std::{collections::BTreeMap, path::PathBuf};

use gen_lsp_types::{
    Code, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, Location, Range, Uri,
};
use onvm_lang::{Label, Severity};

use super::{Client, analysis::Analysis, documents::Documents, position::Lines};
use crate::diagnostics::{missing_input, unreachable_step, unused};

/// The diagnostics of a program by the file of their primary place. Every chain source has an entry.
pub(super) fn by_file(
    analysis: &Analysis,
    documents: &Documents,
    client: &Client,
) -> BTreeMap<PathBuf, Vec<Diagnostic>> {
    let lines: BTreeMap<PathBuf, Lines<'_>> = analysis
        .sources
        .files()
        .iter()
        .map(|f| (f.path.clone(), Lines::new(&f.text, client.encoding)))
        .collect();
    let place = |label: &Label| {
        let (file, span) = analysis.sources.locate(label.span)?;
        let range = lines.get(&file.path)?.range(span);
        Some((file.path.clone(), range))
    };
    let mut found: BTreeMap<PathBuf, Vec<Diagnostic>> = BTreeMap::new();
    for unit in analysis.units() {
        found.entry(analysis.source(unit.file).path.clone()).or_default();
    }
    for d in &analysis.diagnostics {
        let primary = d.labels.iter().find(|l| l.primary).or(d.labels.first());
        let Some((primary, (path, range))) = primary.and_then(|l| Some((l, place(l)?))) else {
            continue;
        };
        let related = d.labels.iter().filter(|l| *l != primary).filter_map(|l| {
            let (path, range) = place(l)?;
            let uri = Uri(documents.uri(&path));
            let location = Location { uri, range };
            Some(DiagnosticRelatedInformation::new(location, l.text.clone()))
        });
        let (path, range) = match path.to_str() {
            // What is wrong with the client's own settings has no file to stand in.
            Some(crate::sources::COMMAND_LINE) => (analysis.main.clone(), Range::default()),
            _ => (path, range),
        };
        found.entry(path).or_default().push(Diagnostic {
            range,
            severity: Some(severity(d)),
            code: Some(Code::String(d.code.to_owned())),
            code_description: None,
            source: Some("onvmc".to_owned()),
            message: text(d, primary).into(),
            tags: fades(d.code).then(|| vec![DiagnosticTag::Unnecessary]),
            related_information: Some(related.collect()).filter(|r: &Vec<_>| !r.is_empty()),
            data: None,
        });
    }
    found
}

/// An input without a default is right as it stands; who builds gives it.
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
