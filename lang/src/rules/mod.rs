//! Rules, one a line: `[NAME:] VERDICT FILTER`.
//!
//! They stand in a file of their own, where comments begin with `#` or `//`, or as a block in a source. A rule ends with
//! its line, except within brackets, behind `and`, `or`, `not` or a comma, and before a line that begins with `and`, `or` or a
//! bracket. Each is read for itself, so that one mistake hides none in another.

mod foreign;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::{
    Diagnostic, MAX_SOURCE, RulesParse, codes, filter,
    parse::{directions, name_error, too_large},
    syntax::{Ident, RuleLine, Span},
};

/// What ends the filter of a rule.
const END: &str = "the end of the rule";

/// Verdicts of many firewalls. A line that begins with one begins a rule, even where a bracket was left open before.
const VERDICTS: [&str; 8] = [
    "accept", "drop", "deny", "reject", "allow", "permit", "pass", "mark",
];

/// Where rules stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// A file of their own: `#` begins a comment, too.
    File,
    /// A block in a source.
    Block,
}

/// Reads a file of rules. See [`crate::parse_rules`].
pub(crate) fn file(source: &str) -> RulesParse {
    let mut diagnostics = Vec::new();
    let mut rules = Vec::new();
    if source.len() > MAX_SOURCE {
        diagnostics.push(too_large(source));
    } else {
        rules = parse_at(source, 0, Home::File, &mut diagnostics);
        for (start, end) in comments(source, Home::File) {
            diagnostics.extend(directions(source, Span::new(start, end)));
        }
        diagnostics.sort_by_key(|d| d.span().start);
    }
    RulesParse { rules, diagnostics }
}

/// Reads the rules in a text that begins at byte `start` of its file. A rule without verdict and filter is left out and has a
/// diagnostic.
pub(crate) fn parse_at(
    text: &str,
    start: u32,
    home: Home,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<RuleLine> {
    let code = without_comments(text, home);
    let mut rules: Vec<RuleLine> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for (from, to) in extents(&code) {
        let before = diagnostics.len();
        let rule = code.get(from..to).unwrap_or("");
        let at = Span::new(from, to).shift(start);
        let read = one(rule, at, diagnostics);
        if let Some(rule) = &read
            && !known.contains(&rule.verdict.node)
        {
            known.push(rule.verdict.node.clone());
        }
        if diagnostics.len() > before
            && let Some(found) = foreign::diagnostic(rule, at)
        {
            diagnostics.truncate(before);
            diagnostics.push(found);
            continue;
        }
        rules.extend(read);
    }
    rules
}

/// The rule in a text that stands at `at` and is not blank at either end.
fn one(text: &str, at: Span, diagnostics: &mut Vec<Diagnostic>) -> Option<RuleLine> {
    let (mut word, mut rest) = word(text);
    let mut name = None;
    if let Some(behind) = rest.trim_start().strip_prefix(':')
        && !behind.starts_with(':')
        && !word.is_empty()
    {
        name = Some(ident(word, at, text, diagnostics));
        let behind = behind.trim_start();
        (word, rest) = self::word(behind);
    }
    if word.is_empty() {
        let here = head(rest, at);
        let found = Diagnostic::error(
            codes::EXPECTED,
            "expected a verdict such as `drop` at the beginning of a rule",
            here,
            "no rule begins like this",
        );
        diagnostics.push(
            found.help(
                "a rule is written `drop tcp dst port 23`, with a name `no_telnet: drop tcp dst port 23`",
            ),
        );
        return None;
    }
    let verdict = ident(word, at, text, diagnostics);
    let body = rest.trim_start();
    if body.is_empty() {
        let found = Diagnostic::error(
            codes::EXPECTED,
            format!("expected a filter after `{word}`"),
            verdict.span,
            "this verdict has no filter",
        );
        diagnostics.push(found.help(format!("`{word} all` stands for every packet")));
        return None;
    }
    let start = at.end - Span::new(0, body.len()).end;
    let filter = filter::parse_at(body, start, END, diagnostics);
    Some(RuleLine {
        name,
        verdict,
        filter,
    })
}

/// The name that `word`, a part of `text`, is. Capitals are reported.
fn ident(word: &str, at: Span, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Ident {
    let offset = word.as_ptr() as usize - text.as_ptr() as usize;
    let span = Span::new(offset, offset + word.len()).shift(at.start);
    diagnostics.extend(name_error(word, span));
    Ident::new(word.to_lowercase(), span)
}

/// A word at the beginning, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    text.split_at(if begins { length.unwrap_or(text.len()) } else { 0 })
}

/// The place of what stands first in the rest of a rule that ends with `at`.
fn head(rest: &str, at: Span) -> Span {
    let rest = rest.trim_start();
    let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let start = at.end - Span::new(0, rest.len()).end;
    Span {
        start,
        end: start + Span::new(0, length).end,
    }
}

/// The comments of a text.
pub(crate) fn comments(text: &str, home: Home) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.trim_end_matches(['\n', '\r']);
        let slashes = code.find("//");
        let hash = code.find('#').filter(|_| home == Home::File);
        if let Some(at) = slashes.into_iter().chain(hash).min() {
            found.push((start + at, start + code.len()));
        }
        start += line.len();
    }
    found
}

/// The text with spaces in place of comments, so that offsets stay.
fn without_comments(text: &str, home: Home) -> Cow<'_, str> {
    let comments = comments(text, home);
    if comments.is_empty() {
        return text.into();
    }
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in comments {
        code.push_str(text.get(at..start).unwrap_or(""));
        code.extend(std::iter::repeat_n(' ', end - start));
        at = end;
    }
    code.push_str(text.get(at..).unwrap_or(""));
    code.into()
}

/// Where each rule begins and ends, blank space at either end left out.
pub(crate) fn extents(code: &str) -> Vec<(usize, usize)> {
    let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    let mut depth = 0_usize;
    for line in code.split_inclusive('\n') {
        let text = line.trim_matches(blank);
        let from = start + (line.len() - line.trim_start_matches(blank).len());
        start += line.len();
        if text.is_empty() {
            continue;
        }
        let to = from + text.len();
        let before = found.last().and_then(|(a, b)| code.get(*a..*b)).unwrap_or("");
        let open = depth > 0 || goes_on_behind(before);
        if !found.is_empty() && (goes_on_with(text) || open && !begins_rule(text)) {
            if let Some(last) = found.last_mut() {
                last.1 = to;
            }
        } else {
            depth = 0;
            found.push((from, to));
        }
        for c in text.chars() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    found
}

/// Whether what ends so is not whole.
fn goes_on_behind(text: &str) -> bool {
    let last = text.rsplit(|c: char| c.is_whitespace()).next().unwrap_or("");
    matches!(last, "and" | "or" | "not" | "&&" | "||" | "!") || last.ends_with(',')
}

/// Whether what begins so belongs to what stands before it: no rule does.
fn goes_on_with(text: &str) -> bool {
    let marks = ["(", ")", "[", "]", ",", "&&", "||"];
    ["and", "or"].contains(&word(text).0) || marks.iter().any(|mark| text.starts_with(mark))
}

fn begins_rule(text: &str) -> bool {
    let (word, rest) = word(text);
    VERDICTS.contains(&word) && rest.starts_with(char::is_whitespace)
}
