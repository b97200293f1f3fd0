//! The NFs on the way, as proofs know them: their models, as tables of the algebra.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use nflib::{
    Params,
    testing::{AnyBench, LONGEST},
};
use onvm_bundle::{Hop, Target, filter::Expr};
use stdlib_nfs::StandardNf;

use super::paths::Lead;
use crate::{
    interpret::of_instance,
    lower::declare::services::Nf,
    models::{Model, Outcome, To, follow},
    sets::{Choice, Decided, Field, Fields, Frame, RuleTable, Seen, Taker},
};

/// The models of a program's NFs.
#[derive(Debug, Default)]
pub(crate) struct Models {
    by_name: HashMap<String, Known>,
}

/// A standard NF with a model.
struct Known {
    model: Model,
    outputs: Vec<String>,
    nf: &'static StandardNf,
    params: Params,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.model.fmt(f)
    }
}

impl Models {
    /// Reads the parameters of NFs that have no errors. An NF that refuses them has no model.
    pub(crate) fn new(nfs: &[Nf<'_>], files: &std::collections::BTreeMap<String, Vec<u8>>) -> Self {
        let known = nfs.iter().filter_map(|nf| {
            let built = nf.built.as_ref()?;
            let config = built.configs.first()?;
            let (standard, params) = of_instance(config, files)?;
            let model = Model::read(&built.service, Some(config), files).ok()?;
            let known = Known {
                model,
                outputs: built.service.outputs.clone(),
                nf: standard,
                params,
            };
            Some((built.service.name.clone(), known))
        });
        Self {
            by_name: known.collect(),
        }
    }

    /// A model with rules, and their filters for packets of a port that ignores tags or of another.
    fn rules(&self, nf: &str, ignore_tags: bool) -> Option<(&Model, &[Expr])> {
        let model = &self.by_name.get(nf)?.model;
        let Model::Rules {
            filters, untagged, ..
        } = model
        else {
            return None;
        };
        Some((model, if ignore_tags { untagged } else { filters }))
    }

    /// What the NF at a hop can do with some packet. Packets that it drops go nowhere. None: all that the hop permits.
    pub(super) fn ways(&self, hop: &Hop) -> Option<Vec<Lead>> {
        let Target::Nf(name) = &hop.at else { return None };
        let to = |outcome: &Outcome| match follow(hop, outcome) {
            To::Hop(at) => Some(usize::from(at)),
            To::Rules | To::Nowhere => None,
        };
        match self.by_name.get(name).map(|known| &known.model) {
            Some(Model::Passes) => Some(
                to(&Outcome::Next)
                    .map(|at| Lead::to(at, None))
                    .into_iter()
                    .collect(),
            ),
            Some(model @ Model::Rules { .. }) => {
                let decisions = model.decisions().into_iter();
                Some(
                    decisions
                        .filter_map(|outcome| Some(Lead::to(to(&outcome)?, Some(outcome))))
                        .collect(),
                )
            }
            _ => None,
        }
    }
}

/// The rules of firewalls, by the name of the NF, and the NFs themselves.
pub(super) struct Firewalls<'m> {
    pub(super) models: &'m Models,
    /// They see packets without their VLAN tags.
    pub(super) ignore_tags: bool,
    by_name: Arc<HashMap<&'m str, Firewall<'m>>>,
    /// Each from the first packet that is tried on it; none: it does not start.
    benches: RefCell<HashMap<&'m str, Option<Box<dyn AnyBench>>>>,
}

/// The same without the NFs, which stay on one thread.
#[derive(Debug, Clone)]
pub(super) struct Shared<'m> {
    models: &'m Models,
    ignore_tags: bool,
    by_name: Arc<HashMap<&'m str, Firewall<'m>>>,
}

impl<'m> From<Shared<'m>> for Firewalls<'m> {
    fn from(shared: Shared<'m>) -> Self {
        Self {
            models: shared.models,
            ignore_tags: shared.ignore_tags,
            by_name: shared.by_name,
            benches: RefCell::default(),
        }
    }
}

#[derive(Debug)]
struct Firewall<'m> {
    table: RuleTable<'m>,
    /// Of each rule, and of what no rule takes.
    outcomes: &'m [Outcome],
    said: &'m [String],
    choices: Vec<(Outcome, Choice)>,
}

impl<'m> Firewall<'m> {
    fn new(model: &Model, table: RuleTable<'m>, outcomes: &'m [Outcome], said: &'m [String]) -> Self {
        let choice = |outcome: Outcome| {
            let choice = Choice::new(&table, &model.takers(&outcome));
            (outcome, choice)
        };
        Self {
            choices: model.decisions().into_iter().map(choice).collect(),
            table,
            outcomes,
            said,
        }
    }
}

