//! The manager: loads a bundle on DPDK and runs its chains.

#![deny(unsafe_code)]
#![allow(unexpected_cfgs, reason = "cargo-fuzz sets `fuzzing`")]

pub mod api;
pub mod capture;
mod container;
pub mod control;
pub mod director;
pub mod dpdk;
pub mod error;
pub mod fleet;
pub mod generation;
pub mod interface;
pub mod jail;
pub mod ports;
pub mod receiver;
pub mod rundir;
pub mod worker;
