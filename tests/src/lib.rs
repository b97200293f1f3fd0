//! What the end-to-end suites share: the built programs, scratch directories, a running `onvm-run`, captures, network
//! namespaces. The suites are in `tests/`; the misbehaving network functions that some of them need are the program
//! `test-nf`.
//!
//! Everything that a test starts or makes belongs to a value here whose `Drop` ends or removes it, also when the test
//! fails. Every wait has a bound, and a wait that fails says what it waited for and shows the log of `onvm-run`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

pub mod by_hand;
pub mod capture;
pub mod engine;
pub mod feed;
pub mod guest;
pub mod holdings;
pub mod http;
pub mod manager;
pub mod marks;
pub mod misused;
pub mod namespace;
pub mod probe;
pub mod process;
pub mod programs;
pub mod random;
pub mod scratch;
pub mod variants;

pub use by_hand::ByHand;
pub use engine::Engine;
pub use feed::Feed;
pub use manager::{Finished, Manager, Summary};
pub use scratch::Scratch;
