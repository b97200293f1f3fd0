//! The packets of a way, written as a filter.
//!
//! A way takes what its rule matches and no rule before it takes, and of that what each firewall on it decides so. That is one
//! expression of the filters concerned:
//!
//! ```text
//! steer wan { arp -> drop   tcp -> fw -> lan   else -> drop }      fw drops src net 10.0.0.0/8, accepts the rest
//! tcp, lan      tcp and not src net 10.0.0.0/8                     `arp` takes no TCP: left out
//! else, drop    not arp and not tcp
//! ```
//!
//! Rules that take none of the packets in question are left out, as are filters that say what the others say already. What `not` says of a frame
//! that ends before a byte that the filter reads is not what a rule does, which hands the frame on to the next one; whether there
//! are such frames is asked for each way, and said.

use onvm_bundle::filter::Expr;
use serde::Serialize;

use super::{
    routes::Decision,
    side::{Side, Steering},
};
use crate::{
    lower::filter::{lower_alone, simple, written, written_size},
    models::{Model, Outcome},
    sets::{Answer, Budget, Choice, Decided, Effective, Fields, RuleTable, Taker, common, decided},
};

/// For one question between filters.
const ASK_BUDGET: u64 = 100_000;
/// Besides what is looked at. Many rules and many ways are very many questions.
const ASK_COST: u64 = 8;
/// A filter of more tests and values is not written.
const MAX_SIZE: usize = 1000;
/// Of more filters, none is left out because the others say it.
const MAX_COMPARED: usize = 16;

/// The packets that go a way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Which {
    /// Exactly these packets, as a filter; none: it is not written.
    pub filter: Option<String>,
    /// Why it is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<Unwritten>,
    /// Frames that end before a byte that a rule reads may go this way or another, whatever the filter says.
    pub except_cut_off: bool,
}

/// Why a set is not written as a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unwritten {
    /// It takes more than 1,000 tests and values, or deeper nesting than a filter may have.
    TooLong,
    /// Several filters look behind labels, sessions or tunnels, each in its own way.
    Encapsulated,
    /// Only frames that end before a byte that a rule reads go this way.
    OnlyCutOff,
}

/// The packets that a port's rule takes of those that are asked of.
pub(super) struct Taken<'t, 'a> {
    pub(super) steering: &'t Steering<'a>,
    pub(super) rule: Taker,
    pub(super) asked: &'t Expr,
    /// Filters do not see the port's tags.
    pub(super) untagged: bool,
}

