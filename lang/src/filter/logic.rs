//! `and`, `or`, `not` and parentheses, with the qualifiers handed from operand to operand.

use super::lex::{Sym, Tok};
use super::quals::Quals;
use super::{Failed, MAX_REFUSED, Parsed, Parser, names};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Filter, FilterKind, Logic, LogicTerm, Spanned};

/// What is in force where an operand begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// The qualifiers that a bare value takes.
    pub(super) quals: Option<Quals>,
    /// True in `port (80 or 443)`, where only values may stand.
    pub(super) values_only: bool,
    /// True in parentheses.
    pub(super) nested: bool,
    /// The text before was refused, so the qualifiers of a bare value are not known.
    pub(super) after_refused: bool,
}

impl Parser<'_, '_> {
    /// The whole filter, up to the last token.
    pub(super) fn whole(&mut self) -> Parsed<Filter> {
        let (filter, _) = self.logic(Scope {
            quals: None,
            values_only: false,
            nested: false,
            after_refused: false,
        })?;
        if self.is(Sym::RParen) {
            let found = Diagnostic::error(
                codes::BRACKET,
                "`)` closes nothing",
                self.here(),
                "no parenthesis is open here",
            );
            return self.fail(found);
        }
        if self.refused > 0 {
            return Err(Failed);
        }
        Ok(filter)
    }

    /// Something stands behind a whole filter.
    fn leftover(&mut self, nested: bool) -> Parsed<Filter> {
        if let Some(Tok::Word(word)) = self.peek().cloned()
            && let Some(help) = names::unsupported(&word)
        {
            return self.unsupported(&word, help);
        }
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let meant = match before.map(|t| &t.tok) {
            Some(Tok::Word(word)) if !names::is_keyword(word) => names::keyword_like(word),
            _ => None,
        };
        let (count, span) = (self.diagnostics.len(), before.map(|t| t.span));
        let what = format!("`and`, `or` or {}", if nested { "`)`" } else { self.follows });
        let failed = self.expected(&what);
        if let (Some(meant), Some(span), Some(found)) = (meant, span, self.diagnostics.get_mut(count)) {
            found
                .help
                .get_or_insert(format!("did you mean `{meant}` before this?"));
            *found = found.clone().write(span, meant);
        }
        failed
    }

    pub(super) fn unsupported<T>(&mut self, word: &str, help: &str) -> Parsed<T> {
        let found = Diagnostic::error(
            codes::UNSUPPORTED,
            format!("the primitive `{word}` is not supported"),
            self.here(),
            "not supported",
        )
        .help(help);
        self.fail(found)
    }

    /// Operands joined by `and` and `or`; also the qualifiers that a next operand would take. A part that is refused does not
    /// hide the mistakes of the others: it is left out, and [`Parser::refused`] counts it.
    pub(super) fn logic(&mut self, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        let (first, mut scope) = self.operand_or_skip(scope);
        let mut rest = Vec::new();
        loop {
            if let Some(op) = self.connective() {
                let op_span = self.here();
                self.take();
                let (rhs, next) = self.operand_or_skip(scope);
                scope = next;
                rest.push(LogicTerm {
                    op: Spanned::new(op, op_span),
                    rhs,
                });
            } else if self.at >= self.tokens.len() || self.is(Sym::RParen) {
                break;
            } else {
                let start = self.at;
                if self.leftover(scope.nested).is_err() {
                    self.skip(start);
                }
                scope.after_refused = true;
            }
        }
        let Some(last) = rest.last() else {
            return Ok((first, scope.quals));
        };
        let span = first.span.to(last.rhs.span);
        let first = Box::new(first);
        Ok((Spanned::new(FilterKind::Logic { first, rest }, span), scope.quals))
    }

