//! The tables that decide where a packet goes, by number: used by the manager and by `onvmc trace`.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    Chain, Flows, ManagerConfig, Port, Target,
    filter::{Classifier, Expr, Fields, without_tags},
};

/// Index of a hop in the one table of all chains' hops.
pub type HopIndex = u16;

/// The mark of "no such way" among hop indices; a bundle has fewer hops than this.
pub const NO_HOP: HopIndex = HopIndex::MAX;

/// Bytes of the VLAN tags that a frame may have before what is read of it: eight. Of one with more, what lies behind is not read.
const MOST_TAGS: u16 = 8 * 4;

#[derive(Debug)]
pub struct Tables {
    pub hops: Vec<Hop>,
    pub chains: Vec<ChainTable>,
    /// By port id.
    pub ports: Vec<PortTable>,
}

/// One place that a packet can be at.
#[derive(Debug)]
pub struct Hop {
    pub at: At,
    pub next: HopIndex,
    /// By output index of the NF's manifest; `next` where the chain does not name the output.
    pub outputs: Vec<HopIndex>,
    /// Permitted steers by service id.
    pub steers: Vec<(u16, HopIndex)>,
    /// Permitted ways out by port id.
    pub outs: Vec<(u16, HopIndex)>,
    /// A new look at the port's rules is permitted.
    pub lookup: bool,
    /// Packets that find no instance of the service go on to `next`.
    pub bypass: bool,
    /// Index into the table of chains.
    pub chain: u16,
    /// The NFs from here along the main line that share a process, by their places in it; none where the NF has its own.
    pub run: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The slot that the maker of the tables gave the service.
    Service(u16),
    /// Port id.
    Port(u16),
    Drop,
}

#[derive(Debug)]
pub struct ChainTable {
    pub name: String,
    /// Its first hop; the others follow it.
    pub first: HopIndex,
    pub length: u16,
    /// Names of what stands at each hop, for status.
    pub places: Vec<String>,
}

/// The steering rules of one port.
#[derive(Debug)]
pub struct PortTable {
    pub rules: Vec<(Expr, HopIndex)>,
    /// [`NO_HOP`] for a port without `steer`: packets that it receives are dropped as `chain`.
    pub otherwise: HopIndex,
    /// The decision is the same for all packets of a flow, so that a flow cache may keep it.
    pub by_flow: bool,
    /// The rules see frames without their VLAN tags.
    pub ignore_tags: bool,
    /// Bytes from a frame's first on that the rules can read; the greatest number where it may be any.
    pub reach: u16,
    /// Where each rule leads. Beside each other, since what flows lead to is asked for in any order.
    targets: Box<[HopIndex]>,
    index: OnceLock<Classifier>,
    /// Frames that were classified without the index.
    walked: AtomicU32,
}

/// So many frames are classified by a walk over the rules before an index is made, which takes as long as some dozen walks.
const WALKS: u32 = 64;

/// An NF's request for a packet that it does not drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Next,
    /// Index of the manifest's output.
    Output(u16),
    /// Service id.
    Steer(u16),
    /// Port id.
    Out(u16),
    /// A new look at the rules of the port that it came from.
    Lookup,
    /// A verdict that does not exist.
    Unknown,
}

/// Where a request leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    To(HopIndex),
    /// Where the rules of its port lead the packet now; if nowhere, to this hop.
    Lookup(HopIndex),
    /// The bundle does not permit what the NF named; the packet follows the chain.
    Overruled(HopIndex),
}

impl Tables {
    /// Builds the tables of a verified bundle. `slots` gives a slot to each service.
    pub fn new(manager: &ManagerConfig, flows: &Flows, slots: &HashMap<String, u16>) -> Self {
        let mut hops = Vec::new();
        let mut chains = Vec::new();
        let names = Names::new(manager, slots);
        for (c, chain) in manager.chains.iter().enumerate() {
            let first = hops.len() as HopIndex;
            hops.extend(chain.hops.iter().map(|hop| names.hop(hop, c as u16, first)));
            for (n, hop) in chain.hops.iter().enumerate() {
                hops[usize::from(first) + n].run = names.run(chain, hop);
            }
            chains.push(ChainTable {
                name: chain.name.clone(),
                first,
                length: chain.hops.len() as u16,
                places: chain.hops.iter().map(|h| h.at.name().to_owned()).collect(),
            });
        }
        let first_of: HashMap<&str, HopIndex> = chains.iter().map(|c| (c.name.as_str(), c.first)).collect();
        let table = |port: &Port| {
            let mut table = port_table(flows, &port.name, &first_of);
            if port.ignore_tags {
                table.ignore_tags = true;
                table.reach = table.reach.saturating_add(MOST_TAGS);
            }
            table
        };
        let ports = manager.ports.iter().map(table).collect();
        Self { hops, chains, ports }
    }
}

