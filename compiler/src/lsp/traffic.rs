//! Which steering rules lead packets to a step.
//!
//! Told from names alone: a rule leads to a step if the chain that holds it is the rule's target, or is spliced into that,
//! at any depth. What NFs on the way drop, and what an earlier rule takes away, is not looked at.

use std::collections::BTreeSet;

use onvm_lang::syntax::{DeclKind, Grant, Ident, Match, Span, Step};

use super::analysis::{Analysis, At};
use crate::{chains::mentioned, sources::FileId};

/// A rule of a `steer` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) port: &'a str,
    /// None: `else`.
    pub(super) filter: Option<String>,
    pub(super) at: At,
}

/// Where packets are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop<'a> {
    /// One step of one chain or rule.
    Step(At),
    /// Every step of that name.
    Named(&'a str),
}

/// The rules that lead to a stop, in source order.
pub(super) fn entries<'a>(analysis: &'a Analysis, stop: Stop<'_>) -> Vec<Entry<'a>> {
    let carriers = carriers(analysis, stop);
    let mut entries = Vec::new();
    for (file, decl) in analysis.declarations() {
        let DeclKind::Steer(steer) = &decl.kind.node else {
            continue;
        };
        for rule in &steer.rules {
            let names = names_in(&rule.target);
            if !names
                .iter()
                .any(|n| is_stop(stop, file, n) || carriers.contains(n.node.as_str()))
            {
                continue;
            }
            let text = |span: Span| {
                let text = span.text(&analysis.source(file).text);
                crate::steering::one_line(text)
            };
            entries.push(Entry {
                port: &steer.port.node,
                filter: match &rule.matcher {
                    Match::Filter(filter) => Some(text(filter.span)),
                    Match::Else(_) => None,
                },
                at: At {
                    file,
                    span: rule.span,
                },
            });
        }
    }
    entries
}

/// The NFs that may steer packets to an NF or a port.
pub(super) fn steered_by<'a>(analysis: &'a Analysis, name: &str) -> Vec<&'a str> {
    let holders = analysis
        .declarations()
        .filter_map(|(_, decl)| match &decl.kind.node {
            DeclKind::Allow(allow) => match &allow.grant {
                Grant::Steer { targets, .. } if targets.iter().any(|t| t.node == name) => {
                    Some(allow.nf.node.as_str())
                }
                _ => None,
            },
            _ => None,
        });
    let holders: BTreeSet<&str> = holders.collect();
    holders.into_iter().collect()
}

/// The chains in which the stop lies, spliced ones included.
fn carriers<'a>(analysis: &'a Analysis, stop: Stop<'_>) -> BTreeSet<&'a str> {
    let chains: Vec<_> = analysis
        .declarations()
        .filter_map(|(file, decl)| match &decl.kind.node {
            DeclKind::Chain(chain) => Some((file, chain.name.node.as_str(), names_in(&chain.steps))),
            _ => None,
        })
        .collect();
    let holds =
        |(file, _, names): &&(FileId, &str, Vec<&Ident>)| names.iter().any(|n| is_stop(stop, *file, n));
    let mut carriers: BTreeSet<&str> = chains.iter().filter(holds).map(|(_, name, _)| *name).collect();
    if let Stop::Named(name) = stop {
        carriers.extend(
            chains
                .iter()
                .map(|(_, chain, _)| *chain)
                .filter(|chain| *chain == name),
        );
    }
    // Each round goes one splice further out; there are at most as many as chains.
    loop {
        let before = carriers.len();
        let splices = |names: &[&Ident]| names.iter().any(|n| carriers.contains(n.node.as_str()));
        let outer: Vec<&str> = chains.iter().filter(|c| splices(&c.2)).map(|c| c.1).collect();
        carriers.extend(outer);
        if carriers.len() == before {
            return carriers;
        }
    }
}

fn is_stop(stop: Stop<'_>, file: FileId, name: &Ident) -> bool {
    match stop {
        Stop::Step(at) => at.file == file && at.span == name.span,
        Stop::Named(wanted) => name.node == wanted,
    }
}

fn names_in(steps: &[Step]) -> Vec<&Ident> {
    let mut names = Vec::new();
    mentioned(steps, &mut names);
    names
}
