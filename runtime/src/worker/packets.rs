//! The packets inside: the holder of each buffer, and the generations that they were classified by.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nflib::{Descriptor, VERDICT_NEXT};

use super::{
    GENERATION_SLOTS, SourceKind,
    credit::Inside,
    ledger::{Ledger, Owner, Tag},
};
use crate::generation::Generation;

/// How long a live source's packets wait for those of the old generation to leave, so that no flow is reordered by an
/// edit. An NF that keeps packets for longer gives up its flows' order across the edit, not the traffic.
const ORDER_PATIENCE: Duration = Duration::from_millis(5);

/// The worker's truth about its packets. Code that moves one asks both parts.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) ledger: Ledger,
    pub(super) generations: Generations,
}

impl Packets {
    pub(super) fn new(buffers: u32) -> Self {
        Self {
            ledger: Ledger::new(buffers),
            generations: Generations::new(),
        }
    }

    /// The tag of a packet that an instance hands back to follow the chain, if it holds it.
    #[inline(always)]
    pub(super) fn follower(&mut self, slot: u16, descriptor: Descriptor) -> Option<Tag> {
        let Descriptor { buffer, verdict, .. } = descriptor;
        let entry = self.ledger.held_by(buffer, Owner::instance(slot))?;
        (verdict == VERDICT_NEXT).then_some(entry.tag)
    }
}

/// A generation that packets inside may still refer to.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) tables: Arc<Generation>,
    pub(super) in_flight: u64,
    /// The same by the port that they came from.
    pub(super) inside: Inside,
}

/// The generations alive, by slot; a packet's ledger entry names its slot.
#[derive(Debug)]
pub(crate) struct Generations {
    pub(super) live: [Option<Live>; GENERATION_SLOTS],
    pub(super) current: usize,
    /// Packets of all of them inside.
    pub(super) in_flight: u64,
    /// The same by the port that they came from.
    pub(super) inside: Inside,
    /// While older generations have packets inside: until when live sources wait for theirs to leave. Sources that can wait
    /// wait for as long as it takes.
    pub(super) hold: Option<Instant>,
}

impl Generations {
    pub(crate) fn new() -> Self {
        Self {
            live: Default::default(),
            current: 0,
            in_flight: 0,
            inside: [0; 256],
            hold: None,
        }
    }

    /// Classifies packets that come in from now on by these tables.
    pub(crate) fn publish(&mut self, tables: Arc<Generation>) {
        let old = self.current;
        let slot = (tables.number % GENERATION_SLOTS as u64) as usize;
        self.live[slot] = Some(Live {
            tables,
            in_flight: 0,
            inside: [0; 256],
        });
        self.current = slot;
        if slot != old && self.live[old].as_ref().is_some_and(|l| l.in_flight > 0) {
            self.hold = Some(Instant::now() + ORDER_PATIENCE);
        }
    }

    /// Lets go of old generations whose last packet has left; gives their numbers.
    pub(crate) fn retire(&mut self) -> Vec<u64> {
        let (mut gone, mut draining) = (Vec::new(), false);
        let current = self.current;
        for (_, entry) in self
            .live
            .iter_mut()
            .enumerate()
            .filter(|(slot, _)| *slot != current)
        {
            let Some(old) = entry else { continue };
            if old.in_flight > 0 {
                draining = true;
                continue;
            }
            gone.push(old.tables.number);
            *entry = None;
        }
        if !draining {
            self.hold = None;
        }
        gone
    }

    /// So many packets of a tag's generation and port came in.
    #[inline(always)]
    pub(crate) fn enter(&mut self, tag: Tag, packets: u32) {
        if let Some(live) = &mut self.live[usize::from(tag.generation())] {
            let port = usize::from(tag.port());
            live.in_flight += u64::from(packets);
            live.inside[port] += packets;
            self.in_flight += u64::from(packets);
            self.inside[port] += packets;
        }
    }

    /// So many packets of a tag's generation and port have left or were dropped.
    #[inline(always)]
    pub(crate) fn leave(&mut self, tag: Tag, packets: u32) {
        if let Some(live) = &mut self.live[usize::from(tag.generation())] {
            let port = usize::from(tag.port());
            live.in_flight -= u64::from(packets);
            live.inside[port] -= packets;
            self.in_flight -= u64::from(packets);
            self.inside[port] -= packets;
        }
    }

    /// Whether a port's source of this kind is to wait, so that its packets of an older generation leave first.
    pub(super) fn holds(&self, port: usize, kind: SourceKind) -> bool {
        let Some(until) = self.hold else { return false };
        let mut old = self
            .live
            .iter()
            .enumerate()
            .filter(|(slot, _)| *slot != self.current);
        old.any(|(_, l)| l.as_ref().is_some_and(|l| l.inside[port] > 0))
            && (kind != SourceKind::Live || Instant::now() < until)
    }
}
