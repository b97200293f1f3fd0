//! Filters, rules and the index over them: against libpcap, against the walk over all rules, and their text.

#![allow(clippy::unwrap_used, clippy::panic)]

mod classifier;
mod flow_rules;
mod libpcap;
mod optimiser;
mod packets;
mod reach;
mod rules;
mod text;
mod uses;
