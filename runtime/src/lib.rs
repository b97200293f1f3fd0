//! The manager: loads a bundle on DPDK and runs its chains.

#![deny(unsafe_code)]
#![allow(unexpected_cfgs, reason = "cargo-fuzz sets `fuzzing`")]

pub mod capture;
pub mod control;
pub mod dpdk;
pub mod error;
pub mod generation;
pub mod interface;
pub mod jail;
pub mod reason;
pub mod worker;
