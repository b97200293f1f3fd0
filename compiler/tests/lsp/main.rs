//! `onvmc lsp`: whole sessions with the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actions;
mod client;
mod complete;
mod edits;
mod grammar;
mod look_up;
mod refactor;
mod rules;
mod session;
mod traffic;