impl Hop {
    #[inline]
    pub fn resolve(&self, request: Request) -> Resolved {
        let permitted = |ways: &[(u16, HopIndex)], wanted: u16| {
            ways.iter().find(|(id, _)| *id == wanted).map(|&(_, to)| to)
        };
        let to = match request {
            Request::Lookup if self.lookup => return Resolved::Lookup(self.next),
            Request::Next => Some(self.next),
            Request::Output(index) => self.outputs.get(usize::from(index)).copied(),
            Request::Steer(service) => permitted(&self.steers, service),
            Request::Out(port) => permitted(&self.outs, port),
            Request::Lookup | Request::Unknown => None,
        };
        to.map_or(Resolved::Overruled(self.next), Resolved::To)
    }
}

impl PortTable {
    /// `otherwise`: where packets go that no rule takes.
    #[must_use]
    pub fn new(rules: Vec<(Expr, HopIndex)>, otherwise: HopIndex) -> Self {
        let filters = || rules.iter().map(|(filter, _)| filter);
        let uses = filters().fold(Fields::NONE, |uses, filter| uses | filter.uses());
        let reach = filters().map(Expr::reach).max().unwrap_or(0);
        Self {
            otherwise,
            by_flow: uses.flow_key_only(),
            ignore_tags: false,
            reach: reach.try_into().unwrap_or(u16::MAX),
            targets: rules.iter().map(|rule| rule.1).collect(),
            rules,
            index: OnceLock::new(),
            walked: AtomicU32::new(0),
        }
    }

    /// Makes the index over the rules now, and not when many frames were classified.
    pub fn prepare(&self) -> &Classifier {
        self.index
            .get_or_init(|| Classifier::new(self.rules.iter().map(|(filter, _)| filter)))
    }

    /// The first hop of the chain that a frame of this length on the wire takes. Of the frame, its first [`Self::reach`] bytes suffice.
    #[inline]
    pub fn classify(&self, frame: &[u8], wire_length: u32) -> HopIndex {
        self.target(self.entry(frame, wire_length))
    }

    /// The index of the rule that a frame takes; of `else`, the number of rules.
    #[inline]
    pub fn entry(&self, frame: &[u8], wire_length: u32) -> usize {
        self.rule(frame, wire_length).unwrap_or(self.rules.len())
    }

    /// The first hop that an entry leads to.
    #[inline]
    pub fn target(&self, entry: usize) -> HopIndex {
        self.targets.get(entry).copied().unwrap_or(self.otherwise)
    }

    /// The first rule that matches the frame; none: `else`.
    #[inline]
    pub fn rule(&self, frame: &[u8], wire_length: u32) -> Option<usize> {
        self.seen(frame, wire_length, |frame, length| self.first(frame, length))
    }

    /// A frame as filters of the port see it, and its length on the wire.
    #[inline]
    pub fn seen<T>(&self, frame: &[u8], wire_length: u32, look: impl FnOnce(&[u8], u32) -> T) -> T {
        match self.ignore_tags {
            false => look(frame, wire_length),
            true => without_tags(frame, wire_length, look),
        }
    }

    #[inline]
    fn first(&self, frame: &[u8], wire_length: u32) -> Option<usize> {
        let index = match self.index.get() {
            Some(index) => index,
            None if self.walked.fetch_add(1, Ordering::Relaxed) < WALKS => {
                let mut rules = self.rules.iter();
                return rules.position(|(filter, _)| filter.matches(frame, wire_length));
            }
            None => self.prepare(),
        };
        index.first(
            |rule| self.rules.get(rule).map(|(filter, _)| filter),
            frame,
            wire_length,
        )
    }
}

impl Target {
    /// The name of what stands there; `drop` for the end of a chain that drops.
    pub fn name(&self) -> &str {
        match self {
            Self::Nf(name) | Self::Port(name) => name,
            Self::Drop => "drop",
        }
    }
}

