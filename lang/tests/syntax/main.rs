//! Sources and filters as they are read and laid out, and what an operator reads about wrong ones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod errors;
mod filter;
mod format;
mod nasty;
mod parse;
