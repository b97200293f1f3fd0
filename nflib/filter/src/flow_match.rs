//! What a flow entry matches.

use serde::{Deserialize, Serialize};

use crate::{Expr, flow::FlowKey};

/// What an entry matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowMatch {
    /// Packets with this key: one direction of a flow.
    Flow(FlowKey),
    /// Packets with this key, or with that of the other direction, that come in by the port.
    BothWays(FlowKey),
    /// Packets of a filter.
    Filter(Expr),
}

impl FlowMatch {
    /// Whether it takes a frame of this key, if it has one, as its port's rules see the frame.
    #[inline]
    pub fn takes(&self, key: Option<&FlowKey>, frame: &[u8], wire_length: u32) -> bool {
        match self {
            Self::Flow(of) => key == Some(of),
            Self::BothWays(of) => key.is_some_and(|key| key == of || *key == of.reversed()),
            Self::Filter(filter) => filter.matches(frame, wire_length),
        }
    }

    /// The key, where it is of a flow.
    pub fn key(&self) -> Option<&FlowKey> {
        match self {
            Self::Flow(key) | Self::BothWays(key) => Some(key),
            Self::Filter(_) => None,
        }
    }

    /// The filter, where it is one.
    pub fn filter(&self) -> Option<&Expr> {
        match self {
            Self::Filter(filter) => Some(filter),
            Self::Flow(_) | Self::BothWays(_) => None,
        }
    }
}
