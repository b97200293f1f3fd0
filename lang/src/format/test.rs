//! Tests.

use super::printer::Printer;
use crate::syntax::{Expect, Stmt, StmtKind, Test};

impl Printer<'_> {
    pub(super) fn test(&mut self, test: &Test, end: u32) {
        self.mark("test ");
        self.copy(test.name.span);
        self.mark(" ");
        self.open("{");
        for stmt in &test.stmts {
            self.item(stmt.span.start);
            self.stmt(stmt);
            self.passed(stmt.span.end);
        }
        self.close("}", end);
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.node {
            StmtKind::Send {
                port,
                proto,
                fields,
                times,
            } => {
                self.words("send", port);
                self.space();
                self.text(proto.name(), proto.span);
                if let Some(fields) = fields {
                    self.space();
                    self.record(fields, 0);
                }
                if let Some(times) = times {
                    self.mark(" times");
                    self.space();
                    self.copy(times.span);
                }
            }
            StmtKind::Replay { port, file } => {
                self.words("replay", port);
                self.mark(" file(");
                self.copy(file.span);
                self.comments_before(stmt.span.end);
                self.mark(")");
            }
            StmtKind::Expect(expect) => {
                self.mark("expect ");
                self.expect(expect, stmt.span.end);
            }
        }
    }

    fn expect(&mut self, expect: &Expect, end: u32) {
        match expect {
            Expect::Path(path) => {
                for (at, node) in path.iter().enumerate() {
                    if at > 0 {
                        self.mark(" ->");
                        self.space();
                    }
                    self.text(&node.node, node.span);
                }
            }
            Expect::Passes(nf) => self.words("passes", nf),
            Expect::Drop { at: None } => self.mark("drop"),
            Expect::Drop { at: Some(node) } => self.words("drop at", node),
            Expect::Packets { port, count } => {
                self.text(&port.node, port.span);
                self.space();
                self.copy(count.span);
                self.comments_before(end);
                let plural = if count.node == 1 { "packet" } else { "packets" };
                self.space();
                self.mark(plural);
            }
            Expect::SameAs { port, file } => {
                self.text(&port.node, port.span);
                self.mark(" same as file(");
                self.copy(file.span);
                self.comments_before(end);
                self.mark(")");
            }
            Expect::Counter { nf, counter, value } => {
                self.text(&nf.node, nf.span);
                self.mark(" counter");
                self.space();
                self.text(&counter.node, counter.span);
                self.mark(" ==");
                self.space();
                self.copy(value.span);
            }
        }
    }
}
