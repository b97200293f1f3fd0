//! Circles: chains that contain themselves.

use std::collections::HashMap;

use onvm_lang::syntax::{self, StepKind};

use super::Graph;
use crate::{diagnostics::chain_cycle, resolve::names::Item, source::sources::FileId};

/// A circle for each edge of a directed graph that closes one, found by depth-first search without recursion. Nodes
/// are `0..edges.len()`; a circle lists its nodes in order, and the edge from the last to the first closes it.
pub(crate) fn circles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut found = Vec::new();
    for start in 0..edges.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            match edges[*node].get(*next) {
                None => {
                    marks[*node] = Mark::Done;
                    path.pop();
                }
                Some(&to) => {
                    *next += 1;
                    match marks[to] {
                        Mark::Done => {}
                        Mark::New => {
                            marks[to] = Mark::Open;
                            path.push((to, 0));
                        }
                        Mark::Open => {
                            let nodes = path.iter().map(|(n, _)| *n);
                            found.push(nodes.skip_while(|n| *n != to).collect());
                        }
                    }
                }
            }
        }
    }
    found
}

impl<'a> Graph<'a> {
    pub(super) fn find_cycles(&self, chains: &[(FileId, &'a syntax::Chain)]) {
        let index: HashMap<&str, usize> = chains
            .iter()
            .enumerate()
            .map(|(i, (_, c))| (c.name.node.as_str(), i))
            .collect();
        let mentions: Vec<Vec<(usize, &syntax::Ident)>> = chains
            .iter()
            .map(|(_, chain)| {
                let mut names = Vec::new();
                mentioned(&chain.steps, &mut names);
                // A parameter is not a chain, though a chain of another file has its name.
                let is_param = |name: &str| chain.params.iter().flatten().any(|p| p.name.node == name);
                names
                    .into_iter()
                    .filter(|n| !is_param(&n.node))
                    .filter_map(|n| Some((*index.get(n.node.as_str())?, n)))
                    .collect()
            })
            .collect();
        let edges: Vec<Vec<usize>> = mentions
            .iter()
            .map(|m| m.iter().map(|(to, _)| *to).collect())
            .collect();
        for circle in circles(&edges) {
            let (Some(&first), Some(&last)) = (circle.first(), circle.last()) else {
                continue;
            };
            let Some((_, closing)) = mentions[last].iter().find(|(to, _)| *to == first) else {
                continue;
            };
            let name = |n: usize| chains[n].1.name.node.as_str();
            let path: Vec<&str> = circle.iter().chain([&first]).map(|n| name(*n)).collect();
            let steps = circle.iter().zip(circle.iter().skip(1));
            let way: Vec<_> = steps
                .filter_map(|(from, to)| {
                    let (_, named) = mentions[*from].iter().find(|(n, _)| n == to)?;
                    Some((self.cx.place(chains[*from].0, named.span), name(*to)))
                })
                .collect();
            self.cx.report(chain_cycle::chain_cycle(
                self.cx.place(chains[last].0, closing.span),
                &path,
                &way,
            ));
            self.cyclic.borrow_mut().extend(circle.iter().map(|n| name(*n)));
        }
    }

    /// The chain of that name, unless it contains itself.
    pub(super) fn chain(&self, name: &str) -> Option<(FileId, &'a syntax::Chain)> {
        if self.cyclic.borrow().contains(name) {
            return None;
        }
        match self.names.get(name)? {
            s @ crate::resolve::names::Symbol {
                item: Item::Chain(chain),
                ..
            } => Some((s.file, chain)),
            _ => None,
        }
    }
}

/// Every name that stands as a step or as an argument.
pub(crate) fn mentioned<'s>(steps: &'s [syntax::Step], names: &mut Vec<&'s syntax::Ident>) {
    for step in steps {
        match &step.node {
            StepKind::Drop => {}
            StepKind::Call { name, args } => names.extend([name].into_iter().chain(args)),
            StepKind::Node { name, arms } => {
                names.push(name);
                for arm in arms {
                    mentioned(&arm.steps, names);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::circles;

    #[test]
    fn circles_of_small_graphs() {
        assert_eq!(circles(&[vec![1], vec![2], vec![]]), Vec::<Vec<usize>>::new());
        assert_eq!(circles(&[vec![1], vec![2], vec![1]]), vec![vec![1, 2]]);
        assert_eq!(circles(&[vec![0]]), vec![vec![0]]);
        let long: Vec<Vec<usize>> = (0..100_000).map(|n| vec![(n + 1) % 100_000]).collect();
        assert_eq!(circles(&long).len(), 1);
    }
}
