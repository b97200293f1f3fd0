//! Reading parts of a declaration that the grammar refused as a whole.

use pest::Parser as _;
use pest::error::{Error, InputLocation};

use super::chunk::Chunk;
use super::{Grammar, Pair, Rule, Walk, error};
use crate::diagnostic::{Diagnostic, Severity};
use crate::filter;
use crate::scan::{self, Kind, Token};
use crate::syntax::{DeclKind, FilterKind, Match, RuleKind, Span, Spanned, Steer, StepKind};

/// Bytes of a rule, and of a long one, that are read in a block that has a mistake. Each try costs time in proportion to the
/// text it is given, so there are few long ones.
const USUAL: usize = 1 << 10;
const LONGEST: usize = 64 << 10;
const MAX_LONG: usize = 64;

/// Wrong rules that are reported in one block; the rest of it is not checked.
const MAX_LOST: usize = 1000;

/// A `steer` block rule by rule: those that can be read, and the spans of the others, which are reported. The block
/// is none when its end is missing, since then anything may be missing.
pub(super) fn steer(
    source: &str,
    chunk: &Chunk,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(Option<DeclKind>, Vec<Span>)> {
    let text = chunk.span.text(source);
    let head = Grammar::parse(Rule::steer_head, text).ok()?.next()?;
    let mut block = Block {
        source,
        chunk,
        text,
        tokens: scan::scan(text),
        at: head.as_span().end(),
        rules: Vec::new(),
        lost: Vec::new(),
        long: 0,
        diagnostics,
    };
    let brace = Span::new(block.at - 1, text.len()).shift(chunk.span.start);
    let port = block.walk(0).ident(&head.into_inner().next()?);
    while block.step() {}
    let steer = Steer {
        port,
        rules: block.rules,
        block: Spanned::new((), brace),
    };
    let whole = chunk.unclosed.is_none();
    Some((whole.then_some(DeclKind::Steer(steer)), block.lost))
}

/// Whether a rule may have taken in the next one: its filter cannot be read, and goes over several lines.
pub(super) fn swallows(steer: &Steer, source: &str) -> bool {
    let mut filters = steer.rules.iter().filter_map(unreadable);
    filters.any(|filter| filter.text(source).contains('\n'))
}

fn unreadable(rule: &crate::syntax::Rule) -> Option<Span> {
    match &rule.matcher {
        Match::Filter(filter) if filter.node == FilterKind::Error => Some(filter.span),
        _ => None,
    }
}

struct Block<'s, 'd> {
    source: &'s str,
    chunk: &'s Chunk,
    text: &'s str,
    tokens: Vec<Token>,
    at: usize,
    rules: Vec<crate::syntax::Rule>,
    lost: Vec<Span>,
    /// How often much text was read for one rule.
    long: usize,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'s> Block<'s, '_> {
    fn walk(&mut self, at: usize) -> Walk<'_> {
        Walk {
            base: Span::new(at, at).shift(self.chunk.span.start).start,
            diagnostics: self.diagnostics,
        }
    }

    /// The next token that is not a comment, from a place on.
    fn token(&self, from: usize) -> Option<(usize, Token)> {
        let first = self.tokens.partition_point(|t| (t.start as usize) < from);
        let rest = self.tokens.get(first..)?;
        let token = rest.iter().position(|t| !t.is_comment())?;
        Some((first + token, *rest.get(token)?))
    }

    /// Reads one rule; false at the end of the block.
    fn step(&mut self) -> bool {
        self.cut_word();
        let Some((_, token)) = self.token(self.at) else {
            self.unclosed();
            return false;
        };
        self.at = token.start as usize;
        if token.kind == Kind::Close(b'}') {
            if let Some((_, more)) = self.token(self.at + 1) {
                let at = self.chunk.span.range().start + more.start as usize;
                self.diagnostics
                    .push(error::expected_at(self.source, self.chunk, at, &[Rule::EOI]));
            }
            return false;
        }
        if self.lost.len() >= MAX_LOST {
            return false;
        }
        let mut text = self.text_of(USUAL);
        let mut read = Grammar::parse(Rule::steer_rule, text);
        let reached = match &read {
            Ok(pairs) => pairs.peek().map_or(0, |rule| rule.as_span().end()),
            Err(found) => place(found),
        };
        let cut = self.at + text.len() < self.text.len();
        if cut && reached >= text.trim_end().len() && self.long < MAX_LONG {
            self.long += 1;
            text = self.text_of(LONGEST);
            read = Grammar::parse(Rule::steer_rule, text);
        }
        match read {
            Ok(mut pairs) => pairs.next().is_some_and(|rule| self.read(rule)),
            Err(found) => self.lose(text, &found),
        }
    }

    /// Reports a word that the grammar read in part only: the `wan` of `wané`.
    fn cut_word(&mut self) {
        let behind = self.tokens.partition_point(|t| (t.start as usize) < self.at);
        let before = behind.checked_sub(1).and_then(|at| self.tokens.get(at));
        let Some(end) = before.map(|t| t.end as usize).filter(|end| *end > self.at) else {
            return;
        };
        let place = self.chunk.span.range().start + self.at;
        self.diagnostics.push(error::expected_at(
            self.source,
            self.chunk,
            place,
            &[Rule::arrow, Rule::steer_rule],
        ));
        self.at = end;
    }

    /// So many bytes from here on, or a few less.
    fn text_of(&self, length: usize) -> &'s str {
        let mut end = self.text.len().min(self.at + length);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(self.at..end).unwrap_or("")
    }

    fn unclosed(&mut self) {
        if let Some(open) = self.chunk.unclosed {
            let end = self.chunk.span.range().end;
            self.diagnostics.push(error::unclosed(self.source, open, end));
        }
    }

    fn read(&mut self, rule: Pair<'_>) -> bool {
        let (at, end, before) = (self.at, rule.as_span().end(), self.diagnostics.len());
        let rule = self.walk(at).rule(rule);
        self.at = at + end;
        if let Some(filter) = rule.as_ref().and_then(unreadable) {
            // The filter may have gone on to the arrow of the next rule.
            let wrong = self
                .diagnostics
                .get(before)
                .map_or(filter.start, |d| d.span().start);
            let base = self.chunk.span.start;
            let next = self.next_rule((wrong - base) as usize);
            if next < (filter.end - base) as usize {
                // Mistakes from there on are found where that rule is read.
                let start = Span::new(next, next).shift(base).start;
                let mut found = self.diagnostics.split_off(before);
                found.retain(|d| d.span().start < start);
                self.diagnostics.append(&mut found);
                self.at = next;
                self.lost.push(Span::new(at, next).shift(base));
                return true;
            }
        }
        self.rules.extend(rule);
        true
    }

    /// Reports a rule that cannot be read, and goes to the next.
    fn lose(&mut self, text: &'s str, found: &Error<Rule>) -> bool {
        let (at, wrong) = (self.at, place(found));
        if self.chunk.unclosed.is_some() && at + wrong >= self.text.len() {
            self.unclosed();
            return false;
        }
        let before = self.diagnostics.len();
        let is_else = text
            .strip_prefix("else")
            .is_some_and(|rest| !rest.starts_with(in_word));
        if is_else {
            self.otherwise(at);
        } else if let Some(name) = self.spaced_call(text) {
            let here = Span::new(at, at + 1).shift(self.chunk.span.start);
            self.diagnostics.push(error::spaced_call(here, &name));
        } else if positives(found).contains(&Rule::arrow) {
            self.filter(text, wrong);
        }
        if self.diagnostics.len() == before {
            let place = self.chunk.span.range().start + at + wrong;
            self.diagnostics.push(error::expected_at(
                self.source,
                self.chunk,
                place,
                positives(found),
            ));
        }
        let wrong = self.diagnostics.get(before).map_or(0, |d| d.span().start);
        let wrong = (wrong.saturating_sub(self.chunk.span.start) as usize).max(at);
        self.at = self.next_rule(wrong);
        self.lost
            .push(Span::new(at, self.at).shift(self.chunk.span.start));
        true
    }

    /// `s (lan)`: read as a rule that ends at `s`, which is wrong too, and another that begins with `(lan)`.
    fn spaced_call(&mut self, text: &str) -> Option<String> {
        text.starts_with('(').then_some(())?;
        let rule = self.rules.pop_if(|rule| {
            let end = (rule.span.end - self.chunk.span.start) as usize;
            let gap = self.text.get(end..self.at).unwrap_or("");
            let last = rule.node.target.last().map(|s| &s.node);
            matches!(last, Some(StepKind::Node { arms, .. }) if arms.is_empty()) && !gap.contains('\n')
        })?;
        self.lost.push(rule.span);
        if matches!(rule.node.matcher, Match::Else(_)) {
            self.otherwise((rule.span.start - self.chunk.span.start) as usize);
        }
        match &rule.node.target.last()?.node {
            StepKind::Node { name, .. } => Some(name.node.clone()),
            _ => None,
        }
    }

    /// An `else` without a target: there is one, whatever it leads to.
    fn otherwise(&mut self, at: usize) {
        let span = Span::new(at, at + 4).shift(self.chunk.span.start);
        let behind = Span::new(at + 4, at + 4).shift(self.chunk.span.start);
        self.rules.push(Spanned::new(
            RuleKind {
                matcher: Match::Else(Spanned::new((), span)),
                target: vec![Spanned::new(StepKind::Drop, behind)],
            },
            span,
        ));
    }

    /// Where no arrow follows the text that should be a filter, the words that do not belong there say more than its
    /// end.
    fn filter(&mut self, text: &str, wrong: usize) {
        let filter = text.get(..wrong).unwrap_or("").trim_end();
        if filter.contains("->") {
            return;
        }
        let start = Span::new(self.at, self.at).shift(self.chunk.span.start).start;
        let mut found = Vec::new();
        filter::parse_at(filter, start, "`->`", &mut found);
        found.retain(|d| d.severity == Severity::Error);
        let Some(first) = found.first() else { return };
        // Mistakes in the text of the next rule are found there.
        let base = self.chunk.span.start;
        let next = self.next_rule(first.span().start.saturating_sub(base) as usize);
        let next = Span::new(next, next).shift(base).start;
        found.retain(|d| d.span().start < next);
        self.diagnostics.append(&mut found);
        let rest = text.get(wrong..).unwrap_or("");
        if rest.starts_with("=>") || rest.starts_with('→') {
            let place = self.chunk.span.range().start + self.at + wrong;
            let found = error::expected_at(self.source, self.chunk, place, &[Rule::arrow]);
            self.diagnostics.push(found);
        }
    }

    /// The place behind `wrong` where another rule may begin: `else`, a line that continues none, or the end of the block.
    fn next_rule(&self, wrong: usize) -> usize {
        let Some((first, _)) = self.token(wrong) else {
            return self.text.len();
        };
        let mut depth = 0_usize;
        for token in self.tokens.iter().skip(first) {
            let text = token.text(self.text);
            let starts = token.start as usize > wrong && depth == 0 && !token.is_comment();
            let begins = token.first && !matches!(text, "and" | "or" | "-" | "&" | "|" | ",");
            if starts && (begins || text == "else") {
                return token.start as usize;
            }
            match token.kind {
                Kind::Open(_) => depth += 1,
                Kind::Close(b'}') if depth == 0 => return token.start as usize,
                Kind::Close(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.text.len()
    }
}

/// Why an `assert` without a claim is wrong: the first word that is not a filter, which may be a misspelt claim.
pub(super) fn assertion(source: &str, chunk: &Chunk, found: &Error<Rule>) -> Option<Diagnostic> {
    let text = chunk.span.text(source);
    positives(found).contains(&Rule::claim).then_some(())?;
    let start = text.find(':')? + 1;
    let start = start + text.get(start..)?.find(|c: char| !c.is_whitespace())?;
    let base = Span::new(start, start).shift(chunk.span.start).start;
    let mut found = Vec::new();
    filter::parse_at(text.get(start..)?, base, filter::CLAIM, &mut found);
    found.into_iter().find(|d| d.severity == Severity::Error)
}

fn place(error: &Error<Rule>) -> usize {
    match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    }
}

fn positives(error: &Error<Rule>) -> &[Rule] {
    match &error.variant {
        pest::error::ErrorVariant::ParsingError { positives, .. } => positives,
        pest::error::ErrorVariant::CustomError { .. } => &[],
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
