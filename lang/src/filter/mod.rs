//! The filter language, pcap-filter(7) with extensions.
//!
//! A parser by hand: how a bare `443` is read depends on the qualifiers of the primitive before it,
//! which no context-free grammar says. The rules are those of libpcap's `grammar.y`: `not` binds
//! tightest, `and` and `or` have equal precedence and associate left, a value without qualifiers
//! takes those of the primitive before it, and a parenthesis hands its own inherited qualifiers on.

mod arith;
mod hint;
mod lex;
mod logic;
pub(crate) mod names;
mod operand;
mod primitive;
mod quals;
mod services;

use lex::{Sym, Tok, Token};

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::parse::{nesting, too_large};
use crate::syntax::{Filter, FilterKind, Span, Spanned};

/// What ends the filter of an assertion.
pub(crate) const CLAIM: &str = "a claim such as `dropped`";

/// Reads a filter that starts at byte `start` of its file. One that is wrong is
/// [`FilterKind::Error`] and has at least one diagnostic. `follows` says what ends it, for a message.
pub(crate) fn parse_at(
    text: &str,
    start: u32,
    follows: &'static str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Filter {
    let tokens = lex::lex(text, start, diagnostics);
    let whole = match (tokens.first(), tokens.last()) {
        (Some(a), Some(b)) => a.span.to(b.span),
        _ => Span { start, end: start },
    };
    let mut parser = Parser {
        text,
        start,
        partner: partners(&tokens),
        tokens,
        at: 0,
        depth: 0,
        end: whole.end,
        follows,
        refused: 0,
        diagnostics,
    };
    match parser.whole() {
        Ok(filter) => filter,
        Err(Failed) => Spanned::new(FilterKind::Error, whole),
    }
}

/// Reads a filter that is a source of its own. See [`crate::parse_filter`].
pub(crate) fn alone(source: &str) -> (Option<Filter>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    if source.len() > crate::MAX_SOURCE {
        diagnostics.push(too_large(source));
        return (None, diagnostics);
    }
    let filter = parse_at(source, 0, "the end of the filter", &mut diagnostics);
    // A name in capitals is refused and leaves a tree.
    let wrong = filter.node == FilterKind::Error || diagnostics.iter().any(|d| d.severity == Severity::Error);
    ((!wrong).then_some(filter), diagnostics)
}

/// The spans of a filter's tokens, for the formatter.
pub(crate) fn token_spans(text: &str, start: u32) -> Vec<Span> {
    let tokens = lex::lex(text, start, &mut Vec::new());
    tokens.into_iter().map(|t| t.span).collect()
}

/// The filter is refused and a diagnostic says why.
#[derive(Debug)]
struct Failed;

type Parsed<T> = Result<T, Failed>;

struct Parser<'s, 'd> {
    text: &'s str,
    /// Where the text begins in its file.
    start: u32,
    tokens: Vec<Token<'s>>,
    /// For each `(` the index of its `)`.
    partner: Vec<Option<usize>>,
    at: usize,
    depth: usize,
    /// Where the last token ends.
    end: u32,
    follows: &'static str,
    /// How many parts were refused.
    refused: usize,
    diagnostics: &'d mut Vec<Diagnostic>,
}

/// After so many mistakes in one filter the rest of it is not read.
const MAX_REFUSED: usize = 20;

fn partners(tokens: &[Token<'_>]) -> Vec<Option<usize>> {
    let mut partner = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.tok {
            Tok::Sym(Sym::LParen) => open.push(at),
            Tok::Sym(Sym::RParen) => {
                if let Some(slot) = open.pop().and_then(|o: usize| partner.get_mut(o)) {
                    *slot = Some(at);
                }
            }
            _ => {}
        }
    }
    partner
}

impl<'s> Parser<'s, '_> {
    fn peek(&self) -> Option<&Tok<'s>> {
        self.tokens.get(self.at).map(|t| &t.tok)
    }

    fn peek_at(&self, ahead: usize) -> Option<&Tok<'s>> {
        self.tokens.get(self.at + ahead).map(|t| &t.tok)
    }

    fn is(&self, sym: Sym) -> bool {
        self.peek() == Some(&Tok::Sym(sym))
    }

    fn is_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|t| t.is_word(word))
    }

    /// The span of the next token; empty at the end.
    fn here(&self) -> Span {
        self.tokens.get(self.at).map_or(
            Span {
                start: self.end,
                end: self.end,
            },
            |t| t.span,
        )
    }

    /// What the source says at a span.
    fn written(&self, span: Span) -> &'s str {
        let at = |end: u32| end.saturating_sub(self.start) as usize;
        self.text.get(at(span.start)..at(span.end)).unwrap_or("")
    }

    /// The span of the token read last.
    fn last(&self) -> Span {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(self.here(), |t| t.span)
    }

    fn take(&mut self) {
        self.at += 1;
    }

    fn eat(&mut self, sym: Sym) -> bool {
        let found = self.is(sym);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parsed<T> {
        self.diagnostics.push(diagnostic);
        Err(Failed)
    }

    fn expected<T>(&mut self, what: &str) -> Parsed<T> {
        let Some(token) = self.tokens.get(self.at) else {
            let last = self.tokens.last().map_or(self.here(), |t| t.span);
            let found = Diagnostic::error(
                codes::FILTER,
                format!("this filter ends too early: expected {what}"),
                last,
                format!("expected {what} after this"),
            );
            return self.fail(found);
        };
        let (tok, span) = (token.tok.clone(), token.span);
        // The same word may have been reported for its capitals.
        self.diagnostics
            .retain(|d| d.code != codes::NAME || d.span() != span);
        let written = match tok {
            Tok::Sym(_) => format!("`{}`", self.written(span)),
            _ => tok.to_string(),
        };
        let mut found = Diagnostic::error(
            codes::FILTER,
            format!("expected {what}, found {written}"),
            span,
            format!("expected {what} here"),
        );
        let tok_at = |at: Option<usize>| at.and_then(|at| self.tokens.get(at)).map(|t| &t.tok);
        found.help = hint::hint(&hint::Around {
            before: tok_at(self.at.checked_sub(1)),
            found: &tok,
            after: tok_at(Some(self.at + 1)),
            follows: self.follows,
            alone: self.tokens.len() == 1,
        });
        if let Tok::Bad(problem) = tok {
            found.code = problem.code;
            found.message = problem.message;
            found.help = problem.help;
            if let Some(meant) = problem.meant {
                found = found.write(span, meant);
            }
        } else if let Some((span, text)) = self.meant() {
            found.help = Some(format!("write `{text}`"));
            found = found.write(span, text);
        }
        self.fail(found)
    }

    /// Enters a level of nesting; the caller leaves it with `self.depth -= 1`.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > crate::MAX_NESTING {
            let found = nesting(self.here());
            self.refused = MAX_REFUSED;
            return self.fail(found);
        }
        Ok(())
    }
}
