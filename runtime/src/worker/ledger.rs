//! The holder of each buffer and the place of its packet: the manager's private truth about packets.
//!
//! NFs see none of this, so they can neither forge a packet's place nor give back what they do not hold.

use std::fmt;

use crate::generation::HopIndex;

/// Holder of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(u16);

impl Owner {
    /// In the pool, or with a device.
    pub(super) const POOL: Self = Self(0);
    /// In the worker's hands.
    pub(super) const WORKER: Self = Self(1);

    /// The instance in this slot.
    #[inline(always)]
    pub(super) fn instance(slot: u16) -> Self {
        Self(slot + 2)
    }

    /// The same, for a buffer without a packet: of those that the instance makes packets of.
    #[inline(always)]
    pub(super) fn blank(slot: u16) -> Self {
        Self(Self::instance(slot).0 | BLANK)
    }

    /// The slot, if an instance holds a packet in it.
    pub(super) fn slot(self) -> Option<u16> {
        match self.is_blank() {
            true => None,
            false => self.0.checked_sub(2),
        }
    }

    pub(super) fn is_blank(self) -> bool {
        self.0 & BLANK != 0
    }
}

/// Above every slot.
const BLANK: u16 = 1 << 15;

/// What the worker knows about the packet in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) tag: Tag,
    pub(super) hash: u32,
    /// Offset in the buffer (low half) and length, as a descriptor's first word has them: one field, since halves that are
    /// written apart and read together stall the processor.
    pub(super) place: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Holder and place of a packet, in one word, so that it is compared and written at once. From the
/// lowest bit on: holder (16 bits), hop (16), slot of the generation that classified the packet, NF visits left, id of the port
/// that it came from, and the period in which it was given to the instance that holds it ([`age`](super::age); 8 bits each).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tag(u64);

const HOP: u32 = 16;
const GENERATION: u32 = 32;
const VISITS: u32 = 40;
const PORT: u32 = 48;
const GIVEN: u32 = 56;

impl Tag {
    /// A packet that has come in from a port, in the worker's hands.
    #[inline(always)]
    pub(crate) fn new(hop: HopIndex, generation: u8, visits_left: u8, port: u8) -> Self {
        let at = u64::from(Owner::WORKER.0) | u64::from(hop) << HOP | u64::from(generation) << GENERATION;
        Self(at | u64::from(visits_left) << VISITS | u64::from(port) << PORT)
    }

    #[inline(always)]
    pub(super) fn owner(self) -> Owner {
        Owner(self.0 as u16)
    }

    #[inline(always)]
    pub(super) fn hop(self) -> HopIndex {
        (self.0 >> HOP) as HopIndex
    }

    #[inline(always)]
    pub(super) fn generation(self) -> u8 {
        (self.0 >> GENERATION) as u8
    }

    /// NF visits left.
    #[inline(always)]
    pub(super) fn visits_left(self) -> u8 {
        (self.0 >> VISITS) as u8
    }

    #[inline(always)]
    pub(super) fn port(self) -> u8 {
        (self.0 >> PORT) as u8
    }

    #[inline(always)]
    pub(super) fn given(self) -> u8 {
        (self.0 >> GIVEN) as u8
    }

    #[inline(always)]
    fn with(self, at: u32, bits: u64, value: u64) -> Self {
        Self(self.0 & !(bits << at) | value << at)
    }

    #[inline(always)]
    pub(super) fn with_owner(self, owner: Owner) -> Self {
        self.with(0, 0xffff, owner.0.into())
    }

    #[inline(always)]
    pub(super) fn with_hop(self, hop: HopIndex) -> Self {
        self.with(HOP, 0xffff, hop.into())
    }

    #[inline(always)]
    pub(super) fn with_visits_left(self, visits: u8) -> Self {
        self.with(VISITS, 0xff, visits.into())
    }

    #[inline(always)]
    pub(super) fn with_given(self, period: u8) -> Self {
        self.with(GIVEN, 0xff, period.into())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tag")
            .field("owner", &self.owner())
            .field("hop", &self.hop())
            .field("generation", &self.generation())
            .field("visits_left", &self.visits_left())
            .field("port", &self.port())
            .field("given", &self.given())
            .finish()
    }
}

/// An [`Entry::place`].
#[inline(always)]
pub(super) fn place(offset: u16, length: u16) -> u32 {
    u32::from(offset) | u32::from(length) << 16
}

impl Entry {
    /// Offset and length.
    #[inline(always)]
    pub(super) fn extent(&self) -> (u16, u16) {
        (self.place as u16, (self.place >> 16) as u16)
    }

    /// The descriptor of the packet in `buffer`, with these flags, for the next NF or a run of fused ones ([`Run::word`](nflib::Run::word)):
    /// no verdict yet.
    #[inline(always)]
    pub(super) fn descriptor(&self, buffer: u32, flags: u8, run: u64) -> [u64; 2] {
        [
            u64::from(buffer) | u64::from(self.place) << 32,
            u64::from(self.hash) | u64::from(flags) << 40 | run,
        ]
    }
}

impl Entry {
    /// Of a buffer without a packet.
    pub(super) const FREE: Self = Self {
        tag: Tag(0),
        hash: 0,
        place: 0,
    };
}

const _: () = assert!(Owner::POOL.0 == 0);

