//! Where packets come from, and what chain each takes.

use std::sync::Arc;

use nflib::memory::{PacketFile, PrivateCopy};
use onvm_bundle::filter::{
    FlowCache,
    flow::{self, flow_of},
};

use crate::{
    capture::{Player, Stamps},
    dpdk::{RxBurst, RxQueue},
    generation::PortTable,
    interface,
    receiver::Taker,
    worker::BURST,
};

/// The index of a port's rule; of `else`, the number of rules.
type Rule = u32;

/// Flows that a port's cache has room for.
const FLOWS: usize = 1 << 21;

/// Where a port's packets come from, and how that behaves.
#[derive(Debug)]
pub struct Source {
    pub feed: Feed,
    pub kind: SourceKind,
}

#[derive(Debug)]
pub enum Feed {
    Queues(Vec<RxQueue>),
    Interface(interface::Receiver),
    Capture(Player),
    Handed(Handed),
}

/// What receivers hand on: whole flows.
#[derive(Debug)]
pub struct Handed {
    /// One for each receiver that serves the port.
    pub rings: Vec<Taker>,
    /// The port is a capture, which says more of its packets than their bytes.
    pub stamped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Packets arrive at any time; those that find no room are lost.
    Live,
    /// The source waits for room: a capture that is repeated, a generator.
    Endless,
    /// The source waits for room, and has an end: a capture.
    Finite,
    /// It was read to its end.
    Ended,
}

impl Source {
    /// Takes a burst from the next queue in turn; returns how many packets.
    #[inline(always)]
    pub(crate) fn take_burst(&mut self, turn: &mut usize, burst: &mut RxBurst, stamps: &mut Stamps) -> usize {
        match &mut self.feed {
            Feed::Queues(queues) => next(queues, turn).map_or(0, |queue| queue.rx_burst(burst)),
            Feed::Interface(receiver) => receiver.rx_burst(burst),
            Feed::Capture(player) => player.rx_burst(burst, stamps),
            Feed::Handed(Handed { rings, stamped }) => {
                burst.clear();
                let stamps = stamped.then_some(stamps);
                next(rings, turn).map_or(0, |ring| ring.take(burst, stamps))
            }
        }
    }

    /// Nothing comes any more.
    pub(crate) fn has_ended(&mut self) -> bool {
        match &mut self.feed {
            Feed::Capture(player) => player.has_ended(),
            Feed::Handed(Handed { rings, .. }) => rings.iter_mut().all(Taker::has_ended),
            Feed::Queues(_) | Feed::Interface(_) => false,
        }
    }

    /// It says more of its packets than their bytes.
    pub(crate) fn is_stamped(&self) -> bool {
        match &self.feed {
            Feed::Capture(_) => true,
            Feed::Handed(handed) => handed.stamped,
            Feed::Queues(_) | Feed::Interface(_) => false,
        }
    }

    /// Receivers hand it on: what is in their rings has been taken in already.
    pub(super) fn is_handed(&self) -> bool {
        matches!(self.feed, Feed::Handed(_))
    }
}

/// The next one in turn.
#[inline(always)]
fn next<'a, T>(all: &'a mut [T], turn: &mut usize) -> Option<&'a mut T> {
    *turn = if *turn + 1 < all.len() { *turn + 1 } else { 0 };
    all.get_mut(*turn)
}

#[derive(Debug)]
pub(super) struct Ingress {
    pub(super) file: Arc<PacketFile>,
    /// Of the packet that is being classified.
    pub(super) copy: PrivateCopy,
    /// By port id.
    pub(super) ports: Vec<Option<Receiver>>,
    /// Packets that the sources which can wait may have inside together.
    pub(super) credit: u32,
    /// The port that the last round began with.
    turn: usize,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) source: Source,
    pub(super) burst: RxBurst,
    flows: FlowCache,
    /// The queue that was served last.
    pub(super) turn: usize,
    /// A service that its packets may come to waits for an instance.
    pub(super) starved: bool,
}

impl Ingress {
    pub(super) fn new(file: Arc<PacketFile>, credit: u32) -> Self {
        Self {
            copy: PrivateCopy::new(&file),
            file,
            ports: Vec::new(),
            credit,
            turn: 0,
            closed: false,
        }
    }

