//! The C API of `nflib`, from which `include/onvm_nf.h` is generated: for NFs in C, C++, and every language that can call C.
//!
//! An NF is a table of callbacks ([`onvm_nf_ops`]) that [`onvm_nf_run`] drives as it drives an [`nflib::Nf`]. Functions return a
//! status and leave what they give in their last argument; [`onvm_error_text`] says in words why one failed.
//!
//! **No panic crosses the boundary.** Every exported function is `extern "C"`, which aborts the process with the panic's message
//! and place: to catch it instead would leave an NF half-way through a burst whose state nobody knows, and the manager starts an
//! NF that has aborted again. Callbacks are called as `extern "C-unwind"`, so that an exception of C++ that leaves one is defined
//! to end in the same way.
//!
//! **Obligations of the caller**, on which the `unsafe` here rests (they stand in the header's comment): pointers are null or
//! valid for the type that their parameter has; texts end with a zero byte; handles are used by the thread that runs the callbacks
//! and within the lifetime that the function which gave them states. Null pointers, handles of a burst that is over, numbers out
//! of range and texts that are not UTF-8 are refused with an error.

#![allow(
    unsafe_code,
    non_camel_case_types,
    reason = "the boundary to C, which names its types so"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the obligations are the same for all functions: see above"
)]

mod burst;
mod checked;
mod counters;
mod error;
mod flows;
mod headers;
mod log;
mod messages;
mod ops;
mod params;
mod select;
mod setup;

pub use burst::*;
pub use counters::*;
pub use error::*;
pub use flows::*;
pub use headers::*;
pub use log::*;
pub use messages::*;
pub use ops::*;
pub use params::*;
pub use select::*;
pub use setup::*;
