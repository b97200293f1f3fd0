//! `and` and `or`: equal precedence, from the left.

use onvm_bundle::filter::{Direction, Expr, NetSet, Place, PortSet, Primitive, Test, Transport, Within};
use onvm_lang::{
    Diagnostic,
    syntax::{Filter, FilterKind, Logic, LogicTerm, Operand, PrimitiveKind, Span, Written},
};

use super::{Lowering, Names, Part, known::Known};
use crate::diagnostics::filters;

impl<N: Names> Lowering<'_, N> {
    pub(super) fn logic(
        &mut self,
        whole: &Filter,
        first: &Filter,
        rest: &[LogicTerm],
        file: N::File,
        known: u8,
    ) -> Option<Part> {
        if whole.node.mixes_and_or() {
            let warning = self.mixed(whole, first, rest, file);
            self.found.push(warning);
        }
        let first = self.filter(first, file, known);
        let mut known = first.as_ref().map_or(Known::same(known), |part| part.known);
        let mut run = Operands::new(first.map(|part| part.expr));
        for LogicTerm { op, rhs } in rest {
            let reached_with = match op.node {
                Logic::And => known.when_true,
                Logic::Or => known.when_false,
            };
            let right = self.filter(rhs, file, reached_with);
            let after = right
                .as_ref()
                .map_or(Known::same(reached_with), |part| part.known);
            known = match op.node {
                Logic::And => known.and(after),
                Logic::Or => known.or(after),
            };
            run.push(op.node, right.map(|part| part.expr));
        }
        Some(Part {
            expr: run.finish()?,
            known,
        })
    }

    /// The warning, with the reading that holds and the other one.
    fn mixed(&self, whole: &Filter, first: &Filter, rest: &[LogicTerm], file: N::File) -> Diagnostic {
        let span = self.names.span(file, whole.span);
        // A value that inherits its qualifiers gets them written out: behind parentheses it has none.
        let mut qualifiers = "";
        let text = |start: Span, end: Span| {
            let span = Span {
                start: start.start,
                end: end.end,
            };
            self.names.text(file, span)
        };
        let mut operand = |filter: &Filter| {
            let mut inner = filter;
            while let FilterKind::Not(of) = &inner.node {
                inner = of;
            }
            let start = |span: Span| Span::new(span.start as usize, span.start as usize);
            let not = text(filter.span, start(inner.span));
            let body = text(inner.span, inner.span);
            match &inner.node {
                FilterKind::Primitive(primitive) if primitive.written == Written::Inherited => {
                    clip(&format!("{not}{qualifiers}{body}"))
                }
                FilterKind::Primitive(primitive) => {
                    let value = operand_of(&primitive.kind).map_or(inner.span, |value| value.span);
                    // `host not 10.0.0.1`: what comes behind inherits no `not`.
                    qualifiers = text(inner.span, start(value));
                    let negated =
                        |text: &'_ str| text.strip_suffix('!').or(text.strip_suffix("not")).map(str::len);
                    while let Some(length) = negated(qualifiers.trim_end()) {
                        qualifiers = &qualifiers[..length];
                    }
                    clip(&format!("{not}{body}"))
                }
                _ => clip(&format!("{not}{body}")),
            }
        };
        let mut terms = vec![(Logic::And, operand(first))];
        terms.extend(rest.iter().map(|term| (term.op.node, operand(&term.rhs))));
        let (held, other) = readings(&terms);
        let turn = rest
            .windows(2)
            .position(|pair| pair[0].op.node != pair[1].op.node);
        let turn = turn.and_then(|at| Some((rest.get(at)?, rest.get(at + 1)?)));
        let (left, op) = turn.map_or((span, span), |(before, after)| {
            let left = self.names.span(file, first.span.to(before.rhs.span));
            (left, self.names.span(file, after.op.span))
        });
        let warning = filters::mixed(op, left, &held, &other);
        // Behind a parenthesis a value would have nothing to inherit.
        match turn.filter(|(_, after)| !inherits(&after.rhs)) {
            Some((before, _)) => filters::in_parentheses(warning, left, text(first.span, before.rhs.span)),
            None => warning,
        }
    }
}

fn inherits(filter: &Filter) -> bool {
    match &filter.node {
        FilterKind::Primitive(primitive) => primitive.written == Written::Inherited,
        FilterKind::Not(inner) => inherits(inner),
        _ => false,
    }
}

/// The value of a primitive that can pass its qualifiers on.
fn operand_of(kind: &PrimitiveKind) -> Option<&Operand> {
    match kind {
        PrimitiveKind::EtherHost { mac: value, .. }
        | PrimitiveKind::EtherProto(value)
        | PrimitiveKind::IpProto { number: value, .. }
        | PrimitiveKind::Host { addr: value, .. }
        | PrimitiveKind::Net { net: value, .. }
        | PrimitiveKind::Port { port: value, .. }
        | PrimitiveKind::PortRange { range: value, .. } => Some(value),
        _ => None,
    }
}

/// Operands joined so far by one operator. Keeps a chain of 100,000 operands linear.
struct Operands {
    op: Option<Logic>,
    operands: Vec<Expr>,
    faulty: bool,
}

impl Operands {
    fn new(first: Option<Expr>) -> Self {
        Self {
            op: None,
            faulty: first.is_none(),
            operands: first.into_iter().collect(),
        }
    }

