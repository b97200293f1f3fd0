//! The effects of the standard NFs on packets, as data: the one source for proofs, for comparisons, for witnesses and
//! for queries.
//!
//! A model ([`stdlib_nfs::Model`]) says which packets an NF lets out on which way. An NF without one can do all that
//! its manifest declares and the chain permits.

use std::collections::BTreeMap;

use nflib::Verdict;
use onvm_bundle::{Hop, InstanceConfig, Service, filter::Expr};
use stdlib_nfs::Model as Told;

use crate::{
    interpret::{InterpretError, of_instance},
    sets::Taker,
    traffic::Scanner,
};

/// An NF's treatment of a packet, by the names of its manifest and of the program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    Next,
    Output(String),
    /// Steered to this NF or port.
    To(String),
    /// Classified again by the rules of its port.
    Lookup,
    Drop,
    /// It is lost, and the packet goes around it.
    Around,
}

/// The inputs of an NF's outcomes.
#[derive(Debug)]
pub(crate) enum Model {
    Passes,
    Rules {
        filters: Vec<Expr>,
        /// The same for packets of ports that ignore tags.
        untagged: Vec<Expr>,
        /// Of each rule, and of what no rule takes.
        outcomes: Vec<Outcome>,
        /// Where each rule stands and what it says.
        said: Vec<String>,
    },
    Payload {
        scanner: Scanner,
        /// The packets that are searched; none: all.
        only: Option<Expr>,
        found: Outcome,
    },
    /// All that its manifest declares can be.
    Unknown,
}

/// Where an outcome leads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Hop(u16),
    Rules,
    Nowhere,
}

impl Model {
    /// Reads the parameters of a standard NF as the NF does. `files` are the bundle's files by path.
    ///
    /// # Errors
    /// A standard NF that refuses its parameters.
    pub(crate) fn read(
        service: &Service,
        config: Option<&InstanceConfig>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, InterpretError> {
        let Some((nf, params)) = config.and_then(|config| of_instance(config, files)) else {
            return Ok(Self::Unknown);
        };
        let told = (nf.model)(&params).map_err(|e| InterpretError::new(service, &e))?;
        Ok(Self::new(told, &service.outputs))
    }

    fn new(told: Told, outputs: &[String]) -> Self {
        match told {
            Told::Passes => Self::Passes,
            Told::Payload {
                patterns,
                any_case,
                only,
                found,
            } => Self::Payload {
                scanner: Scanner { patterns, any_case },
                only,
                found: Outcome::of(found, outputs),
            },
            Told::Rules { rules, otherwise, .. } => {
                let verdicts = rules.iter().map(|r| r.verdict).chain([otherwise]);
                let outcomes = verdicts.map(|v| Outcome::of(v, outputs)).collect();
                let (filters, said): (Vec<Expr>, Vec<String>) =
                    rules.into_iter().map(|r| (r.filter, r.name)).unzip();
                Self::Rules {
                    untagged: filters.iter().cloned().map(Expr::without_tags).collect(),
                    filters,
                    outcomes,
                    said,
                }
            }
        }
    }

    /// The rules by which it comes to an outcome.
    pub(crate) fn takers(&self, outcome: &Outcome) -> Vec<Taker> {
        let Self::Rules {
            filters, outcomes, ..
        } = self
        else {
            return Vec::new();
        };
        let takers = (0..filters.len()).map(Some).chain([None]);
        let those = takers.zip(outcomes).filter(|(_, o)| *o == outcome);
        those.map(|(taker, _)| taker).collect()
    }

    /// What its rules come to, each once.
    pub(crate) fn decisions(&self) -> Vec<Outcome> {
        let Self::Rules { outcomes, .. } = self else {
            return Vec::new();
        };
        let mut all: Vec<Outcome> = Vec::with_capacity(2);
        for outcome in outcomes {
            if !all.contains(outcome) {
                all.push(outcome.clone());
            }
        }
        all
    }
}

impl Outcome {
    /// A verdict of a standard NF with these outputs.
    pub(crate) fn of(verdict: Verdict, outputs: &[String]) -> Self {
        match verdict {
            Verdict::Drop => Self::Drop,
            Verdict::Output(index) => match outputs.get(usize::from(index)) {
                Some(name) => Self::Output(name.clone()),
                None => Self::Next,
            },
            _ => Self::Next,
        }
    }
}

/// Where an outcome leads; an output that is not handled, and a steer or a lookup that is not permitted, follow the chain.
pub(crate) fn follow(hop: &Hop, outcome: &Outcome) -> To {
    let to = match outcome {
        Outcome::Output(name) => hop.outputs.get(name),
        Outcome::To(name) => hop.steers.get(name),
        Outcome::Lookup if hop.lookup => return To::Rules,
        Outcome::Drop => return To::Nowhere,
        Outcome::Next | Outcome::Lookup | Outcome::Around => None,
    };
    to.copied().or(hop.next).map_or(To::Nowhere, To::Hop)
}
