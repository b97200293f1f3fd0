//! Where packets come from, and what chain each takes.

use std::sync::Arc;

use nflib::memory::{PacketFile, PrivateCopy};

use super::flows::{Flows, Foreseen};
use crate::{
    capture::{Player, Stamps},
    dpdk::{RxBurst, RxQueue},
    generation::Generation,
    interface,
    receiver::Taker,
    worker::BURST,
};

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
    pub(super) flows: Flows,
    /// Of the packets of the burst that is being classified.
    pub(super) foreseen: Box<[Foreseen; BURST]>,
    /// Packets that the sources which can wait may have inside together.
    pub(super) credit: u32,
    /// The current generation. Held here, too, since counting a reference for each burst would wait for all stores before it.
    pub(super) tables: Option<Arc<Generation>>,
    /// The port that the last round began with.
    turn: usize,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) source: Source,
    pub(super) burst: RxBurst,
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
            flows: Flows::default(),
            foreseen: Box::new([Foreseen::NOTHING; BURST]),
            credit,
            tables: None,
            turn: 0,
            closed: false,
        }
    }

    pub(super) fn open(&mut self, port: u16, source: Option<Source>) {
        let at = usize::from(port);
        if self.ports.len() <= at {
            self.ports.resize_with(at + 1, || None);
        }
        let most = self.most_at_once() as usize;
        self.ports[at] = source.map(|source| Receiver {
            burst: RxBurst::new(match source.kind {
                SourceKind::Live => BURST,
                _ => most,
            }),
            source,
            turn: 0,
            starved: false,
        });
    }

    /// Packets that a source which can wait lets in at once: no more than fit into what the credit is at least, half of it, where the
    /// other half is kept for packets that instances make.
    pub(super) fn most_at_once(&self) -> u32 {
        (self.credit / 2).clamp(1, BURST as u32)
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
}