/// Writes the packets that a rule takes and of which NFs decide so.
pub(super) fn which<'a>(
    fields: &mut Fields,
    side: &Side<'a>,
    taken: &Taken<'_, 'a>,
    decisions: &[Decision<'a>],
    budget: &mut Budget,
) -> Which {
    let unwritten = |reason| Which {
        filter: None,
        unwritten: Some(reason),
        except_cut_off: false,
    };
    let firewalls: Vec<Firewall<'_>> = decisions
        .iter()
        .filter_map(|decision| firewall(fields, side.model(decision.nf), decision, taken.untagged))
        .collect();
    let filters = taken.steering.filters();
    let rule = taken.rule.and_then(|rule| filters.get(rule).copied());
    let (mut asked, mut own) = (RuleTable::default(), RuleTable::default());
    asked.push(fields, taken.asked);
    let everything = Expr::Const(true);
    own.push(fields, rule.unwrap_or(&everything));
    let base = Base {
        steering: taken.steering,
        rule: taken.rule,
        asked: &asked,
        own: &own,
    };
    let mut parts = base.own(fields, taken.asked, rule, budget);
    let before = taken.rule.unwrap_or(filters.len());
    for (n, filter) in filters.iter().enumerate().take(before) {
        let earlier = taken.steering.table.effective(Some(n));
        if base.gets(fields, earlier, budget) {
            parts.push(Expr::negate((*filter).clone()));
        }
        if parts.len() > MAX_SIZE {
            return unwritten(Unwritten::TooLong);
        }
    }
    for decision in decisions {
        // What is found by a scanner is among the packets that it searches.
        if let Model::Payload {
            only: Some(only),
            found,
            ..
        } = side.model(decision.nf)
            && decision.old.as_ref() == Some(found)
        {
            let only = if taken.untagged {
                only.clone().without_tags()
            } else {
                only.clone()
            };
            parts.push(only);
        }
    }
    for firewall in &firewalls {
        match firewall.lets(fields, &base, budget) {
            Some(expr) => parts.push(expr),
            None => return unwritten(Unwritten::TooLong),
        }
    }
    let expr = simple(&Expr::and(needed(fields, parts, budget)));
    if written_size(&expr) > MAX_SIZE || expr.depth() > onvm_lang::MAX_NESTING {
        return unwritten(Unwritten::TooLong);
    }
    let text = written(&expr);
    let again = text.as_deref().and_then(lower_alone);
    let (Some(text), Some(again)) = (text, again) else {
        return unwritten(Unwritten::Encapsulated);
    };
    let (mut printed, mut meant) = (RuleTable::default(), RuleTable::default());
    printed.push(fields, &again);
    meant.push(fields, &expr);
    let [taken_by_rule, those_asked] = base.taken();
    let again_taken = printed.effective(Some(0));
    if no_common(fields, &[taken_by_rule, those_asked, again_taken], budget) {
        return unwritten(Unwritten::OnlyCutOff);
    }
    let more = again != expr && !no_common(fields, &[meant.effective(None), again_taken], budget);
    Which {
        filter: Some(text),
        unwritten: None,
        except_cut_off: more || base.has_others(fields, &firewalls, &printed, budget),
    }
}

/// Without filters that say what the others say already.
fn needed(fields: &mut Fields, parts: Vec<Expr>, budget: &mut Budget) -> Vec<Expr> {
    if parts.len() > MAX_COMPARED {
        return parts;
    }
    let with_table = |part: Expr| {
        let mut table = RuleTable::default();
        table.push_owned(fields, part.clone());
        (part, table)
    };
    let mut kept: Vec<(Expr, RuleTable<'_>)> = parts.into_iter().map(with_table).collect();
    let mut at = 0;
    while at < kept.len() && kept.len() > 1 {
        let takers = kept.iter().enumerate();
        // A packet that all others take and this one does not.
        let takers = takers.map(|(n, (_, table))| table.effective((n != at).then_some(0)));
        match no_common(fields, &takers.collect::<Vec<_>>(), budget) {
            true => drop(kept.remove(at)),
            false => at += 1,
        }
    }
    kept.into_iter().map(|(part, _)| part).collect()
}

/// Rules that decide as is wanted.
struct Firewall<'m> {
    table: RuleTable<'m>,
    filters: &'m [Expr],
    outcomes: &'m [Outcome],
    wanted: &'m Outcome,
}

fn firewall<'m>(
    fields: &mut Fields,
    model: &'m Model,
    decision: &'m Decision<'_>,
    no_tags: bool,
) -> Option<Firewall<'m>> {
    let Model::Rules {
        filters,
        untagged,
        outcomes,
        ..
    } = model
    else {
        return None;
    };
    let filters = if no_tags { untagged } else { filters };
    let mut table = RuleTable::default();
    filters.iter().for_each(|filter| table.push(fields, filter));
    Some(Firewall {
        table,
        filters,
        outcomes,
        wanted: decision.old.as_ref()?,
    })
}

