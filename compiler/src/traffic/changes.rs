//! Which packets go another way after an edit.

use std::collections::{BTreeSet, HashMap};

use onvm_bundle::diff::Contents;
use serde::Serialize;

use super::{
    aligned::Aligned,
    programmed::ProgramChange,
    routes::{Route, Through, describe, names},
    search::{Certainty, Finder, Found},
    side::{Models, Side, Steering},
};
use crate::{
    interpret::{Interpreter, StoryRule},
    models::Outcome,
    sets::{Budget, Fields, Frame, Taker, Witness},
};

/// For one comparison; well under a second.
const BUDGET: u64 = 20_000_000;
/// More changes of path than these are not shown.
const MAX_CHANGES: usize = 1000;

/// The effect of an edit on packets.
#[derive(Debug)]
pub struct Changes {
    /// One for each port, way before and way after, in the order of the ports.
    pub paths: Vec<PathChange>,
    /// Packets that NFs may have enter chains only before or only after.
    pub programs: Vec<ProgramChange>,
    /// How certain it is that there is no other.
    pub certainty: Certainty,
    /// Third-party NFs that are changed: whether they decide otherwise now cannot be known.
    pub unknown: Vec<String>,
    /// NFs that may have packets looked up by rules that are changed, or that lead elsewhere now: which ones come to them
    /// cannot be known.
    pub looked_up: BTreeSet<String>,
}

/// Packets that go another way now, by one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    pub port: String,
    pub packet: Witness,
    pub was: Taken,
    pub now: Taken,
    /// Only those of which third-party NFs decide so.
    pub given: Vec<Condition>,
}

/// A third-party NF's decision on the packet: `waf` `puts out on blocked`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    pub nf: String,
    pub does: String,
}

/// The rule that takes a packet, and its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// None: the port has no `steer` block.
    pub rule: Option<StoryRule>,
    /// `fw -> ids -(match)-> drop`
    pub path: String,
}

