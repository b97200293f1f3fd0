//! What holds for every source text, whatever is in it. The fuzz targets and the mutation test share it; each function
//! panics where its property fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod spans;

use std::path::Path;

use onvm_lang::{
    Diagnostic, Severity, Token, TokenKind,
    syntax::{DeclKind, Span},
};
use onvmc::{
    Checked, Inputs, artifact::Artifact, check as check_program, diagnostics::explain, host::MemoryHost,
    render, sources::Sources,
};

/// Parsing ends with a tree and in-order diagnostics, every span lies where it should, what could not be read is told,
/// and what is wrong with one declaration changes no other.
pub fn parse(source: &str) {
    let parsed = onvm_lang::parse(source);
    spans::check(source, &parsed.file);
    labels_lie_in(source, &parsed.diagnostics);
    let starts: Vec<_> = parsed.diagnostics.iter().map(|d| d.span().start).collect();
    assert!(starts.is_sorted(), "diagnostics in source order: {starts:?}");
    for (decl, parts) in spans::declarations(&parsed.file) {
        let span = decl.span();
        if matches!(decl.kind.node, DeclKind::Error(_)) || !parts.is_empty() {
            let told = |d: &Diagnostic| d.severity == Severity::Error && lies_in(d.span(), span);
            assert!(
                parsed.diagnostics.iter().any(told),
                "a broken declaration without an error: {decl:?}"
            );
        }
        if let DeclKind::Error(_) = decl.kind.node {
            continue;
        }
        let alone = onvm_lang::parse(span.text(source));
        let declarations = spans::declarations(&alone.file);
        let [(only, _)] = declarations.as_slice() else {
            panic!("{span:?} is one declaration, and by itself {:?}", alone.file);
        };
        assert_eq!(decl.kind, only.kind, "{span:?} depends on what is around it");
    }
    tokens(source);
    filter(source);
    rules(source);
}

