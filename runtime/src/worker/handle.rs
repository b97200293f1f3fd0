//! The control side of the workers: their threads, commands, events and counters.
//!
//! Every worker serves every instance and every generation, so commands about these go to all workers, and are
//! done when the last of them has done them. A receive queue is one worker's, or one receiver's.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use crossbeam_queue::SegQueue;
use nflib::Region;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Command, Event, Link, Sink, Source, WorkerCounters};
use crate::receiver::{self, Giver};

/// All workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Handle>,
    receivers: Vec<Handle<receiver::Command>>,
    /// Workers that take packets from a port.
    served: HashMap<u16, usize>,
    events: UnboundedReceiver<Event>,
    /// What some workers have reported, and all are to report.
    awaited: HashMap<Awaited, Partial>,
    ring_room: u64,
}

/// What a port is to one worker.
#[derive(Debug, Default)]
pub struct End {
    pub source: Option<Source>,
    pub sink: Option<Sink>,
}

/// What a port is to workers and receivers.
#[derive(Debug, Default)]
pub struct Ends {
    /// By worker.
    pub workers: Vec<End>,
    /// A receiver's number, what it polls, and its rings to the workers.
    pub receivers: Vec<(usize, Source, Vec<Giver>)>,
}

/// A worker, or a receiver, which takes other commands.
#[derive(Debug)]
pub struct Handle<C = Command> {
    pub commands: Arc<SegQueue<C>>,
    pub counters: Arc<WorkerCounters>,
    /// None once it has been joined.
    pub thread: Option<JoinHandle<()>>,
}

/// An event, once for all workers.
#[derive(Debug, PartialEq, Eq)]
pub enum WorkersEvent {
    /// No worker serves the instance any more; they have freed so many packets that it held.
    Detached { slot: u16, recovered: usize },
    /// No worker has packets of this generation inside.
    Drained { generation: u64 },
    /// All workers obey the changes of flow entries with this number, and those before.
    Programmed { number: u64 },
    /// Nothing is taken in any more.
    IngressClosed,
    /// The instance broke the contract of NFs; it is to be ended.
    Faulty { slot: u16, reason: String },
}

/// What every worker reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Awaited {
    Detached(u16),
    Drained(u64),
    Programmed(u64),
    IngressClosed,
}

#[derive(Debug, Default)]
struct Partial {
    workers: usize,
    recovered: usize,
}

impl Workers {
    /// `ring_room` as [`Self::ring_room`] gives it.
    pub fn new(workers: Vec<Handle>, events: UnboundedReceiver<Event>, ring_room: u64) -> Self {
        Self {
            workers,
            receivers: Vec::new(),
            served: HashMap::new(),
            events,
            awaited: HashMap::new(),
            ring_room,
        }
    }

    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Packets that may wait for one instance whatever source they come from; of a source that cannot wait there may be more.
    pub fn ring_room(&self) -> u64 {
        self.ring_room
    }

