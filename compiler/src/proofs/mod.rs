//! Proofs about steering: rules that no packet reaches, packets that no rule takes, assertions.
//!
//! Warnings are given only for what is proved, and packets are shown only when the rules themselves have taken them the way
//! that is claimed; see [`crate::sets`].

mod asserts;
mod bypasses;
mod faults;
#[cfg(test)]
mod firewall_tests;
mod firewalls;
#[cfg(test)]
mod lookup_tests;
mod lookups;
mod neighbours;
mod overlaps;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use onvm_bundle::{Target, filter::Expr};
use onvm_lang::syntax::Claim;

use self::asserts::Way;
pub(crate) use self::{asserts::Proved, bypasses::Bypass, firewalls::Models, neighbours::Request};
use self::{firewalls::Firewalls, lookups::World};
use crate::{
    diagnostics::{empty_filter, missing_else, shadowed_rule},
    lower::{
        claims::Assertion,
        declare::written::RuleSet,
        steering::{Block, Steering},
    },
    sets::{Answer, Budget, Fields, RuleTable, Set, Verdict},
    source::{context::Context, sources::Place},
};

/// For the verdicts on the rules of a table: units of a [`Budget`], and more for each rule.
const TABLE_BUDGET: u64 = 500_000;
const BUDGET_PER_RULE: u64 = 100;
/// For one question that ends in a packet.
const PACKET_BUDGET: u64 = 1_000_000;
/// For all assertions.
const ASSERTIONS_BUDGET: u64 = 30_000_000;

/// Reports on classes, steering and assertions, and where asked to on rules that overlap. Returns the assertions that are
/// proved. `models` are needed where there are assertions, and where packets come from live ports.
pub(crate) fn check(
    cx: &Context<'_>,
    classes: &[(Place, Expr)],
    steering: &Steering<'_, '_>,
    assertions: &[Assertion<'_>],
    models: &Models,
    tell_overlaps: bool,
) -> Vec<Proved> {
    let mut fields = Fields::default();
    for (place, filter) in classes {
        if Set::new(&mut fields, filter).is_empty() {
            cx.report(empty_filter::empty_filter(*place, "class"));
        }
    }
    let tables: Vec<(&Block, RuleTable<'_>)> = steering
        .blocks
        .iter()
        .map(|block| (block, table(&mut fields, block)))
        .collect();
    let ways = steering.programs.iter();
    let ways: Vec<(&str, Block)> = ways
        .flat_map(|program| program.ways().map(|way| (program.nf.as_str(), way)))
        .collect();
    let ways: Vec<Way<'_>> = ways
        .iter()
        .map(|(nf, block)| Way {
            nf,
            block,
            table: table(&mut fields, block),
        })
        .collect();
    let packets: Vec<Set<'_>> = assertions
        .iter()
        .map(|a| Set::new(&mut fields, &a.filter))
        .collect();
    let beside: Vec<Vec<(Beside, Expr)>> = assertions.iter().map(|a| beside(steering, a)).collect();
    let beside: Vec<Vec<(Beside, Set<'_>)>> = beside
        .iter()
        .map(|of| {
            of.iter()
                .map(|(kind, f)| (*kind, Set::new(&mut fields, f)))
                .collect()
        })
        .collect();
    for entry @ (block, table) in &tables {
        let verdicts = report_rules(cx, &fields, &block.places, table);
        if tell_overlaps {
            overlaps::report(cx, &fields, steering, entry, &verdicts);
        }
        if block.otherwise.is_none() && !block.meant_else {
            report_missing_else(cx, &fields, block, table);
        }
    }
    for way in &ways {
        if Set::new(&mut fields, &way.block.rules[0].filter).is_empty() {
            cx.report(empty_filter::empty_filter(way.block.body, "rule"));
        }
    }
    let on_chains = |nf: &str| {
        let mut hops = steering.chains.iter().flat_map(|chain| &chain.hops);
        hops.any(|hop| matches!(&hop.at, Target::Nf(name) if name == nf))
    };
    let firewalls = Firewalls::new(&mut fields, models, false, on_chains);
    neighbours::check(cx, steering, &tables, &firewalls);
    let ports = steering.blocks.iter().filter_map(|block| block.port.as_deref());
    let ignored = ports
        .chain(assertions.iter().map(|a| a.port))
        .any(|port| steering.ignores_tags(port));
    let untagged = Firewalls::new(&mut fields, models, true, |nf| ignored && on_chains(nf));
    let world = World::new(&mut fields, steering);
    let common = asserts::Common {
        fields: &fields,
        steering,
        world: &world,
        firewalls: &firewalls,
        untagged: &untagged,
        ways: &ways,
    };
    let mut warned = Vec::new();
    let proved = asserts::check(cx, &common, &tables, assertions, &packets, &beside, &mut warned);
    bypasses::check(cx, &fields, steering, &tables, [&firewalls, &untagged], &warned);
    proved
}

/// Packets that an operator may take an assertion to be about, and its filter does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// The same ones with a VLAN tag.
    Tagged,
    /// Later fragments of the same ones.
    Fragments,
}

/// Those of an assertion whose claim forbids something, where its port may carry them without a word about it.
fn beside(steering: &Steering<'_, '_>, assertion: &Assertion<'_>) -> Vec<(Beside, Expr)> {
    if matches!(assertion.claim, Claim::Reaches { .. }) {
        return Vec::new();
    }
    let (filter, port) = (&assertion.filter, assertion.port);
    let tagged = steering.carries_tags(port).then(|| filter.behind_tag()).flatten();
    let fragments = steering
        .carries_fragments(port)
        .then(|| filter.later_fragments())
        .flatten();
    let tagged = tagged.map(|filter| (Beside::Tagged, filter));
    tagged
        .into_iter()
        .chain(fragments.map(|filter| (Beside::Fragments, filter)))
        .collect()
}

fn table<'b>(fields: &mut Fields, block: &'b Block) -> RuleTable<'b> {
    let mut table = RuleTable::default();
    for rule in &block.rules {
        table.push(fields, &rule.filter);
    }
    table
}

