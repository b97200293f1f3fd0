//! Filters of the language against libpcap, and what an operator reads about those that are wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../nflib/filter/tests/filters/packets/carried.rs"]
mod carried;
mod diagnostics;
#[path = "../../../nflib/filter/tests/filters/packets/frames.rs"]
mod frames;
mod libpcap;
mod names;
#[path = "../../../nflib/filter/tests/filters/packets/oracle.rs"]
mod oracle;
mod proposals;
