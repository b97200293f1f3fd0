//! A worker under any sequence of actions of its NFs, its ports and the control thread, for `cargo fuzz` and for tests.
//!
//! The worker is the real one, over rings of shared memory and DPDK's buffers; the ports are loops of DPDK's, which give what is
//! sent into them. The bytes of an input say what happens: packets come in, a round is served, an NF handles packets as it
//! should, or writes what it likes wherever it can, is attached, detached, or keeps packets too long; generations come and go.
//! What must hold is asserted after each step ([`oracle`]) and at the end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "an input fails by a panic")]

mod bench;
mod nf;
mod oracle;
mod programs;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_queue::SegQueue;
use nflib::{Region, Run, layout::Layout, session::IdlePolicy};
use onvm_api::Reason;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::{
    bench::{Bench, DOMAIN_OF, DOMAINS, PORTS, SINKS, SOURCES},
    nf::Nf,
    programs::Programs,
};
use super::{
    Command, End, Event, Feed, GENERATION_SLOTS, Instances, Link, Parts, Sink, Source, SourceKind, Worker,
    WorkerCounters, age::SLICE,
};
use crate::{
    dpdk::{RxQueue, TxQueue},
    generation::{At, Generation, Hop, HopCounters, HopIndex, NO_HOP, PortTable},
};

/// Descriptors that a ring holds; fewer than the buffers, so that rings and shares both fill up.
const RING: u32 = 64;
/// Blanks of an instance that makes packets.
const BLANKS: u32 = 64;
const SLOTS: usize = 4;
/// The service that each slot's instance belongs to.
const SERVICE_OF: [u16; SLOTS] = [0, 0, 1, 2];
const SERVICES: u16 = 3;

/// Indices from one domain's first buffer to the next's.
const SPAN: u32 = 1 << 15;

/// Whether the slot's instances make packets, if they may write.
fn makes(slot: usize) -> bool {
    slot.is_multiple_of(3)
}

/// Steps of one input.
const MOST_STEPS: usize = 1000;

/// Reads an input; zeros follow its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// The index of any buffer of any domain.
    fn buffer(&mut self) -> u32 {
        let domain = self.below(DOMAINS) as u32;
        domain * SPAN + u32::from(self.u8())
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.u8()) % n
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (now, rest) = self.0.split_at(self.0.len().min(N));
        self.0 = rest;
        let mut out = [0; N];
        out[..now.len()].copy_from_slice(now);
        out
    }
}

/// A worker and all that surrounds it.
struct World<'b> {
    bench: &'b mut Bench,
    worker: Worker,
    split: u8,
    /// Domains that the worker knows.
    domains: usize,
    commands: Arc<SegQueue<Command>>,
    events: UnboundedReceiver<Event>,
    counters: Arc<WorkerCounters>,
    /// All that were published.
    generations: Vec<Arc<Generation>>,
    /// Numbers of those that have gone.
    drained: Vec<u64>,
    nfs: [Option<Nf>; SLOTS],
    /// Instances that the worker wants to be ended.
    faulty: [bool; SLOTS],
    inject: Vec<TxQueue>,
    deliver: Vec<RxQueue>,
    /// Buffers on their way to the worker, by source.
    coming: [VecDeque<u32>; SOURCES.len()],
    entries: Programs,
    /// Packets read from the ports that the worker sends to.
    read: u64,
    tally: Tally,
}

/// What became of the packets of an input.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub sent: u64,
    /// By [`Reason`].
    pub dropped: [u64; Reason::COUNT],
    pub refused: u64,
    pub overruled: u64,
    /// Packets that flow entries took.
    pub programmed: u64,
    pub generated: u64,
    /// Packets that were copied from one security domain to another.
    pub crossings: u64,
    /// Instances that were to be ended, by what was said of them.
    pub faulty: BTreeMap<String, u64>,
}

/// Runs one input.
pub fn run(input: &[u8]) -> Tally {
    let mut bench = bench::bench();
    let mut input = Bytes(input);
    let mut world = World::new(&mut bench, input.u8(), input.u8());
    for _ in 0..MOST_STEPS {
        if input.0.is_empty() {
            break;
        }
        world.step(&mut input);
        world.hear();
        world.check();
    }
    world.end()
}

