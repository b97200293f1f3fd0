//! The threads of workers and receivers.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_queue::SegQueue;
use onvm_bundle::{Bundle, Cores};
use tokio::sync::mpsc::unbounded_channel;

use super::{cores::worker_idle, memory::Memory, start::SLOTS};
use crate::{
    dpdk::{Eal, Lcore},
    error::RunError,
    receiver::{self, Receiver},
    worker::{BURST, Handle, Parts, Worker, WorkerCounters, Workers},
};

/// Packets inside that sources which can wait are held to, whatever the rings hold: more do not make the system faster, they
/// spread over more memory than a core's address cache covers (2048 pages of 4 KiB on current processors).
const MOST_CREDIT: u32 = 2048;

/// Starts as many as the bundle asks for. Where one does not start, those before it end.
pub(super) fn start_workers(
    eal: &Arc<Eal>,
    bundle: &Bundle,
    memory: &Memory,
    cores: &Cores,
    flow_idle: Duration,
) -> Result<Workers, RunError> {
    let manager = &bundle.manager;
    let count = u32::from(manager.workers.count);
    // What ports take for themselves, as a repeated capture does, they have taken. Of the rest a half may be with instances, and
    // a quarter inside from sources that can wait: the ports have room left to receive and to send.
    // That is so in every domain, whichever of them the packets are in.
    let free = memory.free();
    // Every packet inside is in at most one ring of its worker, so with no more inside than a ring holds, no ring overflows.
    let credit = manager
        .ring
        .min(free / 4 / count)
        .min(MOST_CREDIT)
        .max(BURST as u32);
    let (events, receiver) = unbounded_channel();
    let mut workers = Workers::new(Vec::new(), receiver, u64::from(credit) * u64::from(count));
    for id in 0..count {
        let parts = Parts {
            id,
            pools: memory.pools.clone(),
            packets: memory.packets.clone(),
            counters: Arc::new(WorkerCounters::new(manager.ports.len(), SLOTS)),
            commands: Arc::new(SegQueue::new()),
            events: events.clone(),
            idle: worker_idle(cores, manager),
            credit,
            room: free / 2 / count,
            flow_idle: flow_idle.as_secs().try_into().unwrap_or(u16::MAX),
        };
        match start_worker(eal, parts, cores.of_thread(id as usize)) {
            Ok(worker) => workers.add(worker),
            Err(e) => {
                workers.end();
                return Err(e);
            }
        }
    }
    for id in 0..manager.workers.receivers {
        let parts = receiver::Parts {
            pool: memory.pools[0].clone(),
            packets: memory.packets.clone(),
            counters: Arc::new(WorkerCounters::new(manager.ports.len(), SLOTS)),
            commands: Arc::new(SegQueue::new()),
            idle: worker_idle(cores, manager),
        };
        match start_receiver(eal, id, parts, cores.of_thread(count as usize + usize::from(id))) {
            Ok(receiver) => workers.add_receiver(receiver),
            Err(e) => {
                workers.end();
                return Err(e);
            }
        }
    }
    Ok(workers)
}

fn start_worker(eal: &Arc<Eal>, parts: Parts, cores: Vec<u16>) -> Result<Handle, RunError> {
    let (commands, counters) = (parts.commands.clone(), parts.counters.clone());
    let thread = start(eal, format!("worker-{}", parts.id), cores, move || {
        Worker::new(parts).run()
    })?;
    Ok(Handle {
        commands,
        counters,
        thread: Some(thread),
    })
}

fn start_receiver(
    eal: &Arc<Eal>,
    id: u16,
    parts: receiver::Parts,
    cores: Vec<u16>,
) -> Result<Handle<receiver::Command>, RunError> {
    let (commands, counters) = (parts.commands.clone(), parts.counters.clone());
    let thread = start(eal, format!("receiver-{id}"), cores, move || {
        Receiver::new(parts).run()
    })?;
    Ok(Handle {
        commands,
        counters,
        thread: Some(thread),
    })
}

/// Starts a thread that DPDK knows, and waits until it runs.
fn start(
    eal: &Arc<Eal>,
    name: String,
    cores: Vec<u16>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, RunError> {
    let (ready, is_ready) = mpsc::channel();
    let (eal, shown) = (eal.clone(), name.clone());
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let lcore = Lcore::register(&eal);
        let registered = lcore.as_ref().map(|_| ()).map_err(ToString::to_string);
        // The starter waits for it and gets no further report.
        let _ = ready.send(registered);
        let Ok(_lcore) = lcore else { return };
        prepare_thread(&cores);
        run();
    });
    let thread = thread.map_err(RunError::system("a worker's thread cannot be started"))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(why)) => Err(RunError::Unsupported(format!("{shown}: {why}"))),
        Err(_) => Err(RunError::Unsupported(format!("{shown} ended before it began"))),
    }
}

/// Pins the calling thread, and lets its short sleeps be short. Both are for speed: without them everything works.
fn prepare_thread(cores: &[u16]) {
    let mut set = rustix::thread::CpuSet::new();
    cores.iter().for_each(|&core| set.set(usize::from(core)));
    if !cores.is_empty()
        && let Err(e) = rustix::thread::sched_setaffinity(None, &set)
    {
        tracing::warn!(?cores, "a worker or receiver cannot be pinned: {e}");
    }
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
