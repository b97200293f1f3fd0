//! Byte spans, and nodes that carry one.

use std::ops::{Deref, Range};

/// A half-open range of byte offsets into the source text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The span from `start` up to, not including, `end`. Offsets beyond 4 GiB saturate; the parser
    /// refuses such sources before a span is made.
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            start: clamp(start),
            end: clamp(end.max(start)),
        }
    }

    /// The smallest span that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The same span `by` bytes further on.
    #[must_use]
    pub fn shift(self, by: u32) -> Self {
        Self {
            start: self.start.saturating_add(by),
            end: self.end.saturating_add(by),
        }
    }

    /// The part at the end that is as long as `text`.
    #[must_use]
    pub fn tail(self, text: &str) -> Self {
        let len = Self::new(0, text.len()).end;
        Self {
            start: self.end.saturating_sub(len).max(self.start),
            end: self.end,
        }
    }

    /// The span as a range, for slicing the source.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Length in bytes.
    pub fn len(self) -> u32 {
        self.end - self.start
    }

    /// True for a span that covers no byte.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The text under the span; empty when the span does not lie in `source`.
    pub fn text(self, source: &str) -> &str {
        source.get(self.range()).unwrap_or("")
    }
}

/// A node with the span that it was read from. Two are equal when their nodes are equal: spans are
/// left out of the comparison.
#[derive(Debug, Clone, Default)]
pub struct Spanned<T> {
    /// What was read.
    pub node: T,
    /// Where it was read.
    pub span: Span,
}

/// A name.
pub type Ident = Spanned<String>;

impl<T> Spanned<T> {
    /// Puts a span on a node.
    pub fn new(node: T, span: Span) -> Self {
        Self { node, span }
    }

    /// Changes the node and keeps the span.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            node: change(self.node),
            span: self.span,
        }
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.node
    }
}
