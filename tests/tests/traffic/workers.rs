//! Several workers, and receivers that feed them: on a machine with fewer cores, too, what one worker does they do together.

use std::{collections::BTreeSet, path::PathBuf};

use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    process,
};
use rustix::process::Signal;

/// Captures that are read, so that each of up to five workers has one.
const PORTS: u16 = 5;
const FLOWS: u16 = 16;
const EACH: u32 = 20_000;

/// A scratch directory with captures of flows of their own, whose packets are numbered.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.pacer();
    for port in 0..PORTS {
        let packets: Vec<_> = (0..EACH)
            .map(|i| capture::udp(port * FLOWS + (i % u32::from(FLOWS)) as u16, i, 30))
            .collect();
        capture::write(&scratch.path(&format!("in{port}.pcap")), &packets);
    }
    scratch
}

/// All captures through these network functions into one.
fn bundle(scratch: &Scratch, name: &str, (receivers, workers): (u16, u16), nfs: &str, path: &str) -> PathBuf {
    let ports: String = (0..PORTS)
        .map(|n| format!("port in{n} = pcap {{ read = file(\"in{n}.pcap\") }}\nsteer in{n} {{ else -> {path} -> out }}\n"))
        .collect();
    let out = scratch.path("out.pcap");
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nmanager {{ receivers = {receivers}, workers = {workers} }}\n{nfs}\n{ports}\
         port out = pcap {{ write = \"{}\" }}\n",
        out.display()
    );
    scratch.build(&chain, name)
}

fn assert_all_came_in_order(scratch: &Scratch) {
    let out = capture::read(&scratch.path("out.pcap"));
    capture::assert_in_order(&out);
    let sent = (0..PORTS).flat_map(|port| capture::read(&scratch.path(&format!("in{port}.pcap"))));
    assert_eq!(
        capture::multiset(&out),
        capture::multiset(&sent.collect::<Vec<_>>())
    );
}

#[test]
fn any_number_of_receivers_and_workers_loses_nothing_and_keeps_the_order_of_each_flow() {
    // The last two are the shapes of openNetVM.
    for shape @ (receivers, workers) in [(0, 2), (0, 3), (0, 5), (1, 2), (1, 1), (2, 5)] {
        let scratch = scratch();
        let nfs = "nf fwd = forward {} with { replicas = 3 }\nnf mon = monitor {}";
        let bundle = bundle(&scratch, "bundle", shape, nfs, "fwd -> mon");
        let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]);
        manager.wait_for_log("READY");
        let threads = process::thread_names(manager.pid());
        let expected = (0..workers).map(|n| format!("worker-{n}"));
        let expected = expected.chain((0..receivers).map(|n| format!("receiver-{n}")));
        assert_eq!(
            threads
                .into_iter()
                .filter(|name| name.starts_with("worker-") || name.starts_with("receiver-"))
                .collect::<BTreeSet<_>>(),
            expected.collect()
        );
        let summary = manager.finish(SOON).summary();
        let all = u64::from(EACH) * u64::from(PORTS);
        assert_eq!(
            (summary.balance.received, summary.balance.delivered),
            (all, all),
            "{shape:?} {:?}",
            summary.drops
        );
        assert_all_came_in_order(&scratch);
    }
}

#[test]
fn edits_with_several_workers_lose_nothing_and_keep_the_order_of_each_flow() {
    let scratch = scratch();
    let paced = |name: &str, nfs: &str, path: &str| bundle(&scratch, name, (1, 3), nfs, path);
    let pace = "nf pace = pacer { pause = 1 ms } with { replicas = 2 }\n";
    let first = paced("0", pace, "pace");
    let edits = [
        paced("1", &format!("{pace}nf mon = monitor {{}}"), "pace -> mon"),
        paced(
            "2",
            &format!("{pace}nf fwd = forward {{}} with {{ replicas = 2 }}"),
            "fwd -> pace",
        ),
        paced("3", "nf fwd = forward {}", "fwd"),
    ];
    let manager = Manager::start(&first, "test", &scratch.run_dir(), &["--exit-when-done"]);
    manager.wait_for_log("READY");
    for edit in &edits {
        manager.wait_for_traffic(1000, SOON);
        manager.apply(edit, None).unwrap();
    }
    let summary = manager.finish(SOON).summary();
    assert_eq!(summary.balance.delivered, u64::from(EACH) * u64::from(PORTS));
    assert_all_came_in_order(&scratch);
}

/// Each worker serves a queue of the port, or has a part of what a receiver hands on, and all of them every instance.
#[test]
fn instances_that_are_killed_under_several_workers_leave_nothing() {
    for shape in ["workers = 3", "workers = 2, receivers = 1"] {
        let scratch = scratch();
        let chain = format!(
            "manager {{ {shape} }}\nport a = null {{}}\nport b = null {{}}\n\
             nf fwd = forward {{}} with {{ replicas = 2 }}\nnf mon = monitor {{}}\nsteer a {{ else -> fwd -> mon -> b }}\n"
        );
        let bundle = scratch.build(&chain, "bundle");
        let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
        for name in ["mon-0", "fwd-0", "fwd-1", "mon-0"] {
            manager.wait_for_traffic(10_000, SOON);
            let pid = instance(&manager.status(), name).pid.unwrap();
            process::signal(pid, Signal::KILL);
            manager.wait_for_instance(name, Some(pid), SOON);
        }
        manager.wait_for_traffic(10_000, SOON);
        let summary = manager.terminate_whole(0);
        assert!(summary.dropped("nf_lost") > 0);
    }
}

#[test]
fn a_stop_counts_what_receivers_have_handed_on() {
    let scratch = scratch();
    // The NF takes nothing for longer than the manager waits, so that the worker leaves packets with the receiver.
    let chain = "use \"pacer.nf.toml\" as pacer\nmanager { receivers = 1, ring = 64 }\n\
                 port in = pcap { read = file(\"in0.pcap\") }\nport out = pcap { write = \"/dev/null\" }\n\
                 nf pace = pacer { pause = 1 s }\nsteer in { else -> pace -> out }\n";
    let manager = Manager::ready(&scratch.build(chain, "bundle"), "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(1, SOON);
    let summary = manager.terminate_whole(0);
    assert!(summary.dropped("shutdown") > 64, "{:?}", summary.drops);
}
