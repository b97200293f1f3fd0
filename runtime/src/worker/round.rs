//! One round over all sources: take a burst from each, decide, hand on.

use std::sync::atomic::Ordering;

use nflib::{
    Descriptor, VERDICT_DROP, VERDICT_LOOKUP, VERDICT_NEXT, VERDICT_OUT, VERDICT_OUTPUT, VERDICT_STEER,
};
use onvm_api::Reason;

use super::{
    SourceKind, Worker,
    admission::Admission,
    flows::Hits,
    forward::NOWHERE,
    ingress::{Ingress, Receiver},
    ledger::{Entry, Owner, place},
    packets::{Live, Packets},
    route::{From, Route},
};
use crate::generation::{HopIndex, Request, Resolved, add};

/// Packets that come from one hop and follow the chain.
struct Batch {
    generation: usize,
    hop: HopIndex,
    route: Route,
}

impl Worker {
    /// Serves each source once; returns how many packets moved. [`Self::run`] calls it over and over; benchmarks call it by themselves.
    pub fn round(&mut self) -> usize {
        let mut moved = 0;
        for i in 0..self.forward.active.len() {
            moved += self.take_back(self.forward.active[i]);
        }
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
        for words in &self.taken[..n] {
            self.packets.ledger.prefetch(words[0] as u32);
        }
        let (mut batch, mut at): (Option<Batch>, usize) = (None, 0);
        while at < n {
            if let Some(Batch {
                generation,
                hop,
                route,
            }) = &mut batch
            {
                let from = From {
                    slot,
                    writes,
                    generation: *generation,
                    hop: *hop,
                    step: route.step(),
                };
                let Self {
                    forward,
                    packets,
                    taken,
                    ..
                } = self;
                at += forward.follow_all(packets, from, route, &taken[at..n]);
            }
            if at < n {
                self.take_back_one(slot, writes, Descriptor::from_words(self.taken[at]), &mut batch);
                at += 1;
            }
        }
        if let Some(Batch { route, .. }) = batch {
            self.forward.settle(&self.packets, &route);
        }
        if n > 0 {
            self.forward.count_taken_back(slot, n as u64);
        }
        n
    }

    #[inline(always)]
    fn take_back_one(&mut self, slot: u16, writes: bool, descriptor: Descriptor, batch: &mut Option<Batch>) {
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
        entry.owner = Owner::WORKER;
        // For an NF that cannot change packets, place and length are what they were, whatever it says.
        if writes {
            if !self.forward.file.contains(buffer, offset, length) {
                return self.take_away(slot, buffer, Reason::Malformed);
            }
            entry.place = place(offset, length);
        }
        let (generation, hop) = (usize::from(entry.generation), entry.hop);
        if verdict != VERDICT_NEXT || !self.run_on(generation, hop, buffer, step, batch) {
            self.pass(buffer, slot, step);
            self.decide(slot, buffer, verdict, destination);
        }
    }

