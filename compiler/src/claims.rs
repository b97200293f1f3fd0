//! `assert` and `test`: the names in them. Nothing is proved or run here; `tests` reads what tests do.

use onvm_lang::syntax::{self, Claim, Ident};

use crate::{
    chains::Graph,
    diagnostics::{missing_file, not_yet_checked, unknown_output},
    filters::Filters,
    host::clean,
    load::{Unit, describe},
    names::Item,
    sources::{FileId, Place},
    tests::Test,
};

pub(crate) struct Claims<'g, 'a> {
    pub(crate) graph: &'g Graph<'a>,
    pub(crate) filters: &'g Filters<'a>,
}

impl Claims<'_, '_> {
    /// Checks the names, and says once for each kind of declaration that only this was done. Gives the tests.
    pub(crate) fn check(&self, units: &[Unit]) -> Vec<Test> {
        let mut asserts = Vec::new();
        let mut tests = Vec::new();
        let mut programs = Vec::new();
        for unit in units {
            for decl in &unit.tree.decls {
                let place = self.graph.cx.place(unit.file, decl.span());
                match &decl.kind.node {
                    syntax::DeclKind::Assert(assert) => {
                        self.assert(unit.file, assert);
                        asserts.push(place);
                    }
                    syntax::DeclKind::Test(test) => {
                        tests.extend(self.test(unit.file, test));
                    }
                    syntax::DeclKind::Allow(syntax::Allow {
                        grant: syntax::Grant::Program { .. },
                        ..
                    }) => {
                        programs.push(place);
                    }
                    _ => {}
                }
            }
        }
        self.not_yet(&asserts, "assertions are not proved");
        self.not_yet(&programs, "permissions to change flow tables are not granted");
        tests
    }

    fn not_yet(&self, places: &[Place], what: &str) {
        if let Some(first) = places.first() {
            self.graph
                .cx
                .report(not_yet_checked::not_yet_checked(*first, what, places.len()));
        }
    }

    fn assert(&self, file: FileId, assert: &syntax::Assert) {
        self.port(file, &assert.port);
        self.filters.lower(file, &assert.filter);
        match &assert.claim.node {
            Claim::Passes { nf, before } => {
                self.nf(file, nf);
                before.iter().for_each(|node| self.node(file, node));
            }
            Claim::NeverPasses { nf } => drop(self.nf(file, nf)),
            Claim::Reaches { node } | Claim::NeverReaches { node } => self.node(file, node),
            Claim::Dropped => {}
        }
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

    pub(crate) fn port(&self, file: FileId, name: &Ident) {
        let graph = self.graph;
        graph.names.expect(graph.cx, file, name, "a port", |s| {
            matches!(s.item, Item::Port).then_some(())
        });
    }

    /// The NF's index; none as well for an NF whose declaration was refused.
    pub(crate) fn nf(&self, file: FileId, name: &Ident) -> Option<usize> {
        let graph = self.graph;
        let is_nf = |s: &crate::names::Symbol<'_>| matches!(s.item, Item::Nf).then_some(());
        graph.names.expect(graph.cx, file, name, "an NF", is_nf)?;
        graph.by_name.get(name.node.as_str()).copied()
    }

    pub(crate) fn node(&self, file: FileId, name: &Ident) {
        let graph = self.graph;
        graph.names.expect(graph.cx, file, name, "an NF or a port", |s| {
            matches!(s.item, Item::Nf | Item::Port).then_some(())
        });
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
