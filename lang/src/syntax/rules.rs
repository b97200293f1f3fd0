//! Rules: filters with a verdict each, in a file of their own or as a block in a source.

use super::{Filter, Ident, Span};

/// `[NAME:] VERDICT FILTER`
#[derive(Debug, Clone, PartialEq)]
pub struct RuleLine {
    /// What counters call it; none: its line.
    pub name: Option<Ident>,
    /// One of the words that the parameter's manifest lists.
    pub verdict: Ident,
    /// Which packets it decides on.
    pub filter: Filter,
}

impl RuleLine {
    /// All of it.
    pub fn span(&self) -> Span {
        let first = self.name.as_ref().unwrap_or(&self.verdict);
        first.span.to(self.filter.span)
    }
}
