//! Network functions that somebody else starts outlive their manager and serve the next one.

use std::process::Command;

use onvm_tests::{
    ByHand, Manager, Scratch, capture,
    manager::{SOON, instance},
    process, programs,
};
use rustix::process::Signal;

const STOCK: usize = 64;

/// With `patience`, it looks so many seconds for a new manager; without, for ever.
fn by_hand(kind: &str, patience: Option<&str>) -> Command {
    let mut command = programs::command("onvm-nf");
    command.arg(kind);
    command.envs(patience.map(|seconds| ("ONVM_NF_REATTACH", seconds)));
    command
}

#[test]
fn they_attach_again_after_the_manager_was_killed() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = "port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = pcap { write = \"/dev/null\" }\n\
                 nf fwd = forward {}\nnf mon = monitor {}\nsteer a { else -> fwd -> mon -> b }\n";
    let bundle = scratch.build(chain, "bundle");
    let mut first = Manager::start(&bundle, "test", &scratch.run_dir(), &["--nfs", "external"]);
    let mut nfs = ["forward", "monitor"].map(|kind| {
        let name = if kind == "forward" { "fwd-0" } else { "mon-0" };
        ByHand::start(by_hand(kind, None), &first.nf_socket(name))
    });
    first.wait_for_log("READY");
    first.wait_for_traffic(5000, SOON);
    let pids = nfs.each_ref().map(|nf| Some(nf.id()));
    let status = first.status();
    assert_eq!(
        [instance(&status, "fwd-0").pid, instance(&status, "mon-0").pid],
        pids
    );

    first.kill();
    assert!(nfs.iter_mut().all(|nf| nf.status().is_none()), "they live on");
    let second = Manager::ready(&bundle, "test", &scratch.run_dir(), &["--nfs", "external"]);
    second.wait_for_traffic(5000, SOON);
    let status = second.status();
    assert_eq!(
        [instance(&status, "fwd-0").pid, instance(&status, "mon-0").pid],
        pids,
        "the same processes"
    );

    let summary = second.terminate_whole(STOCK);
    assert!(summary.balance.delivered >= 5000);
    for nf in &mut nfs {
        let status = process::wait_for(SOON, || nf.status()).expect("a stop ends them");
        assert!(status.success(), "{status}");
    }
}

#[test]
fn those_that_onvm_run_started_go_with_a_killed_manager_and_the_next_one_starts_clean() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = "port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = pcap { write = \"/dev/null\" }\n\
                 nf fwd = forward {}\nsteer a { else -> fwd -> b }\n";
    let bundle = scratch.build(chain, "bundle");
    let mut first = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let of_first = first.nf_processes();
    assert_eq!(of_first.len(), 1);
    // Not even one that does nothing lives on.
    process::signal(of_first[0], Signal::STOP);
    first.kill();
    let second = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    second.wait_for_traffic(5000, SOON);
    let left = || of_first.iter().filter(|pid| !process::has_ended(**pid)).count();
    assert!(
        process::wait_for(SOON, || (left() == 0).then_some(())).is_some(),
        "left of the first: {of_first:?}"
    );
    second.terminate_whole(STOCK);
}

#[test]
fn those_that_never_sleep_notice_that_their_manager_is_gone() {
    let scratch = Scratch::new();
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 1, 30)]);
    let chain = "manager { idle = spin }\nport a = pcap { read = file(\"in.pcap\") }\n\
                 port b = pcap { write = \"/dev/null\" }\nnf fwd = forward {}\nsteer a { else -> fwd -> b }\n";
    let bundle = scratch.build(chain, "spin");
    let mut manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--nfs", "external"]);
    let mut nf = ByHand::start(by_hand("forward", Some("0")), &manager.nf_socket("fwd-0"));
    manager.wait_for_log("READY");
    manager.kill();
    let ended = process::wait_for(SOON, || nf.status());
    assert!(ended.is_some(), "process {} lives on without a manager", nf.id());
}
