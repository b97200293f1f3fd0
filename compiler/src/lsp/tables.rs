//! The packet tables of a program, made when a hover first asks.

use std::collections::HashMap;

use crate::{
    lower::steering::Block,
    sets::{Fields, RuleTable},
    source::sources::Place,
};

/// The packet tables of an analysis, by the place of their port's name.
#[derive(Debug, Default)]
pub(super) struct RuleTables {
    pub(super) fields: Fields,
    made: HashMap<Place, RuleTable<'static>>,
}

impl RuleTables {
    pub(super) fn of(&mut self, block: &Block) -> (&Fields, &RuleTable<'static>) {
        let table = self.made.entry(block.at).or_insert_with(|| {
            let mut table = RuleTable::default();
            for rule in &block.rules {
                table.push_owned(&mut self.fields, rule.filter.clone());
            }
            table
        });
        (&self.fields, table)
    }
}
