//! Rules: a block in a source, and files of their own.

use super::{misread, printer::Printer};
use crate::{
    Diagnostic, Severity,
    rules::{self, Home},
    syntax::{RuleLine, Span},
};

/// What stands before a line that goes on with a rule.
const INDENT: &str = "    ";

impl Printer<'_> {
    pub(super) fn rules(&mut self, rules: &[RuleLine], span: Span) {
        self.comments_before(span.start);
        self.open("{");
        for rule in rules {
            self.item(rule.span().start);
            if let Some(name) = &rule.name {
                self.text(&name.node, name.span);
                self.mark(":");
                self.space();
            }
            self.text(&rule.verdict.node, rule.verdict.span);
            self.space();
            self.filter(&rule.filter);
        }
        self.close("}", span.end);
    }
}

/// Lays a file of rules out. See [`crate::format_rules`].
pub(crate) fn rules_file(source: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = rules::file(source);
    if parsed.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(parsed.diagnostics);
    }
    let formatted = lines(source, &parsed.rules);
    let again = rules::file(&formatted).rules;
    if again == parsed.rules {
        return Ok(formatted);
    }
    let same = again
        .iter()
        .zip(&parsed.rules)
        .take_while(|(a, b)| a == b)
        .count();
    let span = parsed.rules.get(same).map_or(Span::new(0, 0), RuleLine::span);
    Err(vec![misread("rule", span)])
}

/// Each line for itself: a rule keeps its line breaks, and a comment its line.
fn lines(source: &str, rules: &[RuleLine]) -> String {
    let comments = rules::comments(source, Home::File);
    let mut comments = comments.iter().peekable();
    let mut rules = rules.iter().peekable();
    let mut out = String::with_capacity(source.len());
    let (mut start, mut rule_end, mut blank) = (0, 0, false);
    for line in source.split_inclusive('\n') {
        let end = start + line.len();
        let comment = comments.next_if(|(at, _)| *at < end);
        let code = start..comment.map_or(end, |c| c.0);
        let mut text = squeezed(source.get(code.clone()).unwrap_or(""));
        let comment = comment.and_then(|(a, b)| source.get(*a..*b)).unwrap_or("");
        if let Some(rule) = rules.next_if(|rule| code.contains(&(rule.span().start as usize))) {
            text = head(rule, source, code.end);
            rule_end = rule.span().end as usize;
        } else if start < rule_end {
            text.insert_str(0, INDENT);
        }
        start = end;
        if text.trim().is_empty() && comment.is_empty() {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) && !out.is_empty() {
            out.push('\n');
        }
        let apart = if text.trim().is_empty() || comment.is_empty() {
            ""
        } else {
            " "
        };
        out.extend([&text, apart, comment.trim_end(), "\n"]);
    }
    out
}

/// The first line of a rule, of which `end` is the end.
fn head(rule: &RuleLine, source: &str, end: usize) -> String {
    let name = rule
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!("{}: ", name.node));
    let filter = source.get(rule.filter.span.start as usize..end).unwrap_or("");
    format!("{name}{} {}", rule.verdict.node, squeezed(filter))
        .trim_end()
        .to_owned()
}

/// White space reduced to single spaces.
fn squeezed(text: &str) -> String {
    let words = text.trim_start_matches('\u{feff}').split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}
