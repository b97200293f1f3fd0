//! `flows.toml`: the flow-table seed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{SourceRef, filter::Expr};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flows {
    #[serde(rename = "table", default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
    /// In the order of the source; at most one for each pair of port and NF.
    #[serde(rename = "program", default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Program>,
}

impl Flows {
    /// What flow entries of an NF may lead to: port and chain, in an order that depends on the permissions alone.
    #[must_use]
    pub fn targets_of(&self, nf: &str) -> Vec<(String, String)> {
        let programs = self.programs.iter().filter(|program| program.nf == nf);
        let targets = programs.flat_map(|program| {
            let chains = program.arms.iter().flat_map(|arm| &arm.targets);
            chains.map(|chain| (program.port.clone(), chain.clone()))
        });
        targets.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Permission for an NF to put entries in front of a port's rules while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// A port that has a table.
    pub port: String,
    /// The service.
    pub nf: String,
    pub source: SourceRef,
    #[serde(rename = "arm", default)]
    pub arms: Vec<Arm>,
}

/// An entry that leads to a target takes packets of arms that name it, and no others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The filter as the operator wrote it.
    pub text: String,
    pub filter: Expr,
    /// Names of chains, as rules name them; the NF names its targets by these.
    pub targets: Vec<String>,
    pub source: SourceRef,
}

/// The rules of one port, first match wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub port: String,
    pub source: SourceRef,
    /// The chain of the packets that no rule matches.
    #[serde(rename = "else")]
    pub otherwise: String,
    /// Where the source says so. Bundles of older compilers lack it.
    #[serde(rename = "else_source", default, skip_serializing_if = "Option::is_none")]
    pub otherwise_source: Option<SourceRef>,
    #[serde(rename = "rule", default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The filter as the operator wrote it.
    pub text: String,
    pub filter: Expr,
    pub chain: String,
    pub source: SourceRef,
}
