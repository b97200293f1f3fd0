//! Chain bodies and steering rules.

use super::{Filter, Ident, Spanned};

/// A path, `STEP -> STEP -> ...`; never empty.
pub type Steps = Vec<Step>;

/// One step of a path; the span covers its arms.
pub type Step = Spanned<StepKind>;

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// An NF, a port, a chain to splice in, or a chain parameter, with its arms.
    Node {
        /// Its name.
        name: Ident,
        /// `{ OUTPUT -> STEPS ... }`; empty when no braces were written.
        arms: Vec<Arm>,
    },
    /// `drop`
    Drop,
    /// `NAME(ARG, ...)`: a parametrised chain.
    Call {
        /// The chain's name.
        name: Ident,
        /// The arguments: names of ports, NFs or chains.
        args: Vec<Ident>,
    },
}

/// An arm: where one output of an NF goes.
pub type Arm = Spanned<ArmKind>;

/// `OUTPUT -> STEPS`
#[derive(Debug, Clone, PartialEq)]
pub struct ArmKind {
    /// The output's name in the NF's manifest.
    pub output: Ident,
    /// Where it leads.
    pub steps: Steps,
}

/// A steering rule; the span runs from the filter to the end of the target.
pub type Rule = Spanned<RuleKind>;

/// `FILTER -> TARGET` or `else -> TARGET`
#[derive(Debug, Clone, PartialEq)]
pub struct RuleKind {
    /// Which packets.
    pub matcher: Match,
    /// A chain's name, `drop`, or an inline chain.
    pub target: Steps,
}

/// The left side of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Match {
    /// A filter; [`super::FilterKind::Error`] when it did not parse.
    Filter(Filter),
    /// `else`
    Else(Spanned<()>),
}

impl Match {
    /// Where the filter or the `else` stands.
    pub fn span(&self) -> super::Span {
        match self {
            Self::Filter(f) => f.span,
            Self::Else(e) => e.span,
        }
    }
}
