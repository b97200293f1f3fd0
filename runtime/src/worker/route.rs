//! The way of packets that go from one hop to the next together: what is the same for all of them is looked up once.

use nflib::{Descriptor, VERDICT_NEXT, memory::PacketFile};

use super::{
    BURST,
    forward::Forward,
    ledger::{Entry, Owner, place},
    packets::{Live, Packets},
};
use crate::{
    dpdk::TxDesc,
    generation::{At, HopIndex, NO_HOP, add},
};

/// The way from one hop to the next.
#[derive(Debug)]
pub(super) struct Route {
    /// Slot of the generation.
    slot: usize,
    to: HopIndex,
    lane: Lane,
    /// What stands in their descriptors: the NFs that handle them there in one go.
    run: u64,
    /// How many NFs these are.
    visits: u8,
    /// Where they were handed over before, and how many hops they have passed since then.
    passed: (HopIndex, u8),
    /// Packets that took it and are not counted yet.
    taken: u64,
}

impl Route {
    /// The last step of the run of fused NFs that handled the packets.
    #[inline(always)]
    pub(super) fn step(&self) -> u8 {
        self.passed.1
    }
}

#[derive(Debug, Clone, Copy)]
enum Lane {
    /// To the only instance of a service.
    Instance(u16),
    Port(u16),
    /// Each packet is to be looked at.
    Each,
}

/// Where packets come from that may go on together.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    /// The instance's slot.
    pub(super) slot: u16,
    /// It may have changed them.
    pub(super) writes: bool,
    pub(super) generation: usize,
    pub(super) hop: HopIndex,
    /// The last step of the run of fused NFs that handled them.
    pub(super) step: u8,
}

impl From {
    /// The buffer and the ledger entry of a packet that the instance handed back, with the packet's place, if it may go on with the
    /// others. Its owner is still the instance.
    #[inline(always)]
    fn entry<'a, const FUSED: bool>(
        self,
        packets: &'a mut Packets,
        file: &PacketFile,
        words: [u64; 2],
    ) -> Option<(u32, &'a mut Entry)> {
        let Descriptor {
            buffer,
            offset,
            length,
            verdict,
            flags,
            ..
        } = Descriptor::from_words(words);
        let entry = packets.ledger.held_by(buffer, Owner::instance(self.slot))?;
        let alike = entry.hop == self.hop && usize::from(entry.generation) == self.generation;
        if !alike || verdict != VERDICT_NEXT {
            return None;
        }
        if FUSED && (flags != self.step || entry.visits_left < self.step) {
            return None;
        }
        if self.writes {
            if !file.contains(buffer, offset, length) {
                return None;
            }
            entry.place = place(offset, length);
        }
        Some((buffer, entry))
    }
}

impl Forward {
    /// Works out once how packets come to what stands at `to`.
    pub(super) fn route(&self, packets: &Packets, slot: usize, to: HopIndex) -> Route {
        let tables = packets.generations.live[slot].as_ref().map(|l| &l.tables);
        let lane = match tables.and_then(|t| t.hops.get(usize::from(to))).map(|h| h.at) {
            Some(At::Service(service)) => match self.services[usize::from(service)].only() {
                Some(instance) => Lane::Instance(instance),
                None => Lane::Each,
            },
            Some(At::Port(port)) => Lane::Port(port),
            Some(At::Drop) | None => Lane::Each,
        };
        let run = tables.and_then(|t| t.runs.get(usize::from(to)));
        Route {
            slot,
            to,
            lane,
            run: run.map_or(0, |run| run.word()),
            visits: run.map_or(1, |run| run.steps().max(1)),
            passed: (to, 0),
            taken: 0,
        }
    }

    /// The same for packets that the NFs of a whole run have handled, from the hop on where it began.
    pub(super) fn route_behind(&self, packets: &Packets, slot: usize, from: HopIndex) -> Route {
        let tables = packets.generations.live[slot].as_ref().map(|l| &l.tables);
        let (last, to) = tables.map_or((0, NO_HOP), |t| t.behind(from));
        Route {
            passed: (from, last),
            ..self.route(packets, slot, to)
        }
    }

    /// Sends packets along a route, of those that an instance handed back as many from the first on as may go on together; gives how
    /// many. The next one has to be looked at by itself.
    #[inline(always)]
    pub(super) fn follow_all(
        &mut self,
        packets: &mut Packets,
        from: From,
        route: &mut Route,
        taken: &[[u64; 2]],
    ) -> usize {
        let mut done = 0;
        while done < taken.len() {
            let n = match route.lane {
                Lane::Instance(to) => match from.step {
                    0 => self.stage_all::<false>(packets, from, route, to, &taken[done..]),
                    _ => self.stage_all::<true>(packets, from, route, to, &taken[done..]),
                },
                Lane::Port(port) => match from.step {
                    0 => self.stage_all_out::<false>(packets, from, route.to, port, &taken[done..]),
                    _ => self.stage_all_out::<true>(packets, from, route.to, port, &taken[done..]),
                },
                Lane::Each => 0,
            };
            if n == 0 {
                break;
            }
            done += n;
        }
        route.taken += done as u64;
        done
    }

