//! The content of a graph: version 1 of `onvmc graph --format json`.

use std::collections::{BTreeMap, BTreeSet};

use onvm_bundle::{PathRef, PortKind, Target, diff::Contents};
use serde::Serialize;

use super::Docs;

/// The format of the JSON.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Graph {
    pub version: u32,
    /// The bundle's name.
    pub name: String,
    pub ports: Vec<Port>,
    pub services: Vec<Service>,
    /// One for each port with a `steer` block.
    pub steering: Vec<Steering>,
    /// Those that a rule or a flow entry leads to.
    pub chains: Vec<Chain>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    pub name: String,
    pub kind: &'static str,
    /// What it is on the host: an address, an interface, files.
    pub device: String,
    /// The security domain that its packets come into; none: that of all that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    pub doc: Option<String>,
}

/// An `nf` declaration: one service, in however many chains it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    pub name: String,
    /// The manifest's name and its one line.
    #[serde(rename = "type")]
    pub nf_type: String,
    pub summary: String,
    pub doc: Option<String>,
    pub id: u16,
    pub instances: Vec<String>,
    /// The process that it shares with other NFs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuse: Option<String>,
    /// The security domain whose packet memory it shares; none: that of all that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The manifest says that it may drop packets.
    pub drops: bool,
    /// It may have packets classified again.
    pub lookup: bool,
    /// The chains that it stands in, by a step or by a permit.
    pub chains: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Steering {
    pub port: String,
    pub doc: Option<String>,
    /// What NFs may put in front of the rules.
    pub programs: Vec<Programmed>,
    /// First match wins; the last one is `else`.
    pub rules: Vec<Rule>,
}

/// An arm of a permission to program the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Programmed {
    pub nf: String,
    /// As written.
    pub filter: String,
    /// The filter with all names resolved, in the bundle's notation.
    pub meaning: String,
    /// Where its entries may lead.
    pub chains: Vec<String>,
    /// `file:line:column`.
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// From 1.
    pub order: usize,
    /// As written; none: `else`.
    pub filter: Option<String>,
    /// The filter with all names resolved, in the bundle's notation.
    pub meaning: Option<String>,
    pub chain: String,
    /// `file:line:column`.
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    pub name: String,
    pub doc: Option<String>,
    pub source: String,
    /// A packet enters at the first.
    pub hops: Vec<Hop>,
}

/// Numbers are indices into the chain's hops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub at: At,
    pub source: String,
    pub next: Option<usize>,
    /// By the output's name.
    pub outputs: BTreeMap<String, usize>,
    /// By the name of the permitted destination.
    pub steers: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    Nf(String),
    Port(String),
    Drop,
}

impl Graph {
    pub fn new(name: &str, contents: Contents<'_>, docs: &Docs) -> Self {
        let chains: Vec<Chain> = contents.manager.chains.iter().map(|c| chain(c, docs)).collect();
        Self {
            version: VERSION,
            name: name.to_owned(),
            ports: contents.manager.ports.iter().map(|p| port(p, docs)).collect(),
            services: services(contents, &chains, docs),
            steering: steering(contents, docs),
            chains,
        }
    }

    pub(super) fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|p| p.name == name)
    }

    pub(super) fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.name == name)
    }
}

impl Chain {
    /// The chain of the target `drop`.
    pub(super) fn is_drop(&self) -> bool {
        matches!(self.hops.as_slice(), [only] if only.at == At::Drop)
    }
}

impl Service {
    pub(super) fn is_shared(&self) -> bool {
        self.chains.len() > 1
    }
}

fn port(port: &onvm_bundle::Port, docs: &Docs) -> Port {
    let device = match &port.kind {
        PortKind::Pci { address } => address.clone(),
        PortKind::Tap { name } => name.clone(),
        PortKind::AfPacket { interface } | PortKind::AfXdp { interface } => interface.clone(),
        PortKind::Pcap { read, write, repeat } => captures(read.as_ref(), write.as_ref(), *repeat),
        PortKind::Memif { socket, .. } => socket.clone(),
        PortKind::Null { size } => format!("{size} B"),
        PortKind::Vdev { device } => device.clone(),
    };
    Port {
        doc: docs.of(&port.name),
        name: port.name.clone(),
        kind: port.kind.word(),
        device,
        domain: port.domain.clone(),
    }
}

