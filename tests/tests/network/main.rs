//! Ports at the kernel's interfaces. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod interfaces;
mod namespaces;
