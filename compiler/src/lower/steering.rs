//! `steer` blocks: which packets of a port enter which chain.

use std::collections::{HashMap, HashSet};

use onvm_bundle::{
    Arm, Chain, Effects, Flows, Hop, MAX_CHAINS, MAX_HOPS, ManagerConfig, Program, Rule, Table, Target,
    filter::Expr,
};
use onvm_lang::syntax::{self, Match, StepKind};

use crate::{
    diagnostics::{after_else, programs_no_table, table_full, two_steers},
    lower::{
        chains::{self, Graph, Permits},
        filter::{Filters, meant_else},
    },
    resolve::names::Item,
    source::sources::{FileId, Place},
};

/// The name of the chain that a rule's target `drop` leads to.
const DROP: &str = "drop";

pub(crate) struct Steering<'g, 'a> {
    graph: &'g Graph<'a>,
    permits: &'g Permits<'a>,
    filters: &'g Filters<'a>,
    /// Ports whose packets filters see without their VLAN tags.
    untagged: HashSet<String>,
    /// Ports that packets can come in by.
    receives: HashSet<String>,
    /// Ports that hosts are at.
    live: HashSet<String>,
    /// Ports that may carry VLAN tags and do not say how filters are to take them.
    open: HashSet<&'a str>,
    max_hops: u8,
    /// Place of the port's name in the first block for it.
    steered: HashMap<&'a str, Place>,
    /// Chains already lowered, by name; none where that failed.
    lowered: HashMap<String, Option<usize>>,
    pub(crate) chains: Vec<Chain>,
    /// The place of each hop of each chain.
    pub(crate) places: Vec<Vec<Place>>,
    hops: usize,
    pub(crate) blocks: Vec<Block>,
    pub(crate) programs: Vec<Programmable>,
}

/// The chains as they were lowered, for any thread.
#[derive(Clone, Copy)]
pub(crate) struct Chains<'s> {
    by_name: &'s HashMap<String, Option<usize>>,
    pub(crate) all: &'s [Chain],
    pub(crate) places: &'s [Vec<Place>],
}

impl Chains<'_> {
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().flatten()
    }
}

impl Programmable {
    /// Each way that an entry can lead as a block of one rule: what may be true of any packet of the rule.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Block> {
        self.arms.iter().flat_map(|(arm, place)| {
            arm.targets.iter().map(|target| Block {
                port: Some(self.port.clone()),
                name: self.port.clone(),
                at: self.at,
                body: *place,
                rules: vec![Rule {
                    text: arm.text.clone(),
                    filter: arm.filter.clone(),
                    chain: target.clone(),
                    source: arm.source.clone(),
                }],
                places: vec![*place],
                complete: true,
                meant_else: false,
                otherwise: None,
            })
        })
    }
}

/// What an NF may make of a port's table.
#[derive(Debug, Clone)]
pub(crate) struct Programmable {
    pub(crate) port: String,
    pub(crate) nf: String,
    /// Place of the port's name.
    at: Place,
    pub(crate) arms: Vec<(Arm, Place)>,
}

/// A `steer` block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The port, where it is one and has no block before this.
    pub(crate) port: Option<String>,
    pub(crate) name: String,
    /// Place of the port's name.
    pub(crate) at: Place,
    /// Place of the braces and all between them.
    pub(crate) body: Place,
    /// Those without errors.
    pub(crate) rules: Vec<Rule>,
    /// The place of each rule's filter.
    pub(crate) places: Vec<Place>,
    /// Whether `rules` are all rules.
    pub(crate) complete: bool,
    /// Whether the last rule is a mistake for `else`.
    pub(crate) meant_else: bool,
    /// `else`, and its chain if that has no errors.
    pub(crate) otherwise: Option<(Place, Option<String>)>,
}

