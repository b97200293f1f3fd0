//! Code shared by several NFs.

use nflib::{Packet, filter::Expr};

pub(crate) mod counters;
pub(crate) mod files;

/// Whether a packet is among those that a parameter `only` names; without one, all are.
#[inline]
pub(crate) fn is_of(only: &Option<Expr>, packet: &Packet<'_>) -> bool {
    only.as_ref().is_none_or(|filter| packet.matches(filter))
}
