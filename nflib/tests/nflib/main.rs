//! What network functions and the manager share: headers and their rewriting, parameters, the region, and the ring under loom.

#![allow(clippy::unwrap_used)]

mod clock;
mod counters;
mod filter_params;
mod headers;
mod region;
mod rewrite;
mod ring_model;