    /// Queues a command for each worker. Never waits, whatever has become of the workers.
    pub fn send_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.commands.push(command());
        }
    }

    /// Has an instance served that has registered. Counts anew for one that is `fresh`, and goes on counting for one that was restarted.
    pub fn attach(&self, slot: u16, region: &Region, writes: bool, domain: u8, fresh: bool) {
        for (id, worker) in self.workers.iter().enumerate() {
            let link = Box::new(Link::new(region, id as u32, writes, domain));
            worker.commands.push(Command::Attach { slot, link, fresh });
        }
    }

    /// Has all ports served, by each worker and receiver at its own ends.
    pub fn open(&mut self, ports: Vec<Ends>) {
        let mut opened: Vec<Vec<(u16, End)>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (port, ends) in (0..).zip(ports) {
            let served = ends.workers.iter().filter(|end| end.source.is_some());
            self.served.insert(port, served.count());
            for (opened, end) in opened.iter_mut().zip(ends.workers) {
                opened.push((port, end));
            }
            for (receiver, source, to) in ends.receivers {
                if let Some(receiver) = self.receivers.get(receiver) {
                    let open = receiver::Command::Open { port, source, to };
                    receiver.commands.push(open);
                }
            }
        }
        for (worker, opened) in self.workers.iter().zip(opened) {
            worker.commands.push(Command::Open(opened));
        }
    }

    pub fn receivers(&self) -> usize {
        self.receivers.len()
    }

    /// Adds one that has been started.
    pub fn add_receiver(&mut self, receiver: Handle<receiver::Command>) {
        self.receivers.push(receiver);
    }

    /// Has nothing more polled by receivers. Workers take what these have handed on.
    pub fn stop_receivers(&self) {
        for receiver in &self.receivers {
            receiver.commands.push(receiver::Command::Exit);
        }
    }

    pub fn receivers_ended(&self) -> bool {
        self.receivers.iter().all(Handle::has_ended)
    }

    /// Adds one that has been started.
    pub fn add(&mut self, worker: Handle) {
        self.workers.push(worker);
    }

    /// Ends all, which serve nothing yet.
    pub fn end(&mut self) {
        self.stop_receivers();
        self.send_all(|| Command::Exit);
        self.join();
    }

    /// What happened next. None: no worker is left that could report.
    pub async fn event(&mut self) -> Option<WorkersEvent> {
        loop {
            let event = self.events.recv().await?;
            if let Some(event) = self.take(event) {
                return Some(event);
            }
        }
    }

    /// An event of one worker, if with it all have reported that.
    fn take(&mut self, event: Event) -> Option<WorkersEvent> {
        let (awaited, recovered) = match event {
            Event::Faulty { slot, reason } => return Some(WorkersEvent::Faulty { slot, reason }),
            Event::Detached { slot, recovered } => (Awaited::Detached(slot), recovered),
            Event::Drained { generation } => (Awaited::Drained(generation), 0),
            Event::Programmed { number } => (Awaited::Programmed(number), 0),
            Event::IngressClosed => (Awaited::IngressClosed, 0),
        };
        let partial = self.awaited.entry(awaited).or_default();
        partial.workers += 1;
        partial.recovered += recovered;
        if partial.workers < self.workers.len() {
            return None;
        }
        let recovered = partial.recovered;
        self.awaited.remove(&awaited);
        Some(match awaited {
            Awaited::Detached(slot) => WorkersEvent::Detached { slot, recovered },
            Awaited::Drained(generation) => WorkersEvent::Drained { generation },
            Awaited::Programmed(number) => WorkersEvent::Programmed { number },
            Awaited::IngressClosed => WorkersEvent::IngressClosed,
        })
    }

    /// Some worker or receiver has ended, as requested or by a fault.
    pub fn any_ended(&self) -> bool {
        self.workers.iter().any(Handle::has_ended) || self.receivers.iter().any(Handle::has_ended)
    }

    pub fn all_ended(&self) -> bool {
        self.workers.iter().all(Handle::has_ended) && self.receivers_ended()
    }

    /// Waits for the threads, which have ended; says whether each ended as requested.
    pub fn join(&mut self) -> bool {
        let workers = self.workers.iter_mut().filter_map(|worker| worker.thread.take());
        let receivers = self
            .receivers
            .iter_mut()
            .filter_map(|receiver| receiver.thread.take());
        let threads = workers.chain(receivers);
        threads.map(JoinHandle::join).filter(Result::is_err).count() == 0
    }

    /// Whether that holds of the counters of each worker.
    pub fn all(&self, holds: impl Fn(&WorkerCounters) -> bool) -> bool {
        self.workers.iter().all(|worker| holds(&worker.counters))
    }

    /// A value of each worker's counters.
    pub fn each(&self, value: impl Fn(&WorkerCounters) -> u64) -> Vec<u64> {
        self.workers
            .iter()
            .map(|worker| value(&worker.counters))
            .collect()
    }

    /// The sum of one counter.
    pub fn sum<'a>(&'a self, counter: impl Fn(&'a WorkerCounters) -> &'a AtomicU64) -> u64 {
        let workers = self.workers.iter().map(|worker| &worker.counters);
        let receivers = self.receivers.iter().map(|receiver| &receiver.counters);
        let counters = workers.chain(receivers).map(|counters| counter(counters));
        counters.map(|counter| counter.load(Ordering::Acquire)).sum()
    }

    /// Packets inside. Published after the counters that make it up.
    pub fn in_flight(&self) -> u64 {
        self.sum(|counters| &counters.in_flight)
    }

    /// Whether the port's source has been read to its end, by all workers that take packets from it.
    pub fn is_done(&self, port: usize) -> bool {
        let ports = self
            .workers
            .iter()
            .filter_map(|worker| worker.counters.ports.get(port));
        let done = ports.filter(|port| port.done.load(Ordering::Acquire)).count();
        let served = u16::try_from(port).ok().and_then(|port| self.served.get(&port));
        done > 0 && served.is_some_and(|&served| done >= served)
    }

    /// Packets given to an instance and handed back by it.
    pub fn exchanged(&self, slot: usize) -> (u64, u64) {
        // Handed back is read first: a packet counted there was given before, so the difference is never too small.
        let handed_back = self.sum(|counters| &counters.instances[slot].tx_packets);
        (
            self.sum(|counters| &counters.instances[slot].rx_packets),
            handed_back,
        )
    }
}