/// One worker's entries for all buffers.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn new(buffers: u32) -> Self {
        Self {
            entries: vec![Entry::FREE; buffers as usize],
        }
    }

    /// Has entries for so many buffers from now on: no fewer than before.
    pub(super) fn grow(&mut self, buffers: u32) {
        let buffers = self.entries.len().max(buffers as usize);
        self.entries.resize(buffers, Entry::FREE);
    }

    /// The entry of a buffer whose index comes from the manager itself.
    #[inline(always)]
    pub(super) fn entry(&mut self, buffer: u32) -> &mut Entry {
        &mut self.entries[buffer as usize]
    }

    /// Gives a buffer to another holder.
    #[inline(always)]
    pub(super) fn give(&mut self, buffer: u32, owner: Owner) -> Tag {
        let entry = self.entry(buffer);
        entry.tag = entry.tag.with_owner(owner);
        entry.tag
    }

    /// The entries of all buffers.
    #[inline(always)]
    pub(super) fn all(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The entry, if the buffer exists and `owner` holds it: the check on everything that an NF hands back.
    #[inline(always)]
    pub(super) fn held_by(&mut self, buffer: u32, owner: Owner) -> Option<&mut Entry> {
        self.entries
            .get_mut(buffer as usize)
            .filter(|e| e.tag.owner() == owner)
    }

    /// Entries of at most `length` buffers, from a buffer on.
    pub(super) fn slice(&self, from: usize, length: usize) -> &[Entry] {
        let rest = self.entries.get(from..).unwrap_or_default();
        &rest[..length.min(rest.len())]
    }

    /// Packets of a generation that instances hold: slot and buffer.
    pub(super) fn of_generation(&self, generation: usize) -> Vec<(u16, u32)> {
        let of = |(i, e): (usize, &Entry)| {
            let owner = e.tag.owner();
            let slot = owner
                .slot()
                .filter(|_| usize::from(e.tag.generation()) == generation)?;
            Some((slot, i as u32))
        };
        self.entries.iter().enumerate().filter_map(of).collect()
    }

    /// The buffers that `owner` holds.
    pub(super) fn all_of(&self, owner: Owner) -> Vec<u32> {
        let held = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.tag.owner() == owner);
        held.map(|(i, _)| i as u32).collect()
    }

    /// The buffers that instances have to make packets of.
    pub(super) fn all_blanks(&self) -> Vec<u32> {
        let blanks = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.tag.owner().is_blank());
        blanks.map(|(i, _)| i as u32).collect()
    }

    /// The buffers that any instance holds a packet in.
    pub(super) fn all_of_instances(&self) -> Vec<u32> {
        let held = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.tag.owner().slot().is_some());
        held.map(|(i, _)| i as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use nflib::Descriptor;

    use super::*;

    #[test]
    fn an_entry_makes_the_descriptor_that_nflib_reads() {
        let mut ledger = Ledger::new(8);
        let entry = ledger.entry(5);
        (entry.place, entry.hash) = (place(130, 64), 0xfeed_f00d);
        assert_eq!(entry.extent(), (130, 64));
        let read = Descriptor::from_words(entry.descriptor(5, 1, 0));
        let expected = Descriptor {
            buffer: 5,
            offset: 130,
            length: 64,
            hash: 0xfeed_f00d,
            flags: 1,
            ..Descriptor::default()
        };
        assert_eq!(read, expected);
    }

    /// Each field at its bounds beside its neighbours' other bounds.
    #[test]
    fn what_a_tag_holds_does_not_run_into_what_stands_beside_it() {
        let fields = |tag: Tag| {
            let Tag(_) = tag;
            let bytes = [tag.generation(), tag.visits_left(), tag.port(), tag.given()];
            (tag.owner(), tag.hop(), bytes)
        };
        let full = Tag(u64::MAX);
        let owner = Owner::instance(7);
        assert_eq!(fields(full.with_owner(owner)), (owner, 0xffff, [0xff; 4]));
        assert_eq!(fields(full.with_hop(0)), (Owner(0xffff), 0, [0xff; 4]));
        assert_eq!(full.with_visits_left(3).visits_left(), 3);
        assert_eq!(
            fields(full.with_given(0)),
            (Owner(0xffff), 0xffff, [0xff, 0xff, 0xff, 0])
        );
        let new = Tag::new(0xfffe, 15, 250, 255);
        assert_eq!(fields(new), (Owner::WORKER, 0xfffe, [15, 250, 255, 0]));
    }

    #[test]
    fn only_the_holder_finds_its_buffer() {
        let mut ledger = Ledger::new(4);
        ledger.give(2, Owner::instance(7));
        assert!(ledger.held_by(2, Owner::instance(7)).is_some());
        assert!(ledger.held_by(2, Owner::instance(6)).is_none());
        assert!(ledger.held_by(3, Owner::instance(7)).is_none());
        assert!(ledger.held_by(u32::MAX, Owner::instance(7)).is_none());
        assert_eq!(ledger.all_of(Owner::instance(7)), [2]);
        ledger.give(1, Owner::blank(7));
        assert!(ledger.held_by(1, Owner::instance(7)).is_none());
        assert!(ledger.held_by(1, Owner::blank(7)).is_some());
        assert_eq!(ledger.all_of_instances(), [2]);
        assert_eq!(ledger.all_blanks(), [1]);
    }
}
