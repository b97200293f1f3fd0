//! What network functions and the manager share: headers, parameters, the region, and the ring under loom.

#![allow(clippy::unwrap_used)]

mod filter_params;
mod headers;
mod region;
mod ring_model;
