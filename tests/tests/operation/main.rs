//! A manager at work: edits, lost NFs, requests, faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod adversarial;
mod apply;
mod author;
mod chaos;
mod control;
mod cores;
mod domains;
mod errors;
mod failover;
mod fused;
mod lifecycle;
mod messages;
mod opennetvm;
mod programmed;
mod reattach;
mod reconfigure;
mod replicas;
mod sdn;
mod soak;
mod talk;
