//! Replicas that come and go by edits: no live flow changes its instance, and nothing is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use onvm_api::{ApiError, InstanceState, Replicas, Status};
use onvm_tests::{
    Feed, Manager, Scratch, capture,
    manager::{SOON, instance},
    process, programs,
};
use rustix::process::Signal;

/// Flows that live throughout.
const FLOWS: u16 = 200;
/// Packets of the capture that is repeated.
const STOCK: usize = 2 * FLOWS as usize;

fn frames(flows: std::ops::Range<u16>) -> Vec<Vec<u8>> {
    flows.map(|flow| capture::udp(flow, 0, 30)).collect()
}

/// The repeated flows, and those that come by a FIFO, through so many replicas that leave their number in each packet.
fn bundle(scratch: &Scratch, out: &str, workers: u16, replicas: impl Display) -> PathBuf {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"stamp.nf.toml\" as stamp\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
         port more = pcap {{ read = \"{}\" }}\nport b = pcap {{ write = \"{}\" }}\n\
         nf pace = pacer {{}}\nnf mark = stamp {{}} with {{ replicas = {replicas} }}\n\
         chain marked = mark -> b\nsteer a {{ else -> pace -> marked }}\nsteer more {{ else -> marked }}\n\
         manager {{ workers = {workers}, receivers = {} }}\n",
        scratch.path("more").display(),
        scratch.path("out.pcap").display(),
        // One spreads the flows of each capture over several workers.
        u16::from(workers > 1)
    );
    scratch.build(&chain, out)
}

fn start(scratch: &Scratch, workers: u16, replicas: impl Display) -> (Manager, Feed) {
    scratch.pacer();
    scratch.manifest("stamp", "[effects]\npayload = \"write\"\n");
    let twice = [frames(0..FLOWS), frames(0..FLOWS)].concat();
    capture::write(&scratch.path("in.pcap"), &twice);
    Feed::make(scratch, "more");
    let bundle = bundle(scratch, "first", workers, replicas);
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--flow-idle", "3"]);
    let more = Feed::begin(&manager, &scratch.path("more"));
    manager.wait_for_traffic(2 * STOCK as u64, SOON);
    (manager, more)
}

/// By flow: the replicas that its packets met.
fn met(out: &Path) -> BTreeMap<u16, BTreeSet<u8>> {
    let mut met: BTreeMap<u16, BTreeSet<u8>> = BTreeMap::new();
    for packet in capture::read(out) {
        let (flow, _) = capture::flow_and_number(&packet);
        met.entry(flow).or_default().insert(*packet.last().unwrap());
    }
    met
}

/// Each of the old flows and the 300 new ones has met one of three replicas.
fn assert_each_flow_met_one(scratch: &Scratch) {
    let met = met(&scratch.path("out.pcap"));
    assert_eq!(met.len(), usize::from(FLOWS) + 300);
    for (flow, replicas) in &met {
        assert_eq!(replicas.len(), 1, "flow {flow} met replicas {replicas:?}");
    }
    let all: BTreeSet<u8> = met.values().flatten().copied().collect();
    assert_eq!(all, [0, 1, 2].into());
}

pub(super) fn edits_move_no_live_flow(workers: u16) {
    let scratch = Scratch::new();
    let (manager, mut more) = start(&scratch, workers, 2);
    let before = manager.status();
    let pid = |name: &str| instance(&before, name).pid;

    let reply = manager
        .apply(&bundle(&scratch, "three", workers, 3), None)
        .unwrap();
    assert_eq!(reply.started, ["mark-2"]);
    assert_eq!(reply.kept, ["mark-0", "mark-1", "pace-0"]);
    assert!(reply.stopped.is_empty() && reply.draining.is_empty(), "{reply:?}");
    let status = manager.wait_for_traffic(2 * STOCK as u64, SOON);
    for name in ["mark-0", "mark-1"] {
        assert_eq!(instance(&status, name).pid, pid(name), "{name} went on");
    }
    assert_eq!(instance(&status, "mark-2").rx_packets, 0, "no live flow moved");

    // New flows meet the new replica, too.
    more.send(&frames(1000..1300));
    manager.wait_until("new flows meet the new replica", SOON, |s| {
        instance(s, "mark-2").rx_packets > 30
    });

    // It keeps its flows until they have been silent for that time, and then goes.
    let reply = manager.apply(&bundle(&scratch, "two", workers, 2), None).unwrap();
    assert_eq!(reply.draining, ["mark-2"]);
    assert_eq!(reply.kept, ["mark-0", "mark-1", "pace-0"]);
    assert!(reply.started.is_empty() && reply.stopped.is_empty(), "{reply:?}");
    manager.wait_until("the silent replica goes", SOON, |s| {
        s.services.iter().flat_map(|s| &s.instances).count() == 3
    });

    // One whose flows live stays as long as they do, and may come back.
    let reply = manager.apply(&bundle(&scratch, "one", workers, 1), None).unwrap();
    assert_eq!(reply.draining, ["mark-1"]);
    let at = instance(&manager.status(), "mark-1").rx_packets;
    let status = manager.wait_until("it goes on with its flows", SOON, |s| {
        instance(s, "mark-1").rx_packets > at + STOCK as u64
    });
    assert_eq!(instance(&status, "mark-1").state, InstanceState::Draining);
    let reply = manager
        .apply(&bundle(&scratch, "again", workers, 2), None)
        .unwrap();
    assert!(reply.started.is_empty(), "{reply:?}");
    let status = manager.wait_for_traffic(2 * STOCK as u64, SOON);
    assert_eq!(instance(&status, "mark-1").state, InstanceState::Running);
    assert_eq!(instance(&status, "mark-1").pid, pid("mark-1"));

    drop(more);
    // What is inside at the end may not leave in time on a busy machine.
    assert_eq!(manager.status().drops, []);
    manager.terminate_whole(STOCK);
    assert_each_flow_met_one(&scratch);
}

/// Until then nothing was noted of its flows.
#[test]
fn flows_of_the_only_instance_stay_when_it_gets_a_sibling() {
    let scratch = Scratch::new();
    let (manager, more) = start(&scratch, 1, 1);
    let reply = manager.apply(&bundle(&scratch, "two", 1, 2), None).unwrap();
    assert_eq!(reply.started, ["mark-1"]);
    manager.wait_for_traffic(2 * STOCK as u64, SOON);
    drop(more);
    // What is inside at the end may not leave in time on a busy machine.
    assert_eq!(manager.status().drops, []);
    manager.terminate_whole(STOCK);
    assert!(met(&scratch.path("out.pcap")).values().all(|r| *r == [0].into()));
}

/// Only the flows of a lost replica move; they do not move back when it is there again.
#[test]
fn a_loss_moves_the_flows_of_the_lost_replica_alone() {
    for workers in [1, 2, 3, 5] {
        let scratch = Scratch::new();
        let (manager, more) = start(&scratch, workers, 3);
        let lost = instance(&manager.status(), "mark-1").pid;
        process::signal(lost.unwrap(), Signal::KILL);
        manager.wait_for_instance("mark-1", lost, SOON);
        // So many that each worker has had all of its flows since, however far it is behind the others.
        manager.wait_for_traffic(10 * STOCK as u64, SOON);
        drop(more);
        manager.terminate_whole(STOCK);
        let met = met(&scratch.path("out.pcap"));
        let moved = met.values().filter(|replicas| replicas.len() > 1);
        assert!(moved.clone().count() > 20, "a third of {FLOWS} flows was its");
        for replicas in moved {
            assert!(replicas.contains(&1) && replicas.len() == 2, "{replicas:?}");
        }
    }
}

/// A replica that does not start leaves the others and their flows as they are.
#[test]
fn an_edit_that_fails_leaves_the_replicas_as_they_are() {
    let scratch = Scratch::new();
    let (manager, more) = start(&scratch, 1, 2);
    let before = manager.status();
    let error = manager.apply(&bundle(&scratch, "ten", 1, 10), None).unwrap_err();
    assert!(error.message.contains("`mark-9` did not start"), "{error:?}");
    let status = manager.wait_for_traffic(2 * STOCK as u64, SOON);
    assert_eq!(status.generation, before.generation);
    manager.wait_until("those that were started go", SOON, |_| {
        manager.nf_processes().len() == 3
    });
    for name in ["mark-0", "mark-1", "pace-0"] {
        assert_eq!(instance(&status, name).pid, instance(&before, name).pid, "{name}");
    }
    drop(more);
    manager.terminate_whole(STOCK);
}

fn replicas(status: &Status, nf: &str) -> Replicas {
    let service = status.services.iter().find(|s| s.name == nf);
    service.unwrap().replicas
}

fn scaling_moves_no_live_flow(workers: u16) {
    let scratch = Scratch::new();
    let (manager, mut more) = start(&scratch, workers, "1..3");
    let (min, max) = (1, 3);
    // A flow that a slow worker has not met yet is a new one, which may go to any replica.
    manager.wait_until("each worker has met its flows", SOON, |status| {
        let by_worker = status.ports.iter().filter(|port| port.rx_packets > 0);
        let mut by_worker = by_worker.flat_map(|port| &port.rx_by_worker);
        by_worker.all(|received| *received >= 2 * STOCK as u64)
    });
    let was = replicas(&manager.status(), "mark");
    assert_eq!(
        was,
        Replicas {
            now: 1,
            min,
            max,
            automatic: true
        }
    );

    let reply = manager.scale("mark", Some(3)).unwrap();
    assert_eq!(reply.started, ["mark-1", "mark-2"]);
    assert_eq!(reply.before, 1);
    assert_eq!(
        reply.replicas,
        Replicas {
            now: 3,
            min,
            max,
            automatic: false
        }
    );
    let status = manager.wait_for_traffic(2 * STOCK as u64, SOON);
    for name in ["mark-1", "mark-2"] {
        assert_eq!(instance(&status, name).rx_packets, 0, "no live flow moved");
    }
    // New flows meet the new replicas at each worker that knows of them, since those of the first have been noted. On a busy machine a
    // worker may be far behind.
    manager.wait_for_traffic(10 * STOCK as u64, SOON);
    more.send(&frames(1000..1300));
    manager.wait_until("new flows meet the new replicas", SOON, |s| {
        ["mark-1", "mark-2"]
            .iter()
            .all(|name| instance(s, name).rx_packets > 0)
    });

    let reply = manager.scale("mark", Some(2)).unwrap();
    assert_eq!(reply.draining, ["mark-2"]);
    manager.wait_until("the silent replica goes", SOON, |s| {
        s.services.iter().flat_map(|s| &s.instances).count() == 3
    });

    // An edit of something else leaves the number as it is, and one of the range keeps to the new range.
    let pid = instance(&manager.status(), "mark-1").pid;
    let reply = manager
        .apply(&bundle(&scratch, "wider", workers, "1..4"), None)
        .unwrap();
    assert!(reply.started.is_empty() && reply.draining.is_empty(), "{reply:?}");
    assert_eq!(instance(&manager.status(), "mark-1").pid, pid);
    let now = replicas(&manager.status(), "mark");
    assert_eq!(
        now,
        Replicas {
            now: 2,
            min: 1,
            max: 4,
            automatic: false
        }
    );
    let reply = manager
        .apply(&bundle(&scratch, "three", workers, 3), None)
        .unwrap();
    assert_eq!(reply.started, ["mark-2"]);
    manager
        .apply(&bundle(&scratch, "again", workers, "1..3"), None)
        .unwrap();
    let mut auto = programs::command("onvmc");
    auto.args(["scale", "mark", "auto", "--run-dir"])
        .arg(scratch.run_dir());
    let said = auto.output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(
        said,
        "mark has 3 replicas; the manager chooses from 1 to 3 by load.\n"
    );
    assert!(replicas(&manager.status(), "mark").automatic);

    drop(more);
    assert_eq!(manager.status().drops, []);
    manager.terminate_whole(STOCK);
    assert_each_flow_met_one(&scratch);
}

#[test]
fn scaling_by_request_moves_no_live_flow() {
    scaling_moves_no_live_flow(1);
}

#[test]
fn scaling_by_request_moves_no_live_flow_of_several_workers() {
    for workers in [2, 3, 5] {
        scaling_moves_no_live_flow(workers);
    }
}

#[test]
fn a_number_of_replicas_that_cannot_be_had_changes_nothing() {
    let scratch = Scratch::new();
    let (manager, more) = start(&scratch, 1, "1..10");
    let refused = |nf: &str, replicas: Option<u16>| {
        let error = manager.scale(nf, replicas).unwrap_err();
        (error.code, format!("{}. {}", error.message, error.remedy))
    };
    let (code, text) = refused("mark", Some(12));
    assert_eq!(code, ApiError::OUT_OF_RANGE);
    assert!(
        text.contains("`replicas = 1..10`") && text.contains("1..12"),
        "{text}"
    );
    let (code, text) = refused("pace", Some(2));
    assert_eq!(code, ApiError::OUT_OF_RANGE);
    assert!(text.contains("`replicas = 1`") && text.contains("1..2"), "{text}");
    let (code, text) = refused("pace", None);
    assert_eq!(code, ApiError::OUT_OF_RANGE);
    assert!(text.contains("nothing to choose"), "{text}");
    let (code, text) = refused("nobody", Some(1));
    assert_eq!(code, ApiError::UNKNOWN_NF);
    assert!(text.contains("It has pace, mark"), "{text}");
    // `stamp` has no tenth number.
    let (code, text) = refused("mark", Some(10));
    assert_eq!(code, ApiError::NOT_READY);
    assert!(text.contains("`mark-9` did not start"), "{text}");
    assert_eq!(replicas(&manager.status(), "mark").now, 1);
    manager.wait_until("those that were started go", SOON, |_| {
        manager.nf_processes().len() == 2
    });
    drop(more);
    manager.terminate_whole(STOCK);
}

/// With too much to do a service gets one replica more, and in a calm one fewer; the log says why.
#[test]
fn load_scales_within_the_range() {
    let scratch = Scratch::new();
    scratch.pacer();
    Feed::make(&scratch, "more");
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = \"{}\" }}\nport b = null\n\
         nf pace = pacer {{ pause = 20 ms }} with {{ replicas = 1..2 }}\nsteer a {{ else -> pace -> b }}\n",
        scratch.path("more").display()
    );
    let bundle = scratch.build(&chain, "bundle");
    let options = ["--flow-idle", "1", "--scale-down-after", "1"];
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &options);
    let mut more = Feed::begin(&manager, &scratch.path("more"));
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in (0..u16::MAX - 100).step_by(100).cycle() {
                if !busy.load(Ordering::Relaxed) {
                    break;
                }
                more.send(&frames(first..first + 100));
            }
        });
        let met = |s: &Status| {
            let instances = s.services.iter().flat_map(|s| &s.instances);
            instances.filter(|i| i.rx_packets > 0).count()
        };
        // Also where this fails.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            manager.wait_until("another replica gets packets", SOON, |s| met(s) == 2)
        }));
        busy.store(false, Ordering::Relaxed);
        let status = outcome.unwrap_or_else(|e| std::panic::resume_unwind(e));
        assert_eq!(replicas(&status, "pace").now, 2);
    });
    manager.wait_until("one replica goes again", SOON, |s| {
        s.services[0].instances.len() == 1 && s.services[0].replicas.now == 1
    });
    let log = manager.log();
    let said: Vec<&str> = log.lines().filter(|l| l.contains("scaling by load")).collect();
    let step = |line: &str, from: u16, to: u16| {
        let said: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = &said["fields"];
        assert_eq!(
            (&fields["from"], &fields["to"]),
            (&from.into(), &to.into()),
            "{log}"
        );
        assert_eq!(
            (&fields["nf"], &fields["range"]),
            (&"pace".into(), &"1..2".into()),
            "{log}"
        );
        fields["ring_percent"].as_f64().unwrap()
    };
    assert!(step(said[0], 1, 2) >= 50.0, "{log}");
    assert!(step(said[1], 2, 1) <= 5.0, "{log}");
    drop(more);
    manager.terminate_whole(0);
}
