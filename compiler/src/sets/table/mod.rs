//! Rules in order, the first match wins.

mod beside;
mod decided;
mod overlap;
mod rewritten;

use std::{
    borrow::Cow,
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use onvm_bundle::filter::{Classifier, Expr};

use super::{
    cube::Cube,
    field::Fields,
    frame::Frame,
    index::{Index, Siblings},
    lower::{TooComplex, lower},
    point::Point,
    search::{Budget, Cover, Outcome, Search, possible},
    witness::Witness,
};

pub(crate) use beside::Seen;
pub(crate) use decided::{Choice, Decided, Found, decided, find};
pub use overlap::{Overlap, Overlaps};
pub use rewritten::{Rewriting, Rewritten};

/// A set of packets, given by a filter.
#[derive(Debug, Clone)]
pub struct Set<'a> {
    filter: &'a Expr,
    cubes: Result<Vec<Cube>, TooComplex>,
}

impl<'a> Set<'a> {
    pub fn new(fields: &mut Fields, filter: &'a Expr) -> Self {
        Self {
            filter,
            cubes: lower(fields, filter).map(|cubes| possible(fields, cubes)),
        }
    }

    /// No packet is in it. False also where that is not known.
    pub fn is_empty(&self) -> bool {
        matches!(&self.cubes, Ok(cubes) if cubes.is_empty())
    }

    pub(crate) fn holds(&self, frame: &Frame) -> bool {
        self.filter.matches(&frame.bytes, frame.wire_len)
    }
}

/// The rules of one port or NF, in order, as sets of packets.
#[derive(Debug, Default)]
pub struct RuleTable<'a> {
    rules: Vec<Rule<'a>>,
    /// The cubes of all rules.
    index: Index,
    /// The rules that have none, as they are too complex to be spelled out.
    complex: Vec<usize>,
    /// For asking which cubes meet; made when first needed.
    siblings: OnceLock<Siblings>,
    /// For asking which rule takes a frame; made once many have been asked about.
    classifier: OnceLock<Classifier>,
    /// Frames that were asked about without it.
    walked: AtomicU32,
}

/// The index takes as long to make as some dozen walks over the rules.
const WALKS: u32 = 64;

#[derive(Debug)]
struct Rule<'a> {
    filter: Cow<'a, Expr>,
    /// Its cubes in the index; none where there are too many to be spelled out.
    cubes: Option<Range<usize>>,
}

/// The taker of a packet: a rule by its place, or none before `else`.
pub type Taker = Option<usize>;

/// Whether there is such a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There is none: proved.
    No,
    /// There is, and here it is.
    Yes(Witness),
    /// Neither could be shown.
    Unknown,
}

/// The verdict on a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Some packets may be left to it.
    Useful,
    /// No packet matches its filter.
    Empty,
    /// Earlier rules take every packet that it matches.
    Shadowed {
        /// These together, in order. None of them can be left out, unless there are very many.
        by: Vec<usize>,
        /// Except frames that end within the headers which those rules read.
        but_cut_off: bool,
    },
}

/// For one rule against the rules before it.
const RULE_BUDGET: u64 = 200_000;
/// Of more covering rules than these, none is tried for being needed.
const MAX_MINIMISED: usize = 16;

impl<'a> RuleTable<'a> {
    /// Adds a rule at the end.
    pub fn push(&mut self, fields: &mut Fields, filter: &'a Expr) {
        self.add(fields, Cow::Borrowed(filter));
    }

    /// The same, for a table that outlives the filters that it was made of.
    pub fn push_owned(&mut self, fields: &mut Fields, filter: Expr) {
        self.add(fields, Cow::Owned(filter));
    }

    fn add(&mut self, fields: &mut Fields, filter: Cow<'a, Expr>) {
        let cubes = lower(fields, &filter).map(|cubes| possible(fields, cubes));
        self.add_lowered(fields, filter, cubes);
    }

    fn add_lowered(&mut self, fields: &Fields, filter: Cow<'a, Expr>, cubes: Result<Vec<Cube>, TooComplex>) {
        self.siblings.take();
        self.classifier.take();
        let rule = number(self.rules.len());
        let first = self.index.cubes().len();
        let cubes = cubes.map(|cubes| {
            for cube in cubes {
                self.index.add(fields, rule, cube);
            }
            first..self.index.cubes().len()
        });
        if cubes.is_err() {
            self.complex.push(self.rules.len());
        }
        self.rules.push(Rule {
            filter,
            cubes: cubes.ok(),
        });
    }

    fn matches(&self, rule: usize, frame: &Frame) -> bool {
        let rule = &self.rules[rule];
        rule.filter.matches(&frame.bytes, frame.wire_len)
    }

