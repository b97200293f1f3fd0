//! Starts and ends at bad moments: signals while it starts or applies, network functions that do not come up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{path::PathBuf, time::Duration};

use onvm_bundle::api::ManagerState;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{self, SOON, instance},
    process,
};
use rustix::process::Signal;

const STOCK: usize = 64;

/// A bundle of endless traffic of 64 flows through these network functions.
fn endless(scratch: &Scratch, name: &str, nfs: &str, path: &str) -> PathBuf {
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
         port b = pcap {{ write = \"/dev/null\" }}\n{nfs}\nsteer a {{ else -> {path} -> b }}\n"
    );
    scratch.build(&chain, name)
}

#[test]
fn an_interrupt_stops_in_order() {
    let scratch = Scratch::new();
    let bundle = endless(&scratch, "0", "nf fwd = pacer {}", "fwd");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(1000, SOON);
    process::signal(manager.pid(), Signal::INT);
    let finished = manager.finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.assert_nothing_left();
}

#[test]
fn an_nf_killed_in_the_middle_of_an_apply_is_replaced_all_the_same() {
    let scratch = Scratch::new();
    let first = endless(&scratch, "0", "nf fwd = pacer {}", "fwd");
    let slow = endless(
        &scratch,
        "1",
        "nf fwd = pacer {}\nnf slow = pacer { startup = 1 s }",
        "fwd -> slow",
    );
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    let socket = manager.socket();
    let apply = std::thread::spawn(move || manager::apply(&socket, &slow, None));
    let status = manager.wait_until("the apply is under way", SOON, |s| {
        s.state == ManagerState::Applying
    });
    let pid = instance(&status, "fwd-0").pid;
    process::signal(pid.unwrap(), Signal::KILL);
    apply.join().unwrap().expect("the apply is done");
    manager.wait_for_instance("fwd-0", pid, SOON);
    manager.wait_for_traffic(1000, SOON);
    assert_eq!(manager.nf_processes().len(), 2);
    manager.terminate_whole(STOCK);
}

#[test]
fn an_nf_that_ends_at_once_is_named_with_how_it_ended() {
    let scratch = Scratch::new();
    let manifest = "name = \"ends\"\nversion = \"0.1.0\"\nsummary = \"x\"\n\n[run]\nbinary = \"test-nf\"\nargs = [\"no-such-nf\"]\n";
    scratch.write("ends.nf.toml", manifest);
    let chain = "use \"ends.nf.toml\" as ends\nport a = null {}\nnf fwd = forward {}\nnf bad = ends {}\nsteer a { else -> fwd -> bad -> drop }\n";
    let bundle = scratch.build(chain, "0");
    let finished = Manager::start(&bundle, "test", &scratch.run_dir(), &[]).finish(SOON);
    finished.assert_refused(&["bad-0", "exit status: 2"]);
    assert!(
        finished.stderr.contains("test-nf takes"),
        "what it printed is in the log: {}",
        finished.stderr
    );
}

#[test]
fn an_nf_that_never_gets_ready_is_given_up() {
    let scratch = Scratch::new();
    let bundle = endless(&scratch, "0", "nf slow = pacer { startup = 1 h }", "slow");
    let finished = Manager::start(&bundle, "test", &scratch.run_dir(), &[]).finish(Duration::from_secs(30));
    finished.assert_refused(&["slow-0", "not ready within 10 s"]);
}
