//! One round over all sources: take a burst from each, decide, hand on.

use std::sync::atomic::Ordering;

use nflib::{
    Descriptor, VERDICT_DROP, VERDICT_LOOKUP, VERDICT_NEXT, VERDICT_OUT, VERDICT_OUTPUT, VERDICT_STEER,
};

use super::{
    Event, Live, Worker,
    forward::{NOWHERE, Route},
    ingress::{Receiver, SourceKind},
    ledger::{Entry, Owner},
};
use crate::{
    generation::{Hop, HopIndex, add},
    reason::Reason,
};

/// Packets that come from one hop and follow the chain.
struct Run {
    generation: usize,
    hop: HopIndex,
    route: Route,
}

/// What an NF's verdict comes to.
enum Way {
    To(HopIndex),
    /// The bundle does not permit what the NF named; the packet follows the chain.
    Overruled(HopIndex),
    Drop,
    Lookup,
}

impl Worker {
    /// Serves each source once; returns how many packets moved.
    pub(super) fn round(&mut self) -> usize {
        let mut moved = 0;
        for i in 0..self.forward.active.len() {
            moved += self.take_back(self.forward.active[i]);
        }
        for port in 0..self.ingress.ports.len() {
            let Some(kind) = self
                .ingress
                .wanted(port, self.generations.in_flight, self.forward.starved)
            else {
                continue;
            };
            if !self.generations.holds(kind) {
                moved += self.receive(port);
            }
        }
        self.forward.flush(&mut self.ledger, &mut self.generations);
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
                link.faulty = true;
                let reason = corrupt.to_string();
                let _ = self.events.send(Event::Faulty { slot, reason });
                return 0;
            }
        };
        if n > 0 {
            add(&self.forward.instance(slot).tx_packets, n as u64);
        }
        for descriptor in &self.taken[..n] {
            self.ledger.prefetch(descriptor.buffer);
        }
        let mut run = None;
        for i in 0..n {
            self.take_back_one(slot, writes, self.taken[i], &mut run);
        }
        if let Some(Run { route, .. }) = run {
            self.forward.settle(&self.generations, &route);
        }
        n
    }

    #[inline(always)]
    fn take_back_one(&mut self, slot: u16, writes: bool, mut descriptor: Descriptor, run: &mut Option<Run>) {
        let Some(entry) = self.ledger.held_by(descriptor.buffer, Owner::instance(slot)) else {
            add(&self.forward.instance(slot).refused, 1);
            return;
        };
        entry.owner = Owner::WORKER;
        if writes {
            if !self
                .forward
                .packets
                .contains(descriptor.buffer, descriptor.offset, descriptor.length)
            {
                add(&self.forward.instance(slot).dropped, 1);
                let buffer = descriptor.buffer;
                return self.forward.discard(
                    &mut self.ledger,
                    &mut self.generations,
                    buffer,
                    Reason::Malformed,
                );
            }
            (entry.offset, entry.length) = (descriptor.offset, descriptor.length);
        } else {
            // What could not be changed is what it was, whatever the NF says.
            (descriptor.offset, descriptor.length) = (entry.offset, entry.length);
        }
        let Entry {
            generation,
            hop,
            port,
            ..
        } = *entry;
        let generation = usize::from(generation);
        if descriptor.verdict == VERDICT_NEXT && self.run_on(generation, hop, descriptor, run) {
            return;
        }
        let Some(Live { tables, .. }) = &self.generations.live[generation] else {
            return;
        };
        let way = decide(&tables.hops[usize::from(hop)], descriptor);
        let to = match way {
            Way::To(to) => to,
            Way::Overruled(to) => {
                add(&self.forward.instance(slot).overruled, 1);
                to
            }
            Way::Drop => {
                add(&self.forward.instance(slot).dropped, 1);
                let buffer = descriptor.buffer;
                return self.forward.discard(
                    &mut self.ledger,
                    &mut self.generations,
                    buffer,
                    Reason::NfVerdict,
                );
            }
            Way::Lookup => {
                let packets = &self.forward.packets;
                let frame = packets.bytes(descriptor.buffer, descriptor.offset, descriptor.length);
                match tables.tables[usize::from(port)].classify(frame, frame.len() as u32) {
                    NOWHERE => tables.hops[usize::from(hop)].next,
                    to => to,
                }
            }
        };
        self.forward.send(
            &mut self.ledger,
            &mut self.generations,
            generation,
            descriptor,
            to,
        );
    }

    /// Sends a packet with the verdict `next` by the route of those before it; false when it has to be looked at.
    #[inline(always)]
    fn run_on(
        &mut self,
        generation: usize,
        hop: HopIndex,
        descriptor: Descriptor,
        run: &mut Option<Run>,
    ) -> bool {
        let Self {
            forward,
            ledger,
            generations,
            ..
        } = self;
        if let Some(run) = run
            .as_mut()
            .filter(|r| r.generation == generation && r.hop == hop)
        {
            return forward.follow(ledger, generations, &mut run.route, descriptor);
        }
        if let Some(Run { route, .. }) = run.take() {
            forward.settle(generations, &route);
        }
        let Some(Live { tables, .. }) = &generations.live[generation] else {
            return false;
        };
        let route = forward.route(generations, generation, tables.hops[usize::from(hop)].next);
        let run = run.insert(Run {
            generation,
            hop,
            route,
        });
        forward.follow(ledger, generations, &mut run.route, descriptor)
    }

    /// Takes one burst from a port's queue onto its chains.
    fn receive(&mut self, port: usize) -> usize {
        let slot = self.generations.current;
        let Some(receiver) = &mut self.ingress.ports[port] else {
            return 0;
        };
        if self.generations.live[slot].is_none() {
            return 0;
        }
        let (oversized, foreign) = (receiver.burst.oversized, receiver.burst.foreign);
        let n = receiver.take_burst();
        let oversized = receiver.burst.oversized - oversized;
        let foreign = receiver.burst.foreign - foreign;
        let gone = oversized + foreign;
        if n == 0 && gone == 0 {
            return 0;
        }
        let counters = &self.counters.ports[port];
        let mut read_to_its_end = false;
        if let SourceKind::Finite(left) = &mut receiver.source.kind {
            *left = left.saturating_sub(n as u64 + gone);
            read_to_its_end = *left == 0;
        }
        add(&counters.rx_packets, n as u64 + gone);
        if gone > 0 {
            self.forward
                .count_refused(port as u16, Reason::TooLong, oversized);
            self.forward
                .count_refused(port as u16, Reason::BufferExhausted, foreign);
        }
        self.admit(port, slot);
        if read_to_its_end {
            // In this order: who sees that the source is done sees its last packets in flight, too.
            self.counters
                .in_flight
                .store(self.generations.in_flight, Ordering::Release);
            self.counters.ports[port].done.store(true, Ordering::Release);
        }
        n
    }

    /// Puts the packets of the burst just received onto their chains.
    fn admit(&mut self, port: usize, slot: usize) {
        let Some(receiver) = &mut self.ingress.ports[port] else {
            return;
        };
        let (burst, flows) = receiver.flows_mut();
        for packet in burst.packets() {
            self.ingress.packets.prefetch(packet.index, packet.off);
            self.ledger.prefetch(packet.index);
        }
        let mut bytes = 0;
        let mut run: Option<(HopIndex, Route)> = None;
        for packet in burst.packets() {
            let Some(Live { tables, .. }) = &self.generations.live[slot] else {
                return;
            };
            bytes += u64::from(packet.len);
            let frame = self.ingress.packets.bytes(packet.index, packet.off, packet.len);
            let nic_hash = packet.hash_valid().then_some(packet.hash);
            let (hash, hop) = Receiver::classify(flows, &tables.tables[port], frame, nic_hash);
            let entry = self.ledger.entry(packet.index);
            *entry = Entry {
                owner: Owner::WORKER,
                hop,
                generation: slot as u8,
                visits_left: tables.max_hops,
                port: port as u8,
                hash,
                offset: packet.off,
                length: packet.len,
            };
            if hop == NOWHERE {
                self.forward
                    .refuse(&mut self.ledger, port as u16, packet.index, Reason::Chain);
                continue;
            }
            self.generations.enter(slot);
            let descriptor = Descriptor {
                buffer: packet.index,
                offset: packet.off,
                length: packet.len,
                ..Descriptor::default()
            };
            let Self {
                forward,
                ledger,
                generations,
                ..
            } = self;
            if run.as_ref().is_none_or(|(to, _)| *to != hop) {
                let former = run.replace((hop, forward.route(generations, slot, hop)));
                if let Some((_, route)) = former {
                    forward.settle(generations, &route);
                }
            }
            let followed = run
                .as_mut()
                .is_some_and(|(_, r)| forward.follow(ledger, generations, r, descriptor));
            if !followed {
                forward.send(ledger, generations, slot, descriptor, hop);
            }
        }
        if let Some((_, route)) = run {
            self.forward.settle(&self.generations, &route);
        }
        add(&self.counters.ports[port].rx_bytes, bytes);
    }
}

#[inline(always)]
fn decide(hop: &Hop, descriptor: Descriptor) -> Way {
    match descriptor.verdict {
        VERDICT_NEXT => Way::To(hop.next),
        _ => decide_other(hop, descriptor),
    }
}

#[cold]
fn decide_other(hop: &Hop, descriptor: Descriptor) -> Way {
    let destination = descriptor.destination;
    let permitted =
        |ways: &[(u16, HopIndex)]| ways.iter().find(|(id, _)| *id == destination).map(|&(_, to)| to);
    let to = match descriptor.verdict {
        VERDICT_DROP => return Way::Drop,
        VERDICT_LOOKUP => return Way::Lookup,
        VERDICT_OUTPUT => hop.outputs.get(usize::from(destination)).copied(),
        VERDICT_STEER => permitted(&hop.steers),
        VERDICT_OUT => permitted(&hop.outs),
        _ => None,
    };
    to.map_or(Way::Overruled(hop.next), Way::To)
}
