//! Packets that instances make.
//!
//! An instance whose manifest declares `generates` has a few blank buffers, which the worker takes from the pool and hands to it by
//! a ring of their own. It hands one back as a packet *in the name of* a packet that it holds: generation, hop, port and
//! visits left are those of that packet, as the ledger has them, and the bundle decides where it may go as for that one. So an
//! instance can neither make a packet of another chain nor one that goes round for ever, and has never more buffers for it than
//! its ring holds.

use nflib::{
    Descriptor, Region, ShmRing,
    ring::{Corrupt, Producer},
};

use super::{
    Worker,
    forward::Forward,
    ledger::{Entry, Owner, place},
    packets::Packets,
};
use crate::{capture::Stamp, generation::add};

/// Blanks given at once: a small part of what an instance may have.
const LOT: usize = 32;

/// The blanks of an instance.
#[derive(Debug)]
pub(super) struct Blanks {
    ring: Producer<ShmRing>,
    /// Given to the instance and not handed back.
    held: u32,
}

impl Blanks {
    /// None for an instance that makes no packets.
    pub(super) fn new(region: &Region, worker: u32) -> Option<Box<Self>> {
        let ring = region.blanks_producer(worker)?;
        Some(Box::new(Self { ring, held: 0 }))
    }

    fn room(&self) -> usize {
        self.ring.capacity().saturating_sub(self.held) as usize
    }

    /// Gives these to the instance, a lot at most; returns how many it got.
    fn push(&mut self, buffers: &[u32], offset: u16) -> Result<usize, Corrupt> {
        let mut words = [[0; 2]; LOT];
        for (words, &buffer) in words.iter_mut().zip(buffers) {
            let blank = Descriptor {
                buffer,
                offset,
                ..Descriptor::default()
            };
            *words = blank.to_words();
        }
        let pushed = self.ring.push_words(&words[..buffers.len()])?;
        self.held += pushed as u32;
        Ok(pushed)
    }
}

impl Forward {
    fn blanks(&mut self, slot: u16) -> Option<&mut Blanks> {
        let link = self.links[usize::from(slot)].as_mut().filter(|l| !l.faulty);
        link.and_then(|link| link.blanks.as_deref_mut())
    }

    fn all_blanks(&self) -> impl Iterator<Item = &Blanks> {
        let links = self
            .active
            .iter()
            .filter_map(|&slot| self.links[usize::from(slot)].as_ref());
        links.filter_map(|link| link.blanks.as_deref())
    }

    /// Blanks that the instances of the present may have.
    pub(super) fn most_blanks(&self) -> u32 {
        self.all_blanks().map(|blanks| blanks.ring.capacity()).sum()
    }

    /// A blank never was a packet, so that its end is counted nowhere.
    pub(super) fn free_blank(&mut self, packets: &mut Packets, buffer: u32) {
        packets.ledger.give(buffer, Owner::POOL);
        self.release(buffer);
    }
}

impl Worker {
    /// Gives every instance that makes packets as many blanks as it may have.
    pub(super) fn top_up(&mut self) {
        for i in 0..self.forward.active.len() {
            while self.give_blanks(self.forward.active[i]) == LOT {}
        }
    }

    /// Gives an instance a lot of blanks, as far as there is room and as far as buffers are to spare; returns how many.
    fn give_blanks(&mut self, slot: u16) -> usize {
        let Some(&mut Blanks { ref ring, held }) = self.forward.blanks(slot) else {
            return 0;
        };
        let room = ring.capacity().saturating_sub(held) as usize;
        if room == 0 {
            return 0;
        }
        let Some(pool) = self.forward.domains.pool(self.forward.domain_of(slot)) else {
            return 0;
        };
        let wanted = room.min(LOT).min(self.spare(held, pool.available()) as usize);
        let mut buffers = [0; LOT];
        let got = pool.alloc_burst(&mut buffers[..wanted]);
        for &buffer in &buffers[..got] {
            self.packets.ledger.give(buffer, Owner::blank(slot));
        }
        let offset = self.forward.file.geometry().headroom as u16;
        let pushed = self.forward.blanks(slot).map(|b| b.push(&buffers[..got], offset));
        let outcome = pushed.unwrap_or(Ok(0));
        let pushed = *outcome.as_ref().unwrap_or(&0);
        for &buffer in &buffers[pushed..got] {
            self.forward.free_blank(&mut self.packets, buffer);
        }
        if let Err(corrupt) = outcome {
            self.forward.quarantine(slot, || corrupt.to_string());
        }
        pushed
    }

