//! From declarations to what the runtime reads: ports and services, filters, hop tables, rules; and what is claimed of them.

pub(crate) mod chains;
pub(crate) mod claims;
pub(crate) mod declare;
pub mod filter;
pub(crate) mod steering;
