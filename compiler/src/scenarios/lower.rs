//! From the syntax of a test to what it does. Everything that is wrong with it is reported here.

use onvm_lang::syntax::{self, Expect, Ident, PacketProto, Record, Spanned, StmtKind, Value};

use super::{Body, Capture, Expectation, Expected, Replay, Send, Statement, Test};
use crate::{
    diagnostics::{
        contradictory_packet, misplaced_expectation as misplaced, out_of_range, set_twice, wrong_value_type,
    },
    lower::claims::Claims,
    packet,
    resolve::{
        notation::{describe_value, notation},
        values::What,
    },
    source::{
        host::clean,
        sources::{FileId, Place},
    },
};

/// Copies of a packet that one `send` makes, at most.
const MOST_COPIES: u64 = 1_000_000;

impl Claims<'_, '_> {
    /// None: something was reported.
    pub(crate) fn test(&self, file: FileId, test: &syntax::Test) -> Option<Test> {
        let cx = self.graph.cx;
        let mut whole = true;
        let mut statements = Vec::new();
        let mut captures: Vec<(String, Capture)> = Vec::new();
        let mut first: Option<(Place, bool)> = None;
        for stmt in &test.stmts {
            let place = cx.place(file, stmt.span);
            let replays = matches!(stmt.node, StmtKind::Replay { .. });
            if !matches!(stmt.node, StmtKind::Expect(_)) {
                let (before, kind) = *first.get_or_insert((place, replays));
                if kind != replays {
                    cx.report(misplaced::both_kinds(place, before));
                    whole = false;
                }
            }
            match &stmt.node {
                StmtKind::Send {
                    port,
                    proto,
                    fields,
                    times,
                } => {
                    let sent = self.send(file, port, proto, fields.as_ref(), times.as_ref());
                    whole &= sent.is_some();
                    statements.extend(sent.map(|s| Statement::Send(Send { place, ..s })));
                }
                StmtKind::Replay { port, file: path } => {
                    self.port(file, port);
                    if let Some((_, first)) = captures.iter().find(|(p, _)| *p == port.node) {
                        let what = format!("replay {}", port.node);
                        cx.report(set_twice::set_twice(place, &what, first.place));
                        whole = false;
                    }
                    captures.push((port.node.clone(), self.capture(file, path)));
                }
                StmtKind::Expect(expect) => {
                    let what = self.expected(file, expect);
                    whole &=
                        what.is_some() && self.is_placed(place, expect, first.map(|(_, replays)| replays));
                    statements.extend(what.map(|what| Statement::Expect(Expectation { place, what })));
                }
            }
        }
        let body = if captures.is_empty() {
            Body::Paths(statements)
        } else {
            let expectations = statements.into_iter().filter_map(|s| match s {
                Statement::Expect(e) => Some(e),
                Statement::Send(_) => None,
            });
            Body::Replay(Replay {
                expectations: expectations.collect(),
                captures,
            })
        };
        whole.then(|| Test {
            name: test.name.node.clone(),
            place: cx.place(file, test.name.span),
            body,
        })
    }

    /// The expectation suits what was sent before it, if anything was.
    fn is_placed(&self, place: Place, expect: &Expect, replay: Option<bool>) -> bool {
        let Some(replay) = replay else {
            self.graph.cx.report(misplaced::nothing_sent(place));
            return false;
        };
        let other = match (expect, replay) {
            (Expect::Path(_), true) => Some("the path of a packet"),
            (Expect::Passes(_), true) => Some("which packets pass an NF"),
            (Expect::Drop { .. }, true) => Some("which packets are dropped"),
            (Expect::SameAs { .. }, false) => Some("whether two captures are the same"),
            _ => None,
        };
        if let Some(what) = other {
            self.graph
                .cx
                .report(misplaced::of_the_other_kind(place, what, replay));
        }
        other.is_none()
    }

