//! Reports at bad moments.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nflib::{Region, layout::Layout, memory};
use onvm_bundle::{Core, Cores, Host, Service};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::{
    rundir::RunDir,
    worker::{Command, Workers, handle::tests::workers},
};

const SLOT: u16 = 3;

fn fleet(base: &Path) -> Fleet {
    let file = || memory::create_file("test", 4096, false).unwrap();
    let domains = Domains::default();
    let packets = PacketsOf {
        writable: file(),
        read_only: file(),
        geometry: memory::Geometry {
            first: 0,
            buffers: 2,
            stride: 2048,
            headroom: 128,
        },
    };
    domains.add(None, packets);
    let shared = Shared {
        run_dir: Arc::new(RunDir::lock(base, "test").unwrap()),
        domains: Arc::new(domains),
        workers: 1,
        ring: 64,
        node: None,
        jail: None,
        journal: Arc::default(),
        engine: Default::default(),
    };
    Fleet::new(8, Arc::new(shared), unbounded_channel().0, CorePlan::default())
}

fn worker() -> Workers {
    workers(1).0
}

fn entry(role: Role) -> InstanceEntry {
    InstanceEntry {
        name: "fw-0".to_owned(),
        service: 0,
        state: InstanceState::Starting,
        pid: None,
        container: None,
        restarts: 0,
        own_counters: Vec::new(),
        counters: None,
        trouble: None,
        last_loss: None,
        starts_at: None,
        domain: 0,
        writes: false,
        role,
        away: false,
        orders: unbounded_channel().0,
        progress: Progress::fresh(),
        targets: Arc::new([]),
        given: Arc::new(Mutex::new(Given {
            configuration: nflib::session::Configuration::default(),
            files: Vec::new(),
        })),
        offered: None,
        request: CoreRequest::default(),
        bundle: Arc::default(),
        assignment: Assignment::none(),
        launched: true,
        inbox: Arc::default(),
    }
}

fn bundled(replicas: u16) -> Service {
    let instance = |k| onvm_bundle::Instance {
        name: format!("fw-{k}"),
        cores: None,
        memory: None,
        numa: None,
    };
    Service {
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
        min_replicas: None,
        fuse: None,
        instances: (0..replicas).map(instance).collect(),
    }
}

/// In the slots from [`SLOT`] on.
fn service(replicas: u16) -> ServiceEntry {
    ServiceEntry {
        name: "fw".to_owned(),
        made_from: MadeFrom::new(&Host::alone(&bundled(replicas)), Vec::new(), |_| None),
        scale: Scale {
            range: bundled(replicas).replicas(),
            replicas,
            automatic: true,
        },
        load: Load::new(Instant::now()),
        members: Vec::new(),
        instances: (0..replicas).map(|k| (format!("fw-{k}"), SLOT + k)).collect(),
    }
}

/// Two that run, and the orders to each.
fn two_running(fleet: &mut Fleet) -> Vec<tokio::sync::mpsc::UnboundedReceiver<Order>> {
    fleet.services[0] = Some(service(2));
    let mut ordered = Vec::new();
    for k in 0..2 {
        let (orders, receiver) = unbounded_channel();
        fleet.instances[usize::from(SLOT + k)] = Some(InstanceEntry {
            name: format!("fw-{k}"),
            state: InstanceState::Running,
            orders,
            ..entry(Role::Member)
        });
        ordered.push(receiver);
    }
    ordered
}

/// Goes over to one instance.
fn to_one(fleet: &mut Fleet, worker: &Workers) -> scale::Scaled {
    let placed = fleet
        .place(
            &Host::alone(&bundled(1)),
            &std::collections::BTreeMap::new(),
            Vec::new(),
        )
        .unwrap();
    assert!(matches!(placed, Placed::Kept { slot: 0, .. }));
    fleet.settle(worker, &placed)
}

fn commands(worker: &Workers) -> Vec<Command> {
    std::iter::from_fn(|| worker.next_command()).collect()
}

fn released(worker: &Workers) -> bool {
    commands(worker)
        .iter()
        .any(|c| matches!(c, Command::Release { slot } if *slot == SLOT + 1))
}