    /// Goes over to the step of a run of fused NFs at which a packet was handed back. What cannot be is taken for the first one.
    fn pass(&mut self, buffer: u32, slot: u16, step: u8) {
        let entry = self.packets.ledger.entry(buffer);
        let Some(Live { tables, .. }) = &self.packets.generations.live[usize::from(entry.generation)] else {
            return;
        };
        let steps = tables.runs[usize::from(entry.hop)].steps();
        if step == 0 || steps == 0 {
            return;
        }
        // It was given no more NFs than it may visit.
        if step >= steps || step > entry.visits_left {
            add(&self.forward.instance(slot).overruled, 1);
            return;
        }
        entry.visits_left -= step;
        entry.hop = tables.pass(self.forward.worker, entry.hop, step, 1);
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
        let Entry {
            generation,
            hop,
            port,
            ..
        } = entry;
        let generation = usize::from(generation);
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

    /// Sends a packet with the verdict `next` by the route of those before it; false when it has to be looked at.
    #[inline(always)]
    fn run_on(
        &mut self,
        generation: usize,
        hop: HopIndex,
        buffer: u32,
        step: u8,
        batch: &mut Option<Batch>,
    ) -> bool {
        let Self { forward, packets, .. } = self;
        if let Some(batch) = batch
            .as_mut()
            .filter(|r| r.generation == generation && r.hop == hop)
        {
            return took_all(packets, &batch.route, buffer, step)
                && forward.follow(packets, &mut batch.route, buffer);
        }
        if let Some(Batch { route, .. }) = batch.take() {
            forward.settle(packets, &route);
        }
        if packets.generations.live[generation].is_none() {
            return false;
        }
        let route = forward.route_behind(packets, generation, hop);
        let batch = batch.insert(Batch {
            generation,
            hop,
            route,
        });
        took_all(packets, &batch.route, buffer, step) && forward.follow(packets, &mut batch.route, buffer)
    }

    /// Takes one burst from a port's queue onto its chains.
    fn receive(&mut self, port: usize) -> usize {
        let slot = self.packets.generations.current;
        let Some(receiver) = &mut self.ingress.ports[port] else {
            return 0;
        };
        if self.packets.generations.live[slot].is_none() {
            return 0;
        }
        let before = receiver.burst.gone();
        let Receiver {
            source, burst, turn, ..
        } = receiver;
        let n = source.take_burst(turn, burst, &mut self.forward.stamps);
        let counters = &self.counters.ports[port];
        let gone = counters.count_gone(before, receiver.burst.gone());
        let read_to_its_end = receiver.source.has_ended();
        if n == 0 && gone == 0 && !read_to_its_end {
            return 0;
        }
        if read_to_its_end {
            receiver.source.kind = SourceKind::Ended;
        }
        add(&counters.rx_packets, n as u64);
        self.admit(port, slot);
        if read_to_its_end {
            // In this order: who sees that the source is done sees its last packets in flight, too.
            self.counters
                .in_flight
                .store(self.packets.generations.in_flight, Ordering::Release);
            self.counters.ports[port].done.store(true, Ordering::Release);
        }
        n
    }

    /// Puts the packets of the burst just received onto their chains.
    fn admit(&mut self, port: usize, slot: usize) {
        let live = self.packets.generations.live[slot].as_ref();
        let (Some(tables), Some(receiver)) = (
            live.map(|live| live.tables.clone()),
            &mut self.ingress.ports[port],
        ) else {
            return;
        };
        let (burst, mut flows) = (&receiver.burst, self.ingress.flows.of(port, &tables));
        let heeds_pressure = receiver.source.kind == SourceKind::Live;
        // Where all packets go the same way and no NF sees them, nobody looks into them.
        let looked_at = flows.look() || !tables.reach[port].is_empty();
        for packet in burst.packets() {
            if looked_at {
                self.ingress.file.prefetch(packet.index, packet.off);
            }
            self.packets.ledger.prefetch(packet.index);
        }
        let keeps = flows.keeps();
        if keeps {
            for (foreseen, packet) in self.ingress.foreseen.iter_mut().zip(burst.packets()) {
                let (copy, file) = (&mut self.ingress.copy, &self.ingress.file);
                *foreseen =
                    flows.foresee(|most| copy.take(file, packet.index, packet.off, packet.len.min(most)));
            }
        }
        self.packets
            .generations
            .enter(slot, port as u8, burst.packets().len() as u32);
        let mut bytes = 0;
        let worker = self.forward.worker;
        let rules = &tables.counters[worker].hits[port];
        let mut hits = Hits::default();
        let mut run: Option<(HopIndex, Route)> = None;
        for (packet, foreseen) in burst.packets().iter().zip(self.ingress.foreseen.iter()) {
            bytes += u64::from(packet.len);
            let nic_hash = packet.hash_valid().then_some(packet.hash);
            let (copy, file) = (&mut self.ingress.copy, &self.ingress.file);
            let known = if keeps {
                flows.known(foreseen, nic_hash)
            } else {
                None
            };
            let (hash, decision) = match (known, looked_at) {
                (Some(known), _) => known,
                (None, true) => flows.classify(packet.len, nic_hash, |most| {
                    copy.take(file, packet.index, packet.off, packet.len.min(most))
                }),
                (None, false) => (0, 0),
            };
            let hop = flows.hop(decision);
            if decision != hits.decision {
                flows.count(worker, hits.next(decision), rules);
            }
            hits.packets += 1;
            hits.bytes += u64::from(packet.len);
            let entry = Entry {
                owner: Owner::WORKER,
                hop,
                generation: slot as u8,
                visits_left: tables.max_hops,
                port: port as u8,
                given: 0,
                hash,
                place: place(packet.off, packet.len),
            };
            let refused = match hop {
                NOWHERE => Some(Reason::Chain),
                _ if heeds_pressure && self.forward.pressure.any() => {
                    let ahead = tables.ahead.get(usize::from(hop)).map_or(&[][..], Vec::as_slice);
                    self.forward.pressure.at(ahead).then_some(Reason::Backpressure)
                }
                _ => None,
            };
            if let Some(reason) = refused {
                *self.packets.ledger.entry(packet.index) = entry;
                self.packets.generations.leave(slot, port as u8, 1);
                self.forward
                    .refuse(&mut self.packets, port as u16, packet.index, reason);
                continue;
            }
            let Self { forward, packets, .. } = self;
            if run.as_ref().is_none_or(|(to, _)| *to != hop) {
                let former = run.replace((hop, forward.route(packets, slot, hop)));
                if let Some((_, route)) = former {
                    forward.settle(packets, &route);
                }
            }
            let followed = run
                .as_mut()
                .is_some_and(|(_, r)| forward.follow_as(packets, r, packet.index, entry));
            if !followed {
                forward.send(packets, slot, packet.index, hop);
            }
        }
        flows.count(worker, hits, rules);
        if let Some((_, route)) = run {
            self.forward.settle(&self.packets, &route);
        }
        add(&self.counters.ports[port].rx_bytes, bytes);
    }
}

/// Whether a packet was handed back at the last step of a run of fused NFs, if there was one.
#[inline(always)]
fn took_all(packets: &mut Packets, route: &Route, buffer: u32, step: u8) -> bool {
    let last = route.step();
    last == 0 || (step == last && packets.ledger.entry(buffer).visits_left >= last)
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
