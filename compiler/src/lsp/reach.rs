//! The packets left to a steering rule after the rules before it, by exact sets of packets.
//!
//! A packet is named only where the rules themselves give it to the rule in question, and nothing is said to be left only
//! where that is proved; see [`crate::sets`].

use onvm_lang::syntax::{Match, Rule, Steer};

use super::analysis::Analysis;
use crate::{
    lower::steering::Block,
    sets::{Answer, Budget, Set, Taker, Verdict, Witness, common},
    source::sources::{FileId, Place},
};

/// For one hover: units of a [`Budget`], some 20 ms.
const BUDGET: u64 = 1_000_000;
/// For one rule of it.
const RULE_BUDGET: u64 = 250_000;
/// Of more covering rules the rest is only counted.
const MAX_COVERING: usize = 4;

/// The packets left to a rule.
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

    /// The packets left to a rule of a block.
    pub(super) fn left(&mut self, file: FileId, steer: &Steer, rule: &Rule) -> Left {
        match self.find(file, steer, rule) {
            Some((block, taker)) => self.ask(block, taker),
            None => Left::Broken,
        }
    }

    /// The rule as the checker knows it. None: it has errors, or a rule before it has.
    fn find(&self, file: FileId, steer: &Steer, rule: &Rule) -> Option<(&'a Block, Taker)> {
        let place = |rule: &Rule| self.analysis.sources.place(file, rule.matcher.span());
        let is_filter = |rule: &&Rule| matches!(rule.matcher, Match::Filter(_));
        let mut read: Vec<Place> = Vec::new();
        for before in steer.rules.iter().take_while(|r| r.span != rule.span) {
            read.extend(is_filter(&before).then(|| place(before)));
        }
        let taker = is_filter(&rule).then_some(read.len());
        read.extend(taker.map(|_| place(rule)));
        let at = self.analysis.sources.place(file, steer.port.span);
        let mut blocks = self.analysis.filtered.blocks.iter();
        let block = blocks.find(|block| block.at == at)?;
        block.places.starts_with(&read).then_some((block, taker))
    }

    fn ask(&mut self, block: &Block, taker: Taker) -> Left {
        let mut tables = self.analysis.tables.borrow_mut();
        let (fields, table) = tables.of(block);
        let verdict = |budget: &mut Budget| taker.map(|rule| table.verdict(fields, rule, budget));
        match self.budget.part(RULE_BUDGET, verdict) {
            Some(Verdict::Empty) => return Left::Empty,
            Some(Verdict::Shadowed { by, but_cut_off }) => {
                let by = by.iter().filter_map(|rule| block.places.get(*rule));
                return Left::Taken {
                    by: by.copied().collect(),
                    but_cut_off,
                };
            }
            Some(Verdict::Useful) | None => {}
        }
        let effective = table.effective(taker);
        let packet = |budget: &mut Budget| effective.meets(fields, None, budget);
        match self.budget.part(RULE_BUDGET, packet) {
            Answer::Yes(packet) => Left::Such {
                packet,
                first: taker.unwrap_or(block.rules.len()) == 0,
            },
            Answer::No => Left::Taken {
                by: Vec::new(),
                but_cut_off: false,
            },
            Answer::Unknown => Left::Unknown,
        }
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
                    " except frames cut off within their headers"
                } else {
                    ""
                };
                format!("nothing is left to it: {} every packet{but}", self.who(by))
            }
            Left::Broken => {
                "the packets left to it are not known while it, or a rule before it, has errors".to_owned()
            }
            Left::Unknown => "the packets left to it could not be determined".to_owned(),
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