impl<'m> Firewalls<'m> {
    /// Of the NFs that `wanted` names, for packets of ports that ignore tags or of the others.
    pub(super) fn new(
        fields: &mut Fields,
        models: &'m Models,
        ignore_tags: bool,
        wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let mut by_name = HashMap::new();
        let mut names: Vec<&'m str> = models.by_name.keys().map(String::as_str).collect();
        names.retain(|name| wanted(name));
        // The same order of fields each time, and so the same packets.
        names.sort_unstable();
        for name in names {
            let Some((model @ Model::Rules { outcomes, said, .. }, filters)) =
                models.rules(name, ignore_tags)
            else {
                continue;
            };
            let mut table = RuleTable::default();
            filters.iter().for_each(|filter| table.push(fields, filter));
            by_name.insert(name, Firewall::new(model, table, outcomes, said));
        }
        let shared = Shared {
            models,
            ignore_tags,
            by_name: Arc::new(by_name),
        };
        shared.into()
    }

    pub(super) fn shared(&self) -> Shared<'m> {
        Shared {
            models: self.models,
            ignore_tags: self.ignore_tags,
            by_name: Arc::clone(&self.by_name),
        }
    }

    /// The same ones, for the other packet of each pair; see [`RuleTable::beside`].
    pub(super) fn beside(
        &self,
        fields: &mut Fields,
        seen: &dyn Fn(&Field) -> Seen,
        filter: &dyn Fn(&Expr) -> Expr,
    ) -> Self {
        let mut by_name = HashMap::new();
        let mut names: Vec<&'m str> = self.by_name.keys().copied().collect();
        names.sort_unstable();
        for name in names {
            let (Some(firewall), Some((model, _))) = (self.by_name.get(name), self.model(name)) else {
                continue;
            };
            let table = firewall.table.beside(fields, seen, filter);
            let other = Firewall::new(model, table, firewall.outcomes, firewall.said);
            by_name.insert(name, other);
        }
        let shared = Shared {
            by_name: Arc::new(by_name),
            ..self.shared()
        };
        shared.into()
    }

    fn model(&self, nf: &str) -> Option<(&'m Model, &'m [Expr])> {
        self.models.rules(nf, self.ignore_tags)
    }

    /// The verdict of the NF itself on a packet. None: that is not known, or it does not start.
    pub(super) fn tried(&self, nf: &str, frame: &Frame) -> Option<Outcome> {
        let is_known = frame.bytes.len() <= LONGEST;
        let (name, known) = self.models.by_name.get_key_value(nf).filter(|_| is_known)?;
        let mut benches = self.benches.borrow_mut();
        let bench = benches
            .entry(name)
            .or_insert_with(|| (known.nf.bench)(known.params.clone()).ok());
        let handled = bench.as_mut()?.send_one(&frame.bytes, self.ignore_tags);
        Some(Outcome::of(handled.verdict, &known.outputs))
    }

    /// The rules of an NF in order, each with what it comes to and its name.
    pub(super) fn rules(&self, nf: &str) -> Vec<(&'m Expr, &'m Outcome, &'m str)> {
        let Some((Model::Rules { outcomes, said, .. }, filters)) = self.model(nf) else {
            return Vec::new();
        };
        let rules = filters.iter().zip(outcomes).zip(said);
        rules
            .map(|((filter, outcome), said)| (filter, outcome, said.as_str()))
            .collect()
    }

    /// The packets of which an NF decides so. None: which these are is not known.
    pub(super) fn decided(&self, nf: &str, outcome: &Outcome) -> Option<Decided<'_, 'm>> {
        let firewall = self.by_name.get(nf)?;
        let choice = firewall.choices.iter().find(|(o, _)| o == outcome);
        Some(Decided {
            table: &firewall.table,
            choice: &choice?.1,
        })
    }

    /// The rules of an NF.
    pub(super) fn table(&self, nf: &str) -> Option<&RuleTable<'m>> {
        Some(&self.by_name.get(nf)?.table)
    }

    /// The rule of an NF that takes a packet, or none before its default. None: it has no rules that are known.
    pub(super) fn taker(&self, nf: &str, frame: &Frame) -> Option<Taker> {
        Some(self.table(nf)?.taker(frame))
    }

    /// What a rule of an NF comes to, or its default.
    pub(super) fn outcome(&self, nf: &str, taker: Taker) -> Option<&'m Outcome> {
        let outcomes = self.by_name.get(nf)?.outcomes;
        taker.map_or(outcomes.last(), |rule| outcomes.get(rule))
    }

    /// The rules by which an NF comes to an outcome.
    pub(super) fn takers(&self, nf: &str, outcome: &Outcome) -> Vec<Taker> {
        self.model(nf)
            .map(|(model, _)| model.takers(outcome))
            .unwrap_or_default()
    }

    pub(super) fn filter(&self, nf: &str, rule: usize) -> Option<&'m Expr> {
        self.model(nf)?.1.get(rule)
    }

    /// The rule by which an NF decides on a packet, where it stands and what it says.
    pub(super) fn rule(&self, nf: &str, frame: &Frame) -> Option<&'m str> {
        let firewall = self.by_name.get(nf)?;
        Some(match firewall.table.taker(frame) {
            Some(rule) => firewall.said.get(rule)?,
            None => "its default, as no rule takes it",
        })
    }
}
