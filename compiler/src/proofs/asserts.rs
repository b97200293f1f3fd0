//! Assertions. What each form means stands in `docs/language.md`.
//!
//! Packets and paths are independent: which chain a packet enters depends on the packet alone, and what NFs then do with it
//! can be anything that the chain permits. So a claim fails exactly when some chain has a faulty path and some packet of the
//! assertion enters that chain.

use std::collections::HashMap;

use onvm_bundle::{Chain, Target};
use onvm_lang::syntax::Claim;

use super::{
    ASSERTIONS_BUDGET, PACKET_BUDGET,
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
type Known = HashMap<(String, usize), Option<Vec<usize>>>;

pub(super) fn check<'a>(
    cx: &Context<'_>,
    fields: &Fields,
    steering: &Steering<'_, '_>,
    tables: &[(&'a Block, Table<'a>)],
    assertions: &[Assertion<'_>],
    packets: &[Set<'a>],
) {
    let mut budget = Budget::new(ASSERTIONS_BUDGET);
    let mut known = Known::new();
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
                    block,
                    table,
                    assertion,
                    packets,
                };
                if let Some(found) = proof.attempt(&mut known, &mut budget) {
                    cx.report(found);
                }
            }
            // What is wrong with the block has been reported.
            Some(_) => {}
            None if matches!(assertion.claim, Claim::Reaches { .. }) => {
                cx.report(refuted::nothing_enters(assertion.place, assertion.port));
            }
            // All that the port receives is dropped.
            None => {}
        }
    }
}

struct Proof<'p, 'a, 'g, 's> {
    fields: &'p Fields,
    steering: &'p Steering<'g, 's>,
    block: &'p Block,
    table: &'p Table<'a>,
    assertion: &'p Assertion<'p>,
    packets: &'p Set<'a>,
}

impl Proof<'_, '_, '_, '_> {
    /// What is to be said against the assertion; none: it is proved.
    fn attempt(&self, known: &mut Known, budget: &mut Budget) -> Option<onvm_lang::Diagnostic> {
        let mut doubt = None;
        let takers = (0..self.block.rules.len()).map(Some).chain([None]);
        for taker in takers {
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
                Answer::Unknown => doubt = doubt.or(Some((taker, chain, path))),
            }
        }
        let (taker, chain, path) = doubt?;
        let path = paths::describe(&self.steering.chains[chain], &path);
        let rule = self.place(taker)?;
        Some(unproved::unproved(self.assertion.place, rule, &path))
    }

    fn chain(&self, taker: Taker) -> Option<usize> {
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

    fn faulty_path(&self, known: &mut Known, chain: usize) -> Option<Vec<usize>> {
        let claim = self.assertion.claim;
        let key = (key(claim), chain);
        let chain = &self.steering.chains[chain];
        known
            .entry(key)
            .or_insert_with(|| faulty_path(claim, chain))
            .clone()
    }

    fn refute(&self, taker: Taker, chain: usize, path: &[usize], packet: &Witness) -> onvm_lang::Diagnostic {
        let places = &self.steering.places[chain];
        let chain = &self.steering.chains[chain];
        let end = path.last().copied().unwrap_or(0);
        let at = chain.hops.get(end).map_or("", |hop| paths::name(&hop.at));
        let (message, label) = words(self.assertion.claim, at);
        refuted::refuted(
            self.assertion.place,
            message,
            self.place(taker),
            places.get(end).map(|place| (*place, label)),
            &packet.to_string(),
            &paths::describe(chain, path),
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

fn faulty_path(claim: &Claim, chain: &Chain) -> Option<Vec<usize>> {
    let is = |node: &str, target: &Target| matches!(target, Target::Nf(n) | Target::Port(n) if n == node);
    let is_port = |target: &Target| matches!(target, Target::Port(_));
    let never = |_: &Target| false;
    match claim {
        Claim::Passes { nf, before: None } => Fault {
            goal: is_port,
            avoid: |t: &Target| is(&nf.node, t),
        }
        .find(chain),
        Claim::Passes {
            nf,
            before: Some(node),
        } => Fault {
            goal: |t: &Target| is(&node.node, t),
            avoid: |t: &Target| is(&nf.node, t),
        }
        .find(chain),
        Claim::NeverPasses { nf: node } | Claim::NeverReaches { node } => Fault {
            goal: |t: &Target| is(&node.node, t),
            avoid: never,
        }
        .find(chain),
        Claim::Reaches { node } => {
            let elsewhere = |t: &Target| !is(&node.node, t) && !matches!(t, Target::Nf(_));
            Fault {
                goal: elsewhere,
                avoid: |t: &Target| is(&node.node, t),
            }
            .find(chain)
        }
        Claim::Dropped => Fault {
            goal: is_port,
            avoid: never,
        }
        .find(chain),
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
