//! The way of packets that go from one hop to the next together: what is the same for all of them is looked up once.

use nflib::{
    Descriptor, VERDICT_NEXT,
    memory::{Geometry, PacketFile},
};

use super::{
    forward::Forward,
    ledger::{Entry, Owner, Tag, place},
    packets::{Live, Packets},
    replicas::Selection,
};
use crate::{
    dpdk::{RxDesc, TxDesc},
    generation::{At, HopIndex, NO_HOP, add},
};

/// The way from one hop to the next.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Slot of the generation.
    slot: u8,
    to: HopIndex,
    lane: Lane,
    /// What stands in their descriptors: the NFs that handle them there in one go.
    pub(super) run: u64,
    /// How many NFs these are.
    visits: u8,
    /// Where they were handed over before, and how many hops they have passed since then.
    passed: (HopIndex, u8),
    /// Packets that took it and are not counted yet.
    taken: u64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Lane {
    /// To the only instance of a service.
    Instance(u16),
    /// The same, in another security domain than the packets.
    Across(u16),
    Port(u16),
    /// Each packet is to be looked at.
    #[default]
    Each,
}

/// Packets that an instance hands back and that go on together: all have the same tag.
///
/// It is filled in and read field by field: a copy of what has just been written is read by wider loads than these stores, and stalls
/// the processor until they are done, for which they wait behind those to lines that other cores have.
#[derive(Debug, Default)]
pub(super) struct Batch {
    tag: Tag,
    /// The tag that they get.
    pub(super) onward: Tag,
    /// Verdict and flags of each, as far as they count: of fused NFs, the last one of the run is to have handled the packet.
    expected: u16,
    counting: u16,
    /// The instance may have changed them.
    writes: bool,
    pub(super) route: Route,
}

/// A look at each of the packets of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) tag: Tag,
    expected: u16,
    counting: u16,
    geometry: Geometry,
}

impl Look {
    /// The buffer and the ledger entry of a packet that the instance handed back, with the packet's place, if it is one of them. Its tag
    /// is still what it was, so that its holder is the instance.
    #[inline(always)]
    pub(super) fn at<const WRITES: bool>(
        self,
        entries: &mut [Entry],
        words: [u64; 2],
    ) -> Option<(u32, &mut Entry)> {
        let Descriptor {
            buffer,
            offset,
            length,
            verdict,
            flags,
            ..
        } = Descriptor::from_words(words);
        let entry = entries.get_mut(buffer as usize)?;
        if entry.tag != self.tag
            || (u16::from(verdict) | u16::from(flags) << 8) & self.counting != self.expected
        {
            return None;
        }
        if WRITES {
            if !self.geometry.fits(offset, length) {
                return None;
            }
            entry.place = place(offset, length);
        }
        Some((buffer, entry))
    }
}

impl Batch {
    #[inline(always)]
    pub(super) fn look(&self, file: &PacketFile) -> Look {
        Look {
            tag: self.tag,
            expected: self.expected,
            counting: self.counting,
            geometry: file.geometry(),
        }
    }
}

impl Route {
    /// Works out how packets come to what stands at `to`. `crosses`: an instance is in another security domain than they.
    fn find(
        &mut self,
        services: &[Selection],
        packets: &Packets,
        slot: u8,
        to: HopIndex,
        crosses: impl Fn(u16) -> bool,
    ) {
        let live = packets.generations.live[usize::from(slot)].as_ref();
        let tables = live.map(|l| &l.tables);
        self.slot = slot;
        self.to = to;
        self.lane = match tables.and_then(|t| t.hops.get(usize::from(to))).map(|h| h.at) {
            Some(At::Service(service)) => match services[usize::from(service)].only() {
                Some(instance) if crosses(instance) => Lane::Across(instance),
                Some(instance) => Lane::Instance(instance),
                None => Lane::Each,
            },
            Some(At::Port(port)) => Lane::Port(port),
            Some(At::Drop) | None => Lane::Each,
        };
        let run = tables.and_then(|t| t.runs.get(usize::from(to)));
        self.run = run.map_or(0, |run| run.word());
        self.visits = run.map_or(1, |run| run.steps().max(1));
        self.passed = (to, 0);
        self.taken = 0;
    }
}

impl Forward {
    /// Begins with another burst of an instance, which may have changed its packets.
    #[inline(always)]
    pub(super) fn begin_burst(&mut self, writes: bool) {
        // No packet that an instance holds has this tag.
        self.batch.tag = Tag::default();
        self.batch.writes = writes;
    }

    /// The packets that go on together from now on are those with this tag, which an instance has handed back.
    #[inline(always)]
    pub(super) fn join(&mut self, packets: &Packets, tag: Tag) {
        if self.batch.tag != tag {
            self.end_burst(packets);
            self.begin_batch(packets, tag);
        }
    }

