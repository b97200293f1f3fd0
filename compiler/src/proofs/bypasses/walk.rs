//! The ways of two packets of a pair, through the NFs themselves.

use nflib::headers::Headers;
use onvm_bundle::Target;

use super::{search::Port, twins::Pair};
use crate::{
    models::{Outcome, To, follow},
    sets::{Frame, RuleTable, Taker, Witness},
};

/// Bytes of the shortest frame of Ethernet, without its checksum.
const SHORTEST: usize = 60;

/// How the rule that takes a packet is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// By the index of the search: fast.
    Cubes,
    /// By the rules themselves: for what is shown.
    Rules,
}

/// The way of one packet.
struct Walk<'s> {
    taker: Taker,
    /// By which rule each firewall decided; none: by its default, or without asking its rules.
    decisions: Vec<(&'s str, Taker)>,
    /// The port where it leaves; none: it is dropped.
    end: Option<&'s str>,
}

/// A packet that is dropped, and one beside it that is not.
pub(super) struct Hole<'s> {
    /// The rule of the port that takes the one that is dropped.
    pub(super) taker: Taker,
    /// The one that drops it, of the port or of the firewall.
    pub(super) rule: usize,
    pub(super) beside: Frame,
    pub(super) to: &'s str,
    /// The other one does not come to the firewall.
    pub(super) around: bool,
}

impl<'s> Port<'s, '_> {
    /// One of the rules drops a packet of the pair, and the other packet gets out.
    pub(super) fn hole(
        &self,
        look: Look,
        by: Option<&str>,
        rules: &[usize],
        frame: &Frame,
    ) -> Option<Hole<'s>> {
        // What ends within the headers that rules read is damaged, and no rule is about it.
        let is_whole = frame.bytes.len() >= SHORTEST && frame.bytes.len() == frame.wire_len as usize;
        let is_sound = |frame: &Frame| Headers::parse(&frame.mended().bytes).fault.is_none();
        let pair = self.kind.pair(frame);
        let Pair { plain, beside } = pair.filter(|_| is_whole && self.frames.holds(frame))?;
        if !is_sound(&plain) || !is_sound(&beside) {
            return None;
        }
        let dropped = self.walk(look, &plain)?;
        let rule = match (by, dropped.decisions.last()) {
            (None, _) => dropped.taker?,
            (Some(nf), Some((last, Some(rule)))) if nf == *last && !self.drops(dropped.taker) => *rule,
            _ => return None,
        };
        if dropped.end.is_some() || rules.binary_search(&rule).is_err() {
            return None;
        }
        let out = self.walk(look, &beside)?;
        let to = out.end.filter(|_| !self.is_meant(&dropped, &out))?;
        Some(Hole {
            taker: dropped.taker,
            rule,
            to,
            around: by.is_some_and(|nf| out.decisions.iter().all(|(name, _)| *name != nf)),
            beside,
        })
    }

    /// A rule that takes the one that gets out, and not the other, says itself what they differ in.
    fn is_meant(&self, dropped: &Walk<'_>, out: &Walk<'_>) -> bool {
        let rule = out.taker.filter(|_| out.taker != dropped.taker);
        let of_port = rule.and_then(|rule| Some(&self.block.rules.get(rule)?.filter));
        let decided = out.decisions.iter().filter(|by| !dropped.decisions.contains(by));
        let mut filters = decided
            .filter_map(|(nf, rule)| self.found.firewalls.filter(nf, (*rule)?))
            .chain(of_port);
        filters.any(|filter| self.kind.is_named(filter))
    }

    fn walk(&self, look: Look, frame: &Frame) -> Option<Walk<'s>> {
        let taker = |table: &RuleTable<'_>, frame: &Frame| match look {
            Look::Cubes => table.taker_by_cubes(self.fields, frame),
            Look::Rules => table.taker(frame),
        };
        let by_port = taker(self.found.table, frame);
        let hops = &self.program.all[self.chain(by_port)?].hops;
        let mut walk = Walk {
            taker: by_port,
            decisions: Vec::new(),
            end: None,
        };
        // NFs drop what is malformed.
        let whole = frame.mended();
        let firewalls = self.found.firewalls;
        let mut at = 0;
        // A chain without a circle has no more steps than hops.
        for _ in 0..hops.len() {
            let Some(hop) = hops.get(at) else { break };
            let nf = match &hop.at {
                Target::Port(port) => {
                    walk.end = Some(port);
                    break;
                }
                Target::Drop => break,
                Target::Nf(nf) => nf.as_str(),
            };
            let outcome = firewalls.tried(nf, &whole).unwrap_or(Outcome::Next);
            if let Some(table) = firewalls.table(nf) {
                let taker = taker(table, &whole);
                // One that is dropped as malformed is not the rule's.
                let decides = firewalls.outcome(nf, taker) == Some(&outcome);
                walk.decisions.push((nf, taker.filter(|_| decides)));
            }
            match follow(hop, &outcome) {
                To::Hop(next) => at = usize::from(next),
                To::Rules | To::Nowhere => break,
            }
        }
        Some(walk)
    }

    /// The packet that gets out, as an operator would write it.
    pub(super) fn shown(&self, hole: Hole<'_>) -> Witness {
        let confirm = |frame: &Frame| {
            let out = self
                .kind
                .is_like(&hole.beside, frame)
                .then(|| self.walk(Look::Rules, frame))
                .flatten();
            out.is_some_and(|out| out.end == Some(hole.to))
        };
        Witness::new(hole.beside.clone(), &confirm)
    }
}
