//! For the unit tests of an NF: [`packet`] makes packets to send through it. A dev-dependency, so that an NF itself is built without
//! what tests need.

pub mod packet;
