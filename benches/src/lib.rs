//! What the benchmark programs are made of. `benches/README.md` says what each benchmark measures and how to read it.
//!
//! One module a benchmark (`ring`, `chain_length`, `nf_start`, `rules`, `compiler`, `language_server`, `idle`, `instructions`), each with a `run` that
//! returns a [`results::Record`]; the rest is what they share.

pub mod chain_length;
pub mod compiler;
mod error;
pub mod host;
pub mod idle;
pub mod instructions;
pub mod language_server;
pub mod manager;
pub mod nf_start;
pub mod report;
pub mod results;
pub mod rig;
pub mod ring;
pub mod rules;

pub use error::BenchError;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// A two-minute subset: fewer chain lengths and sizes, never fewer than five repetitions of what a goal is judged by.
    pub quick: bool,
    /// Times that everything compared is repeated, interleaved.
    pub repetitions: u32,
}
