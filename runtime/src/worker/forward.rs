//! Where packets go: to instances, to ports, or to the count of the dropped.

use std::sync::{Arc, atomic::Ordering};

use nflib::{IGNORE_TAGS, memory::PacketFile};
use onvm_api::Reason;
use onvm_bundle::tables::PortTable;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    BURST, Event, InstanceCounters, Link, WorkerCounters,
    affinity::Clock,
    crossing::Domains,
    ledger::Owner,
    packets::{Live, Packets},
    pressure::Pressure,
    replicas::{Instances, Selection},
    route::Batch,
    share::Shares,
    sink::Exit,
};
use crate::{
    capture::Stamps,
    dpdk::TxDesc,
    generation::{At, HopIndex, NO_HOP, add},
};

#[derive(Debug)]
pub(super) struct Forward {
    pub(super) worker: usize,
    pub(super) domains: Domains,
    pub(super) file: Arc<PacketFile>,
    pub(super) counters: Arc<WorkerCounters>,
    pub(super) events: UnboundedSender<Event>,
    /// By instance slot.
    pub(super) links: Vec<Option<Box<Link>>>,
    /// Slots with a link.
    pub(super) active: Vec<u16>,
    /// By service slot.
    pub(super) services: Vec<Selection>,
    /// By port id.
    pub(super) sinks: Vec<Exit>,
    free: Vec<u32>,
    pub(super) shares: Shares,
    pub(super) pressure: Pressure,
    /// Packets for which sources that can wait leave room: twice the blanks that all instances may have, of which each gets no more
    /// than it leaves to others.
    pub(super) reserved: u32,
    /// By port id: its source waits for room.
    pub(super) waiting: [bool; 256],
    /// By port id: it is a capture, which says more of its packets than their bytes.
    pub(super) stamped: [bool; 256],
    /// By port id: the flags of its packets' descriptors.
    pub(super) flags: [u8; 256],
    pub(super) stamps: Stamps,
    /// The present period of [`age`](super::age).
    pub(super) period: u8,
    pub(super) clock: Clock,
    /// The packets that go on together at present.
    pub(super) batch: Batch,
}

impl Forward {
    pub(super) fn new(
        worker: usize,
        domains: Domains,
        file: Arc<PacketFile>,
        counters: Arc<WorkerCounters>,
        events: UnboundedSender<Event>,
        room: u32,
        flow_idle: u16,
    ) -> Self {
        let (links, sinks) = (counters.instances.len(), counters.ports.len());
        Self {
            worker,
            domains,
            file,
            links: std::iter::repeat_with(|| None).take(links).collect(),
            active: Vec::new(),
            services: std::iter::repeat_with(Selection::default).take(links).collect(),
            sinks: std::iter::repeat_with(Exit::default).take(sinks).collect(),
            free: Vec::with_capacity(2 * BURST),
            shares: Shares::new(room),
            pressure: Pressure::new(links),
            reserved: 0,
            waiting: [false; 256],
            stamped: [false; 256],
            flags: [0; 256],
            stamps: Stamps::default(),
            period: 0,
            clock: Clock {
                now: 0,
                idle: flow_idle,
            },
            batch: Batch::default(),
            counters,
            events,
        }
    }

    /// Goes over to other tables, by port id.
    pub(super) fn renew_flags(&mut self, tables: &[PortTable]) {
        for (flags, table) in self.flags.iter_mut().zip(tables) {
            *flags = if table.ignore_tags { IGNORE_TAGS } else { 0 };
        }
    }

    pub(super) fn attach(&mut self, slot: u16, link: Box<Link>) {
        if let Some(place) = self.links.get_mut(usize::from(slot)) {
            *place = Some(link);
            self.active.retain(|&s| s != slot);
            self.active.push(slot);
        }
        self.divide_shares();
    }

    fn divide_shares(&mut self) {
        let held = |&slot: &u16| self.links[usize::from(slot)].as_ref().map_or(0, |l| l.held());
        self.shares.divide(self.active.iter().map(held));
        self.reserved = 2 * self.most_blanks();
    }

    pub(super) fn select(&mut self, service: u16, instances: Instances) {
        // What one that stays had left when it was to go says nothing the next time.
        for &slot in &instances.chosen {
            self.instance(slot).left.store(0, Ordering::Release);
        }
        if let Some(selection) = self.services.get_mut(usize::from(service)) {
            selection.renew(instances, self.clock);
        }
        self.settle_pressure();
    }

    /// Goes on to this second, and says what flows those still have that are to go.
    pub(super) fn tick(&mut self, second: u16) {
        if second == self.clock.now {
            return;
        }
        self.clock.now = second;
        for selection in &self.services {
            for (slot, live) in selection.leaving(self.clock) {
                self.instance(slot).left.store(live as u64 + 1, Ordering::Release);
            }
        }
    }

