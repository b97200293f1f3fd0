//! Firewalls whose default drops what hosts find each other by: ARP, and IPv6 neighbour discovery. Behind one no traffic begins.
//!
//! One request of each kind is sent along the chain that its port's rules give it, through the firewalls themselves. What a rule decides
//! is meant, and what never comes to a firewall does not concern its default.

use std::collections::BTreeMap;

use onvm_bundle::Target;

use super::firewalls::Firewalls;
use crate::{
    diagnostics::unanswered_neighbours::unanswered_neighbours,
    lower::steering::{Block, Steering},
    models::{Outcome, To, follow},
    sets::{Frame, RuleTable},
    source::{context::Context, sources::Place},
};

/// The requests of hosts, and the filters for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Arp,
    NeighbourDiscovery,
}

impl Request {
    const ALL: [Self; 2] = [Self::Arp, Self::NeighbourDiscovery];

    fn frame(self) -> Frame {
        const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
        let mut bytes = match self {
            Self::Arp => [&[0xff; 6][..], &HOST, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &HOST].concat(),
            Self::NeighbourDiscovery => [&[0x33, 0x33, 0xff, 0, 0, 2][..], &HOST, &[0x86, 0xdd]].concat(),
        };
        match self {
            // 198.51.100.7 asks for 203.0.113.9.
            Self::Arp => bytes.extend([198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 203, 0, 113, 9]),
            Self::NeighbourDiscovery => {
                let address = |last: u8| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
                let solicited = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2];
                bytes.extend([0x60, 0, 0, 0, 0, 24, 58, 255]);
                bytes.extend([address(1), solicited].concat());
                bytes.extend([135, 0, 0, 0, 0, 0, 0, 0]);
                bytes.extend(address(2));
            }
        }
        bytes.resize(bytes.len().max(60), 0);
        Frame {
            wire_len: bytes.len() as u32,
            bytes,
        }
    }
}

/// Reports each firewall once, with all requests that its default drops.
pub(super) fn check(
    cx: &Context<'_>,
    steering: &Steering<'_, '_>,
    tables: &[(&Block, RuleTable<'_>)],
    firewalls: &Firewalls<'_>,
) {
    let mut dropped: BTreeMap<&str, (Place, Vec<Request>)> = BTreeMap::new();
    for (block, table) in tables {
        let is_live = |port: &str| steering.is_live(port);
        if !block.complete || !block.port.as_deref().is_some_and(is_live) {
            continue;
        }
        for request in Request::ALL {
            let frame = request.frame();
            let chain = match table.taker(&frame) {
                Some(rule) => block.rules.get(rule).map(|rule| rule.chain.as_str()),
                None => block.otherwise.as_ref().and_then(|(_, chain)| chain.as_deref()),
            };
            let Some(chain) = chain.and_then(|chain| steering.chain_index(chain)) else {
                continue;
            };
            if let Some((nf, place)) = dropper(steering, firewalls, chain, &frame) {
                let (_, requests) = dropped.entry(nf).or_insert((place, Vec::new()));
                if !requests.contains(&request) {
                    requests.push(request);
                }
            }
        }
    }
    for (nf, (place, requests)) in dropped {
        cx.report(unanswered_neighbours(place, nf, &requests));
    }
}

/// The firewall on a chain whose default drops the frame, and where it stands.
fn dropper<'s>(
    steering: &'s Steering<'_, '_>,
    firewalls: &Firewalls<'_>,
    chain: usize,
    frame: &Frame,
) -> Option<(&'s str, Place)> {
    let (hops, places) = (&steering.chains[chain].hops, &steering.places[chain]);
    let mut at = 0;
    // A chain without a circle has no more steps than hops.
    for _ in 0..hops.len() {
        let hop = hops.get(at)?;
        let Target::Nf(nf) = &hop.at else { return None };
        let outcome = match firewalls.taker(nf, frame) {
            Some(taker) => {
                let outcome = firewalls.tried(nf, frame)?;
                if taker.is_none() && outcome == Outcome::Drop {
                    return Some((nf, *places.get(at)?));
                }
                outcome
            }
            None => Outcome::Next,
        };
        match follow(hop, &outcome) {
            To::Hop(next) => at = usize::from(next),
            To::Rules | To::Nowhere => return None,
        }
    }
    None
}