fn lies_in(inner: Span, outer: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn filter(source: &str) {
    let (filter, found) = onvm_lang::parse_filter(source);
    labels_lie_in(source, &found);
    let refused = found.iter().any(|d| d.severity == Severity::Error);
    assert!(
        filter.is_some() != refused,
        "a filter is read, or refused with an error: {found:?}"
    );
    filter.iter().for_each(|f| spans::check_filter(source, f));
}

/// As a file of rules: every diagnostic lies in it, a rule that cannot be read has one, and what is laid out means the same, has the
/// same words, and is laid out.
fn rules(source: &str) {
    let parsed = onvm_lang::parse_rules(source);
    labels_lie_in(source, &parsed.diagnostics);
    let refused = parsed.diagnostics.iter().any(|d| d.severity == Severity::Error);
    for rule in &parsed.rules {
        assert!(source.get(rule.span().range()).is_some(), "{rule:?} lies outside");
        spans::check_filter(source, &rule.filter);
    }
    let once = match onvm_lang::format_rules(source) {
        Ok(once) => once,
        Err(found) => {
            assert!(refused, "what has no error is laid out");
            assert_eq!(found, parsed.diagnostics, "refused for the parser's reasons");
            return;
        }
    };
    assert_eq!(
        onvm_lang::parse_rules(&once).rules,
        parsed.rules,
        "another meaning:\n{once}"
    );
    assert_eq!(
        onvm_lang::format_rules(&once).as_deref(),
        Ok(once.as_str()),
        "a second pass"
    );
    let text = |text: &str| -> String {
        let text = text.replace('\u{feff}', "");
        text.split_whitespace().collect()
    };
    assert_eq!(text(source), text(&once), "text came, went or moved:\n{once}");
    tidy(&once);
}

/// Tokens follow each other with nothing but white space between them.
fn tokens(source: &str) {
    let mut rest = source.strip_prefix('\u{feff}').unwrap_or(source);
    for token in onvm_lang::tokens(source) {
        let skipped = token.start as usize + rest.len() - source.len();
        let space = &rest[..skipped];
        assert!(
            space.chars().all(|c| " \t\r\n".contains(c)),
            "{space:?} was passed over"
        );
        let text = token.text(source);
        assert!(!text.is_empty(), "{token:?} is empty");
        rest = rest[skipped..].strip_prefix(text).unwrap();
    }
    assert!(rest.trim_ascii().is_empty(), "{rest:?} was passed over");
}

fn labels_lie_in(source: &str, found: &[Diagnostic]) {
    for diagnostic in found {
        well_formed(diagnostic);
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

/// As the fields of [`Diagnostic`] are described.
fn well_formed(diagnostic: &Diagnostic) {
    let primary = diagnostic.labels.iter().map(|l| l.primary);
    assert!(
        primary.clone().next() == Some(true) && primary.filter(|p| *p).count() == 1,
        "{diagnostic:?}: one primary label, and it comes first"
    );
    let message = &diagnostic.message;
    assert!(
        !message.is_empty() && !message.ends_with('.'),
        "{message:?} is one sentence without a full stop"
    );
    let page = explain(diagnostic.code);
    assert!(page.is_some(), "{diagnostic:?}: its code has no page");
}

/// What parses is laid out with the same meaning, the same words and the same comments between them; a second pass changes
/// nothing, nor do carriage returns at the ends of its lines.
pub fn format(source: &str) {
    let before = onvm_lang::parse(source);
    let refused = before.diagnostics.iter().any(|d| d.severity == Severity::Error);
    let once = match onvm_lang::format(source) {
        Ok(once) => once,
        Err(found) => {
            assert!(refused, "what has no error is laid out");
            assert_eq!(found, before.diagnostics, "refused for the parser's reasons");
            return;
        }
    };
    assert!(
        !refused,
        "what has errors is not laid out: {:?}",
        before.diagnostics
    );
    let after = onvm_lang::parse(&once);
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
    assert_eq!(words(source), words(&once), "words or comments moved:\n{once}");
    assert_eq!(code(source), code(&once), "text came, went or moved:\n{once}");
    tidy(&once);
    if !source.contains('\r') {
        let dos = source.replace('\n', "\r\n");
        assert_eq!(
            onvm_lang::format(&dos).as_deref(),
            Ok(once.as_str()),
            "with other line ends"
        );
    }
}

fn codes(found: &[Diagnostic]) -> Vec<(&'static str, Severity)> {
    found.iter().map(|d| (d.code, d.severity)).collect()
}

/// The comments in their order, without the white space at their ends. Does not ask the scanner, which the formatter
/// has them from.
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

/// The comments, and of what is between each two of them the letters and digits: marks such as `=` may change places
/// with a comment.
fn words(source: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for token in onvm_lang::tokens(source) {
        let text = written(&token, source);
        match token.kind {
            TokenKind::Comment | TokenKind::Doc => found.extend([text.trim_end().to_owned(), String::new()]),
            TokenKind::Open(_) | TokenKind::Close(_) => {}
            TokenKind::Word | TokenKind::Other | TokenKind::Str { .. } => {
                let letters = text.chars().filter(|c| c.is_alphanumeric());
                found.last_mut().unwrap().extend(letters);
            }
        }
    }
    found
}

/// All that is not a comment, without what the layout decides on: commas, braces around nothing, and byte order marks, which
/// are white space wherever they stand.
fn code(source: &str) -> String {
    let tokens = onvm_lang::tokens(source).into_iter();
    let texts = tokens.filter(|t| !t.is_comment()).map(|t| written(&t, source));
    let all: String = texts.filter(|t| ![",", "\u{feff}"].contains(t)).collect();
    all.replace("{}", "")
}

/// A token's text. `1 packets` is laid out as `1 packet`.
fn written<'s>(token: &Token, source: &'s str) -> &'s str {
    match token.text(source) {
        "packets" => "packet",
        text => text,
    }
}

fn tidy(text: &str) {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "no line end at the end of {text:?}"
    );
    assert!(!text.starts_with('\n'), "{text:?} begins with a blank line");
    assert!(!text.ends_with("\n\n"), "{text:?} ends with a blank line");
    assert!(!text.contains("\n\n\n"), "two blank lines in {text:?}");
    for line in text.lines() {
        assert_eq!(line, line.trim_end(), "white space at a line's end");
    }
}

