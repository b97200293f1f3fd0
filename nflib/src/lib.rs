//! The library that network functions (NFs) link: packets, verdicts, the [`Nf`] trait and its run loop.
//!
//! An NF is a plain process. It needs the path of its own socket in `ONVM_NF_SOCKET` and nothing else: over that socket
//! the manager hands it two memory files, the *region* (rings, counters, doorbells; its own) and the *packet file*
//! (shared; mapped read-only for an NF whose manifest writes nothing). There is no DPDK in this crate.
//!
//! ```no_run
//! use nflib::{Burst, Nf, Setup, SetupError};
//!
//! struct DropAll;
//!
//! impl Nf for DropAll {
//!     fn new(_: &mut Setup) -> Result<Self, SetupError> {
//!         Ok(DropAll)
//!     }
//!     fn process(&mut self, burst: &mut Burst<'_>) {
//!         for mut packet in burst.packets() {
//!             packet.drop();
//!         }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     nflib::run::<DropAll>()
//! }
//! ```
//!
//! All `unsafe` of the shared memory lives in [`memory`](mod@memory), which turns file descriptors into mappings and
//! mappings into references to atomics and to packet bytes.

#![deny(unsafe_code)]

pub mod bell;
mod burst;
mod connection;
pub mod counters;
mod descriptor;
pub mod filter;
pub mod flows;
mod fused;
pub mod headers;
pub mod idle;
pub mod layout;
pub mod log;
pub mod memory;
pub mod messages;
mod nf;
mod params;
mod region;
pub mod rights;
pub mod ring;
mod run;
pub mod session;
pub mod state;
pub mod testing;
mod time;

pub use burst::{Burst, GenerateError, Packet, ReadOnly, ResizeError};
pub use counters::{Counter, CounterSet, Gauge, Histogram};
pub use descriptor::{
    Descriptor, IGNORE_TAGS, Run, VERDICT_DROP, VERDICT_LOOKUP, VERDICT_NEXT, VERDICT_OUT, VERDICT_OUTPUT,
    VERDICT_STEER, Verdict,
};
pub use fused::{FUSED, Member, Program, run_fused, run_programs};
pub use messages::{Message, Origin, Peers, Sent};
pub use nf::{Nf, Reconfigured, Setup, SetupError};
pub use params::{FileMistake, FileMistakes, FileSpan, FlowTarget, Output, Params, ParamsError};
pub use region::{Region, RegionError, ShmRing};
pub use run::{RunError, attach_and_run, run, run_to_code, run_with};
pub use time::Time;