impl<'b> World<'b> {
    /// `split` has two bits for the security domain of each slot's instances.
    fn new(bench: &'b mut Bench, how: u8, split: u8) -> Self {
        let commands = Arc::new(SegQueue::new());
        let (sender, events) = unbounded_channel();
        let counters = Arc::new(WorkerCounters::new(PORTS, SLOTS));
        let worker = Worker::new(Parts {
            id: 0,
            pools: bench.pools[..DOMAIN_OF.len()].to_vec(),
            packets: bench.packets.clone(),
            counters: counters.clone(),
            commands: commands.clone(),
            events: sender,
            idle: IdlePolicy {
                spins: 0,
                yields: 0,
                sleeps: false,
            },
            credit: RING,
            room: bench.pools[0].count() / 2,
            flow_idle: 1,
        });
        let inject = SOURCES
            .map(|p| bench.ports[p].tx_queue(0).unwrap())
            .into_iter()
            .collect();
        let deliver = SINKS
            .map(|p| bench.ports[p].rx_queue(0).unwrap())
            .into_iter()
            .collect();
        let kinds = [SourceKind::Live, SourceKind::Endless];
        for (port, kind) in SOURCES.into_iter().zip(kinds) {
            let feed = Feed::Queues(vec![bench.ports[port].rx_queue(0).unwrap()]);
            let source = Some(Source { feed, kind });
            commands.push(Command::Open(vec![(port as u16, End { source, sink: None })]));
        }
        // A port without a queue takes nothing.
        for port in SINKS.into_iter().take(1 + usize::from(how & 1)) {
            let sink = Some(Sink::Queue(bench.ports[port].tx_queue(0).unwrap()));
            commands.push(Command::Open(vec![(port as u16, End { source: None, sink })]));
        }
        let mut world = Self {
            bench,
            worker,
            split,
            domains: DOMAIN_OF.len(),
            commands,
            events,
            counters,
            generations: Vec::new(),
            drained: Vec::new(),
            nfs: [const { None }; SLOTS],
            faulty: [false; SLOTS],
            inject,
            deliver,
            coming: Default::default(),
            entries: Programs::default(),
            read: 0,
            tally: Tally::default(),
        };
        for slot in 0..SLOTS {
            if how & 2 << slot != 0 {
                world.attach(slot, how & 0x40 != 0);
            }
        }
        world.publish(how >> 5);
        world.hear();
        world.check();
        world
    }

    fn step(&mut self, input: &mut Bytes<'_>) {
        let what = input.u8();
        // Half of all steps are those that packets move by.
        match what % 32 {
            0..4 => self.inject(input),
            4..8 => self.round(),
            8..12 => self.nf(input, Nf::handle),
            12..14 => self.nf(input, Nf::forge),
            14 => self.nf(input, Nf::repeat),
            15 => self.nf(input, Nf::turn_index),
            16 => self.nf(input, Nf::scribble),
            17 => self.write_packet(input),
            18 => {
                let slot = input.below(SLOTS);
                self.attach(slot, input.u8() & 1 != 0);
            }
            19 => match input.u8() {
                how if how < 128 => self.detach(usize::from(how) % SLOTS),
                how => self.release(usize::from(how) % SLOTS),
            },
            20 => self.publish(input.u8()),
            21 => self.expire(),
            22 => self.pass(input.below(40)),
            23 => self.read_sinks(),
            24 => self.select(input),
            25 => self.lose_patience(),
            26 => self.look_for_returns(),
            27 => self.end_the_faulty(),
            30 => self.nf(input, Nf::make),
            28 => {
                self.round();
                self.worker.upkeep();
            }
            29 => self.program(input),
            31 => self.add_domain(),
            _ => self.worker.upkeep(),
        }
    }

    /// Packets come to a source.
    fn inject(&mut self, input: &mut Bytes<'_>) {
        let (source, count) = (input.below(SOURCES.len()), 1 + input.below(64));
        let (length, seed) = (14 + input.u8() % 100, input.u8());
        self.note_received();
        let mut buffers = vec![0; count];
        let got = self.bench.pools[DOMAIN_OF[source]].alloc_burst(&mut buffers);
        buffers.truncate(got);
        for (i, &buffer) in buffers.iter().enumerate() {
            let entry = self.worker.packets.ledger.slice(buffer as usize, 1)[0];
            assert_eq!(
                entry.tag.owner(),
                super::ledger::Owner::POOL,
                "buffer {buffer} is in the stock"
            );
            assert!(
                self.coming.iter().all(|c| !c.contains(&buffer)),
                "buffer {buffer} comes in already"
            );
            self.bench.write_frame(buffer, seed.wrapping_add(i as u8));
        }
        self.bench.send(&mut self.inject[source], &buffers, length.into());
        self.bench.sent[SOURCES[source]] += buffers.len() as u64;
        self.coming[source].extend(buffers);
    }

