//! The versioned types of a bundle: everything that crosses from the compiler to the runtime.
//!
//! `onvmc build` writes these types, `onvm-run` reads them; neither side knows more of the other.
//! [`Bundle::load`] verifies every hash and the format version before it hands out anything.

#![forbid(unsafe_code)]

mod cores;
mod demand;
pub mod diff;
mod directory;
mod domains;
pub mod entries;
mod error;
mod fixed;
mod flows;
mod hosts;
mod index;
mod instance;
mod load;
mod made_from;
mod manager;
mod manifest;
mod messages;
mod names;
mod notation;
mod params;
mod reconfigured;
mod replicas;
mod room;
pub mod tables;
mod validate;

pub use cores::{Core, CoreRequest, CoreShare, Cores};
pub use diff::Contents;
pub use domains::{MAX_DOMAINS, domain_name};
pub use error::BundleError;
pub use fixed::fixed_while_running;
pub use flows::{Arm, Flows, Program, Rule, Table};
pub use hosts::{Bulk, Host, MAX_COUNTERS, MAX_FUSED, MAX_GIVEN, Unfit};
pub use index::{FORMAT_VERSION, FileEntry, Index, generation_id, hash_bytes};
pub use instance::InstanceConfig;
pub use load::{Bundle, MAX_BUNDLE, MAX_FILES, MAX_INDEX, MAX_PARAM_FILE, MAX_SETTINGS};
pub use made_from::MadeFrom;
pub use manager::{
    Affinity, Buffers, Chain, Hop, HugePages, Idle, Instance, MAX_CHAINS, MAX_DPDK_PORTS, MAX_HOPS,
    MAX_INSTANCES, MAX_PORTS, MAX_SERVICES, ManagerConfig, MemifRole, PathRef, Port, PortKind, Restart, Run,
    Service, SourceRef, Target, Workers,
};
pub use manifest::{
    Counter, Effects, Manifest, MessageKind, Output, Param, ParamKind, Payload, Resources, RunSpec, Sender,
    State,
};
pub use messages::kind_for;
pub use names::{NAME_RULE, compose_variable, is_bundle_name, is_file_name, is_file_path, is_name};
pub use onvm_filter as filter;
pub use params::ParamSource;
pub use reconfigured::reconfigured;
pub use replicas::Replicas;
pub use room::HEADROOM;

/// The system calls that an NF may make, as container engines take them: `seccomp.json` of a bundle. The same as in the jail of
/// processes, which a test of the runtime sees to.
pub const SECCOMP_PROFILE: &str = include_str!("seccomp.json");