    fn begin_batch(&mut self, packets: &Packets, tag: Tag) {
        let (slot, from) = (tag.generation(), tag.hop());
        let live = packets.generations.live[usize::from(slot)].as_ref();
        let (last, to) = live.map_or((0, NO_HOP), |live| live.tables.behind(from));
        let (links, several) = (&self.links, self.domains.several);
        let domain = |slot: u16| links[usize::from(slot)].as_ref().map(|link| link.domain);
        // What an instance holds is in its domain.
        let crosses = |to| several && domain(to) != tag.owner().slot().and_then(domain);
        let batch = &mut self.batch;
        let route = &mut batch.route;
        route.find(&self.services, packets, slot, to, crosses);
        route.passed = (from, last);
        let (visits, least) = match route.lane {
            Lane::Port(_) | Lane::Each => (last, last),
            Lane::Instance(_) | Lane::Across(_) => (last + 1, last + route.visits),
        };
        // One that may not visit so many NFs is looked at by itself.
        if tag.visits_left() < least {
            route.lane = Lane::Each;
        }
        let onward = tag
            .with_hop(to)
            .with_visits_left(tag.visits_left().saturating_sub(visits));
        batch.onward = match route.lane {
            Lane::Instance(to) | Lane::Across(to) => {
                onward.with_owner(Owner::instance(to)).with_given(self.period)
            }
            Lane::Port(_) | Lane::Each => onward.with_owner(Owner::POOL),
        };
        let next = u16::from(VERDICT_NEXT);
        (batch.expected, batch.counting) = match last {
            0 => (next, 0x00ff),
            _ => (next | u16::from(last) << 8, 0xffff),
        };
        batch.tag = tag;
    }

    /// Sends as many of the packets that an instance handed back as go on together, from the first on; gives how many. The next one has
    /// to be looked at by itself.
    #[inline(always)]
    pub(super) fn follow(&mut self, packets: &mut Packets, taken: &[[u64; 2]]) -> usize {
        let mut done = 0;
        while done < taken.len() {
            let rest = &taken[done..];
            let n = match (self.batch.route.lane, self.batch.writes) {
                (Lane::Instance(to), false) => self.hand_on::<false>(packets, to, rest),
                (Lane::Instance(to), true) => self.hand_on::<true>(packets, to, rest),
                (Lane::Across(to), false) => self.hand_across::<false>(packets, to, rest),
                (Lane::Across(to), true) => self.hand_across::<true>(packets, to, rest),
                (Lane::Port(port), false) => self.send_out::<false>(packets, port, rest),
                (Lane::Port(port), true) => self.send_out::<true>(packets, port, rest),
                (Lane::Each, _) => 0,
            };
            if n == 0 {
                if let Lane::Across(_) = self.batch.route.lane {
                    // Nothing is gained by asking for all that are left each time.
                    self.batch.route.lane = Lane::Each;
                }
                break;
            }
            done += n;
        }
        self.batch.route.taken += done as u64;
        done
    }

    /// Counts the packets that have gone on together.
    #[inline(always)]
    pub(super) fn end_burst(&mut self, packets: &Packets) {
        settle(self.worker, packets, &mut self.batch.route);
    }

    /// Hands packets on to another instance, as far as they go together and fit into the burst under way.
    // Not inlined, here and below: a loop by itself has registers enough.
    #[inline(never)]
    fn hand_on<const WRITES: bool>(&mut self, packets: &mut Packets, to: u16, taken: &[[u64; 2]]) -> usize {
        let Some(link) = self.links[usize::from(to)].as_mut().filter(|l| !l.faulty) else {
            return 0;
        };
        let (look, onward, run) = (
            self.batch.look(&self.file),
            self.batch.onward,
            self.batch.route.run,
        );
        let flags = self.flags[usize::from(onward.port())];
        let (entries, room) = (packets.ledger.all(), link.room());
        let (all, mut n) = (room.len(), 0);
        for (words, place) in taken.iter().zip(room) {
            let Some((buffer, entry)) = look.at::<WRITES>(entries, *words) else {
                break;
            };
            entry.tag = onward;
            *place = entry.descriptor(buffer, flags, run);
            n += 1;
        }
        link.staged_more(n);
        if n == all {
            self.push(packets, to);
        }
        n
    }

    /// Sends packets out of a port, as far as they go together and fit into the burst under way.
    #[inline(never)]
    fn send_out<const WRITES: bool>(
        &mut self,
        packets: &mut Packets,
        port: u16,
        taken: &[[u64; 2]],
    ) -> usize {
        let (look, onward) = (self.batch.look(&self.file), self.batch.onward);
        let staged = &mut self.sinks[usize::from(port)].staged;
        let (entries, room) = (packets.ledger.all(), staged.room());
        let (all, mut n, mut bytes) = (room.len(), 0, 0);
        for (words, place) in taken.iter().zip(room) {
            let Some((index, entry)) = look.at::<WRITES>(entries, *words) else {
                break;
            };
            entry.tag = onward;
            let (off, len) = entry.extent();
            *place = TxDesc { index, off, len };
            bytes += u64::from(len);
            n += 1;
        }
        packets.generations.leave(onward, n as u32);
        staged.more(n, bytes);
        if n == all {
            self.transmit(packets, port);
        }
        n
    }

