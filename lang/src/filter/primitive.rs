//! Primitives: one test of a packet each.

use super::lex::{Sym, Tok};
use super::logic::Scope;
use super::operand::Wants;
use super::quals::{Quals, Type, type_word};
use super::{Parsed, Parser, arith, names};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::syntax::{
    Encapsulation, Filter, FilterKind, Group, Ident, Operand, Primitive, PrimitiveKind, Span, Spanned,
    Written,
};

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
        if tok == Tok::Sym(Sym::Minus) && self.meant().is_some() {
            return self.expected("a primitive such as `tcp` or `port 80`");
        }
        let number = matches!(tok, Tok::Number(_) | Tok::Range { .. } | Tok::Ref(_));
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
                None if scope.after_refused => {
                    self.take();
                    Ok((Spanned::new(FilterKind::Error, start), None))
                }
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
            Some(Tok::Number(_) | Tok::Range { .. }) if self.encapsulated_before().is_some() => {
                let (span, text) = self.encapsulated_before().unwrap_or_default();
                let found = Diagnostic::error(
                    codes::QUALIFIER,
                    "this value has no qualifier",
                    start,
                    "the qualifier of the value on the left does not apply here",
                )
                .help(format!("write `{text}` for any of them"));
                return self.fail(found.write(span, text));
            }
            Some(Tok::Number(_)) if self.comma_list(self.at).is_some() => {
                let (span, text) = self.comma_list(self.at).unwrap_or_default();
                let found = Diagnostic::error(
                    codes::QUALIFIER,
                    "these values have no qualifier",
                    span,
                    "a qualifier is missing before this",
                )
                .help(format!("write `port {text}`"));
                return self.fail(found.write(span, format!("port {text}")));
            }
            Some(Tok::Addr(_) | Tok::Prefix(_)) => {
                let quals = Quals::default();
                let kind = self.qualified(quals)?;
                let filter = done(kind, Written::Bare, start.to(self.last()));
                return Ok((filter, Some(quals)));
            }
            Some(Tok::Mac(_)) => return self.unqualified_as("ether host", start),
            Some(Tok::Short(_)) => return self.unqualified_as("net", start),
            Some(Tok::Range { .. }) => return self.unqualified_as("portrange", start),
            Some(Tok::Number(n)) => format!("write `port {n}`, or `proto {n}`"),
            Some(Tok::Ref(r)) => format!("write `net ${r}` or `port ${r}`; a class is named without `$`"),
            Some(Tok::Escaped(w)) => format!("write `ip proto \\{w}`"),
            _ => "write `net [...]` or `port [...]`".to_owned(),
        };
        let found = Diagnostic::error(
            codes::QUALIFIER,
            "this value has no qualifier",
            start,
            "a qualifier is missing before this",
        )
        .help(help);
        self.fail(found)
    }

    /// The error for a value before which only this can stand.
    fn unqualified_as(&mut self, word: &str, start: Span) -> Parsed<(Filter, Option<Quals>)> {
        let found = Diagnostic::error(
            codes::QUALIFIER,
            "this value has no qualifier",
            start,
            "a qualifier is missing before this",
        )
        .help(format!("write `{word}` before it"));
        let before = Span {
            end: start.start,
            ..start
        };
        self.fail(found.fix(format!("write `{word}`"), before, format!("{word} ")))
    }

    fn word(&mut self, word: &str, start: Span, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        let simple = match word {
            "all" => {
                self.take();
                Some(PrimitiveKind::All)
            }
            "broadcast" => {
                self.take();
                Some(PrimitiveKind::Group(Group::EtherBroadcast))
            }
            "multicast" => {
                self.take();
                Some(PrimitiveKind::Group(Group::EtherMulticast))
            }
            "less" => Some(PrimitiveKind::Less(self.after_word(Wants::Length)?)),
            "greater" => Some(PrimitiveKind::Greater(self.after_word(Wants::Length)?)),
            "dscp" => Some(PrimitiveKind::Dscp(self.after_word(Wants::Dscp)?)),
            _ => match (names::encapsulation(word), self.group(word)?) {
                (Some(by), _) => {
                    self.take();
                    let id = self.id(by)?;
                    Some(PrimitiveKind::Encapsulated { by, id })
                }
                (None, group) => group.map(PrimitiveKind::Group),
            },
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

    fn id(&mut self, by: Encapsulation) -> Parsed<Option<Operand>> {
        match self.peek() {
            Some(Tok::Number(_) | Tok::Ref(_) | Tok::Range { .. } | Tok::Sym(Sym::LBracket)) => {
                Ok(Some(self.operand_value(Wants::Id(by))?))
            }
            _ => Ok(None),
        }
    }

    /// `ether broadcast`, `ip multicast`: the word is next, and taken with the one behind it if there is such a test.
    fn group(&mut self, word: &str) -> Parsed<Option<Group>> {
        let Some(Tok::Word(what)) = self.peek_at(1) else {
            return Ok(None);
        };
        let group = match (word, what.as_ref()) {
            ("ether", "broadcast") => Group::EtherBroadcast,
            ("ether", "multicast") => Group::EtherMulticast,
            ("ip", "multicast") => Group::IpMulticast,
            ("ip6", "multicast") => Group::Ip6Multicast,
            ("ip" | "ip6", "broadcast") => {
                self.take();
                let help = match word {
                    "ip" => {
                        "which addresses are broadcasts depends on the network: \
                         write `ip dst host 255.255.255.255`, or the network's own broadcast address"
                    }
                    _ => "IPv6 has no broadcast; multicast is `ip6 multicast`",
                };
                return self.unsupported(&format!("{word} broadcast"), help);
            }
            _ => return Ok(None),
        };
        self.at += 2;
        Ok(Some(group))
    }

    /// Qualifiers, then a value or values in parentheses.
    fn with_quals(&mut self, start: Span) -> Parsed<(Filter, Option<Quals>)> {
        let quals = self.quals()?;
        let filter = self.qualified_values(quals, start)?;
        Ok((filter, Some(quals)))
    }

    /// What stands behind qualifiers that begin at `start`: a value, values in parentheses, or `not` and either.
    fn qualified_values(&mut self, quals: Quals, start: Span) -> Parsed<Filter> {
        if self.eat(Sym::Bang) || self.eat_word("not") {
            self.enter()?;
            let inner = self.qualified_values(quals, start)?;
            self.depth -= 1;
            let span = inner.span;
            return Ok(Spanned::new(FilterKind::Not(Box::new(inner)), span));
        }
        if self.is(Sym::LParen) {
            let mut filter = self.paren(Scope {
                quals: Some(quals),
                values_only: true,
                nested: true,
                after_refused: false,
            })?;
            filter.span = start.to(filter.span);
            return Ok(filter);
        }
        let kind = self.qualified(quals)?;
        Ok(done(kind, Written::Full, start.to(self.last())))
    }

    /// A word that is not a keyword: a service after `port`, else a class.
    fn name(&mut self, word: &str, start: Span, scope: Scope) -> Parsed<(Filter, Option<Quals>)> {
        if let Some(quals) = scope.quals {
            let value = match quals.ty {
                Some(Type::Port) => names::service(word).is_some(),
                Some(Type::ProtoChain) => names::ip_proto(word).is_some(),
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
        if let Some((span, text)) = self.meant() {
            let found = Diagnostic::error(
                codes::FILTER,
                format!("`{word}` is a word of another language"),
                start,
                "has no meaning in a filter",
            )
            .help(format!("write `{text}`"));
            return self.fail(found.write(span, text));
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