/// The packets that go another way after the edit. The interpreters are of the same contents as the models.
pub fn changes<'a>(
    old: (Contents<'a>, &'a Models, &mut Interpreter<'a>),
    new: (Contents<'a>, &'a Models, &mut Interpreter<'a>),
) -> Changes {
    let mut fields = Fields::default();
    let sides = [
        Side::new(old.0, old.1, &mut fields),
        Side::new(new.0, new.1, &mut fields),
    ];
    let preferred = old.1.preferred(&mut fields);
    let [old_side, new_side] = &sides;
    let finder = Finder {
        fields: &fields,
        old: old_side,
        new: new_side,
        preferred: &preferred,
    };
    let mut search = Search {
        finder,
        interpreters: [old.2, new.2],
        budget: Budget::new(BUDGET),
        found: Changes {
            paths: Vec::new(),
            programs: Vec::new(),
            certainty: Certainty::Proved,
            unknown: unknown(old_side, new_side),
            looked_up: BTreeSet::new(),
        },
    };
    for port in &old.0.manager.ports {
        search.port(&port.name);
        search.programs(&port.name);
    }
    search.found
}

/// Third-party NFs that are on both sides and not alike.
fn unknown(old: &Side<'_>, new: &Side<'_>) -> Vec<String> {
    let names = old.contents.manager.services.iter().map(|s| s.name.as_str());
    let both = names.filter(|nf| new.service(nf).is_some());
    let opaque = both.filter(|nf| old.is_opaque(nf) || new.is_opaque(nf));
    let changed = opaque.filter(|nf| !old.decides_alike(new, nf));
    changed.map(str::to_owned).collect()
}

pub(super) struct Search<'s, 'a> {
    pub(super) finder: Finder<'s, 'a>,
    pub(super) interpreters: [&'s mut Interpreter<'a>; 2],
    pub(super) budget: Budget,
    pub(super) found: Changes,
}

impl<'s, 'a> Search<'s, 'a> {
    fn port(&mut self, port: &str) {
        let (old, new) = (self.finder.old.steering(port), self.finder.new.steering(port));
        let (Some(old), Some(new)) = (old, new) else {
            return;
        };
        let mut lookups = old.lookups().chain(new.lookups()).peekable();
        if lookups.peek().is_some() && !self.treats_alike(old, new) {
            // The headers of a packet that is looked up cannot be known, and so neither can its way by the new rules.
            self.found.looked_up.extend(lookups.map(str::to_owned));
            self.found.certainty = Certainty::Partial;
        }
        let mut parting: HashMap<(Option<&str>, Option<&str>), Vec<Route<'a>>> = HashMap::new();
        for (a, b) in Aligned::new(&old.filters(), &new.filters()).candidates() {
            if !self.budget.spend(1) || self.found.paths.len() >= MAX_CHANGES {
                self.found.certainty = Certainty::Partial;
                return;
            }
            let chains = (old.chain(a), new.chain(b));
            let key = (
                chains.0.map(|c| c.name.as_str()),
                chains.1.map(|c| c.name.as_str()),
            );
            let routes = parting.entry(key).or_insert_with(|| {
                let through = |side, chain| Through { side, chain };
                let (old, new) = (
                    through(self.finder.old, chains.0),
                    through(self.finder.new, chains.1),
                );
                let (routes, certainty) = self.finder.partings(old, new);
                self.found.certainty = self.found.certainty.min(certainty);
                routes
            });
            routes.retain(|route| !self.route(port, (a, b), route));
        }
    }

    /// The rules of a port are the same, and lead to the same.
    fn treats_alike(&self, old: &Steering<'a>, new: &Steering<'a>) -> bool {
        let through = |side, chain| Through { side, chain };
        let same = |taker| {
            let before = through(self.finder.old, old.chain(taker));
            before.is_as(&through(self.finder.new, new.chain(taker)))
        };
        old.filters() == new.filters() && old.takers().all(same)
    }

    /// Looks for a packet between two rules; true: this route need not be looked at again.
    fn route(&mut self, port: &str, (a, b): (Taker, Taker), route: &Route<'a>) -> bool {
        let (Some(old), Some(new)) = (self.finder.old.steering(port), self.finder.new.steering(port)) else {
            return true;
        };
        let given = given(&[self.finder.old, self.finder.new], route);
        let interpreters = &mut self.interpreters;
        let mut confirm = |frame: &Frame| {
            let mut told = || interpreters.each_mut().map(|i| follow(i, port, frame));
            !given.is_empty() || told() == [names(&route.old), names(&route.new)]
        };
        let taken = vec![old.table.effective(a), new.table.effective(b)];
        let found = self.finder.find(taken, route, &mut self.budget, &mut confirm);
        let packet = match found {
            Found::Packet(packet) => packet,
            Found::None(certainty) => {
                self.found.certainty = self.found.certainty.min(certainty);
                return false;
            }
        };
        let (was, now) = (describe(&route.old), describe(&route.new));
        let change = PathChange {
            port: port.to_owned(),
            packet,
            was: Taken {
                rule: old.rule(a),
                path: was,
            },
            now: Taken {
                rule: new.rule(b),
                path: now,
            },
            given,
        };
        let same = |shown: &PathChange| {
            shown.port == change.port
                && shown.was.path == change.was.path
                && shown.now.path == change.now.path
                && shown.given == change.given
        };
        if !self.found.paths.iter().any(same) {
            self.found.paths.push(change);
        }
        true
    }
}

/// Of an NF that a route leads around.
pub(super) const GONE_AROUND: &str = "is lost, so that packets go around it";

/// The decisions of third-party NFs on a route, other than to pass the packet on.
pub(super) fn given(sides: &[&Side<'_>], route: &Route<'_>) -> Vec<Condition> {
    let decisions = route.decisions.iter();
    let opaque = decisions.filter(|d| sides.iter().any(|side| side.is_opaque(d.nf)));
    opaque
        .filter_map(|d| {
            let does = match d.old.as_ref().or(d.new.as_ref())? {
                Outcome::Next => return None,
                Outcome::Output(name) => format!("puts out on `{name}`"),
                Outcome::To(name) => format!("steers to `{name}`"),
                Outcome::Lookup => "has it looked up".to_owned(),
                Outcome::Drop => "drops".to_owned(),
                Outcome::Around => GONE_AROUND.to_owned(),
            };
            Some(Condition {
                nf: d.nf.to_owned(),
                does,
            })
        })
        .collect()
}

/// The places that the packet visits: `fw`, `ids`, `drop`
pub(super) fn follow(interpreter: &mut Interpreter<'_>, port: &str, frame: &Frame) -> Vec<String> {
    let Some(id) = interpreter.port(port) else {
        return Vec::new();
    };
    let path = interpreter.send(id, &frame.bytes, frame.wire_len);
    let story = interpreter.tell(&path, &[]);
    story.names().into_iter().map(str::to_owned).collect()
}
