//! The chain compiler: checks `.chain` sources and lowers them to bundles.
//!
//! Nothing here touches the machine but [`disk`]: files come through [`host::Host`], and a finished bundle is an
//! [`artifact::Artifact`] in memory.

#![forbid(unsafe_code)]

pub mod artifact;
mod assets;
mod chains;
mod claims;
mod context;
mod declare;
pub mod diagnostics;
pub mod disk;
#[cfg(test)]
mod docs;
pub mod doctor;
mod fields;
pub mod filter;
pub mod graph;
pub mod host;
pub mod interpret;
mod load;
pub mod lsp;
mod manifests;
mod models;
mod names;
mod notation;
mod overrides;
mod packet;
pub mod placement;
mod program;
mod proofs;
pub mod render;
mod rules;
pub mod scenarios;
pub mod sets;
pub mod sources;
mod spec;
mod steering;
#[cfg(test)]
mod testing;
pub mod traffic;
mod units;
mod values;

pub use manifests::standard_names;
pub use program::{Checked, Inputs, Program, Proof, check};
