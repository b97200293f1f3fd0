//! Random frames, filters and rules, and libpcap's answers about them.

pub(crate) mod carried;
pub(crate) mod frames;
pub(crate) mod lists;
pub(crate) mod oracle;
pub(crate) mod trees;
