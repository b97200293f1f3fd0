//! Byte tests: `tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn`, `len > 100`.

use super::lex::{Sym, Tok, Token};
use super::{Parsed, Parser, names};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::nesting;
use crate::syntax::{ArithOp, Expr, ExprKind, PrimitiveKind, Relation, Span, Spanned};

/// True for a token that continues an arithmetic expression.
pub(super) fn continues(tok: &Tok<'_>) -> bool {
    arith_op(tok).is_some() || relation(tok).is_some()
}

fn arith_op(tok: &Tok<'_>) -> Option<(ArithOp, u8)> {
    let sym = match tok {
        Tok::Sym(sym) => sym,
        Tok::Subtrahend(_) => &Sym::Minus,
        _ => return None,
    };
    Some(match sym {
        Sym::Pipe => (ArithOp::Or, 1),
        Sym::Caret => (ArithOp::Xor, 1),
        Sym::Amp => (ArithOp::And, 2),
        Sym::Shl => (ArithOp::Shl, 3),
        Sym::Shr => (ArithOp::Shr, 3),
        Sym::Plus => (ArithOp::Add, 4),
        Sym::Minus => (ArithOp::Sub, 4),
        Sym::Star => (ArithOp::Mul, 5),
        Sym::Slash => (ArithOp::Div, 5),
        Sym::Percent => (ArithOp::Mod, 1),
        _ => return None,
    })
}

fn relation(tok: &Tok<'_>) -> Option<Relation> {
    let Tok::Sym(sym) = tok else { return None };
    Some(match sym {
        Sym::Gt => Relation::Gt,
        Sym::Lt => Relation::Lt,
        Sym::Ge => Relation::Ge,
        Sym::Le => Relation::Le,
        Sym::Eq => Relation::Eq,
        Sym::Ne => Relation::Ne,
        _ => return None,
    })
}

impl Parser<'_, '_> {
    /// `EXPR OP EXPR`
    pub(super) fn relation(&mut self) -> Parsed<PrimitiveKind> {
        let mut operators = 0;
        let lhs = self.arith(1, &mut operators)?;
        let Some(op) = self.peek().and_then(relation) else {
            return self.expected("a comparison such as `== 0`");
        };
        let op = Spanned::new(op, self.here());
        self.take();
        let rhs = self.arith(1, &mut operators)?;
        Ok(PrimitiveKind::Relation { lhs, op, rhs })
    }

    /// An expression of operators that bind at least as tightly as `least`. Each operator is a
    /// level of the tree, so `operators` counts against the nesting limit.
    ///
    /// libpcap gives `^` and `%` no precedence: its parser always goes on reading when it meets
    /// one, so on the left they bind tighter than any operator, and to the right they take in all
    /// that follows.
    fn arith(&mut self, least: u8, operators: &mut usize) -> Parsed<Expr> {
        let mut lhs = self.arith_atom(operators)?;
        while let Some((op, binds)) = self.peek().and_then(arith_op) {
            let open = matches!(op, ArithOp::Xor | ArithOp::Mod);
            if binds < least && !open {
                break;
            }
            let here = self.operator();
            let rhs = self.arith(if open { 1 } else { binds + 1 }, operators)?;
            lhs = self.binary(op, lhs, rhs, here, operators)?;
        }
        Ok(lhs)
    }

    /// Takes an operator and says where it stands.
    fn operator(&mut self) -> Span {
        let here = self.here();
        let Some(Token { tok, span }) = self.tokens.get_mut(self.at) else {
            return here;
        };
        let Tok::Subtrahend(n) = *tok else {
            self.take();
            return here;
        };
        *tok = Tok::Number(n);
        span.start += 1;
        Span {
            end: here.start + 1,
            ..here
        }
    }

    fn binary(
        &mut self,
        op: ArithOp,
        lhs: Expr,
        rhs: Expr,
        here: Span,
        operators: &mut usize,
    ) -> Parsed<Expr> {
        *operators += 1;
        if *operators > crate::MAX_NESTING {
            return self.fail(nesting(here));
        }
        self.check_constant(op, &rhs)?;
        self.check_grouping(op, &lhs, &rhs, here);
        let span = lhs.span.to(rhs.span);
        let (lhs, rhs) = (Box::new(lhs), Box::new(rhs));
        Ok(Spanned::new(ExprKind::Binary { op, lhs, rhs }, span))
    }

    /// Refuses what libpcap refuses.
    fn check_constant(&mut self, op: ArithOp, rhs: &Expr) -> Parsed<()> {
        let ExprKind::Number(n) = rhs.node else {
            return Ok(());
        };
        let message = match op {
            ArithOp::Div | ArithOp::Mod if n == 0 => "division by zero",
            ArithOp::Shl | ArithOp::Shr if n > 31 => "a shift by more than 31 bits",
            _ => return Ok(()),
        };
        let found = Diagnostic::error(codes::FILTER_VALUE, message, rhs.span, "this cannot be");
        self.fail(found)
    }

