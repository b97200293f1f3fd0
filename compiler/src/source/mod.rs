//! Files, and what is said of them: how they are read, where things stand in them, and the list of diagnostics.

pub(crate) mod context;
pub mod host;
pub(crate) mod load;
pub mod sources;
