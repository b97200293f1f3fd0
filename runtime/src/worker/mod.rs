//! A worker: one thread that takes packets from its sources (receive queues and the rings that NFs hand packets back by),
//! decides where each goes next, and hands them on, a burst at a time.
//!
//! A worker shares nothing that it writes but atomics: its tables are immutable generations, its flow cache and ledger
//! are its own, and changes reach it as [`Command`]s between bursts.

mod admission;
mod affinity;
mod age;
mod blanks;
mod counters;
mod credit;
mod crossing;
mod flows;
mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub(crate) mod handle;
mod idle;
mod ingress;
pub(crate) mod ledger;
mod link;
mod misuse;
pub(crate) mod packets;
mod pressure;
mod receive;
mod replicas;
mod round;
mod route;
mod share;
mod sink;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_queue::SegQueue;
use nflib::memory::PacketFile;
use onvm_api::Reason;
use tokio::sync::mpsc::UnboundedSender;

pub use age::KEEP_DEADLINE;
pub use counters::{InstanceCounters, PortCounters, WorkerCounters};
pub use handle::{End, Ends, Handle, Workers, WorkersEvent};
pub(crate) use idle::Pace;
pub use ingress::{Feed, Handed, Source, SourceKind};
pub use link::Link;
pub use replicas::Instances;
pub use sink::Sink;

use self::{
    age::Watch,
    crossing::Domains,
    forward::Forward,
    ingress::{Ingress, Receiver},
    packets::{Live, Packets},
};
use crate::{
    director::Changes,
    dpdk::PacketPool,
    generation::{Generation, add},
};

/// Packets moved at once.
pub const BURST: usize = 64;

/// Generations that can be alive at once: the current one and those that drain.
pub const GENERATION_SLOTS: usize = 16;

/// For an instance that is to go to hand back what it holds.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// What the control thread asks of a worker; carried out between bursts, in order.
#[derive(Debug)]
pub enum Command {
    /// Takes over the queues of ports, of all at once: what one receives another sends.
    Open(Vec<(u16, End)>),
    /// Begins to serve an instance that has registered. Counts anew for an instance that is `fresh`, and goes on counting for one that was restarted.
    Attach { slot: u16, link: Box<Link>, fresh: bool },
    /// Ends serving an instance: what it handed back goes on, what it still holds is freed and counted as `nf_lost`.
    Detach { slot: u16 },
    /// The same for one that gets nothing any more, once it has handed back all that it holds, or keeps it for too long.
    Release { slot: u16 },
    /// Sends a service's packets to these instances from now on. While there is none of them and one is awaited, sources that can wait do.
    Select { service: u16, instances: Instances },
    /// There is another security domain, with the next number. Before anybody has a buffer of it.
    AddDomain(Arc<PacketPool>),
    /// Classifies by these tables from now on; packets inside finish by the tables that classified them. No generation that
    /// has packets inside may have a number that is the same modulo [`GENERATION_SLOTS`].
    Publish(Arc<Generation>),
    /// Ends the generation if it still has packets inside: these are freed and counted as `nf_lost`, and the instances that
    /// hold them are to be ended for this reason.
    Expire { generation: u64, reason: String },
    /// Changes the flow entries of NFs, under the current generation.
    Program(Arc<Changes>),
    /// Takes nothing more in.
    CloseIngress,
    /// Frees everything and ends the thread.
    Exit,
}

/// What a worker reports.
#[derive(Debug)]
pub enum Event {
    Detached {
        slot: u16,
        recovered: usize,
    },
    /// The last packet of this generation has left.
    Drained {
        generation: u64,
    },
    /// The changes of this number decide about packets that come from now on.
    Programmed {
        number: u64,
    },
    /// Nothing is taken in any more, and `in_flight` has been published since.
    IngressClosed,
    /// The instance broke the contract of NFs; it is to be ended.
    Faulty {
        slot: u16,
        reason: String,
    },
}

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    pub id: u32,
    /// By the number of their security domain; one at least.
    pub pools: Vec<Arc<PacketPool>>,
    /// The same buffers, mapped for reading headers.
    pub packets: Arc<PacketFile>,
    pub counters: Arc<WorkerCounters>,
    pub commands: Arc<SegQueue<Command>>,
    pub events: UnboundedSender<Event>,
    pub idle: nflib::session::IdlePolicy,
    /// Packets that the sources which can wait may have inside together.
    pub credit: u32,
    /// Packets that instances may hold together, except for those of sources that can wait.
    pub room: u32,
    /// Seconds that a flow may be silent and still keeps its instance, up to 32767.
    pub flow_idle: u16,
}

