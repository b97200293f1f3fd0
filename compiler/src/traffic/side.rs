//! A program or a bundle, ready for questions about its packets.

use std::collections::{BTreeMap, HashMap};

use onvm_bundle::{Arm, Chain, Hop, InstanceConfig, Service, Table, diff::Contents, filter::Expr};

use crate::{
    interpret::{InterpretError, StoryRule},
    models::{Model, Outcome},
    sets::{Effective, Fields, RuleTable, Set, Taker},
};

/// The models of a program's NFs by name. Apart from [`Side`], which looks into them.
#[derive(Debug)]
pub struct Models {
    by_name: HashMap<String, Model>,
    with_payload: Expr,
    kinds: Vec<Expr>,
}

/// IP, also behind a VLAN tag.
const WITH_PAYLOAD: &str = "(or (ip) (ip6) (and (vlan) (or (ip@1) (ip6@1))))";
/// Kinds of traffic that are tried one after the other.
const KINDS: [&str; 5] = [
    "(proto 17)",
    "(proto 6)",
    "(or (proto 1) (proto 58))",
    "(ip)",
    "(not (or (ip) (ip6)))",
];

/// Sets of packets that a packet is preferably taken from.
#[derive(Debug)]
pub(crate) struct Liked<'a> {
    /// Packets that have a payload to be scanned.
    pub(crate) with_payload: Set<'a>,
    pub(crate) kinds: Vec<Set<'a>>,
}

impl Models {
    /// Reads the parameters of every standard NF. `files` are the bundle's files by path.
    ///
    /// # Errors
    /// A standard NF that refuses its parameters.
    pub fn new(contents: Contents<'_>, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, InterpretError> {
        let models = contents.manager.services.iter().map(|service| {
            let config = service
                .instances
                .first()
                .and_then(|i| contents.instances.get(&i.name));
            Ok((service.name.clone(), Model::read(service, config, files)?))
        });
        Ok(Self {
            by_name: models.collect::<Result<_, _>>()?,
            with_payload: WITH_PAYLOAD.parse().unwrap_or(Expr::Const(true)),
            kinds: KINDS.iter().filter_map(|kind| kind.parse().ok()).collect(),
        })
    }

    /// Of all firewalls.
    #[cfg(test)]
    pub(super) fn filters(&self) -> impl Iterator<Item = &Expr> {
        self.by_name.values().flat_map(|model| match model {
            Model::Rules { filters, .. } => filters.as_slice(),
            _ => &[],
        })
    }

    pub(crate) fn preferred(&self, fields: &mut Fields) -> Liked<'_> {
        Liked {
            with_payload: Set::new(fields, &self.with_payload),
            kinds: self.kinds.iter().map(|kind| Set::new(fields, kind)).collect(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Side<'a> {
    pub(crate) contents: Contents<'a>,
    models: &'a Models,
    /// By port.
    steering: HashMap<&'a str, Steering<'a>>,
    /// What NFs may program, by port.
    programs: HashMap<&'a str, Vec<ProgramWay<'a>>>,
    /// What NFs decide by: their rules, or the one filter of the packets that a scanner searches.
    rules: HashMap<&'a str, RuleTable<'a>>,
    /// Ways around NFs that are lost count.
    around: bool,
}

/// The rules of a port, with what they take. A port without `steer` has none, and drops what no rule takes.
#[derive(Debug, Default)]
pub(crate) struct Steering<'a> {
    pub(crate) table: RuleTable<'a>,
    seed: Option<&'a Table>,
    /// The chain of each rule, and of `else`.
    chains: Vec<Option<&'a Chain>>,
}

/// What entries of an NF may do: packets of one arm, to one chain of it.
#[derive(Debug)]
pub(crate) struct ProgramWay<'a> {
    pub(crate) nf: &'a str,
    pub(crate) arm: &'a Arm,
    pub(crate) target: &'a str,
    pub(crate) chain: Option<&'a Chain>,
    /// The arm's filter alone.
    pub(crate) table: RuleTable<'a>,
}

