//! The parts that pictures leave out: of a long list of rules the first ones are shown, and how many more lead where.

use std::collections::HashMap;

use super::{Graph, model::Steering};

/// Rules of one port that a picture shows one by one.
const MOST_RULES: usize = 24;
/// Likewise of what NFs may program.
const MOST_PROGRAMMED: usize = 12;

/// A line of a port's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// `3`, or nothing where it is not one rule.
    pub(super) order: String,
    /// The filter, `else`, or how many rules are meant; of what an NF may program, with its name in front.
    pub(super) text: String,
    /// All that there is to say.
    pub(super) details: String,
    /// Index into the graph's chains.
    pub(super) chain: usize,
    /// An NF may put it in front of the rules.
    pub(super) programmed: bool,
}

/// The lines of a port's list: what NFs may program, then the rules in their order.
pub(super) fn rows(graph: &Graph, steering: &Steering) -> Vec<Row> {
    let chains: HashMap<&str, usize> = graph
        .chains
        .iter()
        .enumerate()
        .map(|(n, c)| (c.name.as_str(), n))
        .collect();
    let programmed = steering.programs.iter().flat_map(|arm| {
        let rows = arm.chains.iter().filter_map(|chain| chains.get(chain.as_str()));
        rows.map(|chain| programmed(graph, steering, arm, *chain))
    });
    let programmed = folded(programmed.collect(), MOST_PROGRAMMED, |n| {
        (
            format!("{n} more by NFs"),
            format!("{n} more ways that NFs may program at `{}`", steering.port),
        )
    });
    let mut rules: Vec<Row> = steering
        .rules
        .iter()
        .filter_map(|rule| row(&chains, steering, rule))
        .collect();
    // `else`, the last, is always shown.
    let last = rules.pop();
    let count = steering.rules.len();
    let rules = folded(rules, MOST_RULES - 1, |n| {
        (
            format!("{n} more {}", if n == 1 { "rule" } else { "rules" }),
            format!(
                "{n} of the rules {MOST_RULES} to {} of `{}`",
                count - 1,
                steering.port
            ),
        )
    });
    programmed.into_iter().chain(rules).chain(last).collect()
}

/// The first rows; of the others one for each chain, with text and details for so many.
fn folded(mut rows: Vec<Row>, most: usize, say: impl Fn(usize) -> (String, String)) -> Vec<Row> {
    let rest = rows.split_off(most.min(rows.len()));
    let mut counts: Vec<(Row, usize)> = Vec::new();
    for row in rest {
        match counts.iter_mut().find(|(known, _)| known.chain == row.chain) {
            Some((_, n)) => *n += 1,
            None => counts.push((row, 1)),
        }
    }
    rows.extend(counts.into_iter().map(|(row, n)| {
        let (text, details) = say(n);
        Row {
            order: String::new(),
            text,
            details,
            ..row
        }
    }));
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
        programmed: false,
    })
}

fn programmed(graph: &Graph, steering: &Steering, arm: &super::Programmed, chain: usize) -> Row {
    let name = graph.chains.get(chain).map_or("", |chain| chain.name.as_str());
    Row {
        order: String::new(),
        text: format!("{}: {}", arm.nf, arm.filter),
        details: format!(
            "{} may have packets of `{}` enter `{name}`, before the rules are asked ({})\n{}\nthat is {}",
            arm.nf, steering.port, arm.source, arm.filter, arm.meaning
        ),
        chain,
        programmed: true,
    }
}

/// The text in at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
