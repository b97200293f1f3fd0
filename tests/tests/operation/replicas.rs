//! Replicas that come and go by edits: no live flow changes its instance, and nothing is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use onvm_api::InstanceState;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    process, programs, variants,
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
fn bundle(scratch: &Scratch, out: &str, workers: u16, replicas: u16) -> PathBuf {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"stamp.nf.toml\" as stamp\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
         port more = pcap {{ read = \"{}\" }}\nport b = pcap {{ write = \"{}\" }}\n\
         nf pace = pacer {{}}\nnf mark = stamp {{}} with {{ replicas = {replicas} }}\n\
         chain marked = mark -> b\nsteer a {{ else -> pace -> marked }}\nsteer more {{ else -> marked }}\n\
         manager {{ workers = {workers} }}\n",
        scratch.path("more").display(),
        scratch.path("out.pcap").display()
    );
    scratch.build(&chain, out)
}

fn start(scratch: &Scratch, workers: u16, replicas: u16) -> (Manager, File) {
    scratch.pacer();
    scratch.manifest("stamp", "[effects]\npayload = \"write\"\n");
    let twice = [frames(0..FLOWS), frames(0..FLOWS)].concat();
    capture::write(&scratch.path("in.pcap"), &twice);
    programs::tool("mkfifo", &[scratch.path("more").to_str().unwrap()]);
    let bundle = bundle(scratch, "first", workers, replicas);
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--flow-idle", "3"]);
    let mut more = File::options().write(true).open(scratch.path("more")).unwrap();
    more.write_all(&variants::pcap(&[], 1, false, 0xa1b2_c3d4, 65_535).bytes)
        .unwrap();
    manager.wait_for_log("READY");
    manager.wait_for_traffic(2 * STOCK as u64, SOON);
    (manager, more)
}

/// Packets without the capture's header.
fn records(packets: &[Vec<u8>]) -> Vec<u8> {
    variants::pcap(packets, 1, false, 0xa1b2_c3d4, 65_535)
        .bytes
        .split_off(24)
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

fn edits_move_no_live_flow(workers: u16) {
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
    more.write_all(&records(&frames(1000..1300))).unwrap();
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
    let met = met(&scratch.path("out.pcap"));
    assert_eq!(met.len(), usize::from(FLOWS) + 300);
    for (flow, replicas) in &met {
        assert_eq!(replicas.len(), 1, "flow {flow} met replicas {replicas:?}");
    }
    let all: BTreeSet<u8> = met.values().flatten().copied().collect();
    assert_eq!(all, [0, 1, 2].into());
}

#[test]
fn edits_of_replicas_move_no_live_flow() {
    edits_move_no_live_flow(1);
}

#[test]
fn edits_of_replicas_move_no_live_flow_of_several_workers() {
    edits_move_no_live_flow(2);
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
    let scratch = Scratch::new();
    let (manager, more) = start(&scratch, 1, 3);
    let lost = instance(&manager.status(), "mark-1").pid;
    process::signal(lost.unwrap(), Signal::KILL);
    manager.wait_for_instance("mark-1", lost, SOON);
    manager.wait_for_traffic(2 * STOCK as u64, SOON);
    drop(more);
    manager.terminate_whole(STOCK);
    let met = met(&scratch.path("out.pcap"));
    let moved = met.values().filter(|replicas| replicas.len() > 1);
    assert!(moved.clone().count() > 20, "a third of {FLOWS} flows was its");
    for replicas in moved {
        assert!(replicas.contains(&1) && replicas.len() == 2, "{replicas:?}");
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