    /// Whether a service waits for an instance, so that packets which can wait should not come in.
    pub(super) fn is_starved(&self, service: u16) -> bool {
        self.services
            .get(usize::from(service))
            .is_some_and(Selection::is_starved)
    }

    /// The instance is gone; its services go on with the others.
    pub(super) fn remove(&mut self, slot: u16) {
        self.active.retain(|&s| s != slot);
        if let Some(link) = self.links.get_mut(usize::from(slot)) {
            *link = None;
        }
        self.services.iter_mut().for_each(|s| s.remove(slot));
        self.settle_pressure();
        self.divide_shares();
    }

    /// Sends a packet that the worker holds to what stands at `hop`, whatever that is.
    pub(super) fn send(&mut self, packets: &mut Packets, slot: usize, buffer: u32, hop: HopIndex) {
        let Some(Live { tables, .. }) = &packets.generations.live[slot] else {
            return;
        };
        let entry = packets.ledger.entry(buffer);
        entry.tag = entry.tag.with_hop(hop);
        let arrived = &tables.counters[self.worker].arrived;
        add(&arrived[usize::from(hop)], 1);
        match tables.hops[usize::from(hop)].at {
            At::Service(service) => {
                let visits_left = entry.tag.visits_left();
                if visits_left == 0 {
                    return self.discard(packets, buffer, Reason::HopLimit);
                }
                let Some(instance) = self.services[usize::from(service)].choose(entry.hash, self.clock)
                else {
                    return self.go_without(packets, slot, buffer);
                };
                // No more NFs than it may visit yet.
                let run = tables.runs[usize::from(hop)].first(visits_left);
                let link = self.links[usize::from(instance)].as_ref();
                let Some(domain) = link.filter(|l| !l.faulty).map(|l| l.domain) else {
                    return self.go_without(packets, slot, buffer);
                };
                let mut buffer = buffer;
                if self.domains.several && domain != self.domains.of(buffer) {
                    let Some(brought) = self.bring(packets, buffer, instance) else {
                        return;
                    };
                    buffer = brought;
                }
                let Some(link) = self.links[usize::from(instance)].as_mut() else {
                    return;
                };
                let entry = packets.ledger.entry(buffer);
                let flags = self.flags[usize::from(entry.tag.port())];
                let tag = entry.tag.with_visits_left(visits_left - 1);
                entry.tag = tag.with_owner(Owner::instance(instance)).with_given(self.period);
                let full = link.stage(entry.descriptor(buffer, flags, run.word()));
                if full {
                    self.push(packets, instance);
                }
            }
            At::Port(port) => {
                let (off, len) = entry.extent();
                let index = buffer;
                let tag = packets.ledger.give(buffer, Owner::POOL);
                packets.generations.leave(tag, 1);
                self.stage_out(packets, port, TxDesc { index, off, len });
            }
            At::Drop => self.discard(packets, buffer, Reason::Chain),
        }
    }

    /// No instance is there for a packet that the worker holds: it goes on along the chain where the bundle says so, and else it is
    /// dropped. That counts as a visit, so that it ends.
    #[cold]
    fn go_without(&mut self, packets: &mut Packets, slot: usize, buffer: u32) {
        let entry = packets.ledger.entry(buffer);
        let at = usize::from(entry.tag.hop());
        let visits_left = entry.tag.visits_left();
        let tables = packets.generations.live[slot].as_ref().map(|live| &live.tables);
        match tables.and_then(|tables| Some((tables, tables.hops.get(at)?))) {
            Some((tables, hop)) if hop.bypass && visits_left > 0 => {
                entry.tag = entry.tag.with_visits_left(visits_left - 1);
                add(&tables.counters[self.worker].bypassed[at], 1);
                let next = hop.next;
                self.send(packets, slot, buffer, next);
            }
            _ => self.discard(packets, buffer, Reason::NoInstance),
        }
    }

    #[inline(always)]
    pub(super) fn stage_out(&mut self, packets: &mut Packets, port: u16, packet: TxDesc) {
        let staged = &mut self.sinks[usize::from(port)].staged;
        if let Some(place) = staged.room().first_mut() {
            *place = packet;
            staged.more(1, packet.len.into());
        }
        if staged.is_full() {
            self.transmit(packets, port);
        }
    }

    /// Frees a packet that an instance or the worker holds, and counts it at the hop where it was.
    pub(super) fn discard(&mut self, packets: &mut Packets, buffer: u32, reason: Reason) {
        let tag = packets.ledger.give(buffer, Owner::POOL);
        packets.generations.leave(tag, 1);
        if let Some(live) = &packets.generations.live[usize::from(tag.generation())] {
            let dropped = &live.tables.counters[self.worker].dropped;
            add(&dropped[usize::from(tag.hop())][reason as usize], 1);
        }
        self.release(buffer);
    }