    /// The next operand and what is in force behind it; [`FilterKind::Error`] in place of one that was refused.
    fn operand_or_skip(&mut self, scope: Scope) -> (Filter, Scope) {
        let (start, depth, here) = (self.at, self.depth, self.here());
        match self.operand(scope) {
            Ok((filter, quals)) => {
                let after_refused = scope.after_refused && filter.node == FilterKind::Error;
                let scope = Scope {
                    quals,
                    after_refused,
                    ..scope
                };
                (filter, scope)
            }
            Err(Failed) => {
                self.depth = depth;
                self.skip(start);
                let filter = Spanned::new(FilterKind::Error, here.to(self.last()));
                let scope = Scope {
                    quals: scope.quals.filter(|_| scope.values_only),
                    after_refused: true,
                    ..scope
                };
                (filter, scope)
            }
        }
    }

    /// Goes on to what joins the next operand, from within one that began at token `start`.
    fn skip(&mut self, start: usize) {
        self.refused += 1;
        if self.refused >= MAX_REFUSED {
            self.at = self.tokens.len();
            return;
        }
        let read = self.tokens.get(start..self.at).unwrap_or(&[]);
        let count = |sym| read.iter().filter(|t| t.tok == Tok::Sym(sym)).count();
        let mut open = count(Sym::LParen).saturating_sub(count(Sym::RParen));
        let refused = self.at;
        while let Some(tok) = self.peek() {
            match tok {
                // The text after an arrow is not a filter.
                Tok::Bad(bad) if bad.meant == Some("->") => {
                    if self.at > refused {
                        let _ = self.expected::<()>("`->`");
                    }
                    self.at = self.tokens.len();
                    return;
                }
                Tok::Sym(Sym::LParen) => open += 1,
                Tok::Sym(Sym::RParen) if open == 0 => return,
                Tok::Sym(Sym::RParen) => open -= 1,
                _ if open == 0 && self.connective().is_some() => return,
                _ => {}
            }
            self.take();
        }
    }

    fn connective(&self) -> Option<Logic> {
        match self.peek()? {
            Tok::Sym(Sym::AndAnd) => Some(Logic::And),
            Tok::Sym(Sym::OrOr) => Some(Logic::Or),
            Tok::Word(w) if w == "and" => Some(Logic::And),
            Tok::Word(w) if w == "or" => Some(Logic::Or),
            _ => None,
        }
    }

    fn operand(&mut self, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        let start = self.here();
        if self.eat(Sym::Bang) || self.eat_word("not") {
            self.enter()?;
            let (inner, quals) = self.operand(scope)?;
            self.depth -= 1;
            let span = start.to(inner.span);
            return Ok((Spanned::new(FilterKind::Not(Box::new(inner)), span), quals));
        }
        if self.is(Sym::LParen) && !self.is_arithmetic_paren() {
            let filter = self.paren(scope)?;
            return Ok((filter, scope.quals));
        }
        self.primitive(scope)
    }

    /// `( ... )`, the parenthesis being next.
    pub(super) fn paren(&mut self, scope: Scope) -> Parsed<Filter> {
        let open = self.here();
        self.take();
        self.enter()?;
        let (inner, _) = self.logic(Scope {
            nested: true,
            ..scope
        })?;
        self.depth -= 1;
        let close = self.here();
        if !self.eat(Sym::RParen) {
            // One that was not read to its end may well have it.
            if self.refused > 0 {
                return Err(Failed);
            }
            let found = Diagnostic::error(codes::BRACKET, "this `(` is not closed", open, "opened here")
                .label(self.last(), "the filter ends here")
                .help("add `)`");
            return self.fail(found);
        }
        let span = open.to(close);
        Ok(Spanned::new(FilterKind::Paren(Box::new(inner)), span))
    }

    /// Distinguishes `(tcp[13] & 2) != 0` from `(tcp or udp)`: an operator follows the partner.
    fn is_arithmetic_paren(&self) -> bool {
        let close = self.partner.get(self.at).copied().flatten();
        let after = close.and_then(|c| self.tokens.get(c + 1));
        after.is_some_and(|t| super::arith::continues(&t.tok))
    }
}