#[derive(Debug)]
pub struct Worker {
    packets: Packets,
    forward: Forward,
    ingress: Ingress,
    watch: Watch,
    /// Instances that are to go once they hold nothing, and until when that is waited for.
    releasing: Vec<(u16, Instant)>,
    counters: Arc<WorkerCounters>,
    commands: Arc<SegQueue<Command>>,
    events: UnboundedSender<Event>,
    idle: nflib::idle::Idle,
    pace: Pace,
    /// What was taken from a ring last.
    taken: Box<[[u64; 2]; BURST]>,
    /// Somebody waits to hear that nothing is taken in any more.
    closing: bool,
    exit: bool,
}

impl Worker {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            id,
            pools,
            packets,
            counters,
            commands,
            events,
            idle,
            credit,
            room,
            flow_idle,
        } = parts;
        let domains = Domains::new(pools);
        let buffers = domains.indices();
        Self {
            packets: Packets::new(buffers),
            forward: Forward::new(
                id as usize,
                domains,
                packets.clone(),
                counters.clone(),
                events.clone(),
                room,
                flow_idle,
            ),
            watch: Watch::new(buffers as usize),
            releasing: Vec::new(),
            ingress: Ingress::new(packets, credit),
            counters,
            commands,
            events,
            idle: nflib::idle::Idle::new(idle),
            pace: Pace::new(),
            taken: Box::new([[0; 2]; BURST]),
            closing: false,
            exit: false,
        }
    }

    /// Serves until asked to exit.
    pub fn run(mut self) {
        let mut rounds = 0u32;
        while !self.exit {
            let moved = self.round();
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(64) {
                self.upkeep();
            } else if moved == 0 {
                self.forward.announce();
            }
            self.rest(moved);
        }
    }

    /// Work that is not done in each round, commands among it.
    pub fn upkeep(&mut self) {
        self.forward.announce();
        self.watch_ages();
        self.handle_commands();
        self.release();
        self.end_ingress();
        self.retire();
        self.forward.ease();
        if !self.exit {
            self.top_up();
        }
        self.forward.publish_gauges(self.packets.generations.in_flight);
    }

    fn rest(&mut self, moved: usize) {
        if moved > 0 {
            self.idle.reset();
            self.pace.reset();
        } else if self.idle.rest() == nflib::idle::Rest::Sleep {
            self.upkeep();
            let polled = self.ingress.must_be_polled();
            idle::nap(
                &mut self.pace,
                &mut self.forward.links,
                self.packets.generations.in_flight,
                polled,
                || !self.commands.is_empty(),
            );
        }
    }

    fn handle_commands(&mut self) {
        while let Some(command) = self.commands.pop() {
            match command {
                Command::Open(ports) => {
                    ports.into_iter().for_each(|(port, end)| self.open(port, end));
                    self.renew_flows();
                    self.note_starved();
                }
                Command::Attach { slot, link, fresh } => {
                    if fresh {
                        self.counters.instances[usize::from(slot)].reset();
                    }
                    self.forward.attach(slot, link);
                }
                Command::Detach { slot } => {
                    // Each request is answered.
                    let waiting = self.releasing.len();
                    self.releasing.retain(|(releasing, _)| *releasing != slot);
                    (self.releasing.len()..=waiting).for_each(|_| self.detach(slot));
                }
                Command::Release { slot } => self.releasing.push((slot, Instant::now() + RELEASE_DEADLINE)),
                Command::Select { service, instances } => {
                    self.forward.select(service, instances);
                    self.note_starved();
                }
                Command::AddDomain(pool) => self.add_domain(pool),
                Command::Publish(tables) => self.publish(tables),
                Command::Program(changes) => self.program(&changes),
                Command::Expire { generation, reason } => self.expire(generation, &reason),
                Command::CloseIngress => {
                    self.ingress.close();
                    self.closing = true;
                }
                Command::Exit => self.leave(),
            }
        }
    }

    /// Says once that nothing is taken in any more. Packets that receivers have handed on are taken in before.
    fn end_ingress(&mut self) {
        if self.closing && self.ingress.is_taken() {
            self.closing = false;
            self.forward.publish_gauges(self.packets.generations.in_flight);
            let _ = self.events.send(Event::IngressClosed);
        }
    }

    fn open(&mut self, port: u16, End { source, sink }: End) {
        let (forward, at) = (&mut self.forward, usize::from(port as u8));
        forward.waiting[at] = source.as_ref().is_some_and(|s| s.kind != SourceKind::Live);
        forward.stamped[at] = source.as_ref().is_some_and(Source::is_stamped);
        forward.open(port, sink);
        self.ingress.open(port, source);
    }

    fn publish(&mut self, tables: Arc<Generation>) {
        self.ingress.tables = Some(tables.clone());
        self.packets.generations.publish(tables);
        self.renew_flows();
        self.note_starved();
    }

    fn program(&mut self, changes: &Changes) {
        if let Some(Live { tables, .. }) = &self.packets.generations.live[self.packets.generations.current] {
            self.ingress.flows.change(changes, tables);
        }
        let number = changes.number;
        let _ = self.events.send(Event::Programmed { number });
    }

    /// Goes over to the rules of the current generation.
    fn renew_flows(&mut self) {
        if let Some(Live { tables, .. }) = &self.packets.generations.live[self.packets.generations.current] {
            self.ingress.flows.renew(tables);
            self.forward.renew_flags(&tables.tables);
        }
    }

    /// Notes which ports' packets may come to a service that waits for an instance.
    fn note_starved(&mut self) {
        let Some(Live { tables, .. }) = &self.packets.generations.live[self.packets.generations.current]
        else {
            return;
        };
        for (receiver, reach) in self.ingress.ports.iter_mut().zip(&tables.reach) {
            if let Some(Receiver { starved, .. }) = receiver {
                *starved = reach.iter().any(|&service| self.forward.is_starved(service));
            }
        }
    }

    /// Between rounds all packets inside are held by instances, so none of the generation is left.
    fn expire(&mut self, generation: u64, reason: &str) {
        let slot = (generation % GENERATION_SLOTS as u64) as usize;
        let is_it = |l: &Live| l.tables.number == generation;
        if slot == self.packets.generations.current
            || !self.packets.generations.live[slot].as_ref().is_some_and(is_it)
        {
            return;
        }
        for (instance, buffer) in self.packets.ledger.of_generation(slot) {
            self.forward.quarantine(instance, || reason.to_owned());
            self.forward.discard(&mut self.packets, buffer, Reason::NfLost);
        }
        self.forward.flush(&mut self.packets);
    }

    /// Reports old generations whose last packet has left.
    fn retire(&mut self) {
        for generation in self.packets.generations.retire() {
            // The control thread ends the worker before it drops its end.
            let _ = self.events.send(Event::Drained { generation });
        }
    }

    /// Ends serving those that are to go and hold nothing any more.
    fn release(&mut self) {
        for i in (0..self.releasing.len()).rev() {
            let (slot, until) = self.releasing[i];
            let link = self.forward.links[usize::from(slot)].as_ref();
            if link.is_none_or(|link| link.held() == 0) || Instant::now() >= until {
                self.releasing.swap_remove(i);
                self.detach(slot);
            }
        }
    }

    fn detach(&mut self, slot: u16) {
        self.take_back_all(slot);
        self.forward.flush(&mut self.packets);
        let held = self.packets.ledger.all_of(ledger::Owner::instance(slot));
        for &buffer in &held {
            self.forward.discard(&mut self.packets, buffer, Reason::NfLost);
        }
        for buffer in self.packets.ledger.all_of(ledger::Owner::blank(slot)) {
            self.forward.free_blank(&mut self.packets, buffer);
        }
        self.forward.flush(&mut self.packets);
        self.forward.remove(slot);
        self.note_starved();
        let _ = self.events.send(Event::Detached {
            slot,
            recovered: held.len(),
        });
    }

    /// Packets that the instance handed back before it went count as any other. That is a ring's content at most: one
    /// that goes on pushing is not waited for.
    fn take_back_all(&mut self, slot: u16) {
        let mut left = self.forward.links[usize::from(slot)]
            .as_ref()
            .map_or(0, |link| link.capacity());
        while left > 0 {
            match self.take_back(slot) {
                0 => return,
                n => left = left.saturating_sub(n),
            }
        }
    }

    /// Counts and frees what receivers have handed on and nobody takes any more.
    fn refuse_handed(&mut self) {
        for (port, receiver) in self.ingress.ports.iter_mut().enumerate() {
            let Some(Receiver { source, burst, .. }) = receiver else {
                continue;
            };
            let Feed::Handed(handed) = &mut source.feed else {
                continue;
            };
            for ring in &mut handed.rings {
                burst.clear();
                while ring.take(burst, None) > 0 {
                    add(
                        &self.counters.ports[port].rx_packets,
                        burst.packets().len() as u64,
                    );
                    for packet in burst.packets() {
                        self.forward
                            .refuse(&mut self.packets, port as u16, packet.index, Reason::Shutdown);
                    }
                    burst.clear();
                }
            }
        }
    }

    fn leave(&mut self) {
        self.ingress.close();
        self.refuse_handed();
        for buffer in self.packets.ledger.all_of_instances() {
            self.forward.discard(&mut self.packets, buffer, Reason::Shutdown);
        }
        for buffer in self.packets.ledger.all_blanks() {
            self.forward.free_blank(&mut self.packets, buffer);
        }
        self.forward.flush(&mut self.packets);
        self.forward.publish_gauges(self.packets.generations.in_flight);
        self.exit = true;
    }
}
