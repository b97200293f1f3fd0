//! The NFs on the way, as proofs know them: their models, as tables of the algebra.

use std::{cell::RefCell, collections::HashMap};

use nflib::{
    Params,
    testing::{AnyBench, LONGEST},
};
use onvm_bundle::{Hop, Target, filter::Expr};
use stdlib_nfs::StandardNf;

use crate::{
    interpret::of_instance,
    lower::declare::services::Nf,
    models::{Model, Outcome, To, follow},
    sets::{Choice, Decided, Fields, Frame, Table},
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
    /// The NF itself, once a packet has been tried on it.
    bench: RefCell<Option<Box<dyn AnyBench>>>,
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
                bench: RefCell::new(None),
            };
            Some((built.service.name.clone(), known))
        });
        Self {
            by_name: known.collect(),
        }
    }

    /// What the NF at a hop can do with some packet: where it goes then, and by which decision, if it is one that rules take.
    /// Packets that it drops go nowhere. None: all that the hop permits.
    pub(super) fn ways(&self, hop: &Hop) -> Option<Vec<(usize, Option<Outcome>)>> {
        let Target::Nf(name) = &hop.at else { return None };
        let to = |outcome: &Outcome| match follow(hop, outcome) {
            To::Hop(at) => Some(usize::from(at)),
            To::Rules | To::Nowhere => None,
        };
        match self.by_name.get(name).map(|known| &known.model) {
            Some(Model::Passes) => Some(to(&Outcome::Next).map(|at| (at, None)).into_iter().collect()),
            Some(model @ Model::Rules { .. }) => {
                let decisions = model.decisions().into_iter();
                Some(
                    decisions
                        .filter_map(|outcome| Some((to(&outcome)?, Some(outcome))))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    /// The verdict of the NF itself on a packet, of a port that ignores tags or another. None: that is not known, or
    /// it does not start.
    fn tried(&self, nf: &str, frame: &Frame, ignore_tags: bool) -> Option<Outcome> {
        let known = self.by_name.get(nf).filter(|_| frame.bytes.len() <= LONGEST)?;
        let mut bench = known.bench.borrow_mut();
        if bench.is_none() {
            *bench = (known.nf.bench)(known.params.clone()).ok();
        }
        let handled = bench.as_mut()?.send_one(&frame.bytes, ignore_tags);
        Some(Outcome::of(handled.verdict, &known.outputs))
    }
}

/// The rules of firewalls, by the name of the NF.
#[derive(Debug)]
pub(super) struct Firewalls<'m> {
    pub(super) models: &'m Models,
    /// They see packets without their VLAN tags.
    ignore_tags: bool,
    by_name: HashMap<&'m str, Firewall<'m>>,
}

#[derive(Debug)]
struct Firewall<'m> {
    table: Table<'m>,
    said: &'m [String],
    choices: Vec<(Outcome, Choice)>,
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
        for (name, known) in models.by_name.iter().filter(|(name, _)| wanted(name)) {
            let Model::Rules {
                filters,
                untagged,
                said,
                ..
            } = &known.model
            else {
                continue;
            };
            let filters = if ignore_tags { untagged } else { filters };
            let mut table = Table::default();
            filters.iter().for_each(|filter| table.push(fields, filter));
            let choice = |outcome: Outcome| {
                let choice = Choice::new(&table, &known.model.takers(&outcome));
                (outcome, choice)
            };
            let choices = known.model.decisions().into_iter().map(choice).collect();
            by_name.insert(name.as_str(), Firewall { table, said, choices });
        }
        Self {
            models,
            ignore_tags,
            by_name,
        }
    }

    /// The verdict of the NF itself on a packet. None: that is not known, or it does not start.
    pub(super) fn tried(&self, nf: &str, frame: &Frame) -> Option<Outcome> {
        self.models.tried(nf, frame, self.ignore_tags)
    }

    /// The rules of an NF in order, each with what it comes to, where it stands and what it says.
    pub(super) fn rules(&self, nf: &str) -> Vec<(&'m Expr, &'m Outcome, &'m str)> {
        let Some(Model::Rules {
            filters,
            untagged,
            outcomes,
            said,
        }) = self.models.by_name.get(nf).map(|known| &known.model)
        else {
            return Vec::new();
        };
        let filters = if self.ignore_tags { untagged } else { filters };
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

    /// Whether no rule of an NF takes a packet. None: it has no rules that are known.
    pub(super) fn by_default(&self, nf: &str, frame: &Frame) -> Option<bool> {
        Some(self.by_name.get(nf)?.table.taker(frame).is_none())
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