impl ProgramWay<'_> {
    /// What permits it.
    pub(crate) fn rule(&self) -> StoryRule {
        StoryRule::programmed(self.arm.text.clone(), self.arm, self.target, self.chain)
    }

    /// The chain's main line: `mon -> lan`
    pub(crate) fn path(&self) -> String {
        let hops = self.chain.map_or(&[][..], |chain| &chain.hops);
        let mut places = Vec::new();
        let mut at = Some(0);
        while let Some(hop) = at.and_then(|at| hops.get(usize::from(at))) {
            places.push(hop.at.name());
            at = hop.next.filter(|_| places.len() < hops.len());
        }
        places.join(" -> ")
    }

    /// For the same entries of the same NF.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.nf == other.nf && self.target == other.target
    }
}

impl<'a> Steering<'a> {
    pub(crate) fn filters(&self) -> Vec<&'a Expr> {
        self.seed
            .iter()
            .flat_map(|seed| &seed.rules)
            .map(|r| &r.filter)
            .collect()
    }

    /// Every rule, and `else`, in order.
    pub(crate) fn takers(&self) -> impl Iterator<Item = Taker> + use<> {
        let rules = self.seed.map_or(0, |seed| seed.rules.len());
        (0..rules).map(Some).chain([None])
    }

    /// The NFs that may have packets of this port looked up.
    pub(crate) fn lookups(&self) -> impl Iterator<Item = &'a str> {
        let hops = self.chains.iter().flatten().flat_map(|chain| &chain.hops);
        hops.filter(|hop| hop.lookup).map(|hop| hop.at.name())
    }

    /// None drops all that it gets.
    pub(crate) fn chain(&self, taker: Taker) -> Option<&'a Chain> {
        self.chains
            .get(taker.unwrap_or(self.chains.len().checked_sub(1)?))
            .copied()?
    }

    pub(crate) fn rule(&self, taker: Taker) -> Option<StoryRule> {
        let seed = self.seed?;
        Some(match taker {
            Some(rule) => StoryRule::new(seed.rules.get(rule)?, self.chain(taker)),
            None => StoryRule::otherwise(seed, self.chain(taker)),
        })
    }
}

impl<'a> Side<'a> {
    pub(crate) fn new(contents: Contents<'a>, models: &'a Models, fields: &mut Fields) -> Self {
        let chains = contents.manager.chains.iter();
        let chains: HashMap<&str, &Chain> = chains.map(|c| (c.name.as_str(), c)).collect();
        let steering = contents.manager.ports.iter().map(|port| {
            let seed = contents.flows.tables.iter().find(|t| t.port == port.name);
            let rules = || seed.iter().flat_map(|seed| &seed.rules);
            let targets = rules().map(|r| &r.chain).chain(seed.map(|s| &s.otherwise));
            let steering = Steering {
                table: table(fields, rules().map(|r| &r.filter)),
                seed,
                chains: targets.map(|chain| chains.get(chain.as_str()).copied()).collect(),
            };
            (port.name.as_str(), steering)
        });
        let steering = steering.collect();
        let mut programs: HashMap<&str, Vec<ProgramWay>> = HashMap::new();
        for program in &contents.flows.programs {
            let ways = program.arms.iter().flat_map(|arm| {
                let targets = arm.targets.iter();
                targets.map(move |target| (arm, target.as_str()))
            });
            let ways = ways.map(|(arm, target)| ProgramWay {
                nf: &program.nf,
                arm,
                target,
                chain: chains.get(target).copied(),
                table: table(fields, [&arm.filter]),
            });
            programs.entry(&program.port).or_default().extend(ways);
        }
        let rules = models.by_name.iter().filter_map(|(name, model)| match model {
            Model::Rules { filters, .. } => Some((name.as_str(), table(fields, filters))),
            Model::Payload { only: Some(only), .. } => Some((name.as_str(), table(fields, [only]))),
            Model::Payload { only: None, .. } | Model::Passes | Model::Unknown => None,
        });
        Self {
            contents,
            models,
            programs,
            rules: rules.collect(),
            steering,
            around: false,
        }
    }

