//! `test` declarations: what they send, and what they expect of it.

mod fail;
mod lower;
mod run;

use std::path::PathBuf;

pub use self::{
    fail::Failure,
    run::{Observed, compare, run},
};
use crate::source::sources::Place;

/// One test, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    pub name: String,
    /// Of the name.
    pub place: Place,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Packets that the interpreter follows, in order.
    Paths(Vec<Statement>),
    /// Captures that go through running NFs.
    Replay(Replay),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    Send(Send),
    Expect(Expectation),
}

/// Copies of one packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    pub place: Place,
    pub port: String,
    pub frame: Vec<u8>,
    pub times: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Each port with the capture that it receives.
    pub captures: Vec<(String, Capture)>,
    pub expectations: Vec<Expectation>,
}

/// A capture that a source names.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    pub place: Place,
    /// As it was written.
    pub name: String,
    /// How it is found on the host.
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    pub place: Place,
    pub what: Expected,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Exactly these nodes; the last may be `drop`.
    Path(Vec<String>),
    Passes(String),
    Drop {
        at: Option<String>,
    },
    Packets {
        port: String,
        count: u64,
    },
    SameAs {
        port: String,
        capture: Capture,
    },
    Counter {
        nf: String,
        counter: String,
        value: u64,
    },
}
