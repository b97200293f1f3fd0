//! Primitives: one test of a packet each.

use super::lex::{Sym, Tok};
use super::logic::Scope;
use super::operand::Wants;
use super::quals::{Quals, Type, type_word};
use super::{Parsed, Parser, arith, names};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Filter, FilterKind, Ident, Operand, Primitive, PrimitiveKind, Span, Spanned, Written};

fn done(kind: PrimitiveKind, written: Written, span: Span) -> Filter {
    Spanned::new(FilterKind::Primitive(Primitive { kind, written }), span)
}

impl Parser<'_, '_> {
    /// One primitive, and the qualifiers that a bare value after it takes.
    pub(super) fn primitive(&mut self, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        let start = self.here();
        let Some(tok) = self.peek().cloned() else {
            return self.expected("a primitive such as `tcp` or `port 80`");
        };
        let number = matches!(tok, Tok::Number(_) | Tok::Range { .. });
        let arithmetic = match &tok {
            Tok::Sym(Sym::LParen | Sym::Minus) => true,
            Tok::Word(w) => self.begins_byte_test(w),
            _ => number && self.peek_at(1).is_some_and(arith::continues),
        };
        if let (true, Some(quals)) = (scope.values_only && !arithmetic, scope.quals) {
            return self.bare_value(&tok, start, quals);
        }
        if arithmetic {
            let kind = self.relation()?;
            return Ok((done(kind, Written::Full, start.to(self.last())), None));
        }
        match &tok {
            Tok::Word(word) => self.word(word, start, scope),
            Tok::Sym(Sym::LBracket)
            | Tok::Ref(_)
            | Tok::Addr(_)
            | Tok::Prefix(_)
            | Tok::Mac(_)
            | Tok::Short(_)
            | Tok::Number(_)
            | Tok::Range { .. }
            | Tok::Escaped(_) => match scope.quals {
                Some(quals) => self.bare_value(&tok, start, quals),
                None => self.unqualified(&tok, start),
            },
            _ => self.expected("a primitive such as `tcp` or `port 80`"),
        }
    }

    fn begins_byte_test(&self, word: &str) -> bool {
        let bracket = self.peek_at(1) == Some(&Tok::Sym(Sym::LBracket));
        word == "len"
            || names::constant(word).is_some()
            || (bracket && names::header(word).is_some())
            || self.peek_at(1).is_some_and(arith::continues)
    }

    fn bare_value(&mut self, tok: &Tok<'_>, start: Span, quals: Quals) -> Parsed<(Filter, Option<Quals>)> {
        if let (Tok::Addr(_) | Tok::Prefix(_) | Tok::Mac(_), Some(Type::Port | Type::PortRange)) =
            (tok, quals.ty)
        {
            let found = Diagnostic::error(
                codes::QUALIFIER,
                format!("{tok} would be read as a port, like the value before it"),
                start,
                "this takes the qualifiers of the primitive before it",
            )
            .help(format!("write `host` or `net` before {tok}"));
            return self.fail(found);
        }
        let kind = self.qualified(quals)?;
        let filter = done(kind, Written::Inherited, start.to(self.last()));
        Ok((filter, Some(quals)))
    }

    /// A value that no qualifier stands before and that follows none.
    fn unqualified(&mut self, tok: &Tok<'_>, start: Span) -> Parsed<(Filter, Option<Quals>)> {
        let in_list = match tok {
            Tok::Sym(Sym::LBracket) => self.peek_at(1).cloned(),
            other => Some(other.clone()),
        };
        let help = match &in_list {
            Some(Tok::Addr(_) | Tok::Prefix(_)) => {
                let quals = Quals::default();
                let kind = self.qualified(quals)?;
                let filter = done(kind, Written::Bare, start.to(self.last()));
                return Ok((filter, Some(quals)));
            }
            Some(Tok::Mac(m)) => format!("write `ether host {m}`"),
            Some(Tok::Short(p)) => format!("write `net {p}`"),
            Some(Tok::Range { low, high, .. }) => format!("write `portrange {low}-{high}`"),
            Some(Tok::Number(n)) => format!("write `port {n}`, or `proto {n}`"),
            Some(Tok::Ref(r)) => format!("write `net ${r}` or `port ${r}`; a class is named without `$`"),
            Some(Tok::Escaped(w)) => format!("write `ip proto \\{w}`"),
            _ => "write `net [...]` or `port [...]`".to_owned(),
        };
        let found = Diagnostic::error(
            codes::QUALIFIER,
            "nothing says how to read this value",
            start,
            "a qualifier is missing before this",
        )
        .help(help);
        self.fail(found)
    }

