//! SARIF 2.1.0, the form in which code hosts and editors take the findings of a checker.
//!
//! The standard: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>. Only what GitHub's code scanning
//! reads is written, each rule with its page.

use std::path::{Component, Path};

use onvm_lang::{Diagnostic, Fix, Label, syntax::Span};
use serde_json::{Value, json};

use crate::{
    diagnostics::{Page, explain},
    source::sources::{FileId, Source, Sources},
};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The findings of one run of a command, over all the programs that it looked at.
#[derive(Debug, Default)]
pub struct SarifLog {
    /// Codes in the order of their first use: the place of each is its `ruleIndex`.
    rules: Vec<&'static str>,
    results: Vec<Value>,
    failures: Vec<Value>,
}

impl SarifLog {
    pub fn add(&mut self, sources: &Sources, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            let rule = self.rule(diagnostic.code);
            self.results.push(result(sources, diagnostic, rule));
        }
    }

    /// Something that stands at no place in a source, such as a file that cannot be read.
    pub fn fail(&mut self, message: &str) {
        self.failures
            .push(json!({ "level": "error", "message": { "text": message } }));
    }

    fn rule(&mut self, code: &'static str) -> usize {
        let known = self.rules.iter().position(|c| *c == code);
        known.unwrap_or_else(|| {
            self.rules.push(code);
            self.rules.len() - 1
        })
    }

    /// The log as JSON on one line.
    pub fn finish(&self) -> String {
        let rules: Vec<Value> = self.rules.iter().filter_map(|c| explain(c)).map(rule).collect();
        let driver = json!({
            "name": "onvmc",
            "version": env!("CARGO_PKG_VERSION"),
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        });
        let invocation = json!({
            "executionSuccessful": self.failures.is_empty(),
            "toolExecutionNotifications": self.failures,
        });
        let run = json!({
            "tool": { "driver": driver },
            "columnKind": "unicodeCodePoints",
            "invocations": [invocation],
            "results": self.results,
        });
        json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] }).to_string()
    }
}

fn rule(page: &Page) -> Value {
    let title = page.title.replace('`', "");
    json!({
        "id": page.code,
        "name": page.code,
        "shortDescription": { "text": title },
        "fullDescription": { "text": page.text.trim_end() },
        "help": { "text": page.text.trim_end(), "markdown": page.markdown() },
        "defaultConfiguration": { "level": page.severity.word() },
    })
}

/// All that is said, as one sentence.
fn text(diagnostic: &Diagnostic) -> String {
    let mut text = diagnostic.message.clone();
    for more in [
        diagnostic.labels.iter().find(|l| l.primary).map(|l| &l.text),
        diagnostic.help.as_ref(),
    ] {
        if let Some(more) = more.filter(|m| !m.is_empty()) {
            text.push_str(": ");
            text.push_str(more);
        }
    }
    text
}

fn result(sources: &Sources, diagnostic: &Diagnostic, rule: usize) -> Value {
    // A result must stand in a file. A value from the command line stands in none: its declaration is shown instead.
    let in_file = |span: Span| {
        let source = sources.locate(span);
        source.is_some_and(|(source, _)| !source.is_command_line())
    };
    let mut labels: Vec<&Label> = diagnostic.labels.iter().filter(|l| in_file(l.span)).collect();
    labels.sort_by_key(|l| !l.primary);
    let mut labels = labels.into_iter();
    let location = match labels.next() {
        Some(label) => json!({ "physicalLocation": physical(sources, label.span) }),
        None => json!({ "physicalLocation": { "artifactLocation": artifact(sources.get(FileId::MAIN)) } }),
    };
    let related: Vec<Value> = labels
        .enumerate()
        .map(|(id, label)| {
            json!({
                "id": id + 1,
                "message": { "text": label.text },
                "physicalLocation": physical(sources, label.span),
            })
        })
        .collect();
    let mut result = json!({
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": diagnostic.severity.word(),
        "message": { "text": text(diagnostic) },
        "locations": [location],
        "relatedLocations": related,
    });
    let fixes: Vec<Value> = diagnostic
        .fixes
        .iter()
        .filter(|f| in_file(f.span))
        .map(|f| fix(sources, f))
        .collect();
    if !fixes.is_empty() {
        result["fixes"] = fixes.into();
    }
    result
}

fn fix(sources: &Sources, fix: &Fix) -> Value {
    let place = physical(sources, fix.span);
    let change = json!({
        "artifactLocation": place["artifactLocation"],
        "replacements": [{ "deletedRegion": place["region"], "insertedContent": { "text": fix.text } }],
    });
    json!({ "description": { "text": fix.title }, "artifactChanges": [change] })
}

fn physical(sources: &Sources, span: Span) -> Value {
    let Some((source, within)) = sources.locate(span) else {
        return json!({});
    };
    let (start, end) = (source.position(within.start), source.position(within.end));
    json!({
        "artifactLocation": artifact(source),
        "region": {
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            // The column behind the last character, as in the standard.
            "endColumn": end.column,
        },
    })
}

fn artifact(source: &Source) -> Value {
    json!({ "uri": uri(&source.path) })
}

/// Relative to where the command ran, as it was given; absolute paths with their scheme.
fn uri(path: &Path) -> String {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(encoded(&name.to_string_lossy())),
            Component::ParentDir => parts.push("..".to_owned()),
            _ => {}
        }
    }
    let scheme = if path.is_absolute() { "file:///" } else { "" };
    format!("{scheme}{}", parts.join("/"))
}

/// With `%XX` for what may not stand in a part of a path (RFC 3986, section 3.3).
fn encoded(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=@".contains(&b);
    let mut out = String::new();
    for b in name.bytes() {
        if plain(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        assert_eq!(uri(Path::new("a b/ü.chain")), "a%20b/%C3%BC.chain");
        assert_eq!(uri(Path::new("../lib.chain")), "../lib.chain");
        assert_eq!(uri(Path::new("/etc/edge.chain")), "file:///etc/edge.chain");
        assert_eq!(uri(Path::new("./a:b.chain")), "a%3Ab.chain");
    }
}
