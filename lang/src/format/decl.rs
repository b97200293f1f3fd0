//! Declarations.

use super::printer::Printer;
use crate::syntax::{Allow, Assert, Claim, Decl, DeclKind, Grant, Ident, Nf, Param, ProgramArm, Span, Use};

impl Printer<'_> {
    pub(super) fn decl(&mut self, decl: &Decl) {
        let span = decl.span();
        self.item(span.start);
        match &decl.kind.node {
            DeclKind::Use(d) => self.use_decl(d),
            DeclKind::Param(d) => self.param(d),
            DeclKind::Let(d) => {
                self.head("let", &d.name);
                self.value(&d.value, 0);
            }
            DeclKind::Class(d) => {
                self.head("class", &d.name);
                self.filter(&d.filter);
            }
            DeclKind::Port(d) => {
                self.head("port", &d.name);
                self.text(&d.kind.node, d.kind.span);
                if let Some(config) = &d.config {
                    self.space();
                    self.record(config, 0);
                }
            }
            DeclKind::Nf(d) => self.nf(d),
            DeclKind::Chain(d) => {
                self.mark("chain ");
                self.chain(d);
            }
            DeclKind::Steer(d) => {
                self.mark("steer ");
                self.steer(d);
            }
            DeclKind::Allow(d) => self.allow(d),
            DeclKind::Assert(d) => self.assert(d),
            DeclKind::Test(d) => self.test(d, span.end),
            DeclKind::Manager(d) => {
                self.mark("manager ");
                self.record(&d.settings, 0);
            }
            // A source with errors is not laid out; keep its text should one come here.
            DeclKind::Error(_) => self.copy(span),
        }
    }

    fn head(&mut self, keyword: &str, name: &Ident) {
        self.mark(keyword);
        self.space();
        self.text(&name.node, name.span);
        self.mark(" =");
        self.space();
    }

    fn use_decl(&mut self, decl: &Use) {
        self.mark("use ");
        self.copy(decl.path.span);
        if let Some(alias) = &decl.alias {
            self.mark(" as");
            self.space();
            self.text(&alias.node, alias.span);
        }
    }

    fn param(&mut self, param: &Param) {
        self.mark("param ");
        self.text(&param.name.node, param.name.span);
        self.mark(":");
        self.space();
        let name = &param.ty.name;
        if param.ty.list {
            self.text(&format!("[{}]", name.node), param.ty.span.span);
        } else {
            self.text(&name.node, name.span);
        }
        if let Some(default) = &param.default {
            self.mark(" =");
            self.space();
            self.value(default, 0);
        }
    }

    fn nf(&mut self, nf: &Nf) {
        self.head("nf", &nf.name);
        self.text(&nf.ty.node, nf.ty.span);
        if let Some(params) = &nf.params {
            self.space();
            let more = if nf.with.is_some() { " with {".len() } else { 0 };
            self.record(params, more);
        }
        if let Some(with) = &nf.with {
            self.mark(" with");
            self.space();
            self.record(with, 0);
        }
    }

    fn allow(&mut self, allow: &Allow) {
        self.mark("allow ");
        self.text(&allow.nf.node, allow.nf.span);
        match &allow.grant {
            Grant::Lookup => self.mark(" to lookup"),
            Grant::Program { port, arms, block } => {
                self.mark(" to program");
                self.space();
                self.text(&port.node, port.span);
                self.mark(" ");
                self.program(arms, block.span);
            }
            Grant::Steer { targets, max_hops } => {
                self.mark(" to steer");
                self.space();
                for (at, target) in targets.iter().enumerate() {
                    if at > 0 {
                        self.mark(",");
                        self.space();
                    }
                    self.text(&target.node, target.span);
                }
                if let Some(hops) = max_hops {
                    self.mark(" max_hops");
                    self.space();
                    self.copy(hops.span);
                }
            }
        }
    }

    fn program(&mut self, arms: &[ProgramArm], block: Span) {
        let line = |arm: &ProgramArm, filter: String| {
            let targets: Vec<&str> = arm.targets.iter().map(|t| t.node.as_str()).collect();
            format!("{filter} -> {}", targets.join(", "))
        };
        if let [arm] = arms {
            let line = format!("{{ {} }}", line(arm, self.filter_line(&arm.filter)));
            if self.fits(&line, block, 0) {
                self.text(&line, block);
                return;
            }
        }
        self.comments_before(block.start);
        self.open("{");
        for arm in arms {
            self.item(arm.filter.span.start);
            self.filter(&arm.filter);
            self.mark(" -> ");
            for (at, target) in arm.targets.iter().enumerate() {
                if at > 0 {
                    self.mark(",");
                    self.space();
                }
                self.text(&target.node, target.span);
            }
        }
        self.close("}", block.end);
    }

    fn assert(&mut self, assert: &Assert) {
        self.mark("assert ");
        self.text(&assert.port.node, assert.port.span);
        self.mark(":");
        self.space();
        self.filter(&assert.filter);
        self.space();
        self.comments_before(assert.claim.span.start);
        match &assert.claim.node {
            Claim::Passes { nf, before } => {
                self.words("passes", nf);
                if let Some(node) = before {
                    self.space();
                    self.words("before", node);
                }
            }
            Claim::NeverPasses { nf } => self.words("never passes", nf),
            Claim::Reaches { node } => self.words("reaches", node),
            Claim::NeverReaches { node } => self.words("never reaches", node),
            Claim::Dropped => self.text("dropped", assert.claim.span),
        }
    }

    /// Words and the name after them.
    pub(super) fn words(&mut self, words: &str, name: &Ident) {
        self.mark(words);
        self.space();
        self.text(&name.node, name.span);
    }
}
