//! Raw bindings to the system's libdpdk (21.11 or newer), and a C shim for its inline functions.
//!
//! Nothing here is safe to call without DPDK's manual. The safe interface is `onvm_run::dpdk`, the only user.
//! The bindings hold exactly what that module calls; add a name to `FUNCTIONS` in `build.rs` to widen them.

#![allow(unsafe_code)]
#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]
#![allow(missing_debug_implementations, unreachable_pub, unused_qualifications)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
