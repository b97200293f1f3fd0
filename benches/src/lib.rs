//! What the benchmark programs are made of. `benches/README.md` says what each benchmark measures and how to read it.
//!
//! One module a benchmark, each with a `run` that returns a [`results::Record`]; the rest is what they share: [`manager`] runs
//! `onvm-run` as an operator would, [`rig`] its worker alone in the calling thread, [`ring`] and [`testpmd`] are what to compare with.

use std::time::Duration;

pub mod chain_length;
pub mod compiler;
pub mod containers;
mod error;
pub mod flow_director;
mod flow_entries;
pub mod fused;
pub mod host;
pub mod http_mix;
pub mod idle;
pub mod instructions;
pub mod language_server;
pub mod latency;
pub mod manager;
pub mod nf_loss;
mod nf_process;
pub mod nf_start;
pub mod port_to_port;
pub mod report;
pub mod restarts;
pub mod results;
pub mod rig;
pub mod ring;
pub mod rules;
pub mod testpmd;

pub use error::BenchError;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// A two-minute subset: fewer chain lengths and sizes, never fewer than five repetitions of what a goal is judged by.
    pub quick: bool,
    /// Times that everything compared is repeated, interleaved.
    pub repetitions: u32,
}

impl Effort {
    /// What is passed over before a rate is measured, and how long it is measured.
    pub fn windows(self) -> (Duration, Duration) {
        let (warm_up, measured) = if self.quick { (200, 500) } else { (1000, 1500) };
        (Duration::from_millis(warm_up), Duration::from_millis(measured))
    }
}
