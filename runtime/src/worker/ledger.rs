//! The holder of each buffer and the place of its packet: the manager's private truth about packets.
//!
//! NFs see none of this, so they can neither forge a packet's place nor give back what they do not hold.

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
    pub(super) owner: Owner,
    pub(super) hop: HopIndex,
    /// Slot of the generation that classified the packet.
    pub(super) generation: u8,
    /// NF visits left.
    pub(super) visits_left: u8,
    /// Id of the port it came from.
    pub(super) port: u8,
    /// When it was given to the instance that holds it: see [`age`](super::age).
    pub(super) given: u8,
    pub(super) hash: u32,
    /// Offset in the buffer (low half) and length, as a descriptor's first word has them: one field, since halves that are
    /// written apart and read together stall the processor.
    pub(super) place: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);

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

/// One worker's entries for all buffers.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn new(buffers: u32) -> Self {
        let free = Entry {
            owner: Owner::POOL,
            hop: 0,
            generation: 0,
            visits_left: 0,
            port: 0,
            given: 0,
            hash: 0,
            place: 0,
        };
        Self {
            entries: vec![free; buffers as usize],
        }
    }

    /// The entry of a buffer whose index comes from the manager itself.
    #[inline(always)]
    pub(super) fn entry(&mut self, buffer: u32) -> &mut Entry {
        &mut self.entries[buffer as usize]
    }

    /// Asks for a buffer's entry ahead of use; the index may be anything.
    #[inline(always)]
    pub(super) fn prefetch(&self, buffer: u32) {
        if let Some(entry) = self.entries.get(buffer as usize) {
            nflib::memory::prefetch(entry);
        }
    }

    /// The entry, if the buffer exists and `owner` holds it: the check on everything that an NF hands back.
    #[inline(always)]
    pub(super) fn held_by(&mut self, buffer: u32, owner: Owner) -> Option<&mut Entry> {
        self.entries.get_mut(buffer as usize).filter(|e| e.owner == owner)
    }

    /// Entries of at most `length` buffers, from a buffer on.
    pub(super) fn slice(&self, from: usize, length: usize) -> &[Entry] {
        let rest = self.entries.get(from..).unwrap_or_default();
        &rest[..length.min(rest.len())]
    }

    /// Packets of a generation that instances hold: slot and buffer.
    pub(super) fn of_generation(&self, generation: usize) -> Vec<(u16, u32)> {
        let of = |(i, e): (usize, &Entry)| {
            let slot = e
                .owner
                .slot()
                .filter(|_| usize::from(e.generation) == generation)?;
            Some((slot, i as u32))
        };
        self.entries.iter().enumerate().filter_map(of).collect()
    }

    /// The buffers that `owner` holds.
    pub(super) fn all_of(&self, owner: Owner) -> Vec<u32> {
        let held = self.entries.iter().enumerate().filter(|(_, e)| e.owner == owner);
        held.map(|(i, _)| i as u32).collect()
    }

    /// The buffers that instances have to make packets of.
    pub(super) fn all_blanks(&self) -> Vec<u32> {
        let blanks = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.owner.is_blank());
        blanks.map(|(i, _)| i as u32).collect()
    }

    /// The buffers that any instance holds a packet in.
    pub(super) fn all_of_instances(&self) -> Vec<u32> {
        let held = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.owner.slot().is_some());
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

    #[test]
    fn only_the_holder_finds_its_buffer() {
        let mut ledger = Ledger::new(4);
        ledger.entry(2).owner = Owner::instance(7);
        assert!(ledger.held_by(2, Owner::instance(7)).is_some());
        assert!(ledger.held_by(2, Owner::instance(6)).is_none());
        assert!(ledger.held_by(3, Owner::instance(7)).is_none());
        assert!(ledger.held_by(u32::MAX, Owner::instance(7)).is_none());
        assert_eq!(ledger.all_of(Owner::instance(7)), [2]);
        ledger.entry(1).owner = Owner::blank(7);
        assert!(ledger.held_by(1, Owner::instance(7)).is_none());
        assert!(ledger.held_by(1, Owner::blank(7)).is_some());
        assert_eq!(ledger.all_of_instances(), [2]);
        assert_eq!(ledger.all_blanks(), [1]);
    }
}
