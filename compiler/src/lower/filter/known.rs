//! How many of the layers that a filter has named a packet is known to have, from the outside in, along the ways through a filter: the same reasoning as
//! [`Expr::uses`](onvm_bundle::filter::Expr::uses), done on the source to warn with its spans.

/// Layers known to be there after a part of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// When the part is true.
    pub(super) when_true: u8,
    /// When it is false.
    pub(super) when_false: u8,
}

impl Known {
    pub(super) fn same(layers: u8) -> Self {
        Self {
            when_true: layers,
            when_false: layers,
        }
    }

    pub(super) fn negate(self) -> Self {
        Self {
            when_true: self.when_false,
            when_false: self.when_true,
        }
    }

    /// After `self and right`, where `right` was reached with `self.when_true`.
    pub(super) fn and(self, right: Self) -> Self {
        Self {
            when_true: right.when_true,
            when_false: self.when_false.min(right.when_false),
        }
    }

    /// After `self or right`, where `right` was reached with `self.when_false`.
    pub(super) fn or(self, right: Self) -> Self {
        self.negate().and(right.negate()).negate()
    }
}
