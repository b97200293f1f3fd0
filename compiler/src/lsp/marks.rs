//! The marks in a tree: every name, and every word whose meaning a declaration or a manifest gives.
//!
//! Names are file-global except for the parameters of chains, so that a name's meaning is known from the tree alone.
//! The checker's own look-ups would not do: it passes a chain once for each place where that is spliced in, and stops
//! at errors.

use onvm_lang::{
    TokenKind,
    syntax::{
        Allow, Assert, Chain, Claim, Decl, DeclKind, Expect, Expr, ExprKind, Filter, FilterKind, FilterValue,
        Grant, Ident, Match, Operand, PrimitiveKind, Record, Span, Spanned, Step, StepKind, StmtKind, Value,
    },
};

use crate::source::load::Unit;

/// A word that stands for something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    /// Without the `$` of `$name`, with the quotes of a path.
    pub(super) span: Span,
    pub(super) text: &'a str,
    pub(super) what: What<'a>,
    /// Read from a declaration that did not parse: it is only likely to be this.
    pub(super) guessed: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// The name of a declaration.
    Name {
        declares: bool,
    },
    /// A parameter of this chain.
    Param {
        of: &'a Chain,
    },
    /// The type of an NF: a standard one, or an imported one's name.
    NfType,
    PortKind,
    InputType,
    /// The name of a setting.
    Key(Owner<'a>),
    /// A word as the value of this setting.
    Word(Owner<'a>, &'a str),
    /// An output of this step's NF.
    Output(&'a str),
    /// A counter of this NF.
    Counter(&'a str),
    /// The path of a `use`.
    Import,
    /// The path of a `file("...")`.
    File,
}

/// Whose settings a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// A port of this kind.
    Port(&'a str),
    /// An NF of this type.
    Nf(&'a str),
    With,
    Manager,
    /// A packet of a test, of this protocol.
    Packet(&'a str),
}

/// The marks of a file in source order.
pub(super) fn marks<'a>(unit: &'a Unit, source: &'a str) -> Vec<Mark<'a>> {
    let mut walk = Walk {
        source,
        scope: None,
        guessed: false,
        marks: Vec::new(),
    };
    for decl in &unit.tree.decls {
        walk.decl(decl);
    }
    unit.rules.iter().for_each(|rule| walk.filter(&rule.filter));
    walk.marks.sort_by_key(|m| (m.span.start, m.guessed));
    walk.marks
}

struct Walk<'a> {
    source: &'a str,
    /// The chain whose steps these are.
    scope: Option<&'a Chain>,
    guessed: bool,
    marks: Vec<Mark<'a>>,
}

impl<'a> Walk<'a> {
    fn mark(&mut self, span: Span, text: &'a str, what: What<'a>) {
        let guessed = self.guessed;
        self.marks.push(Mark {
            span,
            text,
            what,
            guessed,
        });
    }

    fn declares(&mut self, name: &'a Ident) {
        self.mark(name.span, &name.node, What::Name { declares: true });
    }

    fn name(&mut self, name: &'a Ident) {
        self.mark(name.span, &name.node, What::Name { declares: false });
    }

    /// A name in a chain, where the chain's parameters go before declarations.
    fn in_chain(&mut self, name: &'a Ident) {
        match self.scope.filter(|c| has_param(c, &name.node)) {
            Some(of) => self.mark(name.span, &name.node, What::Param { of }),
            None => self.name(name),
        }
    }

    fn decl(&mut self, decl: &'a Decl) {
        match &decl.kind.node {
            DeclKind::Use(d) => {
                self.mark(d.path.span, &d.path.node, What::Import);
                d.alias.iter().for_each(|n| self.declares(n));
            }
            DeclKind::Param(d) => {
                self.declares(&d.name);
                self.mark(d.ty.name.span, &d.ty.name.node, What::InputType);
                d.default.iter().for_each(|v| self.value(v, None));
            }
            DeclKind::Let(d) => {
                self.declares(&d.name);
                self.value(&d.value, None);
            }
            DeclKind::Class(d) => {
                self.declares(&d.name);
                self.filter(&d.filter);
            }
            DeclKind::Port(d) => {
                self.declares(&d.name);
                self.mark(d.kind.span, &d.kind.node, What::PortKind);
                self.record(d.config.as_ref(), Owner::Port(&d.kind.node));
            }
            DeclKind::Nf(d) => {
                self.declares(&d.name);
                self.mark(d.ty.span, &d.ty.node, What::NfType);
                self.record(d.params.as_ref(), Owner::Nf(&d.ty.node));
                self.record(d.with.as_ref(), Owner::With);
            }
            DeclKind::Chain(d) => self.chain(d),
            DeclKind::Steer(d) => {
                self.name(&d.port);
                for rule in &d.rules {
                    if let Match::Filter(filter) = &rule.matcher {
                        self.filter(filter);
                    }
                    self.steps(&rule.target);
                }
            }
            DeclKind::Allow(d) => self.allow(d),
            DeclKind::Assert(d) => self.assert(d),
            DeclKind::Test(d) => d.stmts.iter().for_each(|s| self.statement(&s.node)),
            DeclKind::Manager(d) => self.record(Some(&d.settings), Owner::Manager),
            DeclKind::Error(d) => {
                d.name.iter().for_each(|n| self.declares(n));
                self.guess(decl.span(), d.name.as_ref());
            }
        }
    }

    /// Every word of a declaration that did not parse could be a name.
    fn guess(&mut self, span: Span, name: Option<&Ident>) {
        self.guessed = true;
        let text = span.text(self.source);
        for token in &onvm_lang::tokens(text) {
            if token.start == 0 && onvm_lang::words::DECLARATIONS.contains(&token.text(text)) {
                continue;
            }
            let at = token.span().shift(span.start);
            if token.kind == TokenKind::Word && name.is_none_or(|n| n.span != at) {
                self.mark(at, token.text(text), What::Name { declares: false });
            }
        }
        self.guessed = false;
    }

    fn chain(&mut self, chain: &'a Chain) {
        self.declares(&chain.name);
        self.scope = Some(chain);
        for param in chain.params.iter().flatten() {
            let of = chain;
            self.mark(param.name.span, &param.name.node, What::Param { of });
        }
        self.steps(&chain.steps);
        self.scope = None;
    }

    fn steps(&mut self, steps: &'a [Step]) {
        for step in steps {
            match &step.node {
                StepKind::Drop => {}
                StepKind::Call { name, args } => {
                    self.in_chain(name);
                    args.iter().for_each(|a| self.in_chain(a));
                }
                StepKind::Node { name, arms } => {
                    self.in_chain(name);
                    for arm in arms {
                        let output = &arm.output;
                        self.mark(output.span, &output.node, What::Output(&name.node));
                        self.steps(&arm.steps);
                    }
                }
            }
        }
    }

    fn allow(&mut self, allow: &'a Allow) {
        self.name(&allow.nf);
        match &allow.grant {
            Grant::Steer { targets, .. } => targets.iter().for_each(|t| self.name(t)),
            Grant::Program { port, arms, .. } => {
                self.name(port);
                for arm in arms {
                    self.filter(&arm.filter);
                    let named = arm.targets.iter().filter(|target| target.node != "drop");
                    named.for_each(|target| self.name(target));
                }
            }
            Grant::Lookup => {}
        }
    }

    fn assert(&mut self, assert: &'a Assert) {
        self.name(&assert.port);
        self.filter(&assert.filter);
        match &assert.claim.node {
            Claim::Passes { nf, before } => {
                self.name(nf);
                before.iter().for_each(|n| self.name(n));
            }
            Claim::NeverPasses { nf: name }
            | Claim::Reaches { node: name }
            | Claim::NeverReaches { node: name } => {
                self.name(name);
            }
            Claim::Dropped => {}
        }
    }

    fn statement(&mut self, statement: &'a StmtKind) {
        match statement {
            StmtKind::Send {
                port, proto, fields, ..
            } => {
                self.name(port);
                self.record(fields.as_ref(), Owner::Packet(proto.node.name()));
            }
            StmtKind::Replay { port, file } => {
                self.name(port);
                self.mark(file.span, &file.node, What::File);
            }
            StmtKind::Expect(expect) => self.expect(expect),
        }
    }

    fn expect(&mut self, expect: &'a Expect) {
        match expect {
            Expect::Path(nodes) => {
                let names = nodes.iter().filter(|n| n.node != "drop");
                names.for_each(|n| self.name(n));
            }
            Expect::Passes(nf) => self.name(nf),
            Expect::Drop { at } => at.iter().for_each(|n| self.name(n)),
            Expect::Packets { port, .. } => self.name(port),
            Expect::SameAs { port, file } => {
                self.name(port);
                self.mark(file.span, &file.node, What::File);
            }
            Expect::Counter { nf, counter, value } => {
                self.name(nf);
                self.mark(counter.span, &counter.node, What::Counter(&nf.node));
                self.value(value, None);
            }
        }
    }

    fn record(&mut self, record: Option<&'a Record>, owner: Owner<'a>) {
        for field in record.iter().flat_map(|r| &r.fields) {
            let key = field.name.node.as_str();
            self.mark(field.name.span, key, What::Key(owner));
            self.value(&field.value, Some((owner, key)));
        }
    }

    fn value(&mut self, value: &'a Spanned<Value>, of: Option<(Owner<'a>, &'a str)>) {
        match (&value.node, of) {
            (Value::Ref(name), _) => self.name(name),
            (Value::File(path), _) => self.mark(path.span, &path.node, What::File),
            (Value::Word(word), Some((owner, key))) => self.mark(value.span, word, What::Word(owner, key)),
            (Value::List(items), _) => items.iter().for_each(|v| self.value(v, of)),
            (Value::Record(record), _) => record.fields.iter().for_each(|f| self.value(&f.value, None)),
            (Value::Filter(filter), _) => self.filter(filter),
            (Value::Rules(rules), _) => rules.iter().for_each(|rule| self.filter(&rule.filter)),
            _ => {}
        }
    }

    fn filter(&mut self, filter: &'a Filter) {
        match &filter.node {
            FilterKind::Logic { first, rest } => {
                self.filter(first);
                rest.iter().for_each(|term| self.filter(&term.rhs));
            }
            FilterKind::Not(inner) | FilterKind::Paren(inner) => self.filter(inner),
            FilterKind::Primitive(primitive) => self.primitive(&primitive.kind),
            FilterKind::Error => {}
        }
    }

    fn primitive(&mut self, primitive: &'a PrimitiveKind) {
        match primitive {
            PrimitiveKind::All
            | PrimitiveKind::Protocol(_)
            | PrimitiveKind::Group(_)
            | PrimitiveKind::Encapsulated { id: None, .. } => {}
            PrimitiveKind::Relation { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            PrimitiveKind::Class(name) => self.name(name),
            PrimitiveKind::Encapsulated { id: Some(value), .. }
            | PrimitiveKind::EtherHost { mac: value, .. }
            | PrimitiveKind::EtherProto(value)
            | PrimitiveKind::IpProto { number: value, .. }
            | PrimitiveKind::ProtoChain { number: value, .. }
            | PrimitiveKind::Host { addr: value, .. }
            | PrimitiveKind::Net { net: value, .. }
            | PrimitiveKind::Port { port: value, .. }
            | PrimitiveKind::PortRange { range: value, .. }
            | PrimitiveKind::Less(value)
            | PrimitiveKind::Greater(value)
            | PrimitiveKind::Dscp(value) => self.operand(value),
        }
    }

    fn operand(&mut self, operand: &'a Operand) {
        match &operand.node {
            FilterValue::Ref(name) => self.reference(operand.span, name),
            FilterValue::List(items) => items.iter().for_each(|o| self.operand(o)),
            _ => {}
        }
    }

    /// `$name`
    fn reference(&mut self, mut span: Span, name: &'a str) {
        span.start = span.end - Span::new(0, name.len()).end;
        self.mark(span, name, What::Name { declares: false });
    }

    fn expr(&mut self, expr: &'a Expr) {
        match &expr.node {
            ExprKind::Number(_) | ExprKind::Named { .. } | ExprKind::Len => {}
            ExprKind::Ref(name) => self.reference(expr.span, name),
            ExprKind::Load { offset: of, .. } | ExprKind::Neg(of) | ExprKind::Paren(of) => self.expr(of),
            ExprKind::Binary { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
        }
    }
}

fn has_param(chain: &Chain, name: &str) -> bool {
    chain.params.iter().flatten().any(|p| p.name.node == name)
}
