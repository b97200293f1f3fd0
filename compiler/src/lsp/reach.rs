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

/// Answers for one hover; each block's table is made once.
pub(super) struct Reach<'a> {
    analysis: &'a Analysis,
    fields: Fields,
    tables: HashMap<Place, (&'a Block, Table<'a>)>,
    budget: Budget,
}

impl<'a> Reach<'a> {
    pub(super) fn new(analysis: &'a Analysis) -> Self {
        Self {
            analysis,
            fields: Fields::default(),
            tables: HashMap::new(),
            budget: Budget::new(BUDGET),
        }
    }

    /// What is left to a rule of a block.
    pub(super) fn left(&mut self, file: FileId, steer: &Steer, rule: &Rule) -> Left {
        self.answer(file, steer, rule).unwrap_or(Left::Broken)
    }

    fn answer(&mut self, file: FileId, steer: &Steer, rule: &Rule) -> Option<Left> {
        let place = |rule: &Rule| self.analysis.sources.place(file, rule.matcher.span());
        let before = steer.rules.iter().take_while(|r| r.span != rule.span);
        let before: Vec<Place> = before
            .filter(|r| matches!(r.matcher, Match::Filter(_)))
            .map(place)
            .collect();
        let own = place(rule);
        let at = self.analysis.sources.place(file, steer.port.span);
        self.make_table(at)?;
        let (block, table) = self.tables.get(&at)?;
        if !block.places.starts_with(&before) {
            return None;
        }
        let taker = match &rule.matcher {
            Match::Else(_) => None,
            Match::Filter(_) => Some(before.len()),
        };
        let fields = &self.fields;
        let covered = match taker {
            Some(n) if block.places.get(n) != Some(&own) => return None,
            Some(n) => self.budget.part(RULE_BUDGET, |b| table.verdict(fields, n, b)),
            None => Verdict::Useful,
        };
        Some(match covered {
            Verdict::Empty => Left::Empty,
            Verdict::Shadowed { by, but_cut_off } => Left::Taken {
                by: by.iter().filter_map(|n| block.places.get(*n)).copied().collect(),
                but_cut_off,
            },
            Verdict::Useful => {
                let effective = table.effective(taker);
                match self
                    .budget
                    .part(RULE_BUDGET, |b| effective.meets(fields, None, b))
                {
                    Answer::Yes(packet) => Left::Such {
                        packet,
                        first: before.is_empty(),
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

    /// None: the block is none that was read.
    fn make_table(&mut self, at: Place) -> Option<()> {
        if !self.tables.contains_key(&at) {
            let block = self.analysis.filtered.blocks.iter().find(|b| b.at == at)?;
            let mut table = Table::default();
            for rule in &block.rules {
                table.push(&mut self.fields, &rule.filter);
            }
            self.tables.insert(at, (block, table));
        }
        Some(())
    }

    /// One packet of a class, by the place of its name. None: its filter has errors.
    pub(super) fn of_class(&mut self, name: Place) -> Option<Answer> {
        let classes = &self.analysis.filtered.classes;
        let (_, filter) = classes.iter().find(|(place, _)| *place == name)?;
        let set = Set::new(&mut self.fields, filter);
        Some(common(&self.fields, &[], &[&set], &mut self.budget))
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