    fn send(
        &self,
        file: FileId,
        port: &Ident,
        proto: &Spanned<PacketProto>,
        fields: Option<&Record>,
        times: Option<&Spanned<u64>>,
    ) -> Option<Send> {
        let cx = self.graph.cx;
        self.port(file, port);
        let copies = times.map_or(1, |t| t.node);
        if let Some(times) = times.filter(|t| !(1..=MOST_COPIES).contains(&t.node)) {
            let place = cx.place(file, times.span);
            let range = format!("from 1 to {MOST_COPIES}");
            cx.report(out_of_range::out_of_range(
                place,
                "times",
                &times.node.to_string(),
                &range,
            ));
            return None;
        }
        let head = cx.place(file, proto.span);
        let owner = format!("packet `{}`", proto.node.name());
        let read = self
            .filters
            .values
            .settings(file, &owner, head, fields, &packet::specs(proto.node));
        if !read.complete {
            return None;
        }
        match packet::frame(proto.node, &read.values) {
            Ok(frame) => Some(Send {
                place: head,
                port: port.node.clone(),
                frame,
                times: copies,
            }),
            Err(e) => {
                let place = read.places.get(e.field).copied().unwrap_or(head);
                cx.report(contradictory_packet::contradictory_packet(
                    place, &e.message, &e.help,
                ));
                None
            }
        }
    }

    fn expected(&self, file: FileId, expect: &Expect) -> Option<Expected> {
        Some(match expect {
            Expect::Path(nodes) => {
                let named = nodes.iter().filter(|n| n.node != "drop");
                named.for_each(|n| {
                    self.node(file, n);
                });
                Expected::Path(nodes.iter().map(|n| n.node.clone()).collect())
            }
            Expect::Passes(nf) => {
                self.nf(file, nf);
                Expected::Passes(nf.node.clone())
            }
            Expect::Drop { at } => {
                at.iter().for_each(|n| {
                    self.node(file, n);
                });
                Expected::Drop {
                    at: at.as_ref().map(|n| n.node.clone()),
                }
            }
            Expect::Packets { port, count } => {
                self.port(file, port);
                Expected::Packets {
                    port: port.node.clone(),
                    count: count.node,
                }
            }
            Expect::SameAs { port, file: path } => {
                self.port(file, port);
                Expected::SameAs {
                    port: port.node.clone(),
                    capture: self.capture(file, path),
                }
            }
            Expect::Counter { nf, counter, value } => {
                self.counter(file, nf, counter);
                Expected::Counter {
                    nf: nf.node.clone(),
                    counter: counter.node.clone(),
                    value: self.count(file, value)?,
                }
            }
        })
    }

    /// The number of packets that a counter must show.
    fn count(&self, file: FileId, value: &Spanned<Value>) -> Option<u64> {
        let given = self.filters.values.follow(file, value)?;
        let cx = self.graph.cx;
        match &given.what {
            What::One(Value::Int(n)) => match u64::try_from(*n) {
                Ok(n) => return Some(n),
                Err(_) => cx.report(out_of_range::out_of_range(
                    given.place,
                    "counter",
                    &n.to_string(),
                    "from 0",
                )),
            },
            What::One(other) => cx.report(wrong_value_type::wrong_value_type(
                given.place,
                "counter",
                "a whole number",
                describe_value(other),
                Some(format!("`{}` is not a number of packets", notation(other))),
            )),
            What::List(_) => cx.report(wrong_value_type::wrong_value_type(
                given.place,
                "counter",
                "a whole number",
                "a list",
                None,
            )),
        }
        None
    }

    /// A capture, of which it is only checked that it is there.
    fn capture(&self, file: FileId, path: &Spanned<String>) -> Capture {
        self.file(file, path);
        Capture {
            place: self.graph.cx.place(file, path.span),
            name: path.node.clone(),
            path: clean(&self.graph.cx.directory(file).join(&path.node)),
        }
    }
}
