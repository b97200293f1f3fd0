//! Values from the grammar's pairs.

use super::{Pair, Rule, Walk, literal};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::filter;
use crate::rules::{self, Home};
use crate::syntax::{Field, Ident, Number, Record, RecordFields, Span, Spanned, Value};
use crate::units;

impl Walk<'_> {
    pub(super) fn value(&mut self, pair: Pair<'_>) -> Option<Spanned<Value>> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let value = match inner.as_rule() {
            Rule::record => Value::Record(self.record(inner)?),
            Rule::addr_port6 => self.literal(inner.as_str(), span),
            Rule::list => {
                let mut items = Vec::new();
                for part in inner.into_inner() {
                    if part.as_rule() == Rule::value {
                        items.push(self.value(part)?);
                    }
                }
                Value::List(items)
            }
            Rule::call => {
                let mut parts = inner.into_inner();
                let word = parts.next()?;
                let string = self.string(&parts.nth(1)?);
                match word.as_str() {
                    "file" => Value::File(string),
                    _ => Value::Secret(string),
                }
            }
            Rule::reference => Value::Ref(self.reference(&inner)),
            Rule::string => Value::Str(self.string(&inner).node),
            _ => return self.scalar(inner),
        };
        Some(Spanned::new(value, span))
    }

    pub(super) fn record(&mut self, pair: Pair<'_>) -> Option<Record> {
        let span = self.span(&pair);
        let mut fields = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() != Rule::field {
                continue;
            }
            let mut parts = part.into_inner();
            let name = self.ident(&parts.next()?);
            let value = self.setting(parts.nth(1)?)?;
            fields.push(Field { name, value });
        }
        Some(Spanned::new(RecordFields { fields }, span))
    }

    /// What stands right of `=` in a record: a filter or a block of rules, too.
    fn setting(&mut self, pair: Pair<'_>) -> Option<Spanned<Value>> {
        match pair.as_rule() {
            Rule::value_filter => {
                let start = self.span(&pair).start;
                let filter = filter::parse_at(pair.as_str(), start, "`,` or `}`", self.diagnostics);
                let span = filter.span;
                Some(Spanned::new(Value::Filter(Box::new(filter)), span))
            }
            Rule::rules_block => {
                let span = self.span(&pair);
                let text = pair.into_inner().nth(1)?;
                let start = self.span(&text).start;
                let rules = rules::parse_at(text.as_str(), start, Home::Block, self.diagnostics);
                Some(Spanned::new(Value::Rules(rules), span))
            }
            _ => self.value(pair),
        }
    }

    /// `$name`: the name, its span without the `$`.
    pub(super) fn reference(&mut self, pair: &Pair<'_>) -> Ident {
        let span = self.span(pair);
        let name = pair.as_str().trim_start_matches('$');
        let span = Span {
            start: span.start + 1,
            end: span.end,
        };
        self.check_name(name, span);
        Ident::new(name.to_lowercase(), span)
    }

    /// A number that counts; one that is malformed or too large is reported and read as 0.
    pub(super) fn count(&mut self, pair: &Pair<'_>) -> Spanned<u64> {
        let span = self.span(pair);
        let count = match literal::literal(pair.as_str()) {
            Ok(Value::Int(n)) => u64::try_from(n).ok(),
            _ => None,
        };
        if count.is_none() {
            self.diagnostics.push(Diagnostic::error(
                codes::LITERAL,
                format!("`{}` is not a whole number", pair.as_str()),
                span,
                "expected a whole number here",
            ));
        }
        Spanned::new(count.unwrap_or(0), span)
    }

    fn literal(&mut self, text: &str, span: Span) -> Value {
        match literal::literal(text) {
            Ok(Value::Word(word)) => {
                self.check_name(&word, span);
                Value::Word(word.to_lowercase())
            }
            Ok(value) => value,
            Err(problem) => {
                let mut found =
                    Diagnostic::error(codes::LITERAL, problem.message, span, "this value is malformed");
                found.help = problem.help;
                self.diagnostics.push(found);
                Value::Word(text.to_owned())
            }
        }
    }

    /// What follows a value that takes no unit is not a part of it.
    fn scalar(&mut self, pair: Pair<'_>) -> Option<Spanned<Value>> {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let atom = parts.next()?;
        let unit = parts.find(|p| p.as_rule() == Rule::unit);
        let atom_span = self.span(&atom);
        let text = atom.as_str();
        let (number, unit) = match unit {
            Some(unit) => {
                let span = self.span(&unit);
                (text, Spanned::new(unit.as_str().to_owned(), span))
            }
            None => match literal::glued_unit(text) {
                Some(at) => {
                    let start = atom_span.start as usize + at;
                    let span = Span::new(start, atom_span.end as usize);
                    let unit = text.get(at..).unwrap_or("").to_owned();
                    (text.get(..at).unwrap_or(""), Spanned::new(unit, span))
                }
                None => return Some(Spanned::new(self.literal(text, atom_span), atom_span)),
            },
        };
        let number = match literal::literal(number) {
            Ok(Value::Int(n)) => Number::Int(n),
            Ok(Value::Decimal(n)) => Number::Decimal(n),
            Ok(value) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::EXPECTED,
                        format!("expected `,` or the end of the value, found `{}`", unit.node),
                        unit.span,
                        "only a number is followed by a unit",
                    )
                    .label(atom_span, "the value"),
                );
                return Some(Spanned::new(value, atom_span));
            }
            Err(_) => return Some(Spanned::new(self.literal(number, atom_span), atom_span)),
        };
        if let Some(found) = units::check(&unit) {
            self.diagnostics.push(found);
        }
        Some(Spanned::new(Value::Quantity { number, unit }, span))
    }

    /// A string with its escapes resolved: `\" \\ \n \r \t \0 \xHH \u{H}`.
    pub(super) fn string(&mut self, pair: &Pair<'_>) -> Spanned<String> {
        let span = self.span(pair);
        let quoted = pair.as_str();
        let inner = quoted
            .strip_prefix('"')
            .and_then(|s| s.strip_suffix('"'))
            .unwrap_or(quoted);
        if !inner.contains('\\') {
            return Spanned::new(inner.to_owned(), span);
        }
        let mut out = String::with_capacity(inner.len());
        let mut rest = inner;
        while let Some(at) = rest.find('\\') {
            out.push_str(rest.get(..at).unwrap_or(""));
            let escape = rest.get(at..).unwrap_or("");
            let len = match literal::escape(escape) {
                Some((c, len)) => {
                    out.push(c);
                    len
                }
                None => {
                    let start = span.start as usize + 1 + (inner.len() - escape.len());
                    self.unknown_escape(escape, start)
                }
            };
            rest = escape.get(len..).unwrap_or("");
        }
        out.push_str(rest);
        Spanned::new(out, span)
    }

    fn unknown_escape(&mut self, escape: &str, start: usize) -> usize {
        let len = escape.chars().take(2).map(char::len_utf8).sum();
        self.diagnostics.push(
            Diagnostic::error(
                codes::STRING,
                format!("`{}` is not an escape", escape.get(..len).unwrap_or("")),
                Span::new(start, start + len),
                "unknown escape",
            )
            .help(
                "the escapes are \\\" \\\\ \\n \\r \\t \\0 \\xHH and \\u{HHHH}; write `\\\\` for a backslash",
            ),
        );
        len
    }
}