fn ready() -> Report {
    let (_, region) = Region::create("test", Layout::new(1, 64, 8)).unwrap();
    Report::Ready {
        region,
        pid: 1,
        container: None,
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
    fleet.instances[usize::from(SLOT)] = Some(entry(Role::Leaving));
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
    fleet.instances[usize::from(SLOT)] = Some(entry(Role::Leaving));
    fleet.report(&worker, SLOT, ready());
    assert!(!attached(&worker), "nobody would detach it");
    fleet.instances[usize::from(SLOT)] = Some(entry(Role::Member));
    fleet.report(&worker, SLOT, ready());
    assert!(attached(&worker));
}

#[test]
fn one_that_pauses_for_long_before_its_restart_is_not_waited_for() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    fleet.instances[usize::from(SLOT)] = Some(entry(Role::Member));
    fleet.services[0] = Some(service(1));
    fleet.services[0].as_mut().unwrap().instances = HashMap::from([("fw-0".to_owned(), SLOT)]);
    let mut awaited = |report| {
        fleet.report(&worker, SLOT, report);
        let selects = std::iter::from_fn(|| worker.next_command()).filter_map(|c| match c {
            Command::Select { instances, .. } => Some(instances.awaited),
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
        ..entry(Role::Member)
    });
    fleet.report(&worker, SLOT, ready());
    // The worker counts anew, and the instance takes what it is given.
    set(&counters.rx_packets, 100);
    fleet.kill_hung(&worker, Duration::ZERO);
    assert!(matches!(ordered.try_recv(), Ok(Order::Kill(_))));
}

#[test]
fn one_that_is_to_go_is_stopped_when_no_worker_has_flows_of_it() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), workers(2).0);
    let _orders = two_running(&mut fleet);
    assert_eq!(to_one(&mut fleet, &worker).retired, ["fw-1"]);
    let commands = commands(&worker);
    let Some(Command::Select { instances, .. }) = commands.last() else {
        panic!("{commands:?}");
    };
    assert_eq!(
        (&instances.chosen[..], &instances.leaving[..]),
        (&[SLOT][..], &[SLOT + 1][..])
    );
    assert_eq!(fleet.retiring("fw").count(), 1);
    for (at, left, goes) in [(0, 1, false), (1, 3, false), (1, 1, true)] {
        let counters = &worker.counters(at).instances[usize::from(SLOT + 1)];
        counters.left.store(left, Ordering::Relaxed);
        fleet.end_retired(&worker);
        assert_eq!(released(&worker), goes, "worker {at}, {left}");
    }
    assert_eq!(fleet.retiring("fw").count(), 0);
    assert_eq!(fleet.instances_of(0), [SLOT]);
}

#[test]
fn one_that_is_to_go_and_keeps_its_flows_for_ever_is_stopped_all_the_same() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    let _orders = two_running(&mut fleet);
    to_one(&mut fleet, &worker);
    fleet.end_retired(&worker);
    assert!(!released(&worker));
    let long_ago = Instant::now().checked_sub(scale::RETIRE_DEADLINE).unwrap();
    fleet.instances[usize::from(SLOT + 1)].as_mut().unwrap().role = Role::Retiring(long_ago);
    fleet.end_retired(&worker);
    assert!(released(&worker));
}

#[test]
fn one_that_is_lost_as_it_is_to_go_does_not_come_back() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    let mut ordered = two_running(&mut fleet);
    to_one(&mut fleet, &worker);
    let why = || "killed".to_owned();
    fleet.report(&worker, SLOT + 1, Report::Lost { why: why() });
    fleet.detached(SLOT + 1, 0);
    assert!(matches!(ordered[1].try_recv(), Ok(Order::Stop)));
    assert!(matches!(ordered[1].try_recv(), Ok(Order::Recovered)));
    fleet.report(&worker, SLOT + 1, Report::Ended { why: None });
    assert!(fleet.instance(SLOT + 1).is_none());
    assert_eq!(fleet.instances_of(0), [SLOT]);
}

/// What is not up has no flows.
#[test]
fn one_that_is_to_go_and_does_not_run_goes_at_once() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    let mut ordered = two_running(&mut fleet);
    fleet.instances[usize::from(SLOT + 1)].as_mut().unwrap().state = InstanceState::Starting;
    let scaled = to_one(&mut fleet, &worker);
    assert_eq!(
        (&scaled.retired[..], &scaled.stopped[..]),
        (&[][..], &["fw-1".to_owned()][..])
    );
    assert!(matches!(ordered[1].try_recv(), Ok(Order::Stop)));
}

