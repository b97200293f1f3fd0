//! Assertions. What each form means stands in `docs/language.md`.
//!
//! Packets and paths are independent: which chain a packet enters depends on the packet alone, and what NFs then do with it
//! can be anything that the chain permits. So a claim fails exactly when some chain has a faulty path and some packet of the
//! assertion enters that chain. Only a permitted lookup makes a path depend on the packet again: see [`super::lookups`].

use std::collections::HashMap;

use onvm_lang::syntax::Claim;

use super::{
    ASSERTIONS_BUDGET, PACKET_BUDGET,
    lookups::{Found, Lookups, World},
    paths::{self, Fault},
};
use crate::{
    claims::Assertion,
    context::Context,
    diagnostics::{empty_filter, refuted, unproved},
    sets::{Answer, Budget, Fields, Set, Table, Taker, Witness},
    steering::{Block, Steering},
};

/// Faulty paths already looked for, by claim and chain.
pub(super) type Known = HashMap<(String, usize), Option<Vec<usize>>>;

/// Returns how many are proved.
pub(super) fn check<'a>(
    cx: &Context<'_>,
    fields: &Fields,
    steering: &Steering<'_, '_>,
    world: &World,
    tables: &[(&'a Block, Table<'a>)],
    assertions: &[Assertion<'_>],
    packets: &[Set<'a>],
) -> usize {
    let mut budget = Budget::new(ASSERTIONS_BUDGET);
    let mut known = Known::new();
    let mut proved = 0;
    for (assertion, packets) in assertions.iter().zip(packets) {
        if packets.is_empty() {
            cx.report(empty_filter::empty_filter(assertion.packets, "assertion"));
            continue;
        }
        match tables
            .iter()
            .find(|(block, _)| block.port.as_deref() == Some(assertion.port))
        {
            Some((block, table)) if block.complete => {
                let proof = Proof {
                    fields,
                    steering,
                    world,
                    block,
                    table,
                    assertion,
                    packets,
                };
                match proof.attempt(&mut known, &mut budget) {
                    Some(found) => cx.report(found),
                    None => proved += 1,
                }
            }
            // What is wrong with the block has been reported.
            Some(_) => {}
            None if matches!(assertion.claim, Claim::Reaches { .. }) => {
                cx.report(refuted::nothing_enters(assertion.place, assertion.port));
            }
            // All that the port receives is dropped.
            None => proved += 1,
        }
    }
    proved
}

pub(super) struct Proof<'p, 'a, 'g, 's> {
    pub(super) fields: &'p Fields,
    pub(super) steering: &'p Steering<'g, 's>,
    pub(super) world: &'p World,
    pub(super) block: &'p Block,
    pub(super) table: &'p Table<'a>,
    pub(super) assertion: &'p Assertion<'p>,
    pub(super) packets: &'p Set<'a>,
}

impl Proof<'_, '_, '_, '_> {
    /// What is to be said against the assertion; none: it is proved.
    fn attempt(&self, known: &mut Known, budget: &mut Budget) -> Option<onvm_lang::Diagnostic> {
        let mut doubt = None;
        for taker in self.takers() {
            let Some(chain) = self.chain(taker) else { continue };
            let Some(path) = self.faulty_path(known, chain) else {
                continue;
            };
            let effective = self.table.effective(taker);
            let answer = budget.part(PACKET_BUDGET, |b| {
                effective.meets(self.fields, Some(self.packets), b)
            });
            match answer {
                Answer::No => {}
                Answer::Yes(packet) => return Some(self.refute(taker, chain, &path, &packet)),
                Answer::Unknown => {
                    let path = || paths::describe(&self.steering.chains[chain], &path);
                    doubt = doubt.or_else(|| Some((taker, path())));
                }
            }
        }
        if self.world.permits_lookups() {
            let mut lookups = Lookups::new(self, known);
            for taker in self.takers() {
                match lookups.find(taker, budget) {
                    Found::Nothing => {}
                    Found::Fault(fault) => return Some(self.refute_beyond(taker, &fault)),
                    Found::Doubt(path) => doubt = doubt.or(Some((taker, path))),
                }
            }
        }
        let (taker, path) = doubt?;
        let rule = self.place(taker)?;
        Some(unproved::unproved(self.assertion.place, rule, &path))
    }

    /// Every rule, and `else`.
    pub(super) fn takers(&self) -> impl Iterator<Item = Taker> + use<> {
        (0..self.block.rules.len()).map(Some).chain([None])
    }

    pub(super) fn chain(&self, taker: Taker) -> Option<usize> {
        let name = match taker {
            Some(rule) => Some(self.block.rules[rule].chain.as_str()),
            None => self
                .block
                .otherwise
                .as_ref()
                .and_then(|(_, chain)| chain.as_deref()),
        };
        self.steering.chain_index(name?)
    }

    fn place(&self, taker: Taker) -> Option<crate::sources::Place> {
        match taker {
            Some(rule) => self.block.places.get(rule).copied(),
            None => self.block.otherwise.as_ref().map(|(place, _)| *place),
        }
    }

    pub(super) fn faulty_path(&self, known: &mut Known, chain: usize) -> Option<Vec<usize>> {
        let claim = self.assertion.claim;
        let key = (key(claim), chain);
        let chain = &self.steering.chains[chain];
        known
            .entry(key)
            .or_insert_with(|| Fault::of(claim).find(chain))
            .clone()
    }

    fn refute(&self, taker: Taker, chain: usize, path: &[usize], packet: &Witness) -> onvm_lang::Diagnostic {
        let end = (chain, path.last().copied().unwrap_or(0));
        let path = paths::describe(&self.steering.chains[chain], path);
        self.refuted(taker, end, packet, &[], &path)
    }

    fn refute_beyond(&self, taker: Taker, fault: &super::lookups::Fault) -> onvm_lang::Diagnostic {
        let again = fault.lookups.iter();
        let again: Vec<_> = again
            .map(|lookup| refuted::LookedUp {
                nf: &lookup.nf,
                packet: lookup.packet.to_string(),
                rule: self.place(lookup.taker),
            })
            .collect();
        self.refuted(taker, fault.end, &fault.packet, &again, &fault.path)
    }

    /// `end` is a hop of a chain.
    fn refuted(
        &self,
        taker: Taker,
        (chain, end): (usize, usize),
        packet: &Witness,
        again: &[refuted::LookedUp<'_>],
        path: &str,
    ) -> onvm_lang::Diagnostic {
        let places = &self.steering.places[chain];
        let hop = self.steering.chains[chain].hops.get(end);
        let (message, label) = words(self.assertion.claim, hop.map_or("", |hop| paths::name(&hop.at)));
        refuted::refuted(
            self.assertion.place,
            message,
            self.place(taker),
            again,
            places.get(end).map(|place| (*place, label)),
            &packet.to_string(),
            path,
        )
    }
}

/// Equal for equal claims.
fn key(claim: &Claim) -> String {
    match claim {
        Claim::Passes { nf, before: None } => format!("passes {}", nf.node),
        Claim::Passes {
            nf,
            before: Some(node),
        } => format!("passes {} before {}", nf.node, node.node),
        Claim::NeverPasses { nf } => format!("never {}", nf.node),
        Claim::Reaches { node } => format!("reaches {}", node.node),
        Claim::NeverReaches { node } => format!("never {}", node.node),
        Claim::Dropped => "dropped".to_owned(),
    }
}

/// The message, and what is to be said of the hop where the path ends.
fn words(claim: &Claim, at: &str) -> (String, String) {
    match claim {
        Claim::Passes { nf, before: None } => (
            format!("a packet can leave by `{at}` without passing `{}`", nf.node),
            format!("leaves here without having passed `{}`", nf.node),
        ),
        Claim::Passes {
            nf,
            before: Some(node),
        } => (
            format!(
                "a packet can come to `{}` without having passed `{}`",
                node.node, nf.node
            ),
            format!("comes here without having passed `{}`", nf.node),
        ),
        Claim::NeverPasses { nf } => (
            format!("a packet can pass `{}`", nf.node),
            "passes here".to_owned(),
        ),
        Claim::NeverReaches { node } => (
            format!("a packet can reach `{}`", node.node),
            "comes here".to_owned(),
        ),
        Claim::Reaches { node } => {
            let end = if at == "drop" {
                "be dropped".to_owned()
            } else {
                format!("leave by `{at}`")
            };
            (
                format!("a packet can {end} without reaching `{}`", node.node),
                "its path can end here".to_owned(),
            )
        }
        Claim::Dropped => (format!("a packet can leave by `{at}`"), "leaves here".to_owned()),
    }
}
