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
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Staged {
    packets: [TxDesc; BURST],
    count: usize,
}

impl Staged {
    /// Where more of them go.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [TxDesc] {
        &mut self.packets[self.count..]
    }

    /// So many have been put where there was room.
    #[inline(always)]
    pub(super) fn more(&mut self, packets: usize) {
        self.count = (self.count + packets).min(BURST);
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
        let sinks = self.sinks.iter().filter_map(|exit| exit.sink.as_ref());
        sinks.map(Sink::room).min().unwrap_or(u32::MAX)
    }

    pub(super) fn transmit(&mut self, packets: &mut Packets, port: u16) {
        let staged = &mut self.sinks[usize::from(port)].staged;
        let (burst, count) = (staged.packets, std::mem::take(&mut staged.count));
        let mut rest = &burst[..count];
        while !rest.is_empty() {
            let sent = self.offer(packets, port, rest);
            let (gone, left) = rest.split_at(sent.accepted.min(rest.len()));
            self.count_sent(port, gone);
            // A driver frees what it took; the others have copies.
            if !self.sinks[usize::from(port)]
                .sink
                .as_ref()
                .is_some_and(Sink::frees)
            {
                gone.iter().for_each(|packet| self.release(packet.index));
            }
            let reason = match sent.malformed {
                true => Reason::Malformed,
                false => Reason::PortRefused,
            };
            let bad = match sent.malformed || sent.refused_one {
                true => left.len().min(1),
                false => left.len(),
            };
            let (bad, left) = left.split_at(bad);
            for packet in bad {
                packets
                    .generations
                    .enter(packets.ledger.entry(packet.index).tag, 1);
                self.discard(packets, packet.index, reason);
            }
            rest = left;
        }
    }

    fn count_sent(&mut self, port: u16, sent: &[TxDesc]) {
        let counters = &self.counters.ports[usize::from(port)];
        add(&counters.tx_packets, sent.len() as u64);
        let bytes = sent.iter().map(|packet| u64::from(packet.len)).sum();
        add(&counters.tx_bytes, bytes);
    }

    fn offer(&mut self, packets: &mut Packets, port: u16, burst: &[TxDesc]) -> Sent {
        let Some(sink) = &mut self.sinks[usize::from(port)].sink else {
            return Sent::default();
        };
        let (stamps, stamped, waiting) = (&self.stamps, &self.stamped, &self.waiting);
        sink.tx_burst(&self.pool, &self.file, burst, &mut |buffer| {
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
