//! Why a packet was not delivered.

/// Every drop has one of these and a place, and is counted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Reason {
    /// The chain says `drop` here.
    Chain,
    /// The NF's verdict.
    NfVerdict,
    /// The ring to the instance had no room.
    RingFull,
    /// The instance held its share of the buffers.
    ShareFull,
    /// An NF further down its chain had no room.
    Backpressure,
    /// No instance of the service was running.
    NoInstance,
    /// The instance that held the packet was lost.
    NfLost,
    /// The packet visited more NFs than the bundle's `max_hops`.
    HopLimit,
    /// The port did not take it.
    PortRefused,
    /// Its length or place in the buffer was impossible: from a port, or from an NF that may write.
    Malformed,
    /// Longer than a buffer.
    TooLong,
    /// No buffer was free to copy the packet into (ports whose driver has memory of its own, as `af_xdp`).
    BufferExhausted,
    /// The manager stopped before the packet had left.
    Shutdown,
}

impl Reason {
    pub const COUNT: usize = 13;
    pub const ALL: [Self; Self::COUNT] = [
        Self::Chain,
        Self::NfVerdict,
        Self::RingFull,
        Self::ShareFull,
        Self::Backpressure,
        Self::NoInstance,
        Self::NfLost,
        Self::HopLimit,
        Self::PortRefused,
        Self::Malformed,
        Self::TooLong,
        Self::BufferExhausted,
        Self::Shutdown,
    ];

    /// The name in `status`, `/metrics` and the balance.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::NfVerdict => "nf_verdict",
            Self::RingFull => "ring_full",
            Self::ShareFull => "share_full",
            Self::Backpressure => "backpressure",
            Self::NoInstance => "no_instance",
            Self::NfLost => "nf_lost",
            Self::HopLimit => "hop_limit",
            Self::PortRefused => "port_refused",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::BufferExhausted => "buffer_exhausted",
            Self::Shutdown => "shutdown",
        }
    }

    /// That of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// A chain, a filter or an NF decided so; every other drop is a fault of the run, or of what leaves no room.
    pub fn is_decided(self) -> bool {
        matches!(
            self,
            Self::Chain | Self::NfVerdict | Self::HopLimit | Self::TooLong | Self::Malformed
        )
    }

    /// Packets are lost for it by the end of an NF, and by nothing that a chain, a filter or an NF decided.
    pub fn is_lost_nf(self) -> bool {
        matches!(self, Self::NfLost | Self::NoInstance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_index_and_a_name_of_its_own() {
        for (i, r) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(r as usize, i);
            assert_eq!(Reason::named(r.name()), Some(r));
        }
    }
}
