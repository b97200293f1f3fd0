//! A port's sending side.

use std::sync::{Arc, Mutex, PoisonError};

use nflib::memory::PacketFile;
use onvm_api::Reason;

use super::{BURST, forward::Forward, packets::Packets};
use crate::{
    capture::{Recorder, Stamp},
    dpdk::{PacketPool, Sent, TxDesc, TxQueue},
    generation::add,
    interface,
};

/// Where a port's packets go.
#[derive(Debug)]
pub enum Sink {
    Queue(TxQueue),
    Interface(interface::Sender),
    Capture(Recorder),
    /// Of several workers: locked once a burst.
    Shared(Arc<Mutex<TxQueue>>),
}

/// A port's sending side and the burst under way to it.
#[derive(Debug, Default)]
pub(super) struct Exit {
    pub(super) sink: Option<Sink>,
    pub(super) staged: Staged,
}

/// The burst under way to a port. Its packets have left their generations already.
#[derive(Debug)]
pub(super) struct Staged {
    packets: [TxDesc; BURST],
    count: usize,
    bytes: u64,
}

impl Default for Staged {
    fn default() -> Self {
        Self {
            packets: [TxDesc::default(); BURST],
            count: 0,
            bytes: 0,
        }
    }
}

impl Staged {
    /// Where more of them go.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [TxDesc] {
        &mut self.packets[self.count..]
    }

    /// So many, with so many bytes, have been put where there was room.
    #[inline(always)]
    pub(super) fn more(&mut self, packets: usize, bytes: u64) {
        self.count = (self.count + packets).min(BURST);
        self.bytes += bytes;
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == BURST
    }
}

impl Sink {
    /// A queue for so many workers.
    pub fn queue(queue: TxQueue, workers: usize) -> Vec<Self> {
        if workers == 1 {
            return vec![Self::Queue(queue)];
        }
        let shared = Arc::new(Mutex::new(queue));
        (0..workers).map(|_| Self::Shared(shared.clone())).collect()
    }

    /// It frees the packets that it takes; of others the worker does so.
    fn frees(&self) -> bool {
        matches!(self, Self::Queue(_) | Self::Shared(_))
    }

    /// Packets that sources which can wait may have inside for it.
    fn room(&self) -> u32 {
        match self {
            Self::Capture(recorder) => recorder.room(),
            Self::Queue(_) | Self::Shared(_) | Self::Interface(_) => u32::MAX,
        }
    }

    /// Offers packets that the worker holds. `about` says what the capture that a packet came from says of it, and whether its
    /// source waits for room.
    fn tx_burst(
        &mut self,
        pool: &PacketPool,
        file: &PacketFile,
        packets: &[TxDesc],
        about: &mut dyn FnMut(u32) -> (Stamp, bool),
    ) -> Sent {
        match self {
            Self::Queue(queue) => queue.tx_burst(pool, packets),
            Self::Interface(sender) => sender.tx_burst(pool, packets),
            Self::Capture(recorder) => recorder.tx_burst(file, packets, about),
            Self::Shared(queue) => {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.tx_burst(pool, packets)
            }
        }
    }
}

impl Forward {
    pub(super) fn open(&mut self, port: u16, sink: Option<Sink>) {
        if let Some(exit) = self.sinks.get_mut(usize::from(port)) {
            exit.sink = sink;
        }
    }

    /// Packets that sources which can wait may have inside, for the outputs that are behind.
    pub(super) fn output_room(&self) -> u32 {
        let sinks = self
            .sinks
            .iter()
            .filter_map(|exit| Some((exit.sink.as_ref()?, &exit.staged)));
        // Those under way to it are not inside any more, and not with it yet.
        sinks
            .map(|(sink, staged)| sink.room().saturating_sub(staged.count as u32))
            .min()
            .unwrap_or(u32::MAX)
    }

    pub(super) fn transmit(&mut self, packets: &mut Packets, port: u16) {
        let at = usize::from(port);
        let (count, mut done) = (self.sinks[at].staged.count, 0);
        while done < count {
            let sent = self.offer(packets, port, done);
            let gone = sent.accepted.min(count - done);
            self.count_sent(port, done, gone);
            // A driver frees what it took; the others have copies.
            if !self.sinks[at].sink.as_ref().is_some_and(Sink::frees) {
                for i in done..done + gone {
                    self.release(self.sinks[at].staged.packets[i].index);
                }
            }
            done += gone;
            let reason = match sent.malformed {
                true => Reason::Malformed,
                false => Reason::PortRefused,
            };
            let bad = match sent.malformed || sent.refused_one {
                true => (count - done).min(1),
                false => count - done,
            };
            for i in done..done + bad {
                let buffer = self.sinks[at].staged.packets[i].index;
                packets.generations.enter(packets.ledger.entry(buffer).tag, 1);
                self.discard(packets, buffer, reason);
            }
            done += bad;
        }
        let staged = &mut self.sinks[at].staged;
        (staged.count, staged.bytes) = (0, 0);
    }

    /// Counts so many packets of the burst under way, from one on.
    fn count_sent(&mut self, port: u16, from: usize, packets: usize) {
        let staged = &self.sinks[usize::from(port)].staged;
        let bytes = match packets == staged.count {
            true => staged.bytes,
            false => {
                let sent = staged.packets[from..from + packets].iter();
                sent.map(|packet| u64::from(packet.len)).sum()
            }
        };
        let counters = &self.counters.ports[usize::from(port)];
        add(&counters.tx_packets, packets as u64);
        add(&counters.tx_bytes, bytes);
    }

    /// Offers the burst under way, from one packet on.
    fn offer(&mut self, packets: &mut Packets, port: u16, from: usize) -> Sent {
        let Exit { sink, staged } = &mut self.sinks[usize::from(port)];
        let Some(sink) = sink else {
            return Sent::default();
        };
        let burst = &staged.packets[from..staged.count];
        let (stamps, stamped, waiting) = (&self.stamps, &self.stamped, &self.waiting);
        sink.tx_burst(self.domains.any(), &self.file, burst, &mut |buffer| {
            let from = usize::from(packets.ledger.entry(buffer).tag.port());
            let stamp = if stamped[from] {
                stamps.get(buffer)
            } else {
                Stamp::default()
            };
            (stamp, waiting[from])
        })
    }
}
