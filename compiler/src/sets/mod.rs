//! Sets of packets: which packets a filter takes, which a rule leaves over for the next, and one of them to look at.
//!
//! # Idea
//! A packet is a point in a space with one dimension for each *field* that filters look at: bytes at an offset, bytes behind
//! the IPv4 header, the captured length, the length on the wire, and the outcome of any test that is not a set of values of
//! these. A filter is a union of *cubes*, which say for some fields which values they may have ([`lower`]). That is the
//! geometry of header space analysis (Kazemian, Varghese, McKeown, NSDI 2012), with sets of ranges in place of bits and
//! wildcards.
//!
//! Rules are not subtracted from each other: the rest of a set would fall into ever more pieces. Instead a packet is
//! looked for ([`search`]):
//!
//! ```text
//! rules  1: src 10.0.0.0/9     2: src 10.128.0.0/9 and tcp     3: src 10.0.0.0/8
//! is there a packet for rule 3?   point in 3:                   10.0.0.7 tcp      taken by 1
//!                                 point in 3 outside 1:         10.128.0.7 tcp    taken by 2
//!                                 point in 3 outside 1 and 2:   10.128.0.7 udp    left over: rule 3 is useful
//! ```
//!
//! Each step asks the [`index`] which earlier rule takes the point, and cuts its cube out, along one field after the other, in
//! disjoint pieces. Most rules are done after one or two points. When no piece is left, the rules met cover the set.
//!
//! Where packets go that are classified again after NFs have rewritten header fields is asked the same way, of what is left of
//! a set when all that it says of those fields is forgotten ([`rewrite`]).
//!
//! Which packets several tables send certain ways, such as a port's rules and those of the firewalls behind it ([`decided`]), is
//! asked of all of them at once: no rule is looked at that the packets in question do not meet.
//!
//! Which rules overlap ([`RuleTable::overlaps`]) is asked the same way, of the pairs whose cubes the index finds to meet.
//!
//! # What is exact
//! Lowering is: a packet is in a cube of a filter if and only if the filter takes it, captures cut short included. The
//! space is not: fields may overlap in a packet (`ether[0]` and `ether dst`, a port and a load of four bytes), and there they
//! cannot have all values independently. So the space holds every packet and more. That nothing is left over is therefore a
//! proof; a point left over is none.
//!
//! Points are made as frames ([`frame`]). Where no frame has a point's values, the bits that fields share are looked at
//! ([`agree`]): either they cannot agree, and no packet is in the cube, which is then left out; or the frame is made with bits
//! on which they do. A [`Witness`] has been confirmed by evaluating the filters on its bytes. Still unknown are tests
//! that are not a set of values of one field, such as a load whose offset another load computes.
//!
//! # Effort
//! A search has a [`Budget`], and a filter at most [`lower::MAX_CUBES`] cubes. Where they do not suffice the answer is
//! that nothing is known.
//!
//! Measured on generated rules with nested prefixes, port ranges and wildcards (`onvm-bench b7`): near linear from 1,000 to
//! 100,000 rules; most of the time goes into lowering, not into searching.

mod addresses;
mod agree;
mod cube;
mod ends;
mod field;
mod frame;
mod index;
mod lower;
mod point;
mod primitive;
mod relation;
mod rewrite;
mod search;
mod solve;
mod table;
mod values;
mod witness;
mod words;

#[cfg(test)]
pub(crate) mod brute;
#[cfg(test)]
mod brute_bits;
#[cfg(test)]
mod brute_overlap;
#[cfg(test)]
mod brute_rewrite;
#[cfg(test)]
pub(crate) mod exact;

pub use field::Fields;
pub(crate) use field::{Bytes, Field};
pub use frame::Frame;
pub(crate) use rewrite::{Shape, Written, shapes};
pub use search::Budget;
pub use table::{
    Answer, Effective, Overlap, Overlaps, Rewriting, Rewritten, RuleTable, Set, Taker, Verdict, common,
};
pub(crate) use table::{Choice, Decided, Found, Seen, decided, find};
pub use witness::Witness;
