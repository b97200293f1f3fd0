//! What is left to a steering rule once the rules before it have taken theirs, by exact sets of packets.
//!
//! A packet is named only where the rules themselves give it to the rule in question, and nothing is said to be left only
//! where that is proved; see [`crate::sets`].

use std::collections::HashMap;

use onvm_lang::syntax::{Match, Rule, Steer};

use super::analysis::Analysis;
use crate::{
    sets::{Answer, Budget, Fields, Set, Table, Verdict, Witness, common},
    sources::{FileId, Place},
    steering::Block,
};

/// For one hover: units of a [`Budget`], some 20 ms.
const BUDGET: u64 = 1_000_000;
/// For one rule of it.
const RULE_BUDGET: u64 = 250_000;
/// Of more covering rules the rest is only counted.
const MAX_COVERING: usize = 4;

/// What is left to a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// Such packets. The first rule of a block has no others to leave it something.
    Such { packet: Witness, first: bool },
    /// No packet matches its filter.
    Empty,
    /// Nothing: these rules take every packet, those cut off within their headers perhaps excepted.
    Taken { by: Vec<Place>, but_cut_off: bool },
    /// An earlier rule has errors.
    Broken,
    /// Neither could be shown.
    Unknown,
}

/// The packet tables of an analysis, by the place of their port's name.
#[derive(Debug, Default)]
pub(super) struct Tables {
    fields: Fields,
    made: HashMap<Place, Table<'static>>,
}

impl Tables {
    fn make(&mut self, block: &Block) {
        if self.made.contains_key(&block.at) {
            return;
        }
        let mut table = Table::default();
        for rule in &block.rules {
            table.push_owned(&mut self.fields, rule.filter.clone());
        }
        self.made.insert(block.at, table);
    }
}

/// Answers for one hover.
pub(super) struct Reach<'a> {
    analysis: &'a Analysis,
    budget: Budget,
}

impl<'a> Reach<'a> {
    pub(super) fn new(analysis: &'a Analysis) -> Self {
        let budget = Budget::new(BUDGET);
        Self { analysis, budget }
    }

    /// What is left to a rule of a block.
    pub(super) fn left(&mut self, file: FileId, steer: &Steer, rule: &Rule) -> Left {
        self.answer(file, steer, rule).unwrap_or(Left::Broken)
    }

    /// None: the rule has errors, or one before it.
    fn answer(&mut self, file: FileId, steer: &Steer, rule: &Rule) -> Option<Left> {
        let place = |rule: &Rule| self.analysis.sources.place(file, rule.matcher.span());
        let is_filter = |rule: &&Rule| matches!(rule.matcher, Match::Filter(_));
        let before = steer
            .rules
            .iter()
            .take_while(|r| r.span != rule.span)
            .filter(is_filter);
        let read: Vec<Place> = before
            .chain([rule].into_iter().filter(is_filter))
            .map(place)
            .collect();
        let at = self.analysis.sources.place(file, steer.port.span);
        let block = self
            .analysis
            .filtered
            .blocks
            .iter()
            .find(|block| block.at == at)?;
        if !block.places.starts_with(&read) {
            return None;
        }
        let taker = is_filter(&rule).then(|| read.len() - 1);
        let mut tables = self.analysis.tables.borrow_mut();
        tables.make(block);
        let (fields, table) = (&tables.fields, tables.made.get(&at)?);
        let verdict = |budget: &mut Budget| taker.map(|rule| table.verdict(fields, rule, budget));
        Some(match self.budget.part(RULE_BUDGET, verdict) {
            Some(Verdict::Empty) => Left::Empty,
            Some(Verdict::Shadowed { by, but_cut_off }) => Left::Taken {
                by: by.iter().filter_map(|n| block.places.get(*n)).copied().collect(),
                but_cut_off,
            },
            Some(Verdict::Useful) | None => {
                let effective = table.effective(taker);
                match self
                    .budget
                    .part(RULE_BUDGET, |b| effective.meets(fields, None, b))
                {
                    Answer::Yes(packet) => Left::Such {
                        packet,
                        first: taker.unwrap_or(read.len()) == 0,
                    },
                    Answer::No => Left::Taken {
                        by: Vec::new(),
                        but_cut_off: false,
                    },
                    Answer::Unknown => Left::Unknown,
                }
            }
        })
    }

    /// One packet of a class, by the place of its name. None: its filter has errors.
    pub(super) fn of_class(&mut self, name: Place) -> Option<Answer> {
        let classes = &self.analysis.filtered.classes;
        let (_, filter) = classes.iter().find(|(place, _)| *place == name)?;
        let mut tables = self.analysis.tables.borrow_mut();
        let set = Set::new(&mut tables.fields, filter);
        Some(common(&tables.fields, &[], &[&set], &mut self.budget))
    }

    /// In words, as the rest of a sentence about the rule.
    pub(super) fn words(&self, left: &Left) -> String {
        match left {
            Left::Such { packet, first: true } => format!("for example `{packet}`"),
            Left::Such { packet, first: false } => format!("after earlier rules, for example `{packet}`"),
            Left::Empty => "no packet matches this filter".to_owned(),
            Left::Taken { by, but_cut_off } => {
                let but = if *but_cut_off {
                    " but frames cut off within their headers"
                } else {
                    ""
                };
                format!("nothing is left to it: {} every packet{but}", self.who(by))
            }
            Left::Broken => {
                "what is left to it is not known while it, or a rule before it, has errors".to_owned()
            }
            Left::Unknown => "what earlier rules leave to it could not be found out".to_owned(),
        }
    }

    /// As in "the rules in lines 3 and 4 together take".
    fn who(&self, rules: &[Place]) -> String {
        let mut lines: Vec<usize> = rules
            .iter()
            .map(|place| self.analysis.sources.line(*place))
            .collect();
        lines.dedup();
        let shown = lines.iter().take(MAX_COVERING).map(usize::to_string);
        let mut shown: Vec<String> = shown.collect();
        match lines.len().saturating_sub(MAX_COVERING) {
            0 => {}
            rest => shown.push(format!("{rest} more")),
        }
        match rules.len() {
            0 => "the rules before it take".to_owned(),
            1 => format!("the rule in line {} takes", joined(&shown)),
            _ if lines.len() == 1 => format!("the rules in line {} together take", joined(&shown)),
            _ => format!("the rules in lines {} together take", joined(&shown)),
        }
    }
}

/// `3, 4 and 5`
fn joined(items: &[String]) -> String {
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => items.concat(),
    }
}
