//! `assert` and `test`: the names in them. Assertions are proved in [`crate::proofs`]; [`crate::scenarios`] reads what tests do.

use std::collections::HashMap;

use onvm_bundle::filter::Expr;
use onvm_lang::syntax::{self, Claim, Ident};

use crate::{
    diagnostics::{duplicate_name, idle_test, missing_file, unknown_name, unknown_output},
    lower::{chains::Graph, filter::Filters},
    resolve::names::Item,
    scenarios::Test,
    source::{
        host::clean,
        load::{Unit, describe},
        sources::{FileId, Place},
    },
};

/// An assertion whose names are right.
pub(crate) struct Assertion<'a> {
    pub(crate) port: &'a str,
    /// Which packets, and where that is written.
    pub(crate) filter: Expr,
    pub(crate) packets: Place,
    pub(crate) claim: &'a Claim,
    pub(crate) place: Place,
}

pub(crate) struct Claims<'g, 'a> {
    pub(crate) graph: &'g Graph<'a>,
    pub(crate) filters: &'g Filters<'a>,
}

impl Claims<'_, '_> {
    /// Checks the names. Returns what is to be proved, and the tests.
    pub(crate) fn check<'u>(&self, units: &'u [Unit]) -> (Vec<Assertion<'u>>, Vec<Test>) {
        let mut asserts = Vec::new();
        let mut tests = Vec::new();
        self.warn_of_same_names(units);
        for unit in units {
            for decl in &unit.tree.decls {
                match &decl.kind.node {
                    syntax::DeclKind::Assert(assert) => asserts.extend(self.assert(unit.file, assert)),
                    syntax::DeclKind::Test(test) => {
                        let read = self.test(unit.file, test);
                        if read.is_some() {
                            self.warn_if_idle(unit.file, test);
                        }
                        tests.extend(read);
                    }
                    _ => {}
                }
            }
        }
        (asserts, tests)
    }

    fn warn_of_same_names(&self, units: &[Unit]) {
        let cx = self.graph.cx;
        let mut first: HashMap<&str, Place> = HashMap::new();
        // The packet of `onvmc trace` may be named as any test.
        for unit in units.iter().filter(|u| !cx.sources.get(u.file).is_command_line()) {
            for decl in &unit.tree.decls {
                let syntax::DeclKind::Test(test) = &decl.kind.node else {
                    continue;
                };
                let (name, place) = (test.name.node.as_str(), cx.place(unit.file, test.name.span));
                match first.get(name) {
                    Some(first) => cx.report(duplicate_name::duplicate_test(place, name, *first)),
                    None => drop(first.insert(name, place)),
                }
            }
        }
    }

    fn warn_if_idle(&self, file: FileId, test: &syntax::Test) {
        let cx = self.graph.cx;
        // The packet of `onvmc trace` is such a test.
        if cx.sources.get(file).is_command_line() {
            return;
        }
        let last = test.stmts.last();
        if !matches!(last.map(|s| &s.node), Some(syntax::StmtKind::Expect(_))) {
            let (name, last) = (
                cx.place(file, test.name.span),
                last.map(|s| cx.place(file, s.span)),
            );
            cx.report(idle_test::idle_test(name, &test.name.node, last));
        }
    }

    fn assert<'u>(&self, file: FileId, assert: &'u syntax::Assert) -> Option<Assertion<'u>> {
        let port = self.port(file, &assert.port);
        let filter = self.filters.lower(file, &assert.filter);
        let claim = match &assert.claim.node {
            Claim::Passes { nf, before } => {
                let nf = self.nf(file, nf).is_some();
                before.as_ref().is_none_or(|node| self.node(file, node)) && nf
            }
            Claim::NeverPasses { nf } => self.nf(file, nf).is_some(),
            Claim::Reaches { node } | Claim::NeverReaches { node } => self.node(file, node),
            Claim::Dropped => true,
        };
        (port && claim).then_some(())?;
        Some(Assertion {
            port: &assert.port.node,
            filter: filter?,
            packets: self.graph.cx.place(file, assert.filter.span),
            claim: &assert.claim.node,
            place: self.graph.cx.place(file, assert.claim.span),
        })
    }

    /// The counter is one of those that the NF's manifest declares.
    pub(crate) fn counter(&self, file: FileId, nf: &Ident, counter: &Ident) {
        let Some(nf) = self.nf(file, nf).map(|i| &self.graph.nfs[i]) else {
            return;
        };
        let counters = &nf.ty.manifest.counters;
        if !counters.iter().any(|c| names_counter(&c.name, &counter.node)) {
            let place = self.graph.cx.place(file, counter.span);
            let known: Vec<&str> = counters.iter().map(|c| c.name.as_str()).collect();
            self.graph.cx.report(unknown_output::unknown_counter(
                place,
                nf.name,
                &counter.node,
                known,
            ));
        }
    }

    /// Whether it is one; reported if not.
    pub(crate) fn port(&self, file: FileId, name: &Ident) -> bool {
        let graph = self.graph;
        let is_port = |s: &crate::resolve::names::Symbol<'_>| matches!(s.item, Item::Port).then_some(());
        graph
            .names
            .expect(graph.cx, file, name, "a port", is_port)
            .is_some()
    }

    /// The NF's index; none as well for an NF whose declaration was refused.
    pub(crate) fn nf(&self, file: FileId, name: &Ident) -> Option<usize> {
        let graph = self.graph;
        let is_nf = |s: &crate::resolve::names::Symbol<'_>| matches!(s.item, Item::Nf).then_some(());
        graph.names.expect(graph.cx, file, name, "an NF", is_nf)?;
        graph.by_name.get(name.node.as_str()).copied()
    }

    /// Whether it is one; reported if not.
    pub(crate) fn node(&self, file: FileId, name: &Ident) -> bool {
        let graph = self.graph;
        if name.node == "drop" {
            let place = graph.cx.place(file, name.span);
            graph.cx.report(
                unknown_name::unknown_name(place, "drop", "an NF or a port", None)
                    .help("to claim that packets are dropped, write `dropped`; that none is, `reaches PORT`"),
            );
            return false;
        }
        let is_node =
            |s: &crate::resolve::names::Symbol<'_>| matches!(s.item, Item::Nf | Item::Port).then_some(());
        graph
            .names
            .expect(graph.cx, file, name, "an NF or a port", is_node)
            .is_some()
    }

    pub(crate) fn file(&self, file: FileId, path: &syntax::Spanned<String>) {
        let cx = self.graph.cx;
        if let Err(e) = cx.host.read(&clean(&cx.directory(file).join(&path.node))) {
            cx.report(missing_file::missing_file(
                cx.place(file, path.span),
                &path.node,
                &describe(&e),
            ));
        }
    }
}

/// A manifest may name a family of counters, as in `rule_<line>`.
pub(crate) fn names_counter(declared: &str, name: &str) -> bool {
    match declared.split_once('<') {
        None => declared == name,
        Some((before, rest)) => {
            let after = rest.split_once('>').map_or("", |(_, after)| after);
            name.strip_prefix(before)
                .and_then(|n| n.strip_suffix(after))
                .is_some_and(|n| !n.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names_counter;

    #[test]
    fn counter_families() {
        assert!(names_counter("denied", "denied"));
        assert!(names_counter("rule_<line>", "rule_12"));
        assert!(names_counter("top_<rank>_packets", "top_1_packets"));
        assert!(!names_counter("rule_<line>", "rule_"));
        assert!(!names_counter("denied", "deny"));
    }
}
