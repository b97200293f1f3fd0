//! `onvmc lsp`: whole sessions with the real program.

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
