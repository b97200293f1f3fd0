//! What an NF's verdicts depend on, told in data: for tools that look for a packet of each verdict.

use nflib::Verdict;

/// How an NF decides. What is found with it is tried on the NF itself: a model may leave packets out, but should not tell
/// of any what is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// Every packet goes on.
    Passes,
    /// The first rule that takes the packet decides.
    Rules {
        rules: Vec<ModelRule>,
        otherwise: Verdict,
        /// It may drop any packet besides, whatever the rules say.
        may_drop: bool,
    },
    /// IP packets whose payload holds one of the patterns get the verdict; the others go on.
    Payload {
        patterns: Vec<Vec<u8>>,
        /// ASCII letters match in either case.
        any_case: bool,
        found: Verdict,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRule {
    /// A filter as a bundle's flow table has it. The rule takes all packets that it describes, and perhaps more.
    pub filter: String,
    /// For people: where it stands and what it says, as `line 3: drop udp`.
    pub said: String,
    pub verdict: Verdict,
}