    fn round(&mut self) {
        let moved = self.worker.round();
        assert!(
            moved <= super::BURST * (SLOTS + SOURCES.len()),
            "a round moved {moved} packets"
        );
    }

    /// One of the NFs does something.
    fn nf(&mut self, input: &mut Bytes<'_>, what: fn(&mut Nf, &mut Bytes<'_>)) {
        if let Some(nf) = &mut self.nfs[input.below(SLOTS)] {
            what(nf, input);
        }
    }

    fn write_packet(&mut self, input: &mut Bytes<'_>) {
        let (buffer, word, value) = (input.buffer(), input.u8(), input.u32());
        self.bench.write(buffer, usize::from(word) * 4, value);
    }

    /// As the control thread does once an instance is ready.
    fn attach(&mut self, slot: usize, writes: bool) {
        if self.nfs[slot].is_some() {
            return;
        }
        let layout = match makes(slot) && writes {
            true => Layout::new(1, RING, 8).with_blanks(BLANKS),
            false => Layout::new(1, RING, 8),
        };
        let (fd, region) = Region::create("fuzzed", layout.clone()).unwrap();
        let link = Box::new(Link::new(&region, 0, writes, self.domain_of(slot)));
        self.commands.push(Command::Attach {
            slot: slot as u16,
            link,
            fresh: slot.is_multiple_of(2),
        });
        self.nfs[slot] = Some(Nf::new(&fd, layout));
        self.faulty[slot] = false;
        let service = SERVICE_OF[slot];
        self.commands.push(Command::Select {
            service,
            instances: Instances {
                chosen: self.running(service),
                by_flow: true,
                ..Instances::default()
            },
        });
        self.worker.upkeep();
    }

    /// That of the slot's next instance.
    fn domain_of(&self, slot: usize) -> u8 {
        (usize::from(self.split >> (2 * slot) & 3) % self.domains) as u8
    }

    /// As an edit does.
    fn add_domain(&mut self) {
        if let Some(pool) = self.bench.pools.get(self.domains) {
            self.commands.push(Command::AddDomain(pool.clone()));
            self.domains += 1;
            self.worker.upkeep();
        }
    }

    fn running(&self, service: u16) -> Vec<u16> {
        (0..SLOTS as u16)
            .filter(|&s| SERVICE_OF[usize::from(s)] == service && self.nfs[usize::from(s)].is_some())
            .collect()
    }

    fn detach(&mut self, slot: usize) {
        if self.nfs[slot].is_none() {
            return;
        }
        self.commands.push(Command::Detach { slot: slot as u16 });
        self.worker.upkeep();
        self.nfs[slot] = None;
        self.faulty[slot] = false;
        self.count_instance(slot);
    }

    /// As the control thread does with one that is to go: it gets nothing more, and goes when it holds nothing. One that does
    /// hold something is lost before it has handed that back.
    fn release(&mut self, slot: usize) {
        if self.nfs[slot].is_none() {
            return;
        }
        let service = SERVICE_OF[slot];
        let mut chosen = self.running(service);
        chosen.retain(|&other| usize::from(other) != slot);
        self.commands.push(Command::Select {
            service,
            instances: Instances {
                chosen,
                by_flow: true,
                ..Instances::default()
            },
        });
        let held = self.held_by(slot);
        self.commands.push(Command::Release { slot: slot as u16 });
        self.worker.upkeep();
        if self.worker.forward.links[slot].is_some() {
            self.hear();
            let waits = held > 0 || self.faulty[slot];
            assert!(
                waits,
                "one that is in order and holds nothing is released at once"
            );
            return self.detach(slot);
        }
        self.nfs[slot] = None;
        self.faulty[slot] = false;
        self.count_instance(slot);
    }

    fn end_the_faulty(&mut self) {
        for slot in 0..SLOTS {
            if self.faulty[slot] {
                self.detach(slot);
            }
        }
    }

    /// Some of a service's instances, or none while one is awaited.
    fn select(&mut self, input: &mut Bytes<'_>) {
        let (service, which) = (u16::from(input.u8()) % SERVICES, input.u8());
        let running = self.running(service);
        let (chosen, others): (Vec<u16>, Vec<u16>) =
            running.into_iter().partition(|slot| which >> slot & 1 != 0);
        self.commands.push(Command::Select {
            service,
            instances: Instances {
                chosen,
                leaving: if which & 0x40 == 0 { Vec::new() } else { others },
                awaited: which & 0x80 != 0,
                by_flow: which & 0x20 != 0,
            },
        });
        self.worker.upkeep();
    }

    fn publish(&mut self, how: u8) {
        let number = self.generations.len() as u64 + 1;
        // The control thread sees to it that there is room.
        if self.worker.packets.generations.live[(number % GENERATION_SLOTS as u64) as usize].is_some() {
            return;
        }
        let tables = Arc::new(generation(number, how, &self.entries));
        self.generations.push(tables.clone());
        self.commands.push(Command::Publish(tables));
        self.worker.upkeep();
        // It is for the input to say when patience ends.
        if let Some(until) = &mut self.worker.packets.generations.hold {
            *until = Instant::now() + Duration::from_secs(3600);
        }
    }

    /// Ends the oldest generation that has packets inside.
    fn expire(&mut self) {
        let current = self.generations.len() as u64;
        let Some(oldest) = (1..current).find(|number| !self.drained.contains(number)) else {
            return;
        };
        self.commands.push(Command::Expire {
            generation: oldest,
            reason: "it kept an old generation".to_owned(),
        });
        self.worker.upkeep();
        self.hear();
        assert!(
            self.drained.contains(&oldest),
            "generation {oldest} is still there"
        );
    }

    /// So many periods pass.
    fn pass(&mut self, periods: usize) {
        for _ in 0..periods {
            self.worker.watch.ends = Instant::now();
            // Slice by slice.
            let entries = self.worker.packets.ledger.slice(0, usize::MAX).len();
            (0..entries.div_ceil(SLICE)).for_each(|_| self.worker.watch_ages());
        }
        self.check_ages();
    }

    /// Flow entries come and go, as the director has it.
    fn program(&mut self, input: &mut Bytes<'_>) {
        let changes = Arc::new(self.entries.change(input));
        self.commands.push(Command::Program(changes));
        self.worker.upkeep();
    }

    fn lose_patience(&mut self) {
        if let Some(until) = &mut self.worker.packets.generations.hold {
            *until = Instant::now();
        }
    }

    /// As a worker does before it sleeps.
    fn look_for_returns(&mut self) {
        for link in self.worker.forward.links.iter_mut().flatten() {
            link.has_returns();
        }
    }
}

