//! The packets that `send` and `onvmc trace` make: which fields each protocol has, and the frame that they come to.

mod fields;
mod frame;
mod send;

pub(crate) use fields::specs;
pub(crate) use frame::frame;
pub(crate) use send::Send;

/// Why fields that are right by themselves make no packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The field to point at, if it was written.
    pub(crate) field: &'static str,
    pub(crate) message: String,
    pub(crate) help: String,
}

#[cfg(test)]
mod tests;