    /// Warns of `a % b + c`, which is `a % (b + c)`.
    fn check_grouping(&mut self, op: ArithOp, lhs: &Expr, rhs: &Expr, here: Span) {
        let inner = |e: &Expr| match e.node {
            ExprKind::Binary { op, .. } => Some(op),
            _ => None,
        };
        let open = |op| matches!(op, ArithOp::Xor | ArithOp::Mod);
        let odd = |other: ArithOp| (open(op) || open(other)) && (op, other) != (ArithOp::Xor, op);
        if inner(lhs).is_some_and(odd) || inner(rhs).is_some_and(odd) {
            self.diagnostics.push(
                Diagnostic::warning(
                    codes::GROUPING,
                    "`^` and `%` have no precedence: they take in all that follows",
                    here,
                    "grouped as libpcap does, which may surprise",
                )
                .help("say with parentheses what you mean: `(ip[0] % 4) + 1`"),
            );
        }
    }

    fn arith_atom(&mut self, operators: &mut usize) -> Parsed<Expr> {
        let start = self.here();
        let Some(tok) = self.peek().cloned() else {
            return self.expected("a number or bytes such as `ip[0]`");
        };
        match tok {
            Tok::Number(n) => {
                self.take();
                Ok(Spanned::new(ExprKind::Number(n), start))
            }
            Tok::Range { low, high, minus } => {
                // `90-80` without spaces: here it can only be a subtraction, and binds as one with spaces does.
                let end = start.start + minus;
                if let Some(token) = self.tokens.get_mut(self.at) {
                    token.tok = Tok::Subtrahend(high);
                    token.span.start = end;
                }
                Ok(Spanned::new(ExprKind::Number(low), Span { end, ..start }))
            }
            Tok::Sym(Sym::Minus) => {
                self.take();
                self.enter()?;
                // Tighter than every operator but `^` and `%`.
                let inner = self.arith(u8::MAX, operators)?;
                self.depth -= 1;
                let span = start.to(inner.span);
                Ok(Spanned::new(ExprKind::Neg(Box::new(inner)), span))
            }
            Tok::Sym(Sym::LParen) => {
                self.take();
                self.enter()?;
                let inner = self.arith(1, operators)?;
                self.depth -= 1;
                let span = start.to(self.here());
                if !self.eat(Sym::RParen) {
                    return self.expected("an operator or `)`");
                }
                Ok(Spanned::new(ExprKind::Paren(Box::new(inner)), span))
            }
            Tok::Ref(name) => {
                self.take();
                Ok(Spanned::new(ExprKind::Ref(name.into_owned()), start))
            }
            Tok::Word(word) => self.arith_word(&word, operators),
            _ => self.expected("a number or bytes such as `ip[0]`"),
        }
    }

    fn arith_word(&mut self, word: &str, operators: &mut usize) -> Parsed<Expr> {
        let start = self.here();
        if word == "len" {
            self.take();
            return Ok(Spanned::new(ExprKind::Len, start));
        }
        if let Some(value) = names::constant(word) {
            self.take();
            let name = word.to_owned();
            return Ok(Spanned::new(ExprKind::Named { name, value }, start));
        }
        let Some(header) = names::header(word) else {
            let mut found = Diagnostic::error(
                codes::FILTER_NAME,
                format!("`{word}` is neither a header nor a constant of byte tests"),
                start,
                "unknown in a byte test",
            );
            found.help = Some(match word.contains('-') {
                true => "for a subtraction put spaces around `-`".to_owned(),
                false => format!(
                    "headers are {}; `len` is the frame's length",
                    names::HEADERS.map(|(header, _)| header).join(", ")
                ),
            });
            return self.fail(found);
        };
        self.take();
        if !self.eat(Sym::LBracket) {
            return self.expected("`[` and an offset");
        }
        self.enter()?;
        let offset = Box::new(self.arith(1, operators)?);
        self.depth -= 1;
        let size = match self.eat(Sym::Colon) {
            true => self.load_size()?,
            false => 1,
        };
        let span = start.to(self.here());
        if !self.eat(Sym::RBracket) {
            return self.expected("`]`");
        }
        let load = ExprKind::Load { header, offset, size };
        Ok(Spanned::new(load, span))
    }

    fn load_size(&mut self) -> Parsed<u8> {
        let size = match self.peek() {
            Some(Tok::Number(n @ (1 | 2 | 4))) => u8::try_from(*n).unwrap_or(1),
            _ => return self.expected("1, 2 or 4 bytes"),
        };
        self.take();
        Ok(size)
    }
}
