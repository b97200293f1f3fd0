//! Misuse by instances, and the reaction to it. All of it is off the packet path.

use onvm_api::Reason;

use super::{Event, forward::Forward, ledger::Owner, packets::Packets};
use crate::generation::add;

impl Forward {
    /// Does not serve an instance any more, and has it ended.
    #[cold]
    pub(super) fn quarantine(&mut self, slot: u16, reason: impl FnOnce() -> String) {
        if let Some(link) = self.links[usize::from(slot)].as_mut().filter(|l| !l.faulty) {
            link.faulty = true;
            let reason = reason();
            let _ = self.events.send(Event::Faulty { slot, reason });
        }
    }

    /// The instance named a buffer that it does not hold.
    #[cold]
    pub(super) fn refuse_descriptor(&mut self, slot: u16) {
        add(&self.instance(slot).refused, 1);
        if let Some(link) = &mut self.links[usize::from(slot)] {
            link.not_held += 1;
        }
    }

    /// Drops the part of the current burst that is beyond the instance's share of buffers, except for packets whose
    /// source waits for room.
    #[cold]
    pub(super) fn shed(&mut self, packets: &mut Packets, slot: u16) {
        let Self {
            links,
            shares,
            waiting,
            ..
        } = self;
        let Some(link) = &mut links[usize::from(slot)] else {
            return;
        };
        let mut room = shares.room(link.held());
        let (out, n) = link.sort_out(|buffer| {
            if waiting[usize::from(packets.ledger.entry(buffer).tag.port())] {
                return true;
            }
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        });
        self.drop_unpushed(packets, slot, &out[..n], Reason::ShareFull);
    }

    /// Drops packets that could not be given to the instance. One that guessed the index of a buffer that was on its
    /// way to it may have handed that back already: then the buffer is not its any more, and is left alone. What was
    /// taken off the count of its packets for it is put back, since it never was in the count; else an instance that
    /// guesses is thought to hold fewer than it does, and gets more than its share.
    #[cold]
    pub(super) fn drop_unpushed(
        &mut self,
        packets: &mut Packets,
        slot: u16,
        buffers: &[u32],
        reason: Reason,
    ) {
        for &buffer in buffers {
            if packets.ledger.held_by(buffer, Owner::instance(slot)).is_some() {
                add(&self.instance(slot).dropped, 1);
                add(&self.instance(slot).turned_away, 1);
                self.discard(packets, buffer, reason);
            } else if let Some(link) = &mut self.links[usize::from(slot)] {
                let before = link.held();
                link.never_held();
                self.shares.changed(before, link.held());
            }
        }
    }
}
