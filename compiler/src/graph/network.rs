//! The graph as nodes and edges, each service one node: the input of formats with a layout of their own.

use std::collections::HashMap;

use super::{
    At, Graph,
    view::{rows, shortened},
};

/// Rules that the label of one edge lists.
const MOST_LISTED: usize = 6;
/// Characters of a filter in a label.
const MOST_FILTER: usize = 48;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) shape: Shape,
    /// The first line is the name.
    pub(super) lines: Vec<String>,
    pub(super) details: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Ingress,
    Egress,
    Chain,
    Nf,
    /// An NF in several chains.
    Shared,
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum EdgeKind {
    /// A rule, or the way into a chain.
    Enter,
    /// What an NF may put in front of the rules.
    Program,
    Next,
    Output,
    Steer,
    /// Back to the rules of a port.
    Lookup,
}

/// Indices of nodes, and what is written at the edge, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: EdgeKind,
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

impl Network {
    pub(super) fn new(graph: &Graph) -> Self {
        let mut builder = Builder {
            graph,
            network: Self::default(),
            places: HashMap::new(),
            edges: HashMap::new(),
        };
        for steering in &graph.steering {
            let port = builder.ingress(&steering.port, steering.doc.as_deref());
            for row in rows(graph, steering) {
                let chain = builder.entrance(row.chain);
                let text = format!("{} {}", row.order, shortened(&row.text, MOST_FILTER));
                let kind = match row.programmed {
                    true => EdgeKind::Program,
                    false => EdgeKind::Enter,
                };
                builder.edge(port, chain, kind, text.trim_start());
            }
        }
        for chain in 0..graph.chains.len() {
            builder.chain(chain);
        }
        builder.lookups();
        builder.unused_ports();
        let mut network = builder.network;
        for edge in &mut network.edges {
            fold(&mut edge.labels);
        }
        network
    }
}

