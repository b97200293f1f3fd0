//! Hop tables as lanes: a lane begins where a packet enters a chain or leaves another lane, and follows `next`.

use crate::graph::{At, Graph, model::Chain};

/// A lane of one chain; hops are indices into the chain's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) chain: usize,
    pub(super) start: Start,
    /// Each hop of a chain is in one lane.
    pub(super) hops: Vec<usize>,
    /// The hop of another lane that this one leads to; none: it ends with its own last hop.
    pub(super) join: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// Packets that steering sends here.
    Entry,
    Branch {
        from: usize,
        kind: BranchKind,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BranchKind {
    Output(String),
    Steer,
}

/// The lanes of all chains but the one of the target `drop`, from top to bottom.
pub(super) fn lanes(graph: &Graph) -> Vec<Lane> {
    let chains = graph.chains.iter().enumerate().filter(|(_, c)| !c.is_drop());
    chains.flat_map(|(n, chain)| of_chain(n, chain)).collect()
}

/// An arm's lane stands directly below the lanes of the arms that leave further to the right, so that no two cross:
///
/// ```text
/// a {x -> p} -> b {y -> q} -> r          a ── b ── r
///                                        │    └─y─ q
///                                        └─x─ p
/// ```
fn of_chain(number: usize, chain: &Chain) -> Vec<Lane> {
    let mut lanes = Vec::new();
    let mut placed = vec![false; chain.hops.len()];
    let mut waiting = vec![(Start::Entry, 0)];
    while let Some((start, first)) = waiting.pop() {
        let mut lane = Lane {
            chain: number,
            start,
            hops: Vec::new(),
            join: None,
        };
        let mut next = Some(first);
        while let Some(hop) = next.filter(|hop| *hop < placed.len()) {
            if placed[hop] {
                lane.join = Some(hop);
                break;
            }
            placed[hop] = true;
            lane.hops.push(hop);
            next = chain.hops[hop].next;
        }
        for &hop in &lane.hops {
            let it = &chain.hops[hop];
            let steers = it.steers.values().map(|to| (BranchKind::Steer, *to));
            let outputs = it
                .outputs
                .iter()
                .map(|(name, to)| (BranchKind::Output(name.clone()), *to));
            // The last one to wait is the first one to be drawn.
            let ways: Vec<_> = outputs.chain(steers).collect();
            waiting.extend(
                ways.into_iter()
                    .rev()
                    .map(|(kind, to)| (Start::Branch { from: hop, kind }, to)),
            );
        }
        lanes.push(lane);
    }
    lanes
}

/// What stands at a hop.
pub(super) fn at<'a>(graph: &'a Graph, lane: &Lane, hop: usize) -> &'a At {
    &graph.chains[lane.chain].hops[hop].at
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::graph::model::Hop;

    fn hop(nf: &str, next: usize, outputs: &[(&str, usize)], steers: &[(&str, usize)]) -> Hop {
        let table = |of: &[(&str, usize)]| {
            of.iter()
                .map(|(n, to)| ((*n).to_owned(), *to))
                .collect::<BTreeMap<_, _>>()
        };
        Hop {
            at: At::Nf(nf.into()),
            source: String::new(),
            next: Some(next),
            outputs: table(outputs),
            steers: table(steers),
        }
    }

    fn end(port: &str) -> Hop {
        Hop {
            at: At::Port(port.into()),
            next: None,
            ..hop("", 0, &[], &[])
        }
    }

    fn shown(hops: Vec<Hop>) -> Vec<(Vec<usize>, Option<usize>)> {
        let chain = Chain {
            name: "c".into(),
            doc: None,
            source: String::new(),
            hops,
        };
        of_chain(0, &chain)
            .into_iter()
            .map(|l| (l.hops, l.join))
            .collect()
    }

    #[test]
    fn arms_that_leave_later_come_first() {
        let hops = vec![
            hop("a", 1, &[("x", 3)], &[]),
            hop("b", 2, &[("y", 4)], &[]),
            end("r"),
            end("p"),
            end("q"),
        ];
        assert_eq!(
            shown(hops),
            [(vec![0, 1, 2], None), (vec![4], None), (vec![3], None)]
        );
    }

    #[test]
    fn a_permitted_visit_leads_back() {
        let hops = vec![hop("a", 1, &[], &[("s", 2)]), end("r"), hop("s", 1, &[], &[])];
        assert_eq!(shown(hops), [(vec![0, 1], None), (vec![2], Some(1))]);
    }
}