fn port_table(flows: &Flows, port: &str, first_of: &HashMap<&str, HopIndex>) -> PortTable {
    let chain = |name: &String| first_of.get(name.as_str()).copied().unwrap_or(NO_HOP);
    let Some(table) = flows.tables.iter().find(|t| t.port == port) else {
        return PortTable::new(Vec::new(), NO_HOP);
    };
    let rules = table.rules.iter().map(|r| (r.filter.clone(), chain(&r.chain)));
    PortTable::new(rules.collect(), chain(&table.otherwise))
}

/// Resolves the names of a bundle to numbers. Every name is known: the bundle was verified.
struct Names<'a> {
    slots: &'a HashMap<String, u16>,
    service_ids: HashMap<&'a str, u16>,
    ports: HashMap<&'a str, u16>,
    outputs: HashMap<&'a str, &'a [String]>,
    /// The process of each NF that is fused, and its place there.
    fused: HashMap<&'a str, (&'a str, u8)>,
}

impl<'a> Names<'a> {
    fn new(manager: &'a ManagerConfig, slots: &'a HashMap<String, u16>) -> Self {
        let fused = manager.hosts().into_iter().flat_map(|host| {
            let members = host.members.into_iter().enumerate();
            members.filter_map(|(place, service)| {
                let place = u8::try_from(place).unwrap_or(u8::MAX);
                Some((service.name.as_str(), (service.fuse.as_deref()?, place)))
            })
        });
        Self {
            fused: fused.collect(),
            slots,
            service_ids: manager.services.iter().map(|s| (s.name.as_str(), s.id)).collect(),
            ports: manager.ports.iter().map(|p| (p.name.as_str(), p.id)).collect(),
            outputs: manager
                .services
                .iter()
                .map(|s| (s.name.as_str(), s.outputs.as_slice()))
                .collect(),
        }
    }

    fn hop(&self, hop: &crate::Hop, chain: u16, first: HopIndex) -> Hop {
        let next = hop.next.map_or(NO_HOP, |n| first + n);
        let (at, outputs) = match &hop.at {
            Target::Nf(name) => {
                let names = self.outputs.get(name.as_str()).copied().unwrap_or_default();
                let way = |output: &String| hop.outputs.get(output).map_or(next, |&n| first + n);
                let at = self.slots.get(name).map_or(At::Drop, |&slot| At::Service(slot));
                (at, names.iter().map(way).collect())
            }
            Target::Port(name) => (
                self.ports.get(name.as_str()).map_or(At::Drop, |&id| At::Port(id)),
                Vec::new(),
            ),
            Target::Drop => (At::Drop, Vec::new()),
        };
        let by_id = |ids: &HashMap<&str, u16>| {
            hop.steers
                .iter()
                .filter_map(|(name, &n)| Some((*ids.get(name.as_str())?, first + n)))
                .collect()
        };
        Hop {
            at,
            next,
            outputs,
            steers: by_id(&self.service_ids),
            outs: by_id(&self.ports),
            lookup: hop.lookup,
            bypass: hop.bypass,
            chain,
            run: Vec::new(),
        }
    }

    fn run(&self, chain: &Chain, from: &crate::Hop) -> Vec<u8> {
        let place = |hop: &crate::Hop| match &hop.at {
            Target::Nf(name) => self.fused.get(name.as_str()).copied(),
            Target::Port(_) | Target::Drop => None,
        };
        let next = |hop: &&crate::Hop| chain.hops.get(usize::from(hop.next?));
        let on = std::iter::successors(Some(from), next);
        let process = place(from).map(|(process, _)| process);
        // A main line visits no hop twice.
        let run = on.take(chain.hops.len()).map_while(place);
        let run = run.take_while(|(of, _)| Some(*of) == process);
        run.map(|(_, place)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rules_decide_alike_with_and_without_an_index() {
        let rules = (0..100).map(|n| (format!("(udp-port dst {n})").parse().unwrap(), n));
        let table = PortTable::new(rules.collect(), NO_HOP);
        let mut frame = vec![0; 60];
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[23] = 17;
        let mut decide = |port: u8| {
            frame[37] = port;
            (table.rule(&frame, 60), table.classify(&frame, 60))
        };
        for round in 0..3 {
            assert_eq!(table.index.get().is_some(), round > 0);
            for port in 0..100 {
                assert_eq!(decide(port), (Some(usize::from(port)), u16::from(port)));
            }
            assert_eq!(decide(100), (None, NO_HOP));
        }
        assert!(table.by_flow);
    }
}