fn fold(labels: &mut Vec<String>) {
    if labels.len() > MOST_LISTED {
        let more = labels.len() - (MOST_LISTED - 1);
        labels.truncate(MOST_LISTED - 1);
        labels.push(format!("and {more} more"));
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key<'a> {
    Ingress(&'a str),
    Chain(usize),
    At(&'a At),
}

struct Builder<'a> {
    graph: &'a Graph,
    network: Network,
    places: HashMap<Key<'a>, usize>,
    edges: HashMap<(usize, usize, EdgeKind), usize>,
}

impl<'a> Builder<'a> {
    fn node(&mut self, key: Key<'a>, make: impl FnOnce(&'a Graph) -> Node) -> usize {
        if let Some(known) = self.places.get(&key) {
            return *known;
        }
        self.network.nodes.push(make(self.graph));
        self.places.insert(key, self.network.nodes.len() - 1);
        self.network.nodes.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, kind: EdgeKind, label: &str) {
        let edges = &mut self.network.edges;
        let at = *self.edges.entry((from, to, kind)).or_insert_with(|| {
            edges.push(Edge {
                from,
                to,
                kind,
                labels: Vec::new(),
            });
            edges.len() - 1
        });
        if !label.is_empty() && !edges[at].labels.iter().any(|l| l == label) {
            edges[at].labels.push(label.to_owned());
        }
    }

    fn ingress(&mut self, port: &'a str, steering: Option<&str>) -> usize {
        self.node(Key::Ingress(port), |graph| {
            let mut node = port_node(graph, port, Shape::Ingress);
            node.details.extend(steering.map(|doc| format!("\n{doc}")));
            node
        })
    }

    /// Where a rule leads: the chain's name, or the one place where packets are dropped.
    fn entrance(&mut self, chain: usize) -> usize {
        let graph = self.graph;
        let it = &graph.chains[chain];
        if it.is_drop() {
            return self.at(&it.hops[0].at);
        }
        self.node(Key::Chain(chain), |_| Node {
            shape: Shape::Chain,
            lines: vec![it.name.clone()],
            details: described(format!("chain {} ({})", it.name, it.source), it.doc.as_deref()),
        })
    }

    fn at(&mut self, at: &'a At) -> usize {
        self.node(Key::At(at), |graph| match at {
            At::Drop => Node {
                shape: Shape::Drop,
                lines: vec!["drop".to_owned()],
                details: "packets end here, counted as dropped by the chain".to_owned(),
            },
            At::Port(name) => port_node(graph, name, Shape::Egress),
            At::Nf(name) => nf_node(graph, name),
        })
    }

    fn chain(&mut self, chain: usize) {
        let graph = self.graph;
        let it = &graph.chains[chain];
        let entrance = self.entrance(chain);
        let Some(first) = it.hops.first().filter(|_| !it.is_drop()) else {
            return;
        };
        let first = self.at(&first.at);
        self.edge(entrance, first, EdgeKind::Next, "");
        for hop in &it.hops {
            let from = self.at(&hop.at);
            let mut lead = |to: usize, kind, label: &str| {
                if let Some(to) = it.hops.get(to) {
                    let to = self.at(&to.at);
                    self.edge(from, to, kind, label);
                }
            };
            if let Some(next) = hop.next {
                lead(next, EdgeKind::Next, &it.name);
            }
            for (output, to) in &hop.outputs {
                lead(*to, EdgeKind::Output, &format!("{}: {output}", it.name));
            }
            for to in hop.steers.values() {
                lead(*to, EdgeKind::Steer, &it.name);
            }
        }
    }

    /// From each NF that may have packets looked up to the ports that its packets can come from.
    fn lookups(&mut self) {
        let graph = self.graph;
        for steering in &graph.steering {
            let leads = |chain: &&super::Chain| {
                let programs = steering.programs.iter();
                steering.rules.iter().any(|rule| rule.chain == chain.name)
                    || programs
                        .flat_map(|arm| &arm.chains)
                        .any(|name| *name == chain.name)
            };
            for hop in graph.chains.iter().filter(leads).flat_map(|chain| &chain.hops) {
                let At::Nf(name) = &hop.at else { continue };
                if graph.service(name).is_some_and(|service| service.lookup) {
                    let (from, to) = (
                        self.at(&hop.at),
                        self.ingress(&steering.port, steering.doc.as_deref()),
                    );
                    self.edge(from, to, EdgeKind::Lookup, "lookup");
                }
            }
        }
    }

    /// Ports that are only declared are shown, too.
    fn unused_ports(&mut self) {
        for port in &self.graph.ports {
            let at = At::Port(port.name.clone());
            let seen = self.places.contains_key(&Key::Ingress(&port.name))
                || self.places.contains_key(&Key::At(&at));
            if !seen {
                self.ingress(&port.name, None);
            }
        }
    }
}

fn port_node(graph: &Graph, name: &str, shape: Shape) -> Node {
    let port = graph.port(name);
    Node {
        shape,
        lines: vec![name.to_owned(), port.map_or_else(String::new, kind_of_port)],
        details: port.map_or_else(|| format!("port {name}"), details_of_port),
    }
}

fn nf_node(graph: &Graph, name: &str) -> Node {
    let service = graph.service(name);
    let shared = service.is_some_and(super::Service::is_shared);
    Node {
        shape: if shared { Shape::Shared } else { Shape::Nf },
        lines: vec![name.to_owned(), service.map_or_else(String::new, kind_of)],
        details: service.map_or_else(String::new, details_of),
    }
}

/// `pci`, `pci, domain red`.
pub(super) fn kind_of_port(port: &super::Port) -> String {
    format!("{}{}", port.kind, in_domain(port.domain.as_deref()))
}

pub(super) fn details_of_port(port: &super::Port) -> String {
    let domain = match &port.domain {
        Some(domain) => format!("\nits packets come into the memory of domain {domain}"),
        None => String::new(),
    };
    described(
        format!("port {}, {} {}{domain}", port.name, port.kind, port.device),
        port.doc.as_deref(),
    )
}

fn in_domain(domain: Option<&str>) -> String {
    domain.map_or_else(String::new, |domain| format!(", domain {domain}"))
}

/// `firewall`, `firewall x3`, `balancer, lookup`, `monitor in edge, domain red`.
pub(super) fn kind_of(service: &super::Service) -> String {
    let times = match service.instances.len() {
        0 | 1 => String::new(),
        n => format!(" x{n}"),
    };
    let fuse = service.fuse.as_ref().map(|process| format!(" in {process}"));
    let lookup = if service.lookup { ", lookup" } else { "" };
    let domain = in_domain(service.domain.as_deref());
    format!(
        "{}{times}{}{domain}{lookup}",
        service.nf_type,
        fuse.unwrap_or_default()
    )
}

pub(super) fn details_of(service: &super::Service) -> String {
    let drops = if service.drops { "\nmay drop packets" } else { "" };
    let lookup = match service.lookup {
        true => "\nmay have packets classified again by their port's rules",
        false => "",
    };
    let fuse = service.fuse.as_ref();
    let fuse = fuse.map(|process| format!("\nin the process {process}, with all NFs of the same `fuse`"));
    let domain = match &service.domain {
        Some(domain) => format!("\nshares packet memory with domain {domain} alone"),
        None => String::new(),
    };
    let about = format!(
        "NF {}, {}: {}\nservice {}, instances: {}{}{domain}\nin chains: {}{drops}{lookup}",
        service.name,
        service.nf_type,
        service.summary,
        service.id,
        listed(&service.instances),
        fuse.unwrap_or_default(),
        listed(&service.chains),
    );
    described(about, service.doc.as_deref())
}

/// The first names of a list, and how many more there are.
fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    match names.get(..MOST) {
        Some(first) if names.len() > MOST => format!("{} and {} more", first.join(", "), names.len() - MOST),
        _ => names.join(", "),
    }
}

pub(super) fn described(about: String, doc: Option<&str>) -> String {
    match doc {
        Some(doc) => format!("{}\n{doc}", about.trim_end()),
        None => about.trim_end().to_owned(),
    }
}
