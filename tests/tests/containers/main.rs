//! NFs in containers, on a real engine: the one that runs, or one that the tests start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod hardships;
mod images;
mod isolation;
mod lifecycle;
mod refusals;