impl<'g, 'a> Steering<'g, 'a> {
    pub(crate) fn new(
        graph: &'g Graph<'a>,
        permits: &'g Permits<'a>,
        filters: &'g Filters<'a>,
        config: &ManagerConfig,
        open: HashSet<&'a str>,
    ) -> Self {
        let carries = |port: &&onvm_bundle::Port| !matches!(port.kind, onvm_bundle::PortKind::Null { .. });
        let live = config.ports.iter().filter(|port| {
            use onvm_bundle::PortKind::{AfPacket, AfXdp, Pci, Tap};
            matches!(
                port.kind,
                Pci { .. } | Tap { .. } | AfPacket { .. } | AfXdp { .. }
            )
        });
        let receives = config.ports.iter().filter(carries);
        let untagged = config.ports.iter().filter(|port| port.ignore_tags);
        Self {
            graph,
            permits,
            filters,
            untagged: untagged.map(|port| port.name.clone()).collect(),
            open,
            live: live.map(|port| port.name.clone()).collect(),
            receives: receives.map(|port| port.name.clone()).collect(),
            max_hops: config.max_hops,
            steered: HashMap::new(),
            lowered: HashMap::new(),
            chains: Vec::new(),
            places: Vec::new(),
            hops: 0,
            blocks: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// The index of a chain by its name.
    pub(crate) fn chain_index(&self, name: &str) -> Option<usize> {
        self.as_lowered().index(name)
    }

    pub(crate) fn as_lowered(&self) -> Chains<'_> {
        Chains {
            by_name: &self.lowered,
            all: &self.chains,
            places: &self.places,
        }
    }

    /// The effects on packets that the manifest of an NF declares.
    pub(crate) fn effects(&self, nf: &str) -> Option<&Effects> {
        let nf = self.graph.by_name.get(nf)?;
        Some(&self.graph.nfs[*nf].ty.manifest.effects)
    }

    /// NFs that a packet may visit.
    pub(crate) fn max_hops(&self) -> usize {
        self.max_hops.into()
    }

    /// The flow tables and the chains of the bundle.
    pub(crate) fn finish(self) -> (Flows, Vec<Chain>) {
        let tables = self.blocks.into_iter().filter_map(|block| {
            let (place, otherwise) = block.otherwise?;
            Some(Table {
                port: block.port?,
                source: self.graph.cx.sources.reference(block.at),
                otherwise: otherwise?,
                otherwise_source: Some(self.graph.cx.sources.reference(place)),
                rules: block.rules,
            })
        });
        let programs = self.programs.into_iter().map(|program| Program {
            port: program.port,
            nf: program.nf,
            source: self.graph.cx.sources.reference(program.at),
            arms: program.arms.into_iter().map(|(arm, _)| arm).collect(),
        });
        (
            Flows {
                tables: tables.collect(),
                programs: programs.collect(),
            },
            self.chains,
        )
    }

    /// Lowers one block.
    pub(crate) fn block(&mut self, file: FileId, steer: &'a syntax::Steer) {
        let cx = self.graph.cx;
        let at = cx.place(file, steer.port.span);
        let port = self.graph.names.expect(cx, file, &steer.port, "a port", |s| {
            matches!(s.item, Item::Port).then_some(s.name)
        });
        let repeated = match self.steered.get(steer.port.node.as_str()) {
            Some(first) => {
                cx.report(two_steers::two_steers(at, &steer.port.node, *first));
                true
            }
            None => self.steered.insert(&steer.port.node, at).is_some(),
        };
        let mut rules = Vec::with_capacity(steer.rules.len());
        let mut places = Vec::with_capacity(steer.rules.len());
        let mut complete = true;
        let mut otherwise: Option<(Place, Option<String>)> = None;
        for rule in &steer.rules {
            let matched = cx.place(file, rule.matcher.span());
            if let Some((place, _)) = &otherwise {
                cx.report(after_else::after_else(cx.place(file, rule.span), *place));
            }
            let chain = self.target(file, &steer.port.node, rule, matched);
            match &rule.matcher {
                Match::Else(_) if otherwise.is_none() => otherwise = Some((matched, chain)),
                Match::Else(_) => {}
                Match::Filter(filter) => {
                    let lowered = self.filters.lower(file, filter);
                    let lowered = lowered.map(|filter| self.as_seen(&steer.port.node, filter));
                    if let (Some(chain), Some(filter)) = (chain, lowered) {
                        let text = one_line(cx.sources.text(matched));
                        let source = cx.sources.reference(matched);
                        rules.push(Rule {
                            text,
                            filter,
                            chain,
                            source,
                        });
                        places.push(matched);
                    } else {
                        complete = false;
                    }
                }
            }
        }
        let body = cx.place(file, steer.block.span);
        // Unreadable text may have been a rule.
        complete &= !cx.is_damaged(body);
        let last = steer.rules.last().map(|rule| cx.place(file, rule.matcher.span()));
        self.blocks.push(Block {
            meant_else: !complete && last.is_some_and(|l| meant_else(cx.sources.text(l))),
            port: port.filter(|_| !repeated).map(str::to_owned),
            name: steer.port.node.clone(),
            at,
            body,
            rules,
            places,
            complete,
            otherwise,
        });
    }

    /// Lowers a permission to program a port, once all blocks are lowered. Several for the same NF and port are one.
    pub(crate) fn program(&mut self, file: FileId, allow: &'a syntax::Allow) {
        let syntax::Grant::Program { port, arms, .. } = &allow.grant else {
            return;
        };
        let cx = self.graph.cx;
        let at = cx.place(file, port.span);
        // Names that are wrong are reported with the other permissions.
        let known = self
            .graph
            .names
            .get(&port.node)
            .is_some_and(|s| matches!(s.item, Item::Port));
        if known && !self.steered.contains_key(port.node.as_str()) {
            cx.report(programs_no_table::programs_no_table(at, &port.node));
        }
        let mut lowered = Vec::new();
        for arm in arms {
            let place = cx.place(file, arm.filter.span);
            let filter = self.filters.lower(file, &arm.filter);
            let targets: Vec<_> = arm
                .targets
                .iter()
                .map(|t| self.named_target(file, t, place))
                .collect();
            if let (Some(filter), Some(mut targets)) =
                (filter, targets.into_iter().collect::<Option<Vec<_>>>())
            {
                targets.sort();
                targets.dedup();
                let arm = Arm {
                    text: one_line(cx.sources.text(place)),
                    filter: self.as_seen(&port.node, filter),
                    targets,
                    source: cx.sources.reference(place),
                };
                lowered.push((arm, place));
            }
        }
        // What the manifest does not declare is not granted, which is reported with the other permissions.
        if !self
            .effects(&allow.nf.node)
            .is_some_and(|effects| effects.programs)
        {
            return;
        }
        let of_it = |p: &&mut Programmable| p.port == port.node && p.nf == allow.nf.node;
        match self.programs.iter_mut().find(of_it) {
            Some(program) => program.arms.extend(lowered),
            None => self.programs.push(Programmable {
                port: port.node.clone(),
                nf: allow.nf.node.clone(),
                at,
                arms: lowered,
            }),
        }
    }

    /// The chain that a target names.
    fn named_target(&mut self, file: FileId, target: &'a syntax::Ident, rule: Place) -> Option<String> {
        let cx = self.graph.cx;
        let place = cx.place(file, target.span);
        if target.node == DROP {
            return self.drop_chain(place);
        }
        let wanted = "a chain without parameters, or `drop`";
        let (at, name, of, steps) = self
            .graph
            .names
            .expect(cx, file, target, wanted, |s| match s.item {
                Item::Chain(chain) if chain.params.is_none() => Some((s.place, s.name, s.file, &chain.steps)),
                _ => None,
            })?;
        self.chain(name.to_owned(), at, rule, of, steps)
    }

    /// Whether filters see the packets of that port without their VLAN tags.
    pub(crate) fn ignores_tags(&self, port: &str) -> bool {
        self.untagged.contains(port)
    }

    /// Whether the port may carry VLAN tags and does not say how filters are to take them.
    pub(crate) fn carries_tags(&self, port: &str) -> bool {
        self.open.contains(port)
    }

    /// Whether hosts are at the port.
    pub(crate) fn is_live(&self, port: &str) -> bool {
        self.live.contains(port)
    }

    pub(crate) fn has_live_ports(&self) -> bool {
        !self.live.is_empty()
    }

    /// Whether fragments of packets can come in by the port.
    pub(crate) fn carries_fragments(&self, port: &str) -> bool {
        self.receives.contains(port)
    }

    /// What a filter asks of packets of that port.
    pub(crate) fn as_seen(&self, port: &str, filter: Expr) -> Expr {
        match self.ignores_tags(port) {
            true => filter.without_tags(),
            false => filter,
        }
    }

    /// The name of the chain that a rule leads to. None: it could not be lowered, which is reported.
    fn target(&mut self, file: FileId, port: &str, rule: &'a syntax::Rule, matched: Place) -> Option<String> {
        let cx = self.graph.cx;
        let place = rule.target.first().map_or(matched, |s| cx.place(file, s.span));
        if let [step] = rule.target.as_slice() {
            match &step.node {
                StepKind::Drop => return self.drop_chain(place),
                StepKind::Node { name, arms } if arms.is_empty() => {
                    if let Some(
                        symbol @ crate::resolve::names::Symbol {
                            item: Item::Chain(chain),
                            ..
                        },
                    ) = self.graph.names.get(&name.node)
                        && chain.params.is_none()
                    {
                        let (place, rule) = (symbol.place, matched);
                        return self.chain(symbol.name.to_owned(), place, rule, symbol.file, &chain.steps);
                    }
                }
                _ => {}
            }
        }
        // A chain that is written twice is one chain, and its counters go on wherever it stands in the block.
        let name = format!("{port} -> {}", written(&rule.target));
        self.chain(name, place, matched, file, &rule.target)
    }

    fn chain(
        &mut self,
        name: String,
        place: Place,
        rule: Place,
        file: FileId,
        steps: &'a [syntax::Step],
    ) -> Option<String> {
        if let Some(known) = self.lowered.get(&name) {
            return known.is_some().then_some(name);
        }
        let made = chains::lower(
            self.graph,
            self.permits,
            &name,
            place,
            rule,
            file,
            steps,
            self.max_hops,
        );
        let index = made.map(|(chain, places)| self.add(chain, places, rule));
        self.lowered.insert(name.clone(), index);
        index.is_some().then_some(name)
    }

    fn drop_chain(&mut self, place: Place) -> Option<String> {
        if !self.lowered.contains_key(DROP) {
            let source = self.graph.cx.sources.reference(place);
            let hop = Hop {
                at: Target::Drop,
                source: source.clone(),
                next: None,
                outputs: Default::default(),
                steers: Default::default(),
                lookup: false,
                bypass: false,
            };
            let index = self.add(
                Chain {
                    name: DROP.to_owned(),
                    source,
                    hops: vec![hop],
                },
                vec![place],
                place,
            );
            self.lowered.insert(DROP.to_owned(), Some(index));
        }
        Some(DROP.to_owned())
    }

    /// Takes a chain into the bundle's tables, and says once when they are full.
    fn add(&mut self, chain: Chain, places: Vec<Place>, rule: Place) -> usize {
        let before = self.hops;
        self.hops += chain.hops.len();
        self.chains.push(chain);
        self.places.push(places);
        if before <= MAX_HOPS && self.hops > MAX_HOPS {
            self.graph
                .cx
                .report(table_full::table_full(rule, "hops", self.hops, MAX_HOPS));
        } else if self.chains.len() == MAX_CHAINS + 1 {
            self.graph.cx.report(table_full::table_full(
                rule,
                "chains",
                self.chains.len(),
                MAX_CHAINS,
            ));
        }
        self.chains.len() - 1
    }
}

/// Line breaks and runs of spaces as one space.
/// Steps as they are written, in one line.
fn written(steps: &[syntax::Step]) -> String {
    let step = |step: &syntax::Step| match &step.node {
        StepKind::Drop => DROP.to_owned(),
        StepKind::Node { name, arms } if arms.is_empty() => name.node.clone(),
        StepKind::Node { name, arms } => {
            let arm = |arm: &syntax::Arm| format!("{} -> {}", arm.node.output.node, written(&arm.node.steps));
            let arms: Vec<String> = arms.iter().map(arm).collect();
            format!("{} {{ {} }}", name.node, arms.join(" "))
        }
        StepKind::Call { name, args } => {
            let args: Vec<&str> = args.iter().map(|arg| arg.node.as_str()).collect();
            format!("{}({})", name.node, args.join(", "))
        }
    };
    steps.iter().map(step).collect::<Vec<_>>().join(" -> ")
}

pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
