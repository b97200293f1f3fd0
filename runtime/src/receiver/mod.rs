//! A receiver: one thread that only polls receive queues, hashes, and hands whole flows to workers. It spreads the packets of ports
//! that have fewer queues than there are workers, as network cards do by their hash (receive-side scaling).
//!
//! The hash is symmetric, so that both directions of a flow come to one worker, from whatever port. A packet is counted as received by
//! the worker that takes it. While a worker has no room for a burst, packets stay where they come from: those of sources that can wait
//! for as long as it takes, those of live ports for [`PATIENCE`], in the device's queue. A live one that finds no room then is counted
//! here, as `ring_full` at its port.

mod handoff;
#[cfg(test)]
mod model;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_queue::SegQueue;
use nflib::{
    idle::{Idle, Rest},
    memory::{PacketFile, PrivateCopy},
    session::IdlePolicy,
};
use onvm_api::Reason;
use onvm_bundle::filter::flow::{self, flow_of};

pub use self::handoff::{Giver, Taker, handoff};
use crate::{
    capture::{Stamp, Stamps},
    dpdk::{PacketPool, RxBurst, RxDesc},
    generation::add,
    worker::{BURST, Pace, Source, SourceKind, WorkerCounters},
};

/// What the control thread asks of a receiver; carried out between bursts, in order.
#[derive(Debug)]
pub enum Command {
    /// Takes over a port's queues; `to` has a ring for each worker.
    Open {
        port: u16,
        source: Source,
        to: Vec<Giver>,
    },
    /// Ends the thread. Packets that it has handed on belong to the workers.
    Exit,
}

/// What a receiver is made of.
#[derive(Debug)]
pub struct Parts {
    pub pool: Arc<PacketPool>,
    /// The same buffers, mapped for reading headers.
    pub packets: Arc<PacketFile>,
    pub counters: Arc<WorkerCounters>,
    pub commands: Arc<SegQueue<Command>>,
    pub idle: IdlePolicy,
}

#[derive(Debug)]
pub struct Receiver {
    parts: Parts,
    copy: PrivateCopy,
    ports: Vec<Port>,
    stamps: Stamps,
    idle: Idle,
    pace: Pace,
    exit: bool,
}

/// For a worker that the machine does not run. One that has no room for longer must not stop the flows of the others.
const PATIENCE: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Port {
    id: usize,
    source: Source,
    turn: usize,
    burst: RxBurst,
    to: Vec<Giver>,
    /// By worker: packets of the burst.
    sorted: Vec<Vec<(RxDesc, Stamp)>>,
    /// By worker.
    holds: Vec<Hold>,
}

impl Receiver {
    pub fn new(parts: Parts) -> Self {
        Self {
            copy: PrivateCopy::new(&parts.packets),
            ports: Vec::new(),
            stamps: Stamps::default(),
            idle: Idle::new(parts.idle),
            pace: Pace::new(),
            exit: false,
            parts,
        }
    }

    /// Serves until asked to exit.
    pub fn run(mut self) {
        while !self.exit {
            let moved: usize = (0..self.ports.len()).map(|i| self.receive(i)).sum();
            self.handle_commands();
            if moved > 0 {
                self.idle.reset();
                self.pace.reset();
            } else if self.idle.rest() == Rest::Sleep {
                std::thread::sleep(self.pace.next());
            }
        }
    }

    fn handle_commands(&mut self) {
        while let Some(command) = self.parts.commands.pop() {
            match command {
                Command::Open { port, source, to } => self.ports.push(Port {
                    id: usize::from(port),
                    source,
                    turn: 0,
                    burst: RxBurst::new(BURST),
                    sorted: to.iter().map(|_| Vec::with_capacity(BURST)).collect(),
                    holds: vec![Hold::default(); to.len()],
                    to,
                }),
                Command::Exit => self.exit = true,
            }
        }
    }