impl Firewall<'_> {
    fn is_wanted(&self, taker: Taker) -> bool {
        self.outcomes.get(taker.unwrap_or(self.filters.len())) == Some(self.wanted)
    }

    /// The packets of which it decides so, of those of the base. None: too many rules.
    fn lets(&self, fields: &Fields, base: &Base<'_, '_>, budget: &mut Budget) -> Option<Expr> {
        let mut met: Vec<Taker> = Vec::new();
        for taker in (0..self.filters.len()).map(Some).chain([None]) {
            if base.meets(fields, self.table.effective(taker), budget) {
                met.push(taker);
            }
            if met.len() > MAX_SIZE {
                return None;
            }
        }
        // The last one that takes any takes all that are left.
        let last = met.pop();
        let mut expr = Expr::Const(last.is_some_and(|last| self.is_wanted(last)));
        for taker in met.into_iter().rev() {
            let filter = self.filters.get(taker?)?.clone();
            expr = match self.is_wanted(taker) {
                true => Expr::or([filter, expr]),
                false => Expr::and([Expr::negate(filter), expr]),
            };
        }
        Some(expr)
    }

    fn choice(&self) -> Choice {
        let takers = (0..self.filters.len()).map(Some).chain([None]);
        let mut wanted: Vec<Taker> = takers.filter(|taker| self.is_wanted(*taker)).collect();
        wanted.dedup();
        Choice::new(&self.table, &wanted)
    }
}

/// What a rule takes of the packets that are asked of.
struct Base<'t, 'a> {
    steering: &'t Steering<'a>,
    rule: Taker,
    /// One rule: what is asked of.
    asked: &'t RuleTable<'t>,
    /// One rule: the filter of the port's.
    own: &'t RuleTable<'t>,
}

impl<'t> Base<'t, '_> {
    fn taken(&self) -> [Effective<'t, 't>; 2] {
        [
            self.steering.table.effective(self.rule),
            self.asked.effective(Some(0)),
        ]
    }

    /// The filter that is asked of and the rule's own, each unless the other says it.
    fn own(&self, fields: &Fields, asked: &Expr, rule: Option<&Expr>, budget: &mut Budget) -> Vec<Expr> {
        let is_in = |inner: &RuleTable<'_>, outer: &RuleTable<'_>, budget: &mut Budget| {
            no_common(fields, &[inner.effective(Some(0)), outer.effective(None)], budget)
        };
        match rule {
            None => vec![asked.clone()],
            Some(rule) if is_in(self.own, self.asked, budget) => vec![rule.clone()],
            Some(_) if is_in(self.asked, self.own, budget) => vec![asked.clone()],
            Some(rule) => vec![asked.clone(), rule.clone()],
        }
    }

    /// An earlier rule may take packets that would be this one's.
    fn gets(&self, fields: &Fields, earlier: Effective<'_, '_>, budget: &mut Budget) -> bool {
        let own = [
            self.own.effective(Some(0)),
            self.asked.effective(Some(0)),
            earlier,
        ];
        !no_common(fields, &own, budget)
    }

    /// A rule of a firewall may take packets of these.
    fn meets(&self, fields: &Fields, rule: Effective<'_, '_>, budget: &mut Budget) -> bool {
        let [taken, asked] = self.taken();
        !no_common(fields, &[taken, asked, rule], budget)
    }

    /// There may be packets that go this way and that the one filter of `printed` does not take.
    fn has_others(
        &self,
        fields: &Fields,
        firewalls: &[Firewall<'_>],
        printed: &RuleTable<'_>,
        budget: &mut Budget,
    ) -> bool {
        let one = |table: &RuleTable<'_>, taker: Taker| Choice::new(table, &[taker]);
        let mut choices = vec![
            (&self.steering.table, one(&self.steering.table, self.rule)),
            (self.asked, one(self.asked, Some(0))),
            (printed, one(printed, None)),
        ];
        choices.extend(firewalls.iter().map(|f| (&f.table, f.choice())));
        let tables: Vec<Decided<'_, '_>> = choices
            .iter()
            .map(|(table, choice)| Decided { table, choice })
            .collect();
        let any = |_: &crate::sets::Frame| true;
        let answer = budget.part(ASK_BUDGET, |budget| decided(fields, &tables, &[], &any, budget));
        answer != Answer::No
    }
}

/// It is known that no packet is in all of these.
fn no_common(fields: &Fields, taken: &[Effective<'_, '_>], budget: &mut Budget) -> bool {
    budget.spend(ASK_COST)
        && budget.part(ASK_BUDGET, |budget| common(fields, taken, &[], budget)) == Answer::No
}
