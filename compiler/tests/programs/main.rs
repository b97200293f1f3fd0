//! Whole programs given to the library: what is told of mistakes, what rules mean, and the bundles that are written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bundle;
mod edge_capture;
mod firewall;
mod mistakes;
mod rules;
mod slips;