    fn push(&mut self, op: Logic, operand: Option<Expr>) {
        if self.op.is_some_and(|before| before != op) {
            let closed = self.close();
            self.operands.push(closed);
        }
        self.op = Some(op);
        self.faulty |= operand.is_none();
        self.operands.extend(operand);
    }

    fn close(&mut self) -> Expr {
        let operands = std::mem::take(&mut self.operands);
        match self.op {
            Some(Logic::Or) => any(operands),
            Some(Logic::And) | None => Expr::and(operands),
        }
    }

    fn finish(mut self) -> Option<Expr> {
        let expr = self.close();
        (!self.faulty).then_some(expr)
    }
}

/// Disjunction in which neighbours that differ only in their values are one test: by the meaning of
/// a set this is the same, and a thousand prefixes are found as fast as ten.
pub(super) fn any(operands: Vec<Expr>) -> Expr {
    let operands = match Expr::or(operands) {
        Expr::Or(operands) => operands,
        single => return single,
    };
    let mut joined = Vec::with_capacity(operands.len());
    let mut group: Option<Group> = None;
    for operand in operands {
        let key = Key::of(&operand);
        match (&mut group, key) {
            (Some(open), Some(key)) if open.key == key => open.operands.push(operand),
            (_, key) => {
                joined.extend(group.take().map(Group::join));
                match key {
                    Some(key) => {
                        group = Some(Group {
                            key,
                            operands: vec![operand],
                        });
                    }
                    None => joined.push(operand),
                }
            }
        }
    }
    joined.extend(group.map(Group::join));
    Expr::or(joined)
}

/// Everything of a test over addresses or ports but the values.
#[derive(Clone, PartialEq, Eq)]
enum Key {
    Net(Place, Within, Direction),
    Port(Place, Transport, Direction),
}

impl Key {
    fn of(expr: &Expr) -> Option<Self> {
        let Expr::Test(Primitive { place, test }) = expr else {
            return None;
        };
        match test {
            Test::Net { within, dir, .. } => Some(Self::Net(place.clone(), *within, *dir)),
            Test::Port { transport, dir, .. } => Some(Self::Port(place.clone(), *transport, *dir)),
            _ => None,
        }
    }
}

struct Group {
    key: Key,
    operands: Vec<Expr>,
}

impl Group {
    fn join(mut self) -> Expr {
        if self.operands.len() == 1 {
            return self.operands.swap_remove(0);
        }
        let joined = match self.key {
            Key::Net(place, within, dir) => {
                let members = tests(&self.operands).filter_map(|test| match test {
                    Test::Net { nets, .. } => Some(nets.members()),
                    _ => None,
                });
                NetSet::new(members.flatten().copied())
                    .map(|nets| Expr::test_at(place, Test::Net { within, dir, nets }))
            }
            Key::Port(place, transport, dir) => {
                let members = tests(&self.operands).filter_map(|test| match test {
                    Test::Port { ports, .. } => Some(ports.members()),
                    _ => None,
                });
                PortSet::new(members.flatten().copied()).map(|ports| {
                    Expr::test_at(
                        place,
                        Test::Port {
                            transport,
                            dir,
                            ports,
                        },
                    )
                })
            }
        };
        joined.unwrap_or_else(|| Expr::or(self.operands))
    }
}

fn tests(operands: &[Expr]) -> impl Iterator<Item = &Test> {
    operands.iter().filter_map(|operand| match operand {
        Expr::Test(primitive) => Some(&primitive.test),
        _ => None,
    })
}

/// The filter with the parentheses that it is read with, and with those that it is not: `and` before
/// `or`, or where that is the same, `or` before `and`.
fn readings(terms: &[(Logic, String)]) -> (String, String) {
    let held = from_left(terms);
    let other = [Logic::And, Logic::Or]
        .map(|tight| grouped(terms, tight))
        .into_iter()
        .find(|reading| *reading != held);
    (held.clone(), other.unwrap_or(held))
}

fn from_left(terms: &[(Logic, String)]) -> String {
    let mut text = String::new();
    let mut before = None;
    for (at, (op, operand)) in terms.iter().enumerate() {
        if at == 0 {
            text.clone_from(operand);
            continue;
        }
        if before.is_some_and(|before| before != *op) {
            text = format!("({text})");
        }
        text = format!("{text} {} {operand}", word(*op));
        before = Some(*op);
    }
    text
}

/// The reading in which `tight` binds tighter than the other operator.
fn grouped(terms: &[(Logic, String)], tight: Logic) -> String {
    let loose = match tight {
        Logic::And => Logic::Or,
        Logic::Or => Logic::And,
    };
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for (at, (op, operand)) in terms.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if at > 0 && *op == tight => group.push(operand),
            _ => groups.push(vec![operand]),
        }
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|group| match group.as_slice() {
            [one] => (*one).to_owned(),
            many => format!("({})", many.join(&format!(" {} ", word(tight)))),
        })
        .collect();
    groups.join(&format!(" {} ", word(loose)))
}

fn word(op: Logic) -> &'static str {
    match op {
        Logic::And => "and",
        Logic::Or => "or",
    }
}

/// One line, of bounded length.
fn clip(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(&line)),
        None => line,
    }
}