/// Of the numbers that choose tables: the first two NFs share a process.
const FUSED: u8 = 0x40;

/// Tables with a way around, a drop, and an output, a steer, a way out and a lookup where they are permitted.
fn generation(number: u64, how: u8, entries: &Programs) -> Generation {
    let hop = |at, next| Hop {
        at,
        next,
        outputs: Vec::new(),
        steers: Vec::new(),
        outs: Vec::new(),
        lookup: false,
        bypass: false,
        chain: 0,
        run: Vec::new(),
    };
    let [first, second] = SINKS.map(|port| port as u16);
    let mut hops = vec![
        hop(At::Service(0), 1),
        hop(At::Service(1), 3),
        hop(At::Service(2), 0),
        hop(At::Port(first), NO_HOP),
        hop(At::Port(second), NO_HOP),
        hop(At::Drop, NO_HOP),
    ];
    hops[0].outputs = vec![1, 4, 5];
    hops[0].steers = vec![(2, 2)];
    hops[0].outs = vec![(second, 4)];
    hops[0].lookup = true;
    hops[2].outputs = vec![2, 0];
    hops[2].bypass = true;
    if how & FUSED != 0 {
        hops[1].at = At::Service(0);
        (hops[0].run, hops[1].run) = (vec![0, 1], vec![1]);
    }
    let table = |otherwise| PortTable::new(Vec::new(), otherwise);
    let begins: [HopIndex; 8] = [0, 1, 2, 0, 3, 5, NO_HOP, 0];
    let mut tables: Vec<PortTable> = (0..PORTS).map(|_| table(NO_HOP)).collect();
    tables[SOURCES[0]] = table(begins[usize::from(how & 7)]);
    let rules = vec![("(tcp-port dst 99)".parse().unwrap(), 2)];
    tables[SOURCES[1]] = PortTable::new(rules, begins[usize::from(how >> 3 & 7)]);
    // The flow cache is too large to be made for each input.
    for source in SOURCES {
        tables[source].by_flow = false;
    }
    let counters = HopCounters::new(hops.len(), &tables);
    Generation {
        number,
        id: String::new(),
        max_hops: 2,
        ahead: crate::generation::ahead(&hops),
        runs: hops.iter().map(|hop| Run::new(&hop.run)).collect(),
        hops,
        chains: Vec::new(),
        tables,
        reach: vec![(0..SERVICES).collect(); PORTS],
        rules: Vec::new(),
        programs: entries.programs(how),
        counters: vec![counters],
    }
}