    pub(super) fn open(&mut self, port: u16, source: Option<Source>) {
        let at = usize::from(port);
        if self.ports.len() <= at {
            self.ports.resize_with(at + 1, || None);
        }
        self.ports[at] = source.map(|source| Receiver {
            source,
            burst: RxBurst::new(BURST),
            flows: FlowCache::default(),
            turn: 0,
            starved: false,
        });
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether all that receivers have handed on has been taken; they have ended.
    pub(super) fn is_taken(&mut self) -> bool {
        let mut sources = self.ports.iter_mut().flatten().map(|r| &mut r.source);
        sources.all(|source| !source.is_handed() || source.has_ended())
    }

    /// Whether some source must be looked at to know whether packets came.
    pub(super) fn must_be_polled(&self) -> bool {
        let mut open = self.ports.iter().flatten().map(|r| &r.source);
        open.any(|s| s.kind != SourceKind::Ended && (!self.closed || s.is_handed()))
    }

    /// The ports, beginning with another one each time.
    #[inline(always)]
    pub(super) fn in_turn(&mut self) -> impl Iterator<Item = usize> + use<> {
        let ports = self.ports.len();
        self.turn = if self.turn + 1 < ports { self.turn + 1 } else { 0 };
        (self.turn..ports).chain(0..self.turn.min(ports))
    }

    /// Goes over to other rules, by port id.
    pub(super) fn renew_flows(&mut self, tables: &[PortTable]) {
        for (receiver, table) in self.ports.iter_mut().zip(tables) {
            if let Some(receiver) = receiver {
                receiver.flows.forget();
                if table.by_flow && !table.rules.is_empty() {
                    receiver.flows.reserve(FLOWS);
                }
            }
        }
    }
}

impl Receiver {
    /// The packet's hash and its rule, as [`PortTable::entry`] counts them. `read` is asked once for at most so many of its bytes, which nobody
    /// else may write: an NF that changes the packet meanwhile must not have one key looked at and another packet's rule
    /// kept for it.
    #[inline(always)]
    pub(super) fn classify<'b>(
        flows: &mut FlowCache,
        table: &PortTable,
        length: u16,
        nic_hash: Option<u32>,
        read: impl FnOnce(u16) -> &'b [u8],
    ) -> (u32, Rule) {
        if table.rules.is_empty() {
            let hash = nic_hash.unwrap_or_else(|| flow_of(read(flow::REACH)).hash);
            return (hash, 0);
        }
        let head = read(table.reach.max(flow::REACH));
        let flow = flow_of(head);
        let hash = nic_hash.unwrap_or(flow.hash);
        let decide = || table.entry(head, length.into()) as Rule;
        let rule = match flow.key {
            Some(key) if table.by_flow => flows.get(&key, decide),
            _ => decide(),
        };
        (hash, rule)
    }

    pub(super) fn flows_mut(&mut self) -> (&RxBurst, &mut FlowCache) {
        (&self.burst, &mut self.flows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use nflib::memory::{Geometry, Mapping, create_file};

    use super::*;

    const GEOMETRY: Geometry = Geometry {
        buffers: 2,
        stride: 512,
        headroom: 128,
    };
    const AT: usize = 128;
    /// The word of a frame that begins with the destination port.
    const PORT_AT: usize = 36;
    const PLAIN: u16 = 80;
    const SECRET: u16 = 99;

    /// Writes a frame of TCP, all but the word with its port, as an NF does that maps the file.
    fn write(to: &Mapping, flow: u32) {
        let mut frame = [0; 64];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[17], frame[22], frame[23]) = (0x45, 50, 64, 6);
        frame[26..30].copy_from_slice(&flow.to_be_bytes());
        for (i, word) in frame.as_chunks().0.iter().enumerate() {
            if i * 4 != PORT_AT {
                store(to, i * 4, *word);
            }
        }
    }

    fn write_port(to: &Mapping, port: u16) {
        let [high, low] = port.to_be_bytes();
        store(to, PORT_AT, [high, low, 0, 0]);
    }

    fn store(to: &Mapping, at: usize, word: [u8; 4]) {
        let value = u32::from_ne_bytes(word);
        to.u32_at(AT + at).unwrap().store(value, Ordering::Relaxed);
    }

    /// An NF that flips the port of a packet while it is classified cannot have the rule of one port kept for the other.
    #[test]
    fn what_is_kept_of_a_flow_is_true_whoever_writes_meanwhile() {
        const FLOWS: u32 = 100_000;
        let fd = create_file("flips", GEOMETRY.bytes(), false).unwrap();
        let packets = PacketFile::new(Mapping::new(&fd, true).unwrap(), GEOMETRY).unwrap();
        let nf = Mapping::new(&fd, true).unwrap();
        let table = PortTable::new(vec![("(tcp-port dst 99)".parse().unwrap(), 1)], 0);
        let mut flows = FlowCache::default();
        flows.reserve(1 << 20);
        let mut copy = PrivateCopy::new(&packets);
        let mut classify = |flow: u32| {
            write(&nf, flow);
            let (_, rule) = Receiver::classify(&mut flows, &table, 64, None, |most| {
                copy.take(&packets, 0, AT as u16, most.min(64))
            });
            table.target(rule as usize)
        };
        let over = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    write_port(&nf, SECRET);
                    write_port(&nf, PLAIN);
                }
            });
            let mut seen = [0; 2];
            for flow in 0..FLOWS {
                seen[usize::from(classify(flow))] += 1;
            }
            over.store(true, Ordering::Relaxed);
            seen
        });
        assert!(
            seen.iter().all(|&n| n > 100),
            "the port was not flipped: {seen:?}"
        );
        for (port, hop) in [(PLAIN, 0), (SECRET, 1)] {
            write_port(&nf, port);
            for flow in 0..FLOWS {
                assert_eq!(classify(flow), hop, "port {port} of flow {flow}");
            }
        }
    }
}