    fn cubes(&self, rule: usize) -> Option<&[Cube]> {
        self.index.cubes().get(self.rules[rule].cubes.clone()?)
    }

    /// A verdict on every rule. `budget` is for all of them; rules for which it does not suffice count as useful.
    pub fn verdicts(&self, fields: &Fields, budget: &mut Budget) -> Vec<Verdict> {
        let mut point = Point::new(fields);
        (0..self.rules.len())
            .map(|rule| budget.part(RULE_BUDGET, |part| self.judge(fields, rule, &mut point, part)))
            .collect()
    }

    /// The verdict on one rule; useful where the budget does not suffice.
    pub fn verdict(&self, fields: &Fields, rule: usize, budget: &mut Budget) -> Verdict {
        budget.part(RULE_BUDGET, |part| {
            self.judge(fields, rule, &mut Point::new(fields), part)
        })
    }

    fn judge(&self, fields: &Fields, rule: usize, point: &mut Point<'_>, budget: &mut Budget) -> Verdict {
        let Some(cubes) = self.cubes(rule) else {
            return Verdict::Useful;
        };
        if cubes.is_empty() {
            return Verdict::Empty;
        }
        let search = |only: Option<&[u32]>, point: &mut Point<'_>, budget: &mut Budget| {
            let covers = [Cover {
                index: &self.index,
                limit: number(rule),
                only,
                forgotten: None,
            }];
            let confirm = |_: &Frame| true;
            Search {
                covers: &covers,
                confirm: &confirm,
                yes_or_no: true,
                whole_only: false,
            }
            .run(fields, cubes, point, budget)
        };
        let Outcome::Covered { mut by, wholly } = search(None, point, budget) else {
            return Verdict::Useful;
        };
        if by.is_empty() {
            return if wholly { Verdict::Empty } else { Verdict::Useful };
        }
        by.sort_unstable();
        by.dedup();
        if (2..=MAX_MINIMISED).contains(&by.len()) {
            // Late rules go first: what is left are the ones that the operator wrote first.
            for candidate in by.clone().into_iter().rev() {
                let fewer: Vec<u32> = by.iter().copied().filter(|r| *r != candidate).collect();
                let outcome = search(Some(&fewer), point, budget);
                if matches!(outcome, Outcome::Covered { wholly: now, .. } if now == wholly) {
                    by = fewer;
                }
            }
        }
        let by = by.into_iter().map(|r| r as usize).collect();
        Verdict::Shadowed {
            by,
            but_cut_off: !wholly,
        }
    }

    /// The effective set of a rule, or of `else`: what it matches and no earlier rule takes.
    pub fn effective(&self, taker: Taker) -> Effective<'_, 'a> {
        Effective { table: self, taker }
    }

    /// Every rule, in order, that takes packets of `set`, with one of them. `else` comes last.
    pub fn takers(&self, fields: &Fields, set: &Set<'a>, budget: &mut Budget) -> Vec<(Taker, Answer)> {
        let takers = (0..self.rules.len()).map(Some).chain([None]);
        takers
            .map(|taker| (taker, self.effective(taker).meets(fields, Some(set), budget)))
            .filter(|(_, answer)| *answer != Answer::No)
            .collect()
    }

    /// The taker of a packet.
    pub fn taker(&self, frame: &Frame) -> Taker {
        let classifier = match self.classifier.get() {
            Some(classifier) => classifier,
            None if self.walked.fetch_add(1, Ordering::Relaxed) < WALKS => {
                return (0..self.rules.len()).find(|rule| self.matches(*rule, frame));
            }
            None => self
                .classifier
                .get_or_init(|| Classifier::new(self.rules.iter().map(|rule| &*rule.filter))),
        };
        let filter = |rule: usize| self.rules.get(rule).map(|rule| &*rule.filter);
        classifier.first(filter, &frame.bytes, frame.wire_len)
    }

    /// The same by the cubes of the rules, for searches that ask about many frames. What is shown in the end is to be confirmed by
    /// [`Self::taker`].
    pub(crate) fn taker_by_cubes(&self, fields: &Fields, frame: &Frame) -> Taker {
        let first = self.index.first(&mut Point::of(fields, frame), &mut 0);
        let first = first.map(|(rule, _)| rule as usize);
        let before = |rule: &&usize| first.is_none_or(|first| **rule < first);
        let mut complex = self.complex.iter().take_while(before);
        complex
            .find(|rule| self.matches(**rule, frame))
            .copied()
            .or(first)
    }
}

/// The packets that a rule matches and no earlier rule takes.
#[derive(Debug, Clone, Copy)]
pub struct Effective<'t, 'a> {
    table: &'t RuleTable<'a>,
    taker: Taker,
}

