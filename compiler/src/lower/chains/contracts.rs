//! The header fields in manifests, checked against the order of the steps.

use std::collections::{BTreeMap, HashSet};

use super::{Walk, walk::Draft};
use crate::{diagnostics::reads_rewritten, resolve::fields};

impl Walk<'_, '_> {
    /// Reports each step that reads a header field which an earlier step on its path has rewritten, unless it says that
    /// it is meant to. True: there is one.
    pub(super) fn reads_rewritten(&self) -> bool {
        // Of an NF that stands several times the first hop counts; all that its others lead to is looked at as well.
        let mut writers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (hop, draft) in self.hops.iter().enumerate() {
            if let Some(nf) = draft.nf.filter(|nf| !self.effects(*nf).writes.is_empty()) {
                writers.entry(nf).or_default().push(hop);
            }
        }
        let mut found = false;
        for (nf, hops) in writers {
            found |= self.readers_behind(nf, &hops);
        }
        found
    }

    fn readers_behind(&self, writer: usize, hops: &[usize]) -> bool {
        let graph = self.graph;
        let mut found = false;
        let mut seen = HashSet::new();
        let mut open: Vec<usize> = hops.iter().flat_map(|h| ways(&self.hops[*h])).collect();
        while let Some(hop) = open.pop() {
            if !seen.insert(hop) {
                continue;
            }
            let draft = &self.hops[hop];
            open.extend(ways(draft));
            let Some(reader) = draft
                .nf
                .filter(|nf| *nf != writer && !graph.nfs[*nf].sees_rewritten)
            else {
                continue;
            };
            let rewritten = |field: &&String| {
                self.effects(writer)
                    .writes
                    .iter()
                    .any(|w| fields::overlap(w, field))
            };
            let read: Vec<&str> = self
                .effects(reader)
                .reads
                .iter()
                .filter(rewritten)
                .map(String::as_str)
                .collect();
            if !read.is_empty() {
                graph.cx.report(reads_rewritten::reads_rewritten(
                    draft.place,
                    graph.nfs[reader].name,
                    &read,
                    graph.nfs[writer].name,
                    self.hops[hops[0]].place,
                ));
                found = true;
            }
        }
        found
    }

    fn effects(&self, nf: usize) -> &onvm_bundle::Effects {
        &self.graph.nfs[nf].ty.manifest.effects
    }
}

/// Where packets can go from a hop.
fn ways(draft: &Draft) -> impl Iterator<Item = usize> {
    let table = draft.outputs.values().chain(draft.steers.values());
    draft.next.iter().chain(table).copied()
}
