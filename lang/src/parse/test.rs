//! Tests from the grammar's pairs.

use super::{Pair, Rule, Walk};
use crate::syntax::{Expect, Ident, PacketProto, Spanned, Stmt, StmtKind, Test, Value};

impl Walk<'_> {
    pub(super) fn test<'s>(&mut self, mut parts: impl Iterator<Item = Pair<'s>>) -> Option<Test> {
        let name = self.string(&parts.next()?);
        let mut stmts = Vec::new();
        for part in parts.next()?.into_inner() {
            if part.as_rule() == Rule::statement {
                stmts.push(self.statement(part)?);
            }
        }
        Some(Test { name, stmts })
    }

    fn statement(&mut self, pair: Pair<'_>) -> Option<Stmt> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let rule = inner.as_rule();
        let mut parts = inner.into_inner();
        let kind = match rule {
            Rule::send => self.send(parts)?,
            Rule::replay => {
                let port = self.ident(&parts.nth(1)?);
                let file = self.file(parts.next()?)?;
                StmtKind::Replay { port, file }
            }
            _ => {
                let expectation = parts.nth(1)?.into_inner().next()?;
                StmtKind::Expect(self.expect(expectation)?)
            }
        };
        Some(Spanned::new(kind, span))
    }

    fn send<'s>(&mut self, parts: impl Iterator<Item = Pair<'s>>) -> Option<StmtKind> {
        let (mut port, mut proto, mut fields, mut times) = (None, None, None, None);
        for part in parts {
            match part.as_rule() {
                Rule::port_name => port = Some(self.ident(&part)),
                Rule::packet_proto => {
                    let known = PacketProto::from_name(part.as_str())?;
                    proto = Some(Spanned::new(known, self.span(&part)));
                }
                Rule::record => fields = Some(self.record(part)?),
                Rule::count => times = Some(self.count(&part)),
                _ => {}
            }
        }
        Some(StmtKind::Send {
            port: port?,
            proto: proto?,
            fields,
            times,
        })
    }

    /// `file("...")`: the string in it.
    fn file(&mut self, pair: Pair<'_>) -> Option<Spanned<String>> {
        let string = pair.into_inner().find(|p| p.as_rule() == Rule::string)?;
        Some(self.string(&string))
    }

    fn expect(&mut self, pair: Pair<'_>) -> Option<Expect> {
        let rule = pair.as_rule();
        let mut names: Vec<Ident> = Vec::new();
        let (mut count, mut file, mut value) = (None, None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::nf_name | Rule::port_name | Rule::node_name | Rule::counter_name => {
                    names.push(self.ident(&part));
                }
                Rule::count => count = Some(self.count(&part)),
                Rule::file => file = Some(self.file(part)?),
                Rule::counter_value => value = Some(self.counter_value(part)?),
                _ => {}
            }
        }
        if rule == Rule::expect_path {
            return Some(Expect::Path(names));
        }
        let mut names = names.into_iter();
        Some(match rule {
            Rule::expect_passes => Expect::Passes(names.next()?),
            Rule::expect_drop => Expect::Drop { at: names.next() },
            Rule::expect_counter => Expect::Counter {
                nf: names.next()?,
                counter: names.next()?,
                value: value?,
            },
            Rule::expect_packets => Expect::Packets {
                port: names.next()?,
                count: count?,
            },
            _ => Expect::SameAs {
                port: names.next()?,
                file: file?,
            },
        })
    }

    fn counter_value(&mut self, pair: Pair<'_>) -> Option<Spanned<Value>> {
        let inner = pair.into_inner().next()?;
        let span = self.span(&inner);
        if inner.as_rule() == Rule::reference {
            let name = self.reference(&inner);
            return Some(Spanned::new(Value::Ref(name), span));
        }
        let count = self.count(&inner).node;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Some(Spanned::new(Value::Int(count), span))
    }
}