    /// Takes a burst from a port's next queue and hands it to the workers; gives how many packets.
    fn receive(&mut self, i: usize) -> usize {
        let Self {
            parts,
            copy,
            ports,
            stamps,
            ..
        } = self;
        let port = &mut ports[i];
        if port.waits() {
            return 0;
        }
        let before = port.burst.gone();
        let n = port.source.take_burst(&mut port.turn, &mut port.burst, stamps);
        parts.counters.ports[port.id].count_gone(before, port.burst.gone());
        for packet in port.burst.packets() {
            parts.packets.prefetch(packet.index, packet.off);
        }
        let stamped = port.source.is_stamped();
        for packet in port.burst.packets() {
            let hash = match packet.hash_valid() {
                true => packet.hash,
                false => {
                    let most = packet.len.min(flow::REACH);
                    flow_of(copy.take(&parts.packets, packet.index, packet.off, most)).hash
                }
            };
            let stamp = if stamped {
                stamps.get(packet.index)
            } else {
                Stamp::default()
            };
            let worker = worker_of(hash, port.to.len());
            port.sorted[worker].push((RxDesc::hashed(packet.index, packet.off, packet.len, hash), stamp));
        }
        for (giver, packets) in port.to.iter_mut().zip(&mut port.sorted) {
            let given = giver.give(packets);
            if given < packets.len() {
                parts.refuse(port.id, &packets[given..]);
            }
            packets.clear();
        }
        if port.source.has_ended() {
            port.source.kind = SourceKind::Ended;
            port.to.iter().for_each(Giver::end);
        }
        n
    }
}

impl Port {
    /// It has been read to its end, or a worker has no room for a burst; for a live one that is so for a short time alone.
    fn waits(&mut self) -> bool {
        match self.source.kind {
            SourceKind::Live => {
                let mut workers = self.to.iter_mut().zip(&mut self.holds);
                workers
                    .any(|(giver, hold)| hold.waits(giver.room() >= BURST, || giver.is_idle(), Instant::now))
            }
            SourceKind::Ended => true,
            SourceKind::Endless | SourceKind::Finite => self.to.iter_mut().any(|giver| giver.room() < BURST),
        }
    }
}

/// Since when a worker is behind with what a live port has: from when it had no room until it has taken everything. One with too much to
/// do has room for a moment again and again; it is not waited for each time, which would slow the flows of the others down to its own.
#[derive(Debug, Clone, Default)]
struct Hold(Option<Instant>);

impl Hold {
    /// Whether the port's packets are to be left in the device's queue.
    fn waits(
        &mut self,
        has_room: bool,
        is_idle: impl FnOnce() -> bool,
        now: impl FnOnce() -> Instant,
    ) -> bool {
        if has_room {
            if self.0.is_some() && is_idle() {
                self.0 = None;
            }
            return false;
        }
        let now = now();
        now.duration_since(*self.0.get_or_insert(now)) < PATIENCE
    }
}

impl Parts {
    /// Frees packets that found no room at their worker.
    #[cold]
    fn refuse(&self, port: usize, packets: &[(RxDesc, Stamp)]) {
        let counters = &self.counters.ports[port];
        let buffers: Vec<u32> = packets.iter().map(|(packet, _)| packet.index).collect();
        let bytes = packets.iter().map(|(packet, _)| u64::from(packet.len)).sum();
        add(&counters.rx_packets, buffers.len() as u64);
        add(&counters.rx_bytes, bytes);
        add(&counters.dropped[Reason::RingFull as usize], buffers.len() as u64);
        for part in buffers.chunks(BURST) {
            self.pool.free_burst(part);
        }
    }
}

/// The worker of a flow. By other bits of the hash than those that choose an instance of a service.
fn worker_of(hash: u32, workers: usize) -> usize {
    let mixed = hash.wrapping_mul(0x85eb_ca6b) >> 8;
    ((u64::from(mixed & 0xffff) * workers as u64) >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_port_waits_for_a_worker_and_not_for_ever() {
        let (mut hold, now) = (Hold::default(), Instant::now());
        let mut waits = |has_room, is_idle, after| hold.waits(has_room, || is_idle, || now + after);
        let none = Duration::ZERO;
        assert!(!waits(true, true, none));
        assert!(waits(false, false, none) && waits(false, false, PATIENCE / 2));
        assert!(!waits(true, false, PATIENCE / 2), "room for a moment");
        assert!(!waits(false, false, PATIENCE) && !waits(false, false, 2 * PATIENCE));
        assert!(!waits(true, true, 2 * PATIENCE));
        assert!(waits(false, false, 3 * PATIENCE), "it had taken everything");
    }

    #[test]
    fn flows_spread_over_workers_and_over_the_instances_of_each() {
        for workers in [2, 3, 5] {
            let mut flows = vec![[0_u32; 4]; workers];
            for flow in 0..10_000_u32 {
                let hash = flow.wrapping_mul(0x0101_6b5d);
                let instance = hash.wrapping_mul(0x9e37_79b1) >> 30;
                flows[worker_of(hash, workers)][instance as usize] += 1;
            }
            let even = 10_000 / workers as u32 / 4;
            let all = flows.iter().flatten();
            assert!(all.clone().all(|n| (even / 2..2 * even).contains(n)), "{flows:?}");
        }
    }
}
