//! Whole programs given to the library: what is told of mistakes, and what rules mean. And what the library is made of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dependencies;
mod edge_capture;
mod firewall;
mod mistakes;
mod rules;
mod slips;