/// Reports on rules that NFs read.
pub(crate) fn check_rule_sets(cx: &Context<'_>, sets: &[RuleSet]) {
    let mut seen = HashSet::new();
    for set in sets {
        let places: Vec<Place> = set.rules.iter().map(|rule| rule.place).collect();
        // Of two NFs that read one file, one is enough.
        if !seen.insert(places.first().copied()) {
            continue;
        }
        let mut fields = Fields::default();
        let mut table = RuleTable::default();
        for rule in &set.rules {
            table.push(&mut fields, &rule.filter);
        }
        report_rules(cx, &fields, &places, &table);
    }
}

/// `places` are those of the rules' filters.
fn report_rules(cx: &Context<'_>, fields: &Fields, places: &[Place], table: &RuleTable<'_>) -> Vec<Verdict> {
    let mut budget = Budget::new(TABLE_BUDGET + BUDGET_PER_RULE * places.len() as u64);
    let verdicts = table.verdicts(fields, &mut budget);
    for (place, verdict) in places.iter().zip(&verdicts) {
        match verdict {
            Verdict::Useful => {}
            Verdict::Empty => cx.report(empty_filter::empty_filter(*place, "rule")),
            Verdict::Shadowed { by, but_cut_off } => {
                let by: Vec<Place> = by.iter().map(|rule| places[*rule]).collect();
                cx.report(shadowed_rule::shadowed_rule(*place, &by, *but_cut_off));
            }
        }
    }
    verdicts
}

fn report_missing_else(cx: &Context<'_>, fields: &Fields, block: &Block, table: &RuleTable<'_>) {
    let answer = if block.complete {
        table
            .effective(None)
            .meets(fields, None, &mut Budget::new(PACKET_BUDGET))
    } else {
        Answer::Unknown
    };
    cx.report(missing_else::missing_else(
        block.at,
        &block.name,
        block.body,
        cx.sources.text(block.body),
        &answer,
    ));
}
