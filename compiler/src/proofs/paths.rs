//! Paths through a chain's hop table: whatever an NF may do with a packet, by outputs and permitted steers included.

use std::collections::VecDeque;

use onvm_bundle::{Chain, Hop, Target};

/// What a path must not do: come to a hop of `goal` without having visited one of `avoid`.
pub(super) struct Fault<G, A> {
    pub(super) goal: G,
    pub(super) avoid: A,
}

impl<G: Fn(&Target) -> bool, A: Fn(&Target) -> bool> Fault<G, A> {
    /// The shortest path with this fault, as hops.
    pub(super) fn find(&self, chain: &Chain) -> Option<Vec<usize>> {
        let mut from: Vec<Option<usize>> = vec![None; chain.hops.len()];
        let mut open = VecDeque::from([0]);
        while let Some(at) = open.pop_front() {
            let hop = chain.hops.get(at)?;
            if (self.goal)(&hop.at) {
                let mut path = vec![at];
                while let Some(before) = path.last().and_then(|at| from[*at]) {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            if (self.avoid)(&hop.at) {
                continue;
            }
            for to in ways(hop) {
                if to != 0 && from.get(to).is_some_and(Option::is_none) {
                    from[to] = Some(at);
                    open.push_back(to);
                }
            }
        }
        None
    }
}

fn ways(hop: &Hop) -> impl Iterator<Item = usize> {
    let table = hop.outputs.values().chain(hop.steers.values());
    hop.next.iter().chain(table).map(|to| usize::from(*to))
}

/// `fw -> ids -(match)-> scrub -> drop`
pub(super) fn describe(chain: &Chain, path: &[usize]) -> String {
    let mut text = String::new();
    let mut before: Option<&Hop> = None;
    for at in path {
        let Some(hop) = chain.hops.get(*at) else { break };
        if let Some(from) = before {
            text += &arrow(from, *at);
        }
        text += name(&hop.at);
        before = Some(hop);
    }
    text
}

fn arrow(from: &Hop, to: usize) -> String {
    let leads = |(_, at): &(&String, &u16)| usize::from(**at) == to;
    if from.next.is_some_and(|next| usize::from(next) == to) {
        " -> ".to_owned()
    } else if let Some((output, _)) = from.outputs.iter().find(leads) {
        format!(" -({output})-> ")
    } else {
        " -(steers)-> ".to_owned()
    }
}

pub(super) fn name(target: &Target) -> &str {
    match target {
        Target::Nf(name) | Target::Port(name) => name,
        Target::Drop => "drop",
    }
}
