//! Every span of a tree: it lies in the source and in the node that holds it, siblings follow each other, and a name's
//! span covers that name.

use onvm_lang::syntax::{
    Allow, Arm, Assert, Chain, Claim, Decl, DeclKind, Expect, Expr, ExprKind, File, Filter, FilterKind,
    FilterValue, Grant, Ident, Match, Nf, Operand, Param, PrimitiveKind, Record, Rule, Span, Spanned, Steer,
    Step, StepKind, Stmt, StmtKind, Test, Use, Value,
};

/// Panics where a span of the file is wrong.
pub fn check(source: &str, file: &File) {
    let mut tree = Tree::new(source);
    for (decl, parts) in declarations(file) {
        tree.decl(decl);
        let mut inner = Tree::new(source);
        inner.within = decl.span();
        for part in parts {
            inner.next(part.span());
        }
    }
}

/// The declarations, each with those of its parts that could not be read, which stand behind it.
pub fn declarations(file: &File) -> Vec<(&Decl, &[Decl])> {
    let mut found = Vec::new();
    let mut rest = file.decls.as_slice();
    while let Some((decl, behind)) = rest.split_first() {
        let Span { start, end } = decl.span();
        let lies_in = |span: Span| start <= span.start && span.end <= end;
        let is_part = |d: &Decl| matches!(d.kind.node, DeclKind::Error(_)) && lies_in(d.span());
        let parts = behind.iter().take_while(|d| is_part(d)).count();
        found.push((decl, &behind[..parts]));
        rest = &behind[parts..];
    }
    found
}

/// Panics where a span of a filter that is a source of its own is wrong.
pub fn check_filter(source: &str, filter: &Filter) {
    Tree::new(source).filter(filter);
}

struct Tree<'s> {
    source: &'s str,
    /// The span of the node that is looked into.
    within: Span,
    /// Where what was looked at last in it ends.
    passed: u32,
}

impl<'s> Tree<'s> {
    fn new(source: &'s str) -> Self {
        Self {
            source,
            within: Span::new(0, source.len()),
            passed: 0,
        }
    }

