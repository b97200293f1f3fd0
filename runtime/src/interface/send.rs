//! The sending end of an interface, for a worker.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Kind, Link, Shared,
    calls::{self, Batch},
};
use crate::dpdk::{MAX_BURST, PacketPool, Sent, TxDesc};

const SHORTEST: u16 = 14;

/// Sends out of an interface.
pub struct Sender {
    shared: Arc<Shared>,
    batch: Box<Batch>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            batch: Box::new(Batch::new()),
        }
    }

    /// Sends copies of packets that the caller holds. What the kernel took is on its way; without a carrier it takes none.
    pub fn tx_burst(&mut self, pool: &PacketPool, packets: &[TxDesc]) -> Sent {
        let mut sent = Sent::default();
        // The kernel would take packets for an interface without a carrier, and drop them or send them when it is back.
        if self.shared.kind == Kind::AfPacket && self.shared.link() != Link::Up {
            return sent;
        }
        let longest = self.shared.longest.load(Ordering::Relaxed);
        let fits =
            |p: &TxDesc| (u32::from(SHORTEST)..=longest).contains(&p.len.into()) && pool.bytes(p).is_some();
        for part in packets.chunks(MAX_BURST) {
            let good = part.iter().take_while(|p| fits(p)).count();
            let (accepted, too_long) = match self.shared.kind {
                Kind::AfPacket => self.send(pool, &part[..good]),
                Kind::Tap => self.write(pool, &part[..good]),
            };
            sent.accepted += accepted;
            if accepted < part.len() {
                sent.malformed = accepted == good;
                sent.refused_one = too_long;
                break;
            }
        }
        sent
    }

    /// How many the kernel took, and whether it refuses only the one after them.
    fn send(&mut self, pool: &PacketPool, packets: &[TxDesc]) -> (usize, bool) {
        let mut sent = 0;
        while sent < packets.len() {
            match self.batch.send(self.shared.device(), pool, &packets[sent..]) {
                (0, Some(e)) => return (sent, e.raw_os_error() == Some(libc::EMSGSIZE)),
                (0, None) => break,
                (more, _) => sent += more,
            }
        }
        (sent, false)
    }

    fn write(&mut self, pool: &PacketPool, packets: &[TxDesc]) -> (usize, bool) {
        let device = self.shared.device();
        let written = packets
            .iter()
            .take_while(|p| calls::write(device, pool, p).is_ok());
        (written.count(), false)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("interface", &self.shared.name)
            .finish_non_exhaustive()
    }
}