    #[inline(always)]
    fn stage_all<const FUSED: bool>(
        &mut self,
        packets: &mut Packets,
        from: From,
        route: &Route,
        to: u16,
        taken: &[[u64; 2]],
    ) -> usize {
        let Some(link) = self.links[usize::from(to)].as_mut().filter(|l| !l.faulty) else {
            return 0;
        };
        let (owner, given) = (Owner::instance(to), self.period);
        let (hop, run) = (route.to, route.run);
        let (visits, least) = (from.step + 1, from.step + route.visits);
        let room = BURST - link.staged();
        let mut n = 0;
        for words in taken.iter().take(room) {
            let Some((buffer, entry)) = from.entry::<FUSED>(packets, &self.file, *words) else {
                break;
            };
            if entry.visits_left < least {
                break;
            }
            entry.owner = owner;
            entry.hop = hop;
            entry.visits_left -= visits;
            entry.given = given;
            let flags = match self.flagged {
                true => self.flags[usize::from(entry.port)],
                false => 0,
            };
            link.stage(entry.descriptor(buffer, flags, run));
            n += 1;
        }
        if n == room {
            self.push(packets, to);
        }
        n
    }

    #[inline(always)]
    fn stage_all_out<const FUSED: bool>(
        &mut self,
        packets: &mut Packets,
        from: From,
        hop: HopIndex,
        port: u16,
        taken: &[[u64; 2]],
    ) -> usize {
        let staged = &mut self.sinks[usize::from(port)].staged;
        let room = BURST.saturating_sub(staged.len());
        let mut n = 0;
        for words in taken.iter().take(room) {
            let Some((buffer, entry)) = from.entry::<FUSED>(packets, &self.file, *words) else {
                break;
            };
            entry.owner = Owner::WORKER;
            entry.hop = hop;
            let (off, len) = entry.extent();
            staged.push(TxDesc {
                index: buffer,
                off,
                len,
            });
            n += 1;
        }
        if n == room {
            self.transmit(packets, port);
        }
        n
    }

    /// Sends a packet that an instance handed back along a route; false when it must be sent by [`Self::send`].
    #[inline(always)]
    pub(super) fn follow(&mut self, packets: &mut Packets, route: &mut Route, buffer: u32) -> bool {
        let entry = *packets.ledger.entry(buffer);
        let passed = Entry {
            visits_left: entry.visits_left - route.passed.1,
            ..entry
        };
        let followed = self.follow_as(packets, route, buffer, passed);
        if !followed {
            *packets.ledger.entry(buffer) = entry;
        }
        followed
    }

    /// The same for a packet whose entry is to be `entry`.
    #[inline(always)]
    pub(super) fn follow_as(
        &mut self,
        packets: &mut Packets,
        route: &mut Route,
        buffer: u32,
        entry: Entry,
    ) -> bool {
        let to = packets.ledger.entry(buffer);
        match route.lane {
            Lane::Instance(instance) => {
                let flags = self.flags_of(entry.port);
                let link = self.links[usize::from(instance)].as_mut();
                let Some(link) = link.filter(|link| !link.faulty && entry.visits_left >= route.visits) else {
                    *to = entry;
                    return false;
                };
                *to = Entry {
                    owner: Owner::instance(instance),
                    hop: route.to,
                    visits_left: entry.visits_left - 1,
                    given: self.period,
                    ..entry
                };
                if link.stage(entry.descriptor(buffer, flags, route.run)) {
                    self.push(packets, instance);
                }
            }
            Lane::Port(port) => {
                *to = Entry {
                    hop: route.to,
                    ..entry
                };
                let (off, len) = entry.extent();
                let index = buffer;
                self.stage_out(packets, port, TxDesc { index, off, len });
            }
            Lane::Each => {
                *to = entry;
                return false;
            }
        }
        route.taken += 1;
        true
    }

    /// Counts the packets that took a route.
    #[inline(always)]
    pub(super) fn settle(&self, packets: &Packets, route: &Route) {
        if let (1.., Some(Live { tables, .. })) = (route.taken, &packets.generations.live[route.slot]) {
            let (from, passed) = route.passed;
            tables.pass(self.worker, from, passed, route.taken);
            add(
                &tables.counters[self.worker].arrived[usize::from(route.to)],
                route.taken,
            );
        }
    }
}
