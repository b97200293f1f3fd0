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

/// What an NF may put in front of the rules of a port, and leads to a stop.
pub(super) struct Programmed<'a> {
    pub(super) nf: &'a str,
    pub(super) port: &'a str,
    /// On one line.
    pub(super) filter: String,
    pub(super) ways: Ways<'a>,
}

/// One for each arm and each of its targets that leads there, in source order.
pub(super) fn programmed<'a>(analysis: &'a Analysis, stop: Stop<'_>) -> Vec<Programmed<'a>> {
    let mut found = Vec::new();
    let mut known = None;
    for (file, decl) in analysis.declarations() {
        let DeclKind::Allow(allow) = &decl.kind.node else {
            continue;
        };
        let Grant::Program { port, arms, .. } = &allow.grant else {
            continue;
        };
        let ways = known.get_or_insert_with(|| WaysTo::new(analysis, stop));
        for arm in arms {
            let text = arm.filter.span.text(&analysis.source(file).text);
            let there = arm.targets.iter().map(|target| ways.behind(file, target));
            found.extend(there.filter(|ways| !ways.is_empty()).map(|ways| Programmed {
                nf: &allow.nf.node,
                port: &port.node,
                filter: crate::lower::steering::one_line(text),
                ways,
            }));
        }
    }
    found
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