impl<'a> Effective<'_, 'a> {
    /// Whether a packet of it is in `set`; in itself, if there is no set.
    pub fn meets(&self, fields: &Fields, set: Option<&Set<'a>>, budget: &mut Budget) -> Answer {
        common(fields, &[*self], set.as_slice(), budget)
    }

    /// None: too complex to be spelled out.
    fn start(&self) -> Option<&[Cube]> {
        match self.taker {
            None => Some(EVERYTHING),
            Some(rule) => self.table.cubes(rule),
        }
    }

    fn cover(&self) -> Cover<'_> {
        let limit = number(self.taker.unwrap_or(self.table.rules.len()));
        Cover {
            index: &self.table.index,
            limit,
            only: None,
            forgotten: None,
        }
    }

    fn holds(&self, frame: &Frame) -> bool {
        self.table.taker(frame) == self.taker
    }
}

const EVERYTHING: &[Cube] = &[Cube::EVERYTHING];

/// Pairs of cubes that are looked at for what they have in common; of more, nothing is known.
const MAX_PAIRS: usize = 1 << 20;

/// Whether there is a packet that all of these take, each in its table, and that is in all of the sets.
pub fn common<'a>(
    fields: &Fields,
    taken: &[Effective<'_, 'a>],
    sets: &[&Set<'a>],
    budget: &mut Budget,
) -> Answer {
    if !budget.spend(1) {
        return Answer::Unknown;
    }
    let mut start = Cow::Borrowed(EVERYTHING);
    let sets_cubes = sets.iter().map(|set| set.cubes.as_deref().ok());
    for cubes in taken.iter().map(Effective::start).chain(sets_cubes) {
        let Some(cubes) = cubes else {
            return Answer::Unknown;
        };
        start = match both(&start, cubes) {
            None => return Answer::Unknown,
            Some(met) if met.is_empty() => return Answer::No,
            Some(met) => met,
        };
    }
    let start = possible(fields, start.into_owned());
    if start.is_empty() {
        return Answer::No;
    }
    let covers: Vec<Cover<'_>> = taken.iter().map(Effective::cover).collect();
    let confirm = |frame: &Frame| taken.iter().all(|t| t.holds(frame)) && sets.iter().all(|s| s.holds(frame));
    let search = Search {
        covers: &covers,
        confirm: &confirm,
        yes_or_no: false,
        whole_only: false,
    };
    match search.run(fields, &start, &mut Point::new(fields), budget) {
        Outcome::Covered { wholly: true, .. } => Answer::No,
        Outcome::Left(frame) => Answer::Yes(Witness::new(frame, &confirm)),
        Outcome::Covered { .. } | Outcome::Unknown => Answer::Unknown,
    }
}

/// None: too many pairs.
fn both<'c>(left: &[Cube], right: &'c [Cube]) -> Option<Cow<'c, [Cube]>> {
    if left == EVERYTHING {
        return Some(Cow::Borrowed(right));
    }
    let meet = |a: &Cube| right.iter().filter_map(|b| a.and(b)).collect::<Vec<_>>();
    let few = left.len().saturating_mul(right.len()) <= MAX_PAIRS;
    few.then(|| Cow::Owned(left.iter().flat_map(meet).collect()))
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn last_verdict(rules: &[Expr], budget: u64) -> Verdict {
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        rules.iter().for_each(|rule| table.push(&mut fields, rule));
        let verdicts = table.verdicts(&fields, &mut Budget::new(budget));
        verdicts.last().unwrap().clone()
    }

    #[test]
    fn a_spent_budget_leaves_nothing_to_say() {
        let parts = (0..256).map(|n| format!("(net dst 10.{n}.0.0/16)"));
        let rules: Vec<Expr> = parts
            .chain(["(net dst 10.0.0.0/8)".to_owned()])
            .map(|r| r.parse().unwrap())
            .collect();
        let all = Verdict::Shadowed {
            by: (0..256).collect(),
            but_cut_off: false,
        };
        assert_eq!(last_verdict(&rules, u64::MAX), all);
        assert_eq!(last_verdict(&rules, 10_000), Verdict::Useful);
    }

    #[test]
    fn a_filter_with_too_many_cases_is_left_alone() {
        let any_of = |k: usize| {
            format!(
                "(or (= (frame {} 1) 1) (= (frame {} 1) 1))",
                60 + 2 * k,
                61 + 2 * k
            )
        };
        let filter = format!("(and {})", (0..12).map(any_of).collect::<Vec<_>>().join(" "));
        let rules = [filter.parse().unwrap(), filter.parse().unwrap()];
        assert_eq!(last_verdict(&rules, u64::MAX), Verdict::Useful);
    }
}
