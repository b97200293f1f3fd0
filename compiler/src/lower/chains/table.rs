//! From a finished walk to a chain of the bundle.

use std::collections::{BTreeMap, HashMap};

use onvm_bundle::{Chain, Hop, Target};
use onvm_lang::syntax;

use super::{Bindings, Graph, Permits, Walk, walk::Draft};
use crate::{
    diagnostics::{too_many_hops, visited_twice},
    lower::declare::narrow,
    source::sources::{FileId, Place},
};

/// Lowers the chain that begins with `steps`; beside it the place of each hop. None: reported.
#[allow(clippy::too_many_arguments)]
pub(crate) fn lower<'a>(
    graph: &Graph<'a>,
    permits: &Permits<'a>,
    name: &str,
    place: Place,
    rule: Place,
    file: FileId,
    steps: &'a [syntax::Step],
    max_hops: u8,
) -> Option<(Chain, Vec<Place>)> {
    let mut walk = Walk::new(graph, Some(rule));
    walk.run(steps, file, Bindings::new());
    if walk.failed || walk.hops.is_empty() {
        return None;
    }
    walk.report_second_visits();
    walk.add_steers(permits);
    if walk.failed || walk.reads_rewritten() {
        return None;
    }
    if longest(&walk.hops, 0, usize::from(max_hops), &mut HashMap::new()) > usize::from(max_hops) {
        graph
            .cx
            .report(too_many_hops::too_many_hops(place, name, usize::from(max_hops)));
        return None;
    }
    let places = walk.hops.iter().map(|draft| draft.place).collect();
    let hops = walk.hops.into_iter();
    let hops = hops.map(|draft| hop(graph, permits, draft)).collect();
    let chain = Chain {
        name: name.to_owned(),
        source: graph.cx.sources.reference(place),
        hops,
    };
    Some((chain, places))
}

fn hop(graph: &Graph<'_>, permits: &Permits<'_>, draft: Draft) -> Hop {
    let index = |n: usize| narrow::<u16>(n as u64);
    let table = |t: BTreeMap<String, usize>| t.into_iter().map(|(name, to)| (name, index(to))).collect();
    let nf = match &draft.at {
        Target::Nf(name) => graph.by_name.get(name.as_str()),
        _ => None,
    };
    Hop {
        lookup: nf.is_some_and(|nf| permits.lookups[*nf]),
        bypass: nf.is_some_and(|nf| graph.nfs[*nf].bypass),
        at: draft.at,
        source: graph.cx.sources.reference(draft.place),
        next: draft.next.map(index),
        outputs: table(draft.outputs),
        steers: table(draft.steers),
    }
}

/// The most NFs that a path from `from` visits, as far as `limit` and one more. Hop tables have no circles: splices
/// cannot make one, and circles of permits are counted out.
fn longest(hops: &[Draft], from: usize, limit: usize, known: &mut HashMap<usize, usize>) -> usize {
    if !matches!(hops[from].at, Target::Nf(_)) {
        return 0;
    }
    if let Some(known) = known.get(&from) {
        return *known;
    }
    if limit == 0 {
        return 1;
    }
    let hop = &hops[from];
    let ways = hop
        .next
        .iter()
        .chain(hop.outputs.values())
        .chain(hop.steers.values());
    let rest = ways
        .map(|to| longest(hops, *to, limit - 1, known))
        .max()
        .unwrap_or(0);
    known.insert(from, rest + 1);
    rest + 1
}

impl Walk<'_, '_> {
    /// Warns where a path visits an NF again. Paths are followed from the entry, without recursion.
    fn report_second_visits(&self) {
        let mut visited: HashMap<usize, Place> = HashMap::new();
        let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut enter = vec![0];
        loop {
            while let Some(hop) = enter.pop() {
                let draft = &self.hops[hop];
                let again = draft.nf.and_then(|nf| visited.get(&nf));
                if let (Some(first), Some(nf)) = (again, draft.nf) {
                    let name = self.graph.nfs[nf].name;
                    self.graph
                        .cx
                        .report(visited_twice::visited_twice(draft.place, name, *first));
                    continue;
                }
                if let Some(nf) = draft.nf {
                    visited.insert(nf, draft.place);
                }
                path.push((
                    hop,
                    draft.next.iter().chain(draft.outputs.values()).copied().collect(),
                ));
                enter.clear();
                enter.extend(path.last_mut().and_then(|(_, ways)| ways.pop()));
            }
            match path.last_mut() {
                None => return,
                Some((_, ways)) if !ways.is_empty() => enter.extend(ways.pop()),
                Some((hop, _)) => {
                    if let Some(nf) = self.hops[*hop].nf {
                        visited.remove(&nf);
                    }
                    path.pop();
                }
            }
        }
    }
}