fn captures(read: Option<&PathRef>, write: Option<&PathRef>, repeat: bool) -> String {
    let path = |path: &PathRef| match path {
        PathRef::Host(path) => path.clone(),
        // `files/<hash>-<name>`
        PathRef::Bundle(path) => path
            .split_once('-')
            .map_or(path.as_str(), |(_, name)| name)
            .to_owned(),
    };
    let again = if repeat { ", again and again" } else { "" };
    let parts = [
        read.map(|p| format!("reads {}{again}", path(p))),
        write.map(|p| format!("writes {}", path(p))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn services(contents: Contents<'_>, chains: &[Chain], docs: &Docs) -> Vec<Service> {
    let mut used: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for chain in chains {
        let nfs = chain.hops.iter().filter_map(|h| match &h.at {
            At::Nf(name) => Some(name.as_str()),
            _ => None,
        });
        for nf in nfs.collect::<BTreeSet<_>>() {
            used.entry(nf).or_default().push(chain.name.clone());
        }
    }
    let lookups = contents.manager.permitted_lookups();
    let services = contents.manager.services.iter();
    let of = |s: &onvm_bundle::Service| {
        let manifest = s
            .instances
            .first()
            .and_then(|i| contents.instances.get(&i.name))
            .map(|c| &c.manifest);
        Service {
            name: s.name.clone(),
            nf_type: s.nf_type.clone(),
            summary: manifest.map_or_else(String::new, |m| m.summary.clone()),
            doc: docs.of(&s.name),
            id: s.id,
            instances: s.instances.iter().map(|i| i.name.clone()).collect(),
            fuse: s.fuse.clone(),
            domain: s.domain.clone(),
            drops: manifest.is_some_and(|m| m.effects.drops),
            lookup: lookups.contains(s.name.as_str()),
            chains: used.get(s.name.as_str()).cloned().unwrap_or_default(),
        }
    };
    services.map(of).collect()
}

fn steering(contents: Contents<'_>, docs: &Docs) -> Vec<Steering> {
    let table = |t: &onvm_bundle::Table| {
        let rules = t.rules.iter().enumerate().map(|(n, rule)| Rule {
            order: n + 1,
            filter: Some(rule.text.clone()),
            meaning: Some(rule.filter.to_string()),
            chain: rule.chain.clone(),
            source: rule.source.to_string(),
        });
        let last = Rule {
            order: t.rules.len() + 1,
            filter: None,
            meaning: None,
            chain: t.otherwise.clone(),
            source: t.otherwise_source.as_ref().unwrap_or(&t.source).to_string(),
        };
        Steering {
            port: t.port.clone(),
            doc: docs.of_steering(&t.port),
            programs: programs(contents, &t.port),
            rules: rules.chain([last]).collect(),
        }
    };
    contents.flows.tables.iter().map(table).collect()
}

fn programs(contents: Contents<'_>, port: &str) -> Vec<Programmed> {
    let of_port = contents.flows.programs.iter().filter(|p| p.port == port);
    let arms = of_port.flat_map(|program| program.arms.iter().map(move |arm| (program, arm)));
    let programmed = |(program, arm): (&onvm_bundle::Program, &onvm_bundle::Arm)| Programmed {
        nf: program.nf.clone(),
        filter: arm.text.clone(),
        meaning: arm.filter.to_string(),
        chains: arm.targets.clone(),
        source: arm.source.to_string(),
    };
    arms.map(programmed).collect()
}

fn chain(chain: &onvm_bundle::Chain, docs: &Docs) -> Chain {
    let table = |t: &BTreeMap<String, u16>| t.iter().map(|(n, to)| (n.clone(), usize::from(*to))).collect();
    let hop = |hop: &onvm_bundle::Hop| Hop {
        at: match &hop.at {
            Target::Nf(name) => At::Nf(name.clone()),
            Target::Port(name) => At::Port(name.clone()),
            Target::Drop => At::Drop,
        },
        source: hop.source.to_string(),
        next: hop.next.map(usize::from),
        outputs: table(&hop.outputs),
        steers: table(&hop.steers),
    };
    Chain {
        name: chain.name.clone(),
        doc: docs.of(&chain.name),
        source: chain.source.to_string(),
        hops: chain.hops.iter().map(hop).collect(),
    }
}
