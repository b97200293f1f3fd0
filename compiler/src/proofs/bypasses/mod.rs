//! Rules that drop packets and let the same ones out with a VLAN tag, or later fragments of them: what such a rule says of ports
//! it says of first fragments, and what it says of the rest of a packet, of packets without a tag.
//!
//! Only what gets out counts: a packet that another rule or another firewall drops is where it should be. Both packets go along
//! the chains that the port's rules give them, through the standard NFs themselves; third-party NFs are assumed to pass
//! them on. One is dropped by a rule of the port or of a firewall, and not by a default; the other may go another way from the
//! start, around that firewall:
//!
//! ```text
//! steer wan { tcp dst port 22 -> drop   else -> lan }      dropped: tcp to port 22     out: the same with a tag
//! steer wan { tcp -> fw -> lan   else -> lan }             the same, where a rule of `fw` drops what goes to port 22
//! ```
//!
//! A rule that leads elsewhere gets no warning by itself: whether a packet may leave by the way of `tcp` and by that of `else` as
//! well is not in the rules. An assertion says it (`passes fw`), and is looked at for the same packets. Nor is there a warning
//! where a rule that takes the one that gets out, and not the other, speaks of tags or of the fragment offset itself.

mod routes;
mod search;
#[cfg(test)]
mod tests;
mod twins;
mod walk;

use std::cell::OnceCell;

use self::search::{Port, Rule, Side, may_drop};
use super::{
    Beside,
    firewalls::{Firewalls, Shared},
};
use crate::{
    diagnostics::{
        drops_first_fragments_only::drops_first_fragments_only, drops_untagged_only::drops_untagged_only,
    },
    lower::steering::{Block, Chains, Steering},
    sets::{Budget, Fields, RuleTable, Set, Witness},
    source::{context::Context, sources::Place},
};

/// For all rules and one kind of packets beside them.
const BUDGET: u64 = 1_000_000;
/// One of so many parts of what is left is for the rules of one port or firewall, so that no other is forgotten.
const PARTS: u64 = 4;

/// A rule that lets packets out beside those that it drops.
pub(crate) struct Bypass {
    /// The rule, or the step of its firewall on a chain.
    pub(crate) place: Place,
    /// The firewall, and how it names the rule.
    pub(crate) by: Option<(String, String)>,
    /// The rule of the port that sends the packets to the firewall which are dropped, where the others do not come to it.
    pub(crate) around: Option<Place>,
    pub(crate) port: String,
    /// One that gets out, and where.
    pub(crate) packet: Witness,
    pub(crate) to: String,
    /// So many more rules of the same port or firewall are like it.
    pub(crate) more: usize,
    /// None was left out of these as there were too many to look at.
    pub(crate) all: bool,
}

/// Reports one rule for each port and for each firewall, unless a claim about the port has been reported for the same reason, as
/// `warned` says.
pub(super) fn check(
    cx: &Context<'_>,
    fields: &Fields,
    steering: &Steering<'_, '_>,
    tables: &[(&Block, RuleTable<'_>)],
    firewalls: [&Firewalls<'_>; 2],
    warned: &[(String, Beside)],
) {
    let searches = Beside::ALL.map(|kind| {
        let wanted = tables.iter().filter_map(|(block, table)| {
            let port = block.port.as_deref().filter(|_| block.complete)?;
            let carries = match kind {
                Beside::Tagged => steering.carries_tags(port),
                Beside::Fragments => steering.carries_fragments(port),
            };
            let known = warned.iter().any(|(of, beside)| of == port && *beside == kind);
            let wanted = carries && !known && steering.is_live(port);
            wanted.then(|| (*block, table, steering.ignores_tags(port)))
        });
        Search {
            kind,
            program: steering.as_lowered(),
            tables: wanted.collect(),
            firewalls: firewalls.map(Firewalls::shared),
        }
    });
    // With many rules this takes as long as all else.
    let found = std::thread::scope(|scope| {
        let threads = searches.map(|search| {
            let fields = fields.clone();
            (search.kind, scope.spawn(move || search.run(fields)))
        });
        threads.map(|(kind, thread)| match thread.join() {
            Ok(found) => (kind, found),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    for (kind, bypasses) in found {
        for bypass in &bypasses {
            cx.report(match kind {
                Beside::Tagged => drops_untagged_only(bypass),
                Beside::Fragments => drops_first_fragments_only(bypass),
            });
        }
    }
}

/// The search for one kind of packets beside others, for a thread of its own.
struct Search<'s, 'm> {
    kind: Beside,
    program: Chains<'s>,
    /// The rules of each port that can carry such packets, and whether it ignores tags.
    tables: Vec<(&'s Block, &'s RuleTable<'s>, bool)>,
    /// Of ports that do not ignore tags, and of those that do.
    firewalls: [Shared<'m>; 2],
}

impl Search<'_, '_> {
    fn run(self, mut fields: Fields) -> Vec<Bypass> {
        if self.tables.is_empty() {
            return Vec::new();
        }
        let (kind, program) = (self.kind, self.program);
        let fields = &mut fields;
        let firewalls = self.firewalls.map(Firewalls::from);
        let of_others = [OnceCell::new(), OnceCell::new()];
        let frames = kind.frames();
        let frames = Set::new(fields, &frames);
        let mut budget = Budget::new(BUDGET);
        let mut bypasses = Vec::new();
        let mut met: Vec<String> = Vec::new();
        for (block, table, ignores_tags) in self.tables {
            let at = usize::from(ignores_tags);
            let own = &firewalls[at];
            if !may_drop(program, block, own) {
                continue;
            }
            let other = of_others[at]
                .get_or_init(|| own.beside(fields, &|field| kind.seen(field), &|rule| kind.of_other(rule)));
            let others = table.beside(fields, &|field| kind.seen(field), &|rule| kind.of_other(rule));
            let found = Side {
                table,
                firewalls: own,
            };
            let made = Side {
                table: &others,
                firewalls: other,
            };
            let port = Port::new(fields, program, block, (kind, &frames), (found, made));
            let mut first =
                |by, rules: &[Rule<'_>]| budget.part(budget.share(PARTS), |part| port.first(by, rules, part));
            bypasses.extend(first(None, &port.rules()));
            for nf in port.firewalls() {
                if met.iter().any(|name| name == nf.name) {
                    continue;
                }
                if let Some(bypass) = first(Some(nf), &port.rules_of(nf)) {
                    met.push(nf.name.to_owned());
                    bypasses.push(bypass);
                }
            }
        }
        bypasses
    }
}

impl Bypass {
    /// `rule_1 of `fw`` or `this rule`
    pub(crate) fn rule(&self) -> String {
        match &self.by {
            Some((nf, rule)) => format!("{rule} of `{nf}`"),
            None => "this rule".to_owned(),
        }
    }

    /// The packet, and where it goes.
    pub(crate) fn shown(&self) -> String {
        let Self { packet, to, .. } = self;
        let around = match (&self.around, &self.by) {
            (Some(_), Some((nf, _))) => format!(" and does not come to `{nf}`"),
            _ => String::new(),
        };
        let least = if self.all { "" } else { "at least " };
        let more = match self.more {
            0 => String::new(),
            1 => format!("; so does {least}1 more rule"),
            n => format!("; so do {least}{n} more rules"),
        };
        format!("the packet: {packet}\nit leaves by `{to}`{around}{more}")
    }
}
