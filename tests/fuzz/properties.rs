//! What holds for every source text, whatever is in it. The fuzz targets and the mutation test share it; each function
//! panics where its property fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

use std::path::Path;

use onvm_lang::{Diagnostic, Severity, syntax::DeclKind};
use onvmc::{Inputs, host::MemoryHost, render};

/// Parsing ends, its spans lie in the source, and what it could not read it says.
pub fn parse(source: &str) {
    let parsed = onvm_lang::parse(source);
    for decl in &parsed.file.decls {
        assert!(
            source.get(decl.span().range()).is_some(),
            "{:?}: a declaration outside of the source",
            decl.span()
        );
    }
    labels_lie_in(source, &parsed.diagnostics);
    let broken = parsed
        .file
        .decls
        .iter()
        .any(|d| matches!(d.kind.node, DeclKind::Error(_)));
    assert!(
        !broken || !parsed.diagnostics.is_empty(),
        "a broken declaration without a diagnostic"
    );
    let starts: Vec<_> = parsed.diagnostics.iter().map(|d| d.span().start).collect();
    assert!(starts.is_sorted(), "diagnostics in source order: {starts:?}");
    let (filter, found) = onvm_lang::parse_filter(source);
    labels_lie_in(source, &found);
    let refused = found.iter().any(|d| d.severity == Severity::Error);
    assert!(
        filter.is_some() != refused,
        "a filter is read, or refused with an error: {found:?}"
    );
}

fn labels_lie_in(source: &str, found: &[Diagnostic]) {
    for diagnostic in found {
        assert!(!diagnostic.labels.is_empty(), "{diagnostic:?} points nowhere");
        for label in &diagnostic.labels {
            assert!(
                source.get(label.span.range()).is_some(),
                "{diagnostic:?}: a label outside of the source"
            );
        }
        for fix in &diagnostic.fixes {
            let there = source.get(fix.span.range());
            assert!(
                there.is_some_and(|text| text != fix.text),
                "{diagnostic:?}: a fix that changes nothing"
            );
        }
    }
}

/// What parses is laid out with the same meaning and the same comments, and a second pass changes nothing.
pub fn format(source: &str) {
    let Ok(once) = onvm_lang::format(source) else {
        return;
    };
    let (before, after) = (onvm_lang::parse(source), onvm_lang::parse(&once));
    let codes = |found: &[Diagnostic]| found.iter().map(|d| (d.code, d.severity)).collect::<Vec<_>>();
    assert!(
        before.diagnostics.iter().all(|d| d.severity == Severity::Warning),
        "what has errors is not laid out"
    );
    assert_eq!(
        codes(&before.diagnostics),
        codes(&after.diagnostics),
        "in the text laid out:\n{once}"
    );
    assert_eq!(before.file, after.file, "another meaning:\n{once}");
    assert_eq!(
        onvm_lang::format(&once).as_deref(),
        Ok(once.as_str()),
        "a second pass changed the text"
    );
    assert_eq!(
        comments(source),
        comments(&once),
        "comments were lost or moved:\n{once}"
    );
}

/// The comments in their order, without the white space at their ends.
fn comments(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in source.lines() {
        let (mut quoted, mut escaped) = (false, false);
        for (at, c) in line.char_indices() {
            if !quoted && line[at..].starts_with("//") {
                found.push(line[at..].trim_end());
                break;
            }
            quoted ^= c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
        }
    }
    found
}

/// Checking ends with a program or with an error, every diagnostic can be shown in every form, and every fix changes some text.
pub fn check(source: &str) {
    let host = MemoryHost::default()
        .with("main.chain", source)
        .with("lib.chain", "use \"main.chain\"\nlet inside = [10.0.0.0/8]\n")
        .with("edge.rules", "")
        .with("web.patterns", "attack\n");
    let inputs = Inputs {
        overlaps: true,
        ..Inputs::default()
    };
    let checked = onvmc::check(&host, Path::new("main.chain"), &inputs).expect("the main file is there");
    let refused = checked.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(
        checked.program.is_none(),
        refused,
        "a program, or an error that says why not"
    );
    let (sources, found) = (&checked.sources, &checked.diagnostics);
    assert!(render::human(sources, found, false, 100).is_empty() == found.is_empty());
    assert_eq!(render::short(sources, found).lines().count(), found.len());
    render::json(sources, found);
    for fix in found.iter().flat_map(|d| &d.fixes) {
        let there = sources
            .locate(fix.span)
            .and_then(|(file, span)| file.text.get(span.range()));
        assert!(
            there.is_some_and(|text| text != fix.text),
            "{fix:?} changes nothing"
        );
    }
}
