//! What names and values stand for: the one set of names, `$references`, inputs, and what settings and NF types take.

pub(crate) mod assets;
pub(crate) mod fields;
pub(crate) mod manifests;
pub mod messages;
pub(crate) mod names;
pub(crate) mod notation;
pub(crate) mod overrides;
pub(crate) mod rules;
pub(crate) mod spec;
pub(crate) mod units;
pub(crate) mod values;
