//! One round over all sources: take a burst from each, decide, hand on.

use nflib::{
    Descriptor, VERDICT_DROP, VERDICT_LOOKUP, VERDICT_NEXT, VERDICT_OUT, VERDICT_OUTPUT, VERDICT_STEER,
};
use onvm_api::Reason;

use super::{
    Worker,
    admission::Admission,
    forward::NOWHERE,
    ingress::Ingress,
    ledger::{Entry, Owner, place},
    packets::Live,
};
use crate::generation::{Request, Resolved, add};

impl Worker {
    /// Serves each source once; returns how many packets moved. [`Self::run`] calls it over and over; benchmarks call it by themselves.
    pub fn round(&mut self) -> usize {
        let mut moved = 0;
        for i in 0..self.forward.active.len() {
            self.forward.ask_for_burst(i + 1);
            self.forward.ask(i + 2);
            moved += self.take_back(self.forward.active[i]);
        }
        self.forward.ask(0);
        self.forward.ask(1);
        let room = self.ingress.credit - self.reserved();
        let outputs = self.forward.output_room().min(room);
        let inside = &self.packets.generations.inside;
        let mut admission = Admission::new(&self.ingress, inside, outputs);
        for port in self.ingress.in_turn() {
            if let Some(kind) = admission.admits(&self.ingress, port, &self.packets.generations) {
                let taken = self.receive(port);
                admission.took(kind, taken);
                moved += taken;
            }
        }
        self.forward.flush(&mut self.packets);
        moved
    }

    /// Takes one burst that the instance handed back, and sends each packet on its way.
    pub(super) fn take_back(&mut self, slot: u16) -> usize {
        let Some(link) = self.forward.links[usize::from(slot)]
            .as_mut()
            .filter(|l| !l.faulty)
        else {
            return 0;
        };
        let writes = link.writes;
        let n = match link.pop(&mut self.taken) {
            Ok(n) => n,
            Err(corrupt) => {
                self.forward.quarantine(slot, || corrupt.to_string());
                return 0;
            }
        };
        self.forward.begin_burst(writes);
        let mut at = 0;
        while at < n {
            let descriptor = Descriptor::from_words(self.taken[at]);
            if let Some(tag) = self.packets.follower(slot, descriptor) {
                self.forward.join(&self.packets, tag);
                let done = self.forward.follow(&mut self.packets, &self.taken[at..n]);
                at += done;
                if done > 0 {
                    continue;
                }
            }
            self.take_back_one(slot, writes, descriptor);
            at += 1;
        }
        if n > 0 {
            self.forward.end_burst(&self.packets);
            self.forward.count_taken_back(slot, n as u64);
        }
        n
    }

    /// Takes a packet that goes on with no others.
    fn take_back_one(&mut self, slot: u16, writes: bool, descriptor: Descriptor) {
        let Descriptor {
            buffer,
            offset,
            length,
            verdict,
            destination,
            flags: step,
            ..
        } = descriptor;
        let Some(entry) = self.packets.ledger.held_by(buffer, Owner::instance(slot)) else {
            return self.take_other(slot, descriptor);
        };
        entry.tag = entry.tag.with_owner(Owner::WORKER);
        // For an NF that cannot change packets, place and length are what they were, whatever it says.
        if writes {
            if !self.forward.file.contains(buffer, offset, length) {
                return self.take_away(slot, buffer, Reason::Malformed);
            }
            entry.place = place(offset, length);
        }
        self.pass(buffer, slot, step);
        self.decide(slot, buffer, verdict, destination);
    }

    /// Goes over to the step of a run of fused NFs at which a packet was handed back. What cannot be is taken for the first one.
    fn pass(&mut self, buffer: u32, slot: u16, step: u8) {
        let Entry { tag, .. } = self.packets.ledger.entry(buffer);
        let Some(Live { tables, .. }) = &self.packets.generations.live[usize::from(tag.generation())] else {
            return;
        };
        let steps = tables.runs[usize::from(tag.hop())].steps();
        if step == 0 || steps == 0 {
            return;
        }
        // It was given no more NFs than it may visit.
        let Some(visits_left) = tag.visits_left().checked_sub(step).filter(|_| step < steps) else {
            add(&self.forward.instance(slot).overruled, 1);
            return;
        };
        let hop = tables.pass(self.forward.worker, tag.hop(), step, 1);
        *tag = tag.with_visits_left(visits_left).with_hop(hop);
    }

    /// Drops a packet that the instance handed back.
    #[cold]
    fn take_away(&mut self, slot: u16, buffer: u32, reason: Reason) {
        add(&self.forward.instance(slot).dropped, 1);
        self.forward.discard(&mut self.packets, buffer, reason);
    }

    /// Performs any verdict on a packet that the instance handed back, or overrules it.
    pub(super) fn decide(&mut self, slot: u16, buffer: u32, verdict: u8, destination: u16) {
        let entry = *self.packets.ledger.entry(buffer);
        let (hop, port) = (entry.tag.hop(), entry.tag.port());
        let generation = usize::from(entry.tag.generation());
        let Some(Live { tables, .. }) = &self.packets.generations.live[generation] else {
            return;
        };
        let at = &tables.hops[usize::from(hop)];
        let to = match verdict {
            VERDICT_DROP => return self.take_away(slot, buffer, Reason::NfVerdict),
            _ => match at.resolve(request(verdict, destination)) {
                Resolved::To(to) => to,
                Resolved::Lookup(otherwise) => {
                    let (offset, length) = entry.extent();
                    let Ingress { copy, flows, .. } = &mut self.ingress;
                    let mut flows = flows.of(usize::from(port), tables);
                    let decision = flows.again(length, |most| {
                        copy.take(&self.forward.file, buffer, offset, length.min(most))
                    });
                    flows.count_again(decision, self.forward.worker, length);
                    match flows.hop(decision) {
                        NOWHERE => otherwise,
                        to => to,
                    }
                }
                Resolved::Overruled(to) => {
                    add(&self.forward.instance(slot).overruled, 1);
                    to
                }
            },
        };
        self.forward.send(&mut self.packets, generation, buffer, to);
    }
}

/// What an NF wants, except for `drop`, which the caller handles itself.
fn request(verdict: u8, destination: u16) -> Request {
    match verdict {
        VERDICT_NEXT => Request::Next,
        VERDICT_OUTPUT => Request::Output(destination),
        VERDICT_STEER => Request::Steer(destination),
        VERDICT_OUT => Request::Out(destination),
        VERDICT_LOOKUP => Request::Lookup,
        _ => Request::Unknown,
    }
}