/// Checking ends with a program or with an error, and a second time in the same way; every diagnostic can be shown in every
/// form, and the formatter makes no difference to the program.
pub fn check(source: &str) {
    let checked = checked(source);
    let (sources, found) = (&checked.sources, &checked.diagnostics);
    let refused = found.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(
        checked.program.is_none(),
        refused,
        "a program, or an error that says why not"
    );
    let places: Vec<_> = found.iter().map(Diagnostic::span).collect();
    assert!(
        places.is_sorted_by_key(|p| p.start),
        "diagnostics in source order: {places:?}"
    );
    for diagnostic in found {
        well_formed(diagnostic);
        for label in &diagnostic.labels {
            let lies = sources.locate(label.span);
            assert!(
                lies.is_some_and(|(file, span)| file.text.get(span.range()).is_some()),
                "{diagnostic:?}: a label outside of every source"
            );
        }
    }
    for fix in found.iter().flat_map(|d| &d.fixes) {
        let there = sources
            .locate(fix.span)
            .and_then(|(file, span)| file.text.get(span.range()));
        assert!(
            there.is_some_and(|text| text != fix.text),
            "{fix:?} changes nothing"
        );
    }
    shown(sources, found, source.len().is_multiple_of(2));
    let again = self::checked(source);
    assert_eq!(*found, again.diagnostics, "found at another time");
    assert_eq!(built(&checked), built(&again), "built at another time");
    if let Ok(once) = onvm_lang::format(source) {
        same(&checked, &self::checked(&once));
    }
}

fn checked(source: &str) -> Checked {
    let host = MemoryHost::default()
        .with("main.chain", source)
        .with(
            "lib.chain",
            "let inside = [10.0.0.0/8]\nclass web = tcp port 80\n",
        )
        .with("again.chain", "use \"main.chain\"\n")
        .with("guard.nf.toml", GUARD)
        .with(
            "edge.rules",
            "drop src net 10.0.0.0/8\nweb: accept web\npass tcp dst port 80\n",
        )
        .with("web.patterns", "attack\n")
        .with("edge.pcap", "")
        .with("edge-lan.pcap", "")
        .with("trace.pcap", "");
    let inputs = Inputs {
        overlaps: true,
        ..Inputs::default()
    };
    check_program(&host, Path::new("main.chain"), &inputs).expect("the main file is there")
}

/// What the checker takes can be built.
fn built(checked: &Checked) -> Option<Artifact> {
    let program = checked.program.as_ref()?;
    Some(Artifact::new(program, &checked.sources).expect("a fault of the compiler"))
}

const GUARD: &str = r#"
name = "guard"
version = "1.0.0"
summary = "Sends what looks suspect elsewhere"
state = "flow"
[run]
binary = "guard"
[effects]
reads = ["ip"]
writes = ["ip.src", "ip.checksum"]
drops = true
steers = true
[[params]]
name = "limit"
type = "int"
default = "60"
min = "0"
max = "9216"
doc = "How many."
[[outputs]]
name = "suspect"
doc = "Packets that look like an attack."
must_handle = true
"#;

fn shown(sources: &Sources, found: &[Diagnostic], colour: bool) {
    let human = render::human(sources, found, colour, 100);
    for diagnostic in found {
        assert!(
            human.contains(diagnostic.code),
            "{diagnostic:?} is not in:\n{human}"
        );
    }
    let obeyed = |c: char| c.is_control() && c != '\n';
    assert!(
        colour || !human.contains(obeyed),
        "a terminal would obey a character of {human:?}"
    );
    let short = render::short(sources, found);
    assert_eq!(short.lines().count(), found.len(), "a line each:\n{short}");
    assert!(
        !short.contains(obeyed),
        "a terminal would obey a character of {short:?}"
    );
    let json: serde_json::Value = serde_json::from_str(&render::json(sources, found)).unwrap();
    assert_eq!(
        json["diagnostics"].as_array().unwrap().len(),
        found.len(),
        "{json}"
    );
    let mut log = render::SarifLog::default();
    log.add(sources, found);
    let sarif: serde_json::Value = serde_json::from_str(&log.finish()).unwrap();
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), found.len(), "{sarif}");
    for result in results {
        let rule = result["ruleIndex"].as_u64().unwrap() as usize;
        let id = &run["tool"]["driver"]["rules"][rule]["id"];
        assert_eq!(*id, result["ruleId"], "a result's rule: {sarif}");
    }
}

/// Two layouts of one source have the same diagnostics, and a manager would find no difference between their programs.
fn same(before: &Checked, after: &Checked) {
    assert_eq!(
        codes(&before.diagnostics),
        codes(&after.diagnostics),
        "before and after laying out"
    );
    let (Some(before), Some(after)) = (&before.program, &after.program) else {
        return;
    };
    let diff = onvm_bundle::diff::diff(before.contents(), after.contents());
    assert!(diff.is_empty(), "laying out changes the program: {diff:?}");
    assert_eq!(before.params, after.params);
    assert_eq!(before.secrets, after.secrets);
    assert_eq!(before.files, after.files);
    assert_eq!(before.tests.len(), after.tests.len());
}