    /// The text of the next sibling.
    fn next(&mut self, span: Span) -> &'s str {
        let Span { start, end } = self.within;
        assert!(
            start <= span.start && span.start <= span.end && span.end <= end,
            "{span:?} is not in {:?}",
            self.within
        );
        assert!(
            self.passed <= span.start,
            "{span:?} overlaps what comes before it"
        );
        self.passed = span.end;
        let text = self.source.get(span.range());
        text.unwrap_or_else(|| panic!("{span:?} splits a character"))
    }

    /// The next sibling, and what is in it.
    fn node(&mut self, span: Span, look: impl FnOnce(&mut Self)) {
        self.next(span);
        let mut inner = Self {
            source: self.source,
            within: span,
            passed: span.start,
        };
        look(&mut inner);
    }

    fn name(&mut self, name: &Ident) {
        let text = self.next(name.span);
        assert_eq!(text.to_lowercase(), name.node, "the text of {:?}", name.span);
    }

    /// What is not a node of the tree: a number, a path, a word of the language.
    fn leaf<T>(&mut self, leaf: &Spanned<T>) {
        assert!(!self.next(leaf.span).is_empty(), "{:?} is empty", leaf.span);
    }

    fn decl(&mut self, decl: &Decl) {
        for line in &decl.doc {
            let text = self.next(line.span);
            let said = text.strip_prefix("///").is_some_and(|t| t.contains(&line.node));
            assert!(said, "{text:?} is not {line:?}");
        }
        assert!(!decl.span().is_empty(), "{decl:?} is empty");
        self.node(decl.span(), |t| match &decl.kind.node {
            DeclKind::Use(Use { path, alias }) => {
                t.leaf(path);
                alias.iter().for_each(|n| t.name(n));
            }
            DeclKind::Param(d) => t.param(d),
            DeclKind::Let(d) => {
                t.name(&d.name);
                t.value(&d.value);
            }
            DeclKind::Class(d) => {
                t.name(&d.name);
                t.filter(&d.filter);
            }
            DeclKind::Port(d) => {
                t.name(&d.name);
                t.name(&d.kind);
                d.config.iter().for_each(|r| t.record(r));
            }
            DeclKind::Nf(Nf {
                name,
                ty,
                params,
                with,
            }) => {
                t.name(name);
                t.name(ty);
                params.iter().chain(with).for_each(|r| t.record(r));
            }
            DeclKind::Chain(d) => t.chain(d),
            DeclKind::Steer(Steer { port, rules, block }) => {
                t.name(port);
                t.node(block.span, |t| rules.iter().for_each(|r| t.rule(r)));
            }
            DeclKind::Allow(d) => t.allow(d),
            DeclKind::Assert(d) => t.assert(d),
            DeclKind::Test(Test { name, stmts }) => {
                t.leaf(name);
                stmts.iter().for_each(|s| t.stmt(s));
            }
            DeclKind::Manager(d) => t.record(&d.settings),
            DeclKind::Error(d) => d.name.iter().for_each(|n| t.name(n)),
        });
    }

    fn param(&mut self, param: &Param) {
        self.name(&param.name);
        self.node(param.ty.span.span, |t| t.name(&param.ty.name));
        param.default.iter().for_each(|v| self.value(v));
    }

    fn chain(&mut self, chain: &Chain) {
        self.name(&chain.name);
        for param in chain.params.iter().flatten() {
            self.name(&param.name);
            self.leaf(&param.kind);
        }
        self.steps(&chain.steps);
    }

    fn steps(&mut self, steps: &[Step]) {
        assert!(!steps.is_empty(), "a path without steps");
        for step in steps {
            self.node(step.span, |t| match &step.node {
                StepKind::Node { name, arms } => {
                    t.name(name);
                    arms.iter().for_each(|a| t.arm(a));
                }
                StepKind::Drop => {}
                StepKind::Call { name, args } => {
                    t.name(name);
                    args.iter().for_each(|n| t.name(n));
                }
            });
        }
    }

    fn arm(&mut self, arm: &Arm) {
        self.node(arm.span, |t| {
            t.name(&arm.output);
            t.steps(&arm.steps);
        });
    }

    fn rule(&mut self, rule: &Rule) {
        self.node(rule.span, |t| {
            match &rule.matcher {
                Match::Filter(filter) => t.filter(filter),
                Match::Else(word) => t.leaf(word),
            }
            t.steps(&rule.target);
        });
    }

    fn allow(&mut self, allow: &Allow) {
        self.name(&allow.nf);
        match &allow.grant {
            Grant::Steer { targets, max_hops } => {
                targets.iter().for_each(|n| self.name(n));
                max_hops.iter().for_each(|n| self.leaf(n));
            }
            Grant::Program { port, arms, block } => {
                self.name(port);
                self.node(block.span, |t| {
                    for arm in arms {
                        t.filter(&arm.filter);
                        arm.targets.iter().for_each(|target| t.name(target));
                    }
                });
            }
            Grant::Lookup => {}
        }
    }

    fn assert(&mut self, assert: &Assert) {
        self.name(&assert.port);
        self.filter(&assert.filter);
        self.node(assert.claim.span, |t| match &assert.claim.node {
            Claim::Passes { nf, before } => {
                t.name(nf);
                before.iter().for_each(|n| t.name(n));
            }
            Claim::NeverPasses { nf: name }
            | Claim::Reaches { node: name }
            | Claim::NeverReaches { node: name } => t.name(name),
            Claim::Dropped => {}
        });
    }

    fn stmt(&mut self, stmt: &Stmt) {
        self.node(stmt.span, |t| match &stmt.node {
            StmtKind::Send {
                port,
                proto,
                fields,
                times,
            } => {
                t.name(port);
                t.leaf(proto);
                fields.iter().for_each(|r| t.record(r));
                times.iter().for_each(|n| t.leaf(n));
            }
            StmtKind::Replay { port, file } => {
                t.name(port);
                t.leaf(file);
            }
            StmtKind::Expect(expect) => t.expect(expect),
        });
    }

    fn expect(&mut self, expect: &Expect) {
        match expect {
            Expect::Path(path) => path.iter().for_each(|n| self.name(n)),
            Expect::Passes(nf) => self.name(nf),
            Expect::Drop { at } => at.iter().for_each(|n| self.name(n)),
            Expect::Packets { port, count } => {
                self.name(port);
                self.leaf(count);
            }
            Expect::SameAs { port, file } => {
                self.name(port);
                self.leaf(file);
            }
            Expect::Counter { nf, counter, value } => {
                self.name(nf);
                self.name(counter);
                self.value(value);
            }
        }
    }

    fn record(&mut self, record: &Record) {
        self.node(record.span, |t| {
            for field in &record.fields {
                t.name(&field.name);
                t.value(&field.value);
            }
        });
    }

    fn value(&mut self, value: &Spanned<Value>) {
        assert!(!value.span.is_empty(), "{value:?} is empty");
        self.node(value.span, |t| match &value.node {
            Value::List(items) => items.iter().for_each(|v| t.value(v)),
            Value::Record(record) => t.record(record),
            Value::File(path) | Value::Secret(path) => t.leaf(path),
            Value::Ref(name) => t.name(name),
            Value::Quantity { unit, .. } => assert_eq!(t.next(unit.span), unit.node),
            _ => {}
        });
    }

    fn filter(&mut self, filter: &Filter) {
        self.node(filter.span, |t| match &filter.node {
            FilterKind::Logic { first, rest } => {
                t.filter(first);
                for term in rest {
                    t.leaf(&term.op);
                    t.filter(&term.rhs);
                }
            }
            FilterKind::Not(inner) | FilterKind::Paren(inner) => t.filter(inner),
            FilterKind::Primitive(primitive) => t.primitive(&primitive.kind),
            FilterKind::Error => {}
        });
    }

    fn primitive(&mut self, kind: &PrimitiveKind) {
        match kind {
            PrimitiveKind::All | PrimitiveKind::Protocol(_) | PrimitiveKind::Group(_) => {}
            PrimitiveKind::Class(name) => self.name(name),
            PrimitiveKind::Encapsulated { id, .. } => id.iter().for_each(|v| self.operand(v)),
            PrimitiveKind::EtherHost { mac: operand, .. }
            | PrimitiveKind::EtherProto(operand)
            | PrimitiveKind::IpProto { number: operand, .. }
            | PrimitiveKind::ProtoChain { number: operand, .. }
            | PrimitiveKind::Host { addr: operand, .. }
            | PrimitiveKind::Net { net: operand, .. }
            | PrimitiveKind::Port { port: operand, .. }
            | PrimitiveKind::PortRange { range: operand, .. }
            | PrimitiveKind::Less(operand)
            | PrimitiveKind::Greater(operand)
            | PrimitiveKind::Dscp(operand) => self.operand(operand),
            PrimitiveKind::Relation { lhs, op, rhs } => {
                self.expr(lhs);
                self.leaf(op);
                self.expr(rhs);
            }
        }
    }

    fn operand(&mut self, operand: &Operand) {
        assert!(!operand.span.is_empty(), "{operand:?} is empty");
        self.node(operand.span, |t| {
            if let FilterValue::List(items) = &operand.node {
                items.iter().for_each(|o| t.operand(o));
            }
        });
    }

    fn expr(&mut self, expr: &Expr) {
        assert!(!expr.span.is_empty(), "{expr:?} is empty");
        self.node(expr.span, |t| match &expr.node {
            ExprKind::Number(_) | ExprKind::Named { .. } | ExprKind::Ref(_) | ExprKind::Len => {}
            ExprKind::Load { offset: inner, .. } | ExprKind::Neg(inner) | ExprKind::Paren(inner) => {
                t.expr(inner);
            }
            ExprKind::Binary { lhs, rhs, .. } => {
                t.expr(lhs);
                t.expr(rhs);
            }
        });
    }
}
