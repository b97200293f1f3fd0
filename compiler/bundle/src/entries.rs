//! Flow entries: which of those in front of a port's rules takes a packet. The manager asks indexes, the interpreter one after the
//! other; what they ask is this.

use std::cmp::Reverse;

use crate::{
    Program,
    filter::{Expr, FlowMatch},
    tables::{HopIndex, NO_HOP},
};

/// What entries of one NF that lead to one chain may take: packets of any of the arms.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The first hop of the chain; [`NO_HOP`] where the program does not permit that.
    pub hop: HopIndex,
    pub arms: Vec<Expr>,
}

impl Grant {
    /// What nothing permits.
    pub const NONE: Self = Self {
        hop: NO_HOP,
        arms: Vec::new(),
    };

    pub fn is_permitted(&self) -> bool {
        self.hop != NO_HOP
    }

    /// Whether an entry may take the frame.
    pub fn admits(&self, frame: &[u8], wire_length: u32) -> bool {
        self.is_permitted() && self.arms.iter().any(|arm| arm.matches(frame, wire_length))
    }
}

/// Of the entries that take a packet, the least decides: that of the highest priority, then one for a flow before one by a filter,
/// then the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence(Reverse<u16>, bool, u64);

impl Precedence {
    /// `age` rises with each new entry.
    pub fn new(priority: u16, matches: &FlowMatch, age: u64) -> Self {
        Self(Reverse(priority), matches.filter().is_some(), age)
    }
}

/// What may be programmed at a port: NF, chain, and of which packets; the same pair with each of its filters.
pub fn permitted<'a>(
    programs: &'a [Program],
    port: &str,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Expr)> {
    let of_it = programs.iter().filter(move |program| program.port == port);
    of_it.flat_map(|program| {
        program.arms.iter().flat_map(|arm| {
            let chains = arm.targets.iter();
            chains.map(|chain| (program.nf.as_str(), chain.as_str(), &arm.filter))
        })
    })
}
