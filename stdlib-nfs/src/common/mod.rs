//! What several NFs share.

use nflib::filter::Expr;

pub(crate) mod counters;
pub(crate) mod files;

/// Whether a packet is among those that a parameter `only` names; without one, all are.
#[inline]
pub(crate) fn is_of(only: &Option<Expr>, data: &[u8]) -> bool {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    only.as_ref().is_none_or(|filter| filter.matches(data, length))
}