    /// Buffers that may be lent for blanks to an instance that has so many, of those that are available in its domain.
    ///
    /// An instance gets no more than it leaves to others, as with [`Shares`](super::share::Shares). Each blank may become a packet
    /// that its port's source did not wait for: so sources that can wait leave a part of their credit, of which blanks are lent,
    /// and no ring overflows where they alone have packets inside.
    fn spare(&self, held: u32, available: u32) -> u32 {
        let Self { forward, packets, .. } = self;
        let free = available.saturating_sub(forward.shares.kept_free());
        let ports = forward.waiting.iter().zip(&packets.generations.inside);
        let mut waiting = ports
            .filter(|(waits, _)| **waits)
            .map(|(_, inside)| *inside)
            .peekable();
        let lent: u32 = forward.all_blanks().map(|blanks| blanks.held).sum();
        let left = |lendable: u32| lendable.saturating_sub(lent).saturating_sub(held) / 2;
        let free = free.min(left(forward.shares.lendable()));
        if waiting.peek().is_none() {
            return free;
        }
        let used = lent + waiting.sum::<u32>();
        let credit = self.ingress.credit.saturating_sub(used);
        free.min(left(self.reserved())).min(credit)
    }

    /// The part of the credit of sources that can wait which is kept for blanks.
    #[inline(always)]
    pub(super) fn reserved(&self) -> u32 {
        self.forward.reserved.min(self.ingress.credit / 2)
    }

    /// Takes what is not a packet that the instance holds: one that it made, or what it had no right to hand back.
    #[cold]
    pub(super) fn take_other(&mut self, slot: u16, descriptor: Descriptor) {
        match self.entry_of_made(slot, descriptor) {
            Some(entry) => self.take_made(slot, descriptor, entry),
            None => self.forward.refuse_descriptor(slot),
        }
    }

    /// The entry of a packet that the instance has made of a blank that it has, in the name of a packet that it holds: its buffer
    /// stands where descriptors have a flow's hash.
    fn entry_of_made(&mut self, slot: u16, made: Descriptor) -> Option<Entry> {
        let Descriptor {
            buffer,
            offset,
            length,
            hash: parent,
            ..
        } = made;
        self.packets.ledger.held_by(buffer, Owner::blank(slot))?;
        let parent = self.packets.ledger.held_by(parent, Owner::instance(slot))?;
        let fits = self.forward.file.contains(buffer, offset, length);
        fits.then_some(Entry {
            tag: parent.tag.with_owner(Owner::WORKER),
            place: place(offset, length),
            hash: parent.hash,
        })
    }

    fn take_made(&mut self, slot: u16, made: Descriptor, entry: Entry) {
        let Descriptor {
            buffer,
            hash: parent,
            verdict,
            destination,
            ..
        } = made;
        *self.packets.ledger.entry(buffer) = entry;
        self.packets.generations.enter(entry.tag, 1);
        add(&self.counters.generated, 1);
        add(&self.forward.instance(slot).generated, 1);
        if self.forward.stamped[usize::from(entry.tag.port())] {
            let time = self.forward.stamps.get(parent).time;
            self.forward.stamps.set(buffer, Stamp { time, cut: 0 });
        }
        let mut refill = false;
        if let Some(link) = &mut self.forward.links[usize::from(slot)] {
            link.not_held += 1;
            if let Some(blanks) = &mut link.blanks {
                blanks.held = blanks.held.saturating_sub(1);
                refill = blanks.room().is_multiple_of(LOT);
            }
        }
        self.decide(slot, buffer, verdict, destination);
        if refill {
            self.give_blanks(slot);
        }
    }
}