    /// Frees a packet that never got onto a chain, and counts it at its port.
    pub(super) fn refuse(&mut self, packets: &mut Packets, port: u16, buffer: u32, reason: Reason) {
        packets.ledger.give(buffer, Owner::POOL);
        add(
            &self.counters.ports[usize::from(port)].dropped[reason as usize],
            1,
        );
        self.release(buffer);
    }

    pub(super) fn instance(&self, slot: u16) -> &InstanceCounters {
        &self.counters.instances[usize::from(slot)]
    }

    /// So many descriptors were taken from the instance's ring; those that are not of others are packets that it does
    /// not hold any more.
    #[inline(always)]
    pub(super) fn count_taken_back(&mut self, slot: u16, descriptors: u64) {
        if let Some(link) = &mut self.links[usize::from(slot)] {
            let packets = descriptors - std::mem::take(&mut link.not_held);
            let before = link.held();
            link.let_go(packets as u32);
            self.shares.changed(before, link.held());
            add(&self.counters.instances[usize::from(slot)].tx_packets, packets);
        }
    }

    pub(super) fn release(&mut self, buffer: u32) {
        self.free.push(buffer);
        if self.free.len() >= BURST {
            self.free_staged();
        }
    }

    fn free_staged(&mut self) {
        for part in self.free.chunks(BURST) {
            self.domains.any().free_burst(part);
        }
        self.free.clear();
    }

    /// Hands over every burst under way.
    #[inline(always)]
    pub(super) fn flush(&mut self, packets: &mut Packets) {
        for i in 0..self.active.len() {
            self.push(packets, self.active[i]);
        }
        for port in 0..self.sinks.len() {
            if !self.sinks[port].staged.is_empty() {
                self.transmit(packets, port as u16);
            }
        }
        if !self.free.is_empty() {
            self.free_staged();
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, packets: &mut Packets, slot: u16) {
        let Some(link) = &mut self.links[usize::from(slot)] else {
            return;
        };
        if link.staged() > self.shares.room(link.held()) as usize {
            self.is_pressed(slot);
            self.shed(packets, slot);
        }
        let Some(link) = &mut self.links[usize::from(slot)] else {
            return;
        };
        let (before, high) = (link.held(), link.high());
        let (pushed, held, left, outcome) = link.push();
        let counters = &self.counters.instances[usize::from(slot)];
        if pushed > 0 {
            add(&counters.rx_packets, pushed as u64);
            self.shares.changed(before, held);
        }
        if !left.is_empty() {
            let left: Vec<u32> = left.iter().map(|words| words[0] as u32).collect();
            if let Err(corrupt) = outcome {
                self.quarantine(slot, || corrupt.to_string());
            }
            self.drop_unpushed(packets, slot, &left, Reason::RingFull);
        }
        if held >= high {
            self.is_pressed(slot);
        }
    }

    /// Asks how much an NF whose turn comes soon has handed back, and a turn later for that itself: its core has it in its cache,
    /// from where it comes while others are served.
    #[inline(always)]
    pub(super) fn ask(&self, turn: usize) {
        if let Some(&slot) = self.active.get(turn)
            && let Some(link) = &self.links[usize::from(slot)]
        {
            link.ask();
        }
    }

    #[inline(always)]
    pub(super) fn ask_for_burst(&mut self, turn: usize) {
        if let Some(&slot) = self.active.get(turn)
            && let Some(link) = &mut self.links[usize::from(slot)]
        {
            link.ask_for_burst();
        }
    }

    /// Wakes every NF that sleeps and has something to do.
    pub(super) fn announce(&mut self) {
        for &slot in &self.active {
            if let Some(link) = &mut self.links[usize::from(slot)] {
                link.announce();
            }
        }
    }

    pub(super) fn publish_gauges(&mut self, in_flight: u64) {
        self.counters.in_flight.store(in_flight, Ordering::Release);
        for i in 0..self.active.len() {
            let slot = self.active[i];
            let backlog = self.links[usize::from(slot)].as_mut().map(|link| link.backlog());
            match backlog {
                Some(Ok(used)) => self
                    .instance(slot)
                    .ring_used
                    .store(used.into(), Ordering::Relaxed),
                Some(Err(corrupt)) => self.quarantine(slot, || corrupt.to_string()),
                None => {}
            }
        }
    }
}

/// The hop index of a packet that goes nowhere.
pub(super) const NOWHERE: HopIndex = NO_HOP;
