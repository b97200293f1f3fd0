//! Which packets go which way: a packet for each way of a program ([`witnesses`]), and the packets that an edit sends another
//! way ([`changes`]); where the packets of a filter can go ([`query`]).
//!
//! # Idea
//! This is the abstract counterpart of [`crate::interpret`]. A *route* ([`routes`]) is a way through a chain, with what its NFs
//! decided to bring it about; two chains are walked in step up to where they part, and then each to its end. For a rule and a
//! route a packet is looked for ([`search`]) that the rule takes and of which the NFs decide so. The packets of a steering rule,
//! and of a rule of a firewall, are sets ([`crate::sets`]); a payload is made of the patterns that an NF looks for ([`scanner`]).
//! An NF's model ([`stdlib_nfs::Model`]) states the inputs of its decisions.
//!
//! ```text
//! steer wan { tcp -> fw -> lan   else -> drop }      fw accepts what goes to port 80
//! rule `tcp`, route `fw next, lan`:   tcp, and taken by fw's first rule     tcp to port 80
//! rule `tcp`, route `fw drop`:        tcp, and taken by fw's default        tcp to port 81
//! rule `else`, route `drop`:          not tcp                               udp
//! ```
//!
//! # What is exact
//! A packet that is found has gone its way through the interpreter, through the standard NFs' own code. That there is none is a
//! proof where only steering decides; models leave out malformed packets, and payloads behind several VLAN tags ([`Certainty`]). A third-party NF
//! can do all that its manifest and the chain permit; its inputs cannot be known, which is reported.
//!
//! # Effort
//! An edit of a few rules is looked at by the rules that have no counterpart ([`aligned`]), not by every pair; chains that are
//! as they were are not walked. All searches of one question share a [`Budget`](crate::sets::Budget).

mod aligned;
mod changes;
#[cfg(test)]
mod program_tests;
mod programmed;
mod query;
#[cfg(test)]
mod query_tests;
mod routes;
mod scanner;
mod search;
mod side;
#[cfg(test)]
mod tests;
mod which;
mod witnesses;

pub use changes::{Changes, Condition, PathChange, Taken, changes};
pub use programmed::{May, ProgramChange};
pub use query::{Answers, Decided, Programmable, Question, Reached, query};
pub(crate) use scanner::Scanner;
pub use search::Certainty;
pub use side::Models;
pub use which::{Unwritten, Which};
pub use witnesses::{Missing, Way, Witnesses, witnesses};
