//! Reports at bad moments.

use std::sync::atomic::{AtomicU64, Ordering};

use nflib::{layout::Layout, memory, session::IdlePolicy};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::{rundir::RunDir, worker::handle::tests::workers};

const SLOT: u16 = 3;

fn fleet(base: &std::path::Path) -> Fleet {
    let file = || memory::create_file("test", 4096, false).unwrap();
    let shared = Shared {
        run_dir: Arc::new(RunDir::lock(base, "test").unwrap()),
        packets: file(),
        packets_read_only: file(),
        geometry: memory::Geometry {
            buffers: 2,
            stride: 2048,
            headroom: 128,
        },
        workers: 1,
        ring: 64,
        idle: IdlePolicy {
            spins: 0,
            yields: 0,
            sleeps: true,
        },
        jail: None,
    };
    Fleet::new(8, Arc::new(shared), unbounded_channel().0, Vec::new())
}

fn worker() -> Workers {
    workers(1).0
}

fn entry(leaving: bool) -> InstanceEntry {
    InstanceEntry {
        name: "fw-0".to_owned(),
        service: 0,
        state: InstanceState::Starting,
        pid: None,
        restarts: 0,
        counter_names: Vec::new(),
        counters: None,
        trouble: None,
        writes: false,
        leaving,
        away: false,
        orders: unbounded_channel().0,
        progress: Progress::fresh(),
    }
}

fn ready() -> Report {
    let (_, region) = Region::create("test", Layout::new(1, 64, 8)).unwrap();
    Report::Ready {
        region,
        pid: 1,
        counters: Vec::new(),
    }
}

fn attached(worker: &Workers) -> bool {
    std::iter::from_fn(|| worker.next_command()).any(|c| matches!(c, Command::Attach { .. }))
}

#[test]
fn the_slot_of_one_that_failed_and_was_given_up_is_free_again() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    fleet.instances[usize::from(SLOT)] = Some(entry(true));
    let why = || "it did not start".to_owned();
    fleet.report(&worker, SLOT, Report::NotReady { why: why() });
    assert!(fleet.instance(SLOT).is_some());
    fleet.report(&worker, SLOT, Report::Ended { why: Some(why()) });
    assert!(fleet.instance(SLOT).is_none());
}

#[test]
fn one_that_becomes_ready_as_it_is_told_to_stop_is_not_served() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    fleet.instances[usize::from(SLOT)] = Some(entry(true));
    fleet.report(&worker, SLOT, ready());
    assert!(!attached(&worker), "nobody would detach it");
    fleet.instances[usize::from(SLOT)] = Some(entry(false));
    fleet.report(&worker, SLOT, ready());
    assert!(attached(&worker));
}

#[test]
fn one_that_pauses_for_long_before_its_restart_is_not_waited_for() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    fleet.instances[usize::from(SLOT)] = Some(entry(false));
    fleet.services[0] = Some(ServiceEntry {
        name: "fw".to_owned(),
        made_from: MadeFrom {
            service: Service {
                id: 0,
                name: "fw".to_owned(),
                nf_type: "firewall".to_owned(),
                source: onvm_bundle::SourceRef(String::new()),
                run: onvm_bundle::Run::Process,
                affinity: onvm_bundle::Affinity::Flow,
                restart: onvm_bundle::Restart::Always,
                read_only: true,
                domain: None,
                outputs: Vec::new(),
                instances: Vec::new(),
            },
            configs: Vec::new(),
        },
        instances: HashMap::from([("fw-0".to_owned(), SLOT)]),
    });
    let mut awaited = |report| {
        fleet.report(&worker, SLOT, report);
        let selects = std::iter::from_fn(|| worker.next_command()).filter_map(|c| match c {
            Command::Select { awaited, .. } => Some(awaited),
            _ => None,
        });
        selects.last()
    };
    let pausing = |ms| Report::Pausing(Duration::from_millis(ms));
    assert_eq!(awaited(pausing(0)), Some(true));
    assert_eq!(awaited(pausing(3200)), Some(false));
    assert_eq!(awaited(Report::Starting), Some(true));
}

#[test]
fn what_the_slots_former_instance_lost_does_not_hide_that_the_new_one_hangs() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    let counters = &worker.counters(0).instances[usize::from(SLOT)];
    let set = |counter: &AtomicU64, n| counter.store(n, Ordering::Relaxed);
    set(&counters.rx_packets, 500);
    let (orders, mut ordered) = unbounded_channel();
    fleet.instances[usize::from(SLOT)] = Some(InstanceEntry {
        orders,
        ..entry(false)
    });
    fleet.report(&worker, SLOT, ready());
    // The worker counts anew, and the instance takes what it is given.
    set(&counters.rx_packets, 100);
    fleet.kill_hung(&worker, Duration::ZERO);
    assert!(matches!(ordered.try_recv(), Ok(Order::Kill(_))));
}
