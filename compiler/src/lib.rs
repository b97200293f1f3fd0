//! The chain compiler: checks `.chain` sources and lowers them to bundles.
//!
//! Nothing here touches the machine: files come through [`host::Host`], and a finished bundle is an
//! [`artifact::Artifact`] in memory. The crate `onvmc-cli` has the commands.

#![forbid(unsafe_code)]

pub mod artifact;
mod check;
pub mod diagnostics;
#[cfg(test)]
mod docs;
pub mod doctor;
pub mod graph;
pub mod interpret;
mod lower;
pub mod lsp;
mod models;
mod packet;
pub mod placement;
mod program;
mod proofs;
pub mod render;
mod resolve;
pub mod scenarios;
pub mod sets;
mod source;
#[cfg(test)]
mod testing;
pub mod traffic;

pub use check::check;
pub use lower::filter;
pub use program::{Checked, Inputs, Program, Proof};
pub use resolve::{manifests::standard_names, messages};
pub use source::{host, sources};
