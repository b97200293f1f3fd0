//! `and`, `or`, `not` and parentheses, with the qualifiers handed from operand to operand.

use super::lex::{Sym, Tok};
use super::quals::Quals;
use super::{Parsed, Parser, names};
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
}

impl Parser<'_, '_> {
    /// The whole filter, up to the last token.
    pub(super) fn whole(&mut self) -> Parsed<Filter> {
        let (filter, _) = self.logic(Scope {
            quals: None,
            values_only: false,
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
        if self.at < self.tokens.len() {
            return self.leftover();
        }
        Ok(filter)
    }

    /// Something stands behind a whole filter.
    fn leftover(&mut self) -> Parsed<Filter> {
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
        let what = format!("`and`, `or` or {}", self.follows);
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

    /// Operands joined by `and` and `or`; also the qualifiers that a next operand would take.
    pub(super) fn logic(&mut self, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        let (first, mut quals) = self.operand(scope)?;
        let mut rest = Vec::new();
        while let Some(op) = self.connective() {
            let op_span = self.here();
            self.take();
            let (rhs, next) = self.operand(Scope { quals, ..scope })?;
            quals = next;
            rest.push(LogicTerm {
                op: Spanned::new(op, op_span),
                rhs,
            });
        }
        let Some(last) = rest.last() else {
            return Ok((first, quals));
        };
        let span = first.span.to(last.rhs.span);
        let first = Box::new(first);
        Ok((Spanned::new(FilterKind::Logic { first, rest }, span), quals))
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
        let (inner, _) = self.logic(scope)?;
        self.depth -= 1;
        let close = self.here();
        if self.at >= self.tokens.len() {
            let found = Diagnostic::error(codes::BRACKET, "this `(` is not closed", open, "opened here")
                .label(self.last(), "the filter ends here")
                .help("add `)`");
            return self.fail(found);
        }
        if !self.eat(Sym::RParen) {
            return self.expected("`and`, `or` or `)`");
        }
        let span = open.to(close);
        Ok(Spanned::new(FilterKind::Paren(Box::new(inner)), span))
    }

    /// Tells `(tcp[13] & 2) != 0` from `(tcp or udp)`: an operator follows the partner.
    fn is_arithmetic_paren(&self) -> bool {
        let close = self.partner.get(self.at).copied().flatten();
        let after = close.and_then(|c| self.tokens.get(c + 1));
        after.is_some_and(|t| super::arith::continues(&t.tok))
    }
}
