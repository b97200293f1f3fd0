//! Rules whose order decides where some packets go, reported on request.

use std::collections::HashMap;

use onvm_bundle::Chain;

use super::paths::name;
use crate::{
    diagnostics::partial_overlap,
    lower::steering::{Block, Steering},
    sets::{Budget, Fields, RuleTable, Verdict},
    source::context::Context,
};

/// For the pairs of a table: units of a [`Budget`], some seconds. It suffices for lists of 10,000 rules as operators write
/// them; what meets in a list of 100,000 is more than anybody would read.
const TABLE_BUDGET: u64 = 40_000_000;
/// Of more overlaps in one block the rest is counted.
const MAX_SHOWN: usize = 50;

/// Reports on the rules of a block, whose `verdicts` are known.
pub(super) fn report(
    cx: &Context<'_>,
    fields: &Fields,
    steering: &Steering<'_, '_>,
    (block, table): &(&Block, RuleTable<'_>),
    verdicts: &[Verdict],
) {
    let targets = targets(steering, block);
    // A rule that never decides has been reported already.
    let decides = |rule: usize| verdicts.get(rule) == Some(&Verdict::Useful);
    let asked = |earlier: usize, later: usize| {
        targets[earlier] != targets[later] && decides(earlier) && decides(later)
    };
    let mut budget = Budget::new(TABLE_BUDGET);
    let found = table.overlaps(fields, MAX_SHOWN, &asked, &mut budget);
    for overlap in &found.shown {
        let (earlier, later) = (block.places[overlap.earlier], block.places[overlap.later]);
        let at = cx.sources.position(earlier);
        cx.report(partial_overlap::partial_overlap(
            later,
            earlier,
            at,
            &overlap.packet,
        ));
    }
    if found.more > 0 || !found.complete {
        cx.report(partial_overlap::not_all(
            block.at,
            &block.name,
            found.more,
            found.complete,
        ));
    }
}

/// A number for each rule, equal for rules that do the same with their packets: chains of the same hops, whatever their names.
fn targets(steering: &Steering<'_, '_>, block: &Block) -> Vec<usize> {
    let mut known: HashMap<Vec<BareHop<'_>>, usize> = HashMap::new();
    let mut of_chain: HashMap<usize, usize> = HashMap::new();
    let number = |rule: &onvm_bundle::Rule| {
        let Some(chain) = steering.chain_index(&rule.chain) else {
            return usize::MAX;
        };
        *of_chain.entry(chain).or_insert_with(|| {
            let next = known.len();
            *known.entry(bare(&steering.chains[chain])).or_insert(next)
        })
    };
    block.rules.iter().map(number).collect()
}

/// A hop without its place in the source. No NF has the name of a port.
type BareHop<'c> = (
    &'c str,
    Option<u16>,
    Vec<(&'c String, &'c u16)>,
    Vec<(&'c String, &'c u16)>,
);

fn bare(chain: &Chain) -> Vec<BareHop<'_>> {
    let hops = chain.hops.iter();
    hops.map(|hop| {
        (
            name(&hop.at),
            hop.next,
            hop.outputs.iter().collect(),
            hop.steers.iter().collect(),
        )
    })
    .collect()
}