    /// Sends packets that have just come in, whose place is `tag`, to what stands there.
    #[inline(always)]
    pub(super) fn start(&mut self, packets: &mut Packets, tag: Tag, burst: &[RxDesc]) {
        let mut route = Route::default();
        let (links, domains) = (&self.links, &self.domains);
        let domain = |slot: u16| links[usize::from(slot)].as_ref().map(|link| link.domain);
        // They are all of one port.
        let from = burst.first().map(|packet| domains.of(packet.index));
        let crosses = |to| domains.several && domain(to) != from;
        route.find(&self.services, packets, tag.generation(), tag.hop(), crosses);
        let mut done = 0;
        while done < burst.len() {
            let rest = &burst[done..];
            let n = match route.lane {
                Lane::Instance(to) if tag.visits_left() >= route.visits => {
                    self.start_at_instance(packets, &route, tag, to, rest)
                }
                Lane::Across(to) if tag.visits_left() >= route.visits => {
                    self.start_across(packets, &route, tag, to, rest)
                }
                Lane::Port(port) => self.start_at_port(packets, tag, port, rest),
                Lane::Instance(_) | Lane::Across(_) | Lane::Each => 0,
            };
            route.taken += n as u64;
            done += n;
            if n == 0 {
                // Nothing is gained by asking for all that are left each time.
                route.lane = Lane::Each;
                let index = rest[0].index;
                *packets.ledger.entry(index) = arrived(&rest[0], tag);
                self.send(packets, usize::from(route.slot), index, route.to);
                done += 1;
            }
        }
        settle(self.worker, packets, &mut route);
    }

    /// The tag of a packet that begins at an instance.
    #[inline(always)]
    pub(super) fn started(&self, tag: Tag, at: u16) -> Tag {
        let tag = tag.with_owner(Owner::instance(at)).with_given(self.period);
        tag.with_visits_left(tag.visits_left().saturating_sub(1))
    }

    #[inline(never)]
    fn start_at_instance(
        &mut self,
        packets: &mut Packets,
        route: &Route,
        tag: Tag,
        to: u16,
        burst: &[RxDesc],
    ) -> usize {
        let (flags, started) = (self.flags[usize::from(tag.port())], self.started(tag, to));
        let Some(link) = self.links[usize::from(to)].as_mut().filter(|l| !l.faulty) else {
            return 0;
        };
        let tag = started;
        let room = link.room();
        let all = room.len();
        let n = all.min(burst.len());
        for (packet, place) in burst.iter().zip(room) {
            let entry = arrived(packet, tag);
            *packets.ledger.entry(packet.index) = entry;
            *place = entry.descriptor(packet.index, flags, route.run);
        }
        link.staged_more(n);
        if n == all {
            self.push(packets, to);
        }
        n
    }

    #[inline(never)]
    fn start_at_port(&mut self, packets: &mut Packets, tag: Tag, port: u16, burst: &[RxDesc]) -> usize {
        let staged = &mut self.sinks[usize::from(port)].staged;
        let room = staged.room();
        let all = room.len();
        let (n, mut bytes) = (all.min(burst.len()), 0);
        let tag = tag.with_owner(Owner::POOL);
        packets.generations.leave(tag, n as u32);
        for (packet, place) in burst.iter().zip(room) {
            *packets.ledger.entry(packet.index) = arrived(packet, tag);
            let RxDesc { index, off, len, .. } = *packet;
            *place = TxDesc { index, off, len };
            bytes += u64::from(len);
        }
        staged.more(n, bytes);
        if n == all {
            self.transmit(packets, port);
        }
        n
    }
}

/// Counts the packets that have taken a route.
#[inline(always)]
fn settle(worker: usize, packets: &Packets, route: &mut Route) {
    if route.taken == 0 {
        return;
    }
    if let Some(Live { tables, .. }) = &packets.generations.live[usize::from(route.slot)] {
        let (from, passed) = route.passed;
        if passed > 0 {
            tables.pass(worker, from, passed, route.taken);
        }
        let arrived = &tables.counters[worker].arrived;
        add(&arrived[usize::from(route.to)], route.taken);
    }
    route.taken = 0;
}

/// The entry of a packet that has just come in.
#[inline(always)]
pub(super) fn arrived(packet: &RxDesc, tag: Tag) -> Entry {
    Entry {
        tag,
        hash: packet.hash,
        place: place(packet.off, packet.len),
    }
}