    /// With the ways around NFs that are lost.
    pub(crate) fn with_ways_around(self) -> Self {
        Self { around: true, ..self }
    }

    pub(crate) fn model(&self, nf: &str) -> &'a Model {
        self.models.by_name.get(nf).unwrap_or(&Model::Unknown)
    }

    /// What it decides on cannot be known.
    pub(crate) fn is_opaque(&self, nf: &str) -> bool {
        matches!(self.models.by_name.get(nf), Some(Model::Unknown))
    }

    /// It may rewrite packets, as its manifest says.
    pub(crate) fn rewrites(&self, nf: &str) -> bool {
        self.is_opaque(nf)
            && self
                .config(nf)
                .is_some_and(|c| c.manifest.effects.writes_packets())
    }

    pub(crate) fn steering(&self, port: &str) -> Option<&Steering<'a>> {
        self.steering.get(port)
    }

    /// What NFs may program at a port.
    pub(crate) fn programs(&self, port: &str) -> &[ProgramWay<'a>] {
        self.programs.get(port).map_or(&[], Vec::as_slice)
    }

    /// Everything that the NF at a hop can do there.
    pub(crate) fn outcomes(&self, nf: &str, hop: &Hop) -> Vec<Outcome> {
        let mut all = Vec::with_capacity(2);
        let mut add = |outcome: &Outcome| {
            if !all.contains(outcome) {
                all.push(outcome.clone());
            }
        };
        match self.model(nf) {
            Model::Passes => add(&Outcome::Next),
            Model::Rules { outcomes, .. } => outcomes.iter().for_each(&mut add),
            Model::Payload { found, .. } => [&Outcome::Next, found].into_iter().for_each(&mut add),
            Model::Unknown => {
                add(&Outcome::Next);
                let outputs = self.service(nf).map(|s| s.outputs.as_slice()).unwrap_or_default();
                outputs
                    .iter()
                    .for_each(|name| add(&Outcome::Output(name.clone())));
                hop.steers.keys().for_each(|name| add(&Outcome::To(name.clone())));
                if hop.lookup {
                    add(&Outcome::Lookup);
                }
                if self.config(nf).is_some_and(|c| c.manifest.effects.drops) {
                    add(&Outcome::Drop);
                }
            }
        }
        if self.around && hop.bypass {
            add(&Outcome::Around);
        }
        all
    }

    /// The rules by which an NF comes to an outcome, each as what it takes.
    pub(crate) fn takers(&self, nf: &str, outcome: &Outcome) -> Vec<Taker> {
        self.model(nf).takers(outcome)
    }

    pub(crate) fn taken(&self, nf: &str, taker: Taker) -> Option<Effective<'_, 'a>> {
        Some(self.rules.get(nf)?.effective(taker))
    }

    /// The rules of an NF that decides by some.
    pub(crate) fn rules(&self, nf: &str) -> Option<&RuleTable<'a>> {
        self.rules.get(nf)
    }

    pub(crate) fn service(&self, nf: &str) -> Option<&'a Service> {
        self.contents.manager.services.iter().find(|s| s.name == nf)
    }

    fn config(&self, nf: &str) -> Option<&'a InstanceConfig> {
        self.contents
            .instances
            .get(&self.service(nf)?.instances.first()?.name)
    }

    /// Whether the NF of that name decides on the other side as it does here, as far as its declaration says.
    pub(crate) fn decides_alike(&self, other: &Self, nf: &str) -> bool {
        match (self.config(nf), other.config(nf)) {
            (Some(a), Some(b)) => a.params == b.params && a.manifest == b.manifest,
            _ => false,
        }
    }
}

pub(super) fn table<'a>(fields: &mut Fields, filters: impl IntoIterator<Item = &'a Expr>) -> RuleTable<'a> {
    let mut table = RuleTable::default();
    for filter in filters {
        table.push(fields, filter);
    }
    table
}
