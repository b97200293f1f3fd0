//! Packet sets.

mod cube;
mod ends;
mod field;
mod frame;
mod index;
mod lower;
mod point;
mod relation;
mod search;
mod solve;
mod table;
mod tests;
mod values;
mod witness;

#[cfg(test)]
mod brute;
#[cfg(test)]
mod exact;

pub use field::Fields;
pub use frame::Frame;
pub use search::Budget;
pub use table::{Answer, Effective, Set, Table, Taker, Verdict, intersect};
pub use witness::Witness;