impl<C> Handle<C> {
    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// Workers without threads, and the way by which they would report.
    pub(crate) fn workers(count: usize) -> (Workers, UnboundedSender<Event>) {
        let handle = || Handle {
            commands: Arc::new(SegQueue::new()),
            counters: Arc::new(WorkerCounters::new(1, 8)),
            thread: None,
        };
        let (events, receiver) = unbounded_channel();
        (
            Workers::new(
                std::iter::repeat_with(handle).take(count).collect(),
                receiver,
                1024,
            ),
            events,
        )
    }

    impl Workers {
        /// The next command of the first worker.
        pub(crate) fn next_command(&self) -> Option<Command> {
            self.workers[0].commands.pop()
        }

        pub(crate) fn commands(&self) -> Vec<Arc<SegQueue<Command>>> {
            self.workers
                .iter()
                .map(|worker| worker.commands.clone())
                .collect()
        }

        /// What has happened by now.
        pub(crate) fn next_event(&mut self) -> Option<WorkersEvent> {
            while let Ok(event) = self.events.try_recv() {
                if let Some(event) = self.take(event) {
                    return Some(event);
                }
            }
            None
        }

        pub(crate) fn counters(&self, worker: usize) -> &WorkerCounters {
            &self.workers[worker].counters
        }
    }

    /// The first that reports says nothing of what the others still hold.
    #[test]
    fn what_all_are_to_report_happens_with_the_last_report() {
        let (mut workers, _) = workers(3);
        let detached = |recovered| Event::Detached { slot: 5, recovered };
        assert_eq!(workers.take(detached(2)), None);
        assert_eq!(workers.take(Event::Drained { generation: 7 }), None);
        assert_eq!(workers.take(detached(0)), None);
        assert_eq!(workers.take(Event::Drained { generation: 8 }), None);
        let all = WorkersEvent::Detached {
            slot: 5,
            recovered: 3,
        };
        assert_eq!(workers.take(detached(1)), Some(all));
        // Its slot may go to another instance, which counts from none.
        assert_eq!(workers.take(detached(4)), None);
        assert_eq!(workers.take(Event::Drained { generation: 7 }), None);
        let drained = WorkersEvent::Drained { generation: 7 };
        assert_eq!(workers.take(Event::Drained { generation: 7 }), Some(drained));
        for expected in [None, None, Some(WorkersEvent::IngressClosed)] {
            assert_eq!(workers.take(Event::IngressClosed), expected);
        }
    }

    /// What one worker saw is enough to end an instance.
    #[test]
    fn a_fault_is_told_at_once() {
        let (mut workers, _) = workers(2);
        let reason = || "it gave a packet back twice".to_owned();
        let faulty = Event::Faulty {
            slot: 1,
            reason: reason(),
        };
        let told = WorkersEvent::Faulty {
            slot: 1,
            reason: reason(),
        };
        assert_eq!(workers.take(faulty), Some(told));
    }

    #[test]
    fn counters_are_those_of_all() {
        let (mut workers, _) = workers(2);
        for (worker, packets) in [(0, 3), (1, 4)] {
            let counters = workers.counters(worker);
            counters.in_flight.store(packets, Ordering::Relaxed);
            counters.instances[2]
                .rx_packets
                .store(10 * packets, Ordering::Relaxed);
        }
        assert_eq!((workers.in_flight(), workers.exchanged(2)), (7, (70, 0)));
        // Done is what all that take packets from it have read to its end.
        for (served, last) in [(1, 1), (2, 0)] {
            workers.served.insert(0, served);
            assert!(!workers.is_done(0), "{served}");
            workers.counters(last).ports[0]
                .done
                .store(true, Ordering::Relaxed);
            assert!(workers.is_done(0), "{served}");
        }
    }
}
