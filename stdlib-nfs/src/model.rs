//! The inputs of an NF's verdicts, as data: for proofs, and for tools that look for a packet of each verdict.

use nflib::{Verdict, filter::Expr};

/// How an NF decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// Every packet goes on.
    Passes,
    /// The first rule that takes the packet decides, for every frame.
    Rules {
        rules: Vec<ModelRule>,
        otherwise: Verdict,
        /// Some packets may be dropped before any rule is asked.
        may_drop: bool,
    },
    /// IP packets whose payload holds one of the patterns get the verdict; the others go on. It may leave packets out; what is
    /// found with it is tried on the NF itself.
    Payload {
        patterns: Vec<Vec<u8>>,
        /// ASCII letters match in either case.
        any_case: bool,
        /// Other packets go on unsearched; none: all are searched.
        only: Option<Expr>,
        found: Verdict,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRule {
    /// The name of its counter: `rule_12` on line 12.
    pub name: String,
    pub filter: Expr,
    pub verdict: Verdict,
}
