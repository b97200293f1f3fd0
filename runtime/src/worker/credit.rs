//! How many packets of sources that can wait may be inside.
//!
//! All of them together are no more than a ring holds, so that none is lost to a full ring. Each source has its part, so that
//! one whose packets are kept on their way does not stop the others; and where the parts are smaller than a burst, the round
//! begins with another port each time, so that none is always the last.

use super::{Receiver, SourceKind};

/// Packets inside, by port id.
pub(super) type Inside = [u32; 256];

/// What one round may take in from sources that can wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credit {
    /// For all of them together.
    left: u32,
    /// Packets that each may have inside.
    each: u32,
    /// Packets that one lets in at once.
    burst: u32,
}

impl Credit {
    /// For so many together at present, and at most so many whatever is at present; one lets so many in at once.
    pub(super) fn new(now: u32, total: u32, burst: u32, ports: &[Option<Receiver>], inside: &Inside) -> Self {
        let (mut waiting, mut used) = (0, 0);
        for (receiver, inside) in ports.iter().zip(inside) {
            match receiver.as_ref().map(|r| r.source.kind) {
                None | Some(SourceKind::Live) => {}
                // Packets of one that has been read to its end may still be inside.
                Some(SourceKind::Ended) => used += inside,
                Some(SourceKind::Endless | SourceKind::Finite) => {
                    waiting += 1;
                    used += inside;
                }
            }
        }
        Self {
            left: now.saturating_sub(used),
            each: (total / waiting.max(1)).max(burst),
            burst,
        }
    }

    /// Whether a source that has so many packets inside may add a burst.
    #[inline(always)]
    pub(super) fn suffices(&self, inside: u32) -> bool {
        self.left >= self.burst && inside + self.burst <= self.each
    }

    #[inline(always)]
    pub(super) fn spend(&mut self, packets: usize) {
        self.left = self.left.saturating_sub(packets as u32);
    }
}
