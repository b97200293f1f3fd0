//! The standard network functions, one module each, and the table by which `onvm-nf` finds them.
//!
//! In each module's folder stands its manifest: parameters, outputs, effects and counters. Operators' pages are in
//! `docs/nfs/`.

mod common;
pub mod firewall;
pub mod flow_tracker;
pub mod forward;
mod model;
pub mod monitor;
pub mod payload_scan;
#[cfg(test)]
mod test_packets;

use nflib::{
    Nf, Params, Program, SetupError,
    testing::{AnyBench, Bench},
};

pub use model::{Model, ModelRule};

/// One NF of the multi-call binary.
#[derive(Debug, Clone, Copy)]
pub struct StandardNf {
    /// The type name in `nf x = NAME { ... }` and the binary's argument.
    pub name: &'static str,
    /// The text of its manifest.
    pub manifest: &'static str,
    /// Attaches to the manager named by the environment and runs until asked to stop, alone or fused with others.
    pub program: Program,
    /// Builds the NF without a manager, for one packet at a time.
    pub bench: fn(Params) -> Result<Box<dyn AnyBench>, SetupError>,
    /// Reads the parameters as the NF does when it starts, and nothing more: anything refused at the start is refused
    /// here.
    pub check: fn(&Params) -> Result<(), SetupError>,
    /// The inputs of its verdicts.
    pub model: fn(&Params) -> Result<Model, SetupError>,
}

/// All standard NFs, in the order of their names.
pub const NFS: &[StandardNf] = &[
    StandardNf {
        name: "firewall",
        manifest: include_str!("firewall/manifest.toml"),
        program: Program::of::<firewall::Firewall>("firewall"),
        bench: bench::<firewall::Firewall>,
        check: firewall::check,
        model: firewall::model::model,
    },
    StandardNf {
        name: "flow_tracker",
        manifest: include_str!("flow_tracker/manifest.toml"),
        program: Program::of::<flow_tracker::FlowTracker>("flow_tracker"),
        bench: bench::<flow_tracker::FlowTracker>,
        check: flow_tracker::check,
        model: passes,
    },
    StandardNf {
        name: "forward",
        manifest: include_str!("forward/manifest.toml"),
        program: Program::of::<forward::Forward>("forward"),
        bench: bench::<forward::Forward>,
        check: no_parameters,
        model: passes,
    },
    StandardNf {
        name: "monitor",
        manifest: include_str!("monitor/manifest.toml"),
        program: Program::of::<monitor::Monitor>("monitor"),
        bench: bench::<monitor::Monitor>,
        check: monitor::check,
        model: passes,
    },
    StandardNf {
        name: "payload_scan",
        manifest: include_str!("payload_scan/manifest.toml"),
        program: Program::of::<payload_scan::PayloadScan>("payload_scan"),
        bench: bench::<payload_scan::PayloadScan>,
        check: payload_scan::check,
        model: payload_scan::model,
    },
];

fn bench<N: Nf + 'static>(params: Params) -> Result<Box<dyn AnyBench>, SetupError> {
    Ok(Box::new(Bench::<N>::new(params)?))
}

fn no_parameters(_params: &Params) -> Result<(), SetupError> {
    Ok(())
}

fn passes(_params: &Params) -> Result<Model, SetupError> {
    Ok(Model::Passes)
}

/// The standard NF of this name.
pub fn find(name: &str) -> Option<&'static StandardNf> {
    NFS.iter().find(|nf| nf.name == name)
}

impl StandardNf {
    /// The manifest's one-line summary.
    pub fn summary(&self) -> &'static str {
        let line = self
            .manifest
            .lines()
            .find_map(|line| line.strip_prefix("summary = "));
        line.map_or("", |quoted| quoted.trim_matches('"'))
    }
}
