//! What NFs may have packets do after an edit, and could not before; what they may not any more; and which packets go another way
//! through a chain that NFs may send them into.

use onvm_bundle::filter::{Expr, FlowMatch};
use serde::Serialize;

use super::{
    changes::{PathChange, Search, Taken, follow, given},
    routes::{Route, Through, describe, names},
    search::{Certainty, Found},
    side::{ProgramWay, table},
};
use crate::{
    interpret::{FlowEntry, StoryRule},
    sets::{Answer, Fields, Frame, Witness},
};
/// For one way.
const WAY_BUDGET: u64 = 300_000;

/// Packets that an NF may have enter a chain on one side of an edit only, by one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramChange {
    pub port: String,
    pub nf: String,
    pub packet: Witness,
    pub may: May,
    pub way: Taken,
}

/// When it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum May {
    Now,
    NoLonger,
}

impl<'a> Search<'_, 'a> {
    pub(super) fn programs(&mut self, port: &str) {
        let (old, new) = (self.finder.old.programs(port), self.finder.new.programs(port));
        self.only(port, new, old, May::Now);
        self.only(port, old, new, May::NoLonger);
        let mut seen: Vec<&ProgramWay<'_>> = Vec::new();
        for way in old {
            if !seen.iter().any(|known| known.is_as(way)) {
                seen.push(way);
                self.parting(port, old, new, way);
            }
        }
    }

    /// Ways of these that are none of the others.
    fn only(&mut self, port: &str, these: &[ProgramWay<'a>], others: &[ProgramWay<'a>], may: May) {
        for (n, way) in these.iter().enumerate() {
            let known = others.iter().chain(&these[..n]).filter(|known| known.is_as(way));
            let mut fields = Fields::default();
            let filters = known.chain([way]).map(|way| &way.arm.filter);
            let all = table(&mut fields, filters.clone());
            let last = all.effective(filters.count().checked_sub(1));
            let packet = match self
                .budget
                .part(WAY_BUDGET, |budget| last.meets(&fields, None, budget))
            {
                Answer::Yes(packet) => packet,
                Answer::No => continue,
                Answer::Unknown => {
                    self.found.certainty = Certainty::Partial;
                    continue;
                }
            };
            self.found.programs.push(ProgramChange {
                port: port.to_owned(),
                nf: way.nf.to_owned(),
                packet,
                may,
                way: Taken {
                    rule: Some(way.rule()),
                    path: way.path(),
                },
            });
        }
    }

    /// Packets that the same entries may take before and after, and that go another way then.
    fn parting(&mut self, port: &str, old: &[ProgramWay<'a>], new: &[ProgramWay<'a>], way: &ProgramWay<'a>) {
        let Some(now) = new.iter().find(|now| now.is_as(way)) else {
            return;
        };
        let through = |side, chain| Through { side, chain };
        let (before, after) = (
            through(self.finder.old, way.chain),
            through(self.finder.new, now.chain),
        );
        let (routes, certainty) = self.finder.partings(before, after);
        self.found.certainty = self.found.certainty.min(certainty);
        for interpreter in &mut self.interpreters {
            interpreter.program(vec![anything(port, way)]);
        }
        for route in &routes {
            let found = old.iter().filter(|w| w.is_as(way)).find_map(|before| {
                let mut after = new.iter().filter(|w| w.is_as(way));
                after.find_map(|after| self.common(port, before, after, route))
            });
            self.found.paths.extend(found);
        }
        for interpreter in &mut self.interpreters {
            interpreter.program(Vec::new());
        }
    }

    /// A packet of both arms that goes this route.
    fn common(
        &mut self,
        port: &str,
        before: &ProgramWay<'a>,
        after: &ProgramWay<'a>,
        route: &Route<'a>,
    ) -> Option<PathChange> {
        let given = given(&[self.finder.old, self.finder.new], route);
        let interpreters = &mut self.interpreters;
        let mut confirm = |frame: &Frame| {
            let mut told = || interpreters.each_mut().map(|i| follow(i, port, frame));
            !given.is_empty() || told() == [names(&route.old), names(&route.new)]
        };
        let taken = vec![before.table.effective(Some(0)), after.table.effective(Some(0))];
        let packet = match self.finder.find(taken, route, &mut self.budget, &mut confirm) {
            Found::Packet(packet) => packet,
            Found::None(certainty) => {
                self.found.certainty = self.found.certainty.min(certainty);
                return None;
            }
        };
        let taken = |way: &ProgramWay<'_>, path: String| {
            let rule = way.rule();
            let text = format!("flow entries of {}: {}", way.nf, rule.text);
            Taken {
                rule: Some(StoryRule { text, ..rule }),
                path,
            }
        };
        Some(PathChange {
            port: port.to_owned(),
            packet,
            was: taken(before, describe(&route.old)),
            now: taken(after, describe(&route.new)),
            given,
        })
    }
}

/// An entry that takes all that it may.
fn anything(port: &str, way: &ProgramWay<'_>) -> FlowEntry {
    FlowEntry {
        id: 0,
        nf: way.nf.to_owned(),
        port: port.to_owned(),
        chain: way.target.to_owned(),
        matches: FlowMatch::Filter(Expr::Const(true)),
        priority: 0,
    }
}
