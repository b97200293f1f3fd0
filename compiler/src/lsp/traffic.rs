//! Which steering rules lead packets to a step.
//!
//! A rule leads to a step if the chain that holds it is the rule's target, or is spliced into that, at any depth.
//! Drops by NFs on the way are not considered; packets taken by earlier rules are, see [`super::reach`].

use std::collections::BTreeSet;

use onvm_lang::syntax::{DeclKind, Grant, Match, Rule, Steer};

use super::{
    analysis::Analysis,
    ways::{Stop, Ways, WaysTo},
};
use crate::source::sources::FileId;

/// A rule of a `steer` block that leads to a stop.
pub(super) struct Entry<'a> {
    pub(super) file: FileId,
    pub(super) steer: &'a Steer,
    pub(super) rule: &'a Rule,
    pub(super) ways: Ways<'a>,
}

impl Entry<'_> {
    /// The rule's filter on one line. None: `else`.
    pub(super) fn filter(&self, analysis: &Analysis) -> Option<String> {
        match &self.rule.matcher {
            Match::Filter(filter) => {
                let text = filter.span.text(&analysis.source(self.file).text);
                Some(crate::lower::steering::one_line(text))
            }
            Match::Else(_) => None,
        }
    }
}

/// The rules that lead to a stop, in source order.
pub(super) fn entries<'a>(analysis: &'a Analysis, stop: Stop<'_>) -> Vec<Entry<'a>> {
    let ways = WaysTo::new(analysis, stop);
    let mut entries = Vec::new();
    for (file, decl) in analysis.declarations() {
        let DeclKind::Steer(steer) = &decl.kind.node else {
            continue;
        };
        let found = steer.rules.iter().map(|rule| Entry {
            file,
            steer,
            rule,
            ways: ways.from(file, &rule.target),
        });
        entries.extend(found.filter(|entry| !entry.ways.is_empty()));
    }
    entries
}

/// The NFs that may have packets classified again, to whatever a rule leads to.
pub(super) fn looked_up_by(analysis: &Analysis) -> Vec<&str> {
    let holders = analysis
        .declarations()
        .filter_map(|(_, decl)| match &decl.kind.node {
            DeclKind::Allow(allow) if allow.grant == Grant::Lookup => Some(allow.nf.node.as_str()),
            _ => None,
        });
    let holders: BTreeSet<&str> = holders.collect();
    holders.into_iter().collect()
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
