//! Packets through a running manager: captures, workers, flows, and what was foretold of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod captures;
mod domains;
mod fifos;
mod flows;
mod formats;
mod generate;
mod given;
mod lookup;
mod replay;
mod resize;
mod witness;
mod workers;