    fn word(&mut self, word: &str, start: Span, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        let simple = match word {
            "all" => {
                self.take();
                Some(PrimitiveKind::All)
            }
            "vlan" => {
                self.take();
                Some(PrimitiveKind::Vlan(self.vlan_id()?))
            }
            "less" => Some(PrimitiveKind::Less(self.after_word(Wants::Length)?)),
            "greater" => Some(PrimitiveKind::Greater(self.after_word(Wants::Length)?)),
            "dscp" => Some(PrimitiveKind::Dscp(self.after_word(Wants::Dscp)?)),
            _ => None,
        };
        if let Some(kind) = simple {
            return Ok((done(kind, Written::Full, start.to(self.last())), None));
        }
        let next_qualifies = self
            .peek_at(1)
            .is_some_and(|t| matches!(t, Tok::Word(w) if type_word(w).is_some() || w == "src" || w == "dst"));
        if let (Some(proto), false) = (names::protocol(word), next_qualifies) {
            self.take();
            let kind = PrimitiveKind::Protocol(proto);
            return Ok((done(kind, Written::Full, start), None));
        }
        let begins = matches!(word, "ether" | "src" | "dst")
            || type_word(word).is_some()
            || names::protocol(word).is_some();
        if begins {
            return self.with_quals(start);
        }
        self.name(word, start, scope)
    }

    fn after_word(&mut self, wants: Wants) -> Parsed<Operand> {
        self.take();
        self.operand_value(wants)
    }

    fn vlan_id(&mut self) -> Parsed<Option<Operand>> {
        match self.peek() {
            Some(Tok::Number(_) | Tok::Ref(_) | Tok::Sym(Sym::LBracket)) => {
                Ok(Some(self.operand_value(Wants::Vlan)?))
            }
            _ => Ok(None),
        }
    }

    /// Qualifiers, then a value or values in parentheses.
    fn with_quals(&mut self, start: Span) -> Parsed<(Filter, Option<Quals>)> {
        let quals = self.quals()?;
        if self.is(Sym::LParen) {
            let mut filter = self.paren(Scope {
                quals: Some(quals),
                values_only: true,
            })?;
            filter.span = start.to(filter.span);
            return Ok((filter, Some(quals)));
        }
        let kind = self.qualified(quals)?;
        let filter = done(kind, Written::Full, start.to(self.last()));
        Ok((filter, Some(quals)))
    }

    /// A word that is no keyword: a service after `port`, else a class.
    fn name(&mut self, word: &str, start: Span, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        if let Some(quals) = scope.quals {
            let value = match quals.ty {
                Some(Type::Port) => names::service(word).is_some(),
                Some(Type::Proto) if quals.ether => names::ether_proto(word).is_some(),
                Some(Type::Proto) => names::ip_proto(word).is_some(),
                _ => false,
            };
            if value {
                let kind = self.qualified(quals)?;
                return Ok((done(kind, Written::Inherited, start), Some(quals)));
            }
        }
        if let Some(help) = names::unsupported(word) {
            return self.unsupported(word, help);
        }
        if matches!(word, "and" | "or" | "not" | "else" | "drop") {
            return self.expected("a primitive such as `tcp` or `port 80`");
        }
        if word.contains('-') {
            let mut found = Diagnostic::error(
                codes::NAME,
                format!("`{word}` is not a name"),
                start,
                "names have no `-`",
            );
            let joined = word.replace('-', "_");
            found.help = Some(format!("write `{joined}`"));
            return self.fail(found.write(start, joined));
        }
        self.take();
        let class = Ident::new(word.to_owned(), start);
        let kind = PrimitiveKind::Class(class);
        Ok((done(kind, Written::Full, start), None))
    }
}