#[test]
fn a_message_reaches_the_instances_of_its_service_alone() {
    use messages::{Member, Said};
    use onvm_bundle::{MessageKind, Sender};

    let base = tempfile::tempdir().unwrap();
    let (mut fleet, workers) = (fleet(base.path()), worker());
    let mut ordered = two_running(&mut fleet);
    let kind = MessageKind {
        name: "seen".to_owned(),
        doc: String::new(),
        from: vec![Sender::Peers],
        fields: Vec::new(),
    };
    let members = vec![Member {
        name: "fw".to_owned(),
        kinds: vec![kind],
    }];
    let entry_of = |fleet: &mut Fleet| fleet.services[0].as_mut().unwrap().members = members.clone();
    entry_of(&mut fleet);
    // Of another service, in a slot of its own.
    let (orders, mut strangers) = unbounded_channel();
    fleet.services[1] = Some(ServiceEntry {
        name: "ids".to_owned(),
        instances: [("ids-0".to_owned(), 0)].into(),
        ..service(1)
    });
    fleet.instances[0] = Some(InstanceEntry {
        name: "ids-0".to_owned(),
        service: 1,
        state: InstanceState::Running,
        orders,
        ..entry(Role::Member)
    });
    let mut say = |fleet: &mut Fleet, member: u16| {
        let said = Said {
            life: 0,
            number: 0,
            member,
            kind: "seen".to_owned(),
            fields: serde_json::Map::new(),
        };
        fleet.report(&workers, SLOT, Report::Said(said));
        let Ok(Order::Sent(0, sent)) = ordered[0].try_recv() else {
            panic!("it is told")
        };
        let heard = matches!(ordered[1].try_recv(), Ok(Order::Letter(_)));
        assert!(strangers.try_recv().is_err());
        (sent.reached, heard, sent.refused.is_some())
    };
    assert_eq!(say(&mut fleet, 0), (1, true, false));
    assert_eq!(
        say(&mut fleet, 1),
        (0, false, true),
        "there is no such NF in its process"
    );
    // Its service has gone, and the slot is another's by now, where such messages are declared, too.
    let stranger = fleet.services[1].take();
    fleet.services[0] = stranger;
    entry_of(&mut fleet);
    assert_eq!(say(&mut fleet, 0), (0, false, true));
    assert_eq!(fleet.instance(SLOT).unwrap().inbox.refused(), 2);
}

/// Where each is, `!` if nothing else is there, and whether it has been told to go there.
fn placed(fleet: &Fleet, ordered: &mut [tokio::sync::mpsc::UnboundedReceiver<Order>]) -> Vec<String> {
    let shown = |(slot, ordered): (usize, &mut tokio::sync::mpsc::UnboundedReceiver<Order>)| {
        let moved = matches!(ordered.try_recv(), Ok(Order::Move));
        let Some(entry) = &fleet.instances[slot] else {
            return String::new();
        };
        let share = entry.cores();
        let own = if share.own { "!" } else { "" };
        format!("{:?}{own}{}", share.cores, if moved { " moved" } else { "" })
    };
    ordered.iter_mut().enumerate().map(shown).collect()
}

#[test]
fn those_that_share_make_room_for_one_with_cores_of_its_own_and_have_them_back_when_it_has_gone() {
    let base = tempfile::tempdir().unwrap();
    let (mut fleet, worker) = (fleet(base.path()), worker());
    let all = (0..5).map(|id| Core { id, node: None }).collect();
    let workers = onvm_bundle::Workers {
        count: 1,
        receivers: 0,
        cores: Vec::new(),
    };
    fleet.plan.cores = Cores::new(all, &workers);
    let mut ordered = Vec::new();
    let mut come = |fleet: &mut Fleet, own| {
        let (orders, receiver) = unbounded_channel();
        fleet.instances[ordered.len()] = Some(InstanceEntry {
            orders,
            request: CoreRequest {
                own,
                ..CoreRequest::default()
            },
            ..entry(Role::Member)
        });
        ordered.push(receiver);
        fleet.assign_cores();
        placed(fleet, &mut ordered)
    };
    assert_eq!(come(&mut fleet, None), ["[1, 2, 3, 4] moved"]);
    assert_eq!(come(&mut fleet, Some(2)), ["[3, 4] moved", "[1, 2]! moved"]);
    assert_eq!(come(&mut fleet, None), ["[3, 4]", "[1, 2]!", "[3, 4] moved"]);
    assert_eq!(
        come(&mut fleet, Some(1)),
        ["[4] moved", "[1, 2]!", "[4] moved", "[3]! moved"]
    );
    // Another would leave nothing to those that share.
    let five = ["[4]", "[1, 2]!", "[4]", "[3]!", "[4] moved"];
    assert_eq!(come(&mut fleet, Some(1)), five);
    // It is its turn once another has gone.
    fleet.instances[1].as_mut().unwrap().role = Role::Leaving;
    fleet.report(&worker, 1, Report::Ended { why: None });
    let four = ["[2, 4] moved", "", "[2, 4] moved", "[3]!", "[1]! moved"];
    assert_eq!(placed(&fleet, &mut ordered), four);
    // One that is lost has them again.
    fleet.report(
        &worker,
        3,
        Report::Lost {
            why: "killed".to_owned(),
        },
    );
    assert_eq!(placed(&fleet, &mut ordered)[3], "[3]!");
}
