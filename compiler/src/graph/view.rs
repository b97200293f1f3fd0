//! The parts that pictures leave out: of a long list of rules the first ones are shown, and how many more lead where.

use std::collections::HashMap;

use super::{Graph, model::Steering};

/// Rules of one port that a picture shows one by one.
const MOST_RULES: usize = 24;

/// A line of a port's list of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// `3`, or nothing for rules taken together.
    pub(super) order: String,
    /// The filter, `else`, or how many rules are meant.
    pub(super) text: String,
    /// All that there is to say.
    pub(super) details: String,
    /// Index into the graph's chains.
    pub(super) chain: usize,
}

/// The lines of a port's list, in the order of the rules.
pub(super) fn rows(graph: &Graph, steering: &Steering) -> Vec<Row> {
    let rules = &steering.rules;
    let chains: HashMap<&str, usize> = graph
        .chains
        .iter()
        .enumerate()
        .map(|(n, c)| (c.name.as_str(), n))
        .collect();
    // `else`, the last, is always shown.
    let shown = if rules.len() > MOST_RULES {
        MOST_RULES - 1
    } else {
        rules.len()
    };
    let mut rows: Vec<Row> = rules[..shown]
        .iter()
        .filter_map(|r| row(&chains, steering, r))
        .collect();
    if let [folded @ .., last] = &rules[shown..] {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for chain in folded
            .iter()
            .filter_map(|r| chains.get(r.chain.as_str()).copied())
        {
            match counts.iter_mut().find(|(c, _)| *c == chain) {
                Some((_, n)) => *n += 1,
                None => counts.push((chain, 1)),
            }
        }
        rows.extend(counts.into_iter().map(|(chain, n)| Row {
            order: String::new(),
            text: format!("{n} more {}", if n == 1 { "rule" } else { "rules" }),
            details: format!(
                "{n} of the rules {} to {} of `{}`",
                shown + 1,
                rules.len() - 1,
                steering.port
            ),
            chain,
        }));
        rows.extend(row(&chains, steering, last));
    }
    rows
}

fn row(chains: &HashMap<&str, usize>, steering: &Steering, rule: &super::Rule) -> Option<Row> {
    let what = match (&rule.filter, &rule.meaning) {
        (Some(filter), Some(meaning)) => format!("{filter}\nthat is {meaning}"),
        _ => "else: packets that no other rule matches".to_owned(),
    };
    Some(Row {
        order: rule.order.to_string(),
        text: rule.filter.clone().unwrap_or_else(|| "else".to_owned()),
        details: format!(
            "rule {} of `{}` ({}), leads to `{}`\n{what}",
            rule.order, steering.port, rule.source, rule.chain
        ),
        chain: *chains.get(rule.chain.as_str())?,
    })
}

/// The text in at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
