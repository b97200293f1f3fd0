//! Starts and ends at bad moments: signals while it starts or applies, network functions that do not come up.

use std::{path::PathBuf, time::Duration};

use onvm_api::ManagerState;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{self, SOON, instance, lacking},
    process, programs,
};
use rustix::process::Signal;

const STOCK: usize = 64;

/// A bundle of endless traffic of 64 flows through these network functions.
fn endless(scratch: &Scratch, name: &str, nfs: &str, path: &str) -> PathBuf {
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\n{nfs}\nport a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
         port b = pcap {{ write = \"/dev/null\" }}\nsteer a {{ else -> {path} -> b }}\n"
    );
    scratch.build(&chain, name)
}

#[test]
fn a_stop_while_nfs_start_ends_everything() {
    let scratch = Scratch::new();
    let bundle = endless(
        &scratch,
        "0",
        "nf slow = pacer { startup = 9 s }\nnf fwd = forward {}",
        "slow -> fwd",
    );
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_for_log("\"fwd-0\"");
    let finished = manager.terminate();
    assert!(
        finished.code.is_some(),
        "it ended by itself, not by the signal: {finished:?}"
    );
    finished.assert_nothing_left();
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

/// As at the end of a session in which `onvm-run … &` was started.
#[test]
fn a_hangup_stops_in_order_unless_it_is_ignored() {
    let scratch = Scratch::new();
    let bundle = endless(&scratch, "0", "nf fwd = pacer {}", "fwd");
    // Whoever runs the tests may have it ignored.
    let run = |before: &[&str]| {
        let mut command = std::process::Command::new(before[0]);
        command.args(&before[1..]).arg(programs::path("onvm-run"));
        command
            .arg(&bundle)
            .arg("--json")
            .arg("--run-dir")
            .arg(scratch.run_dir());
        let manager = Manager::spawn(command, "test", &scratch.run_dir());
        manager.wait_for_log("READY");
        manager.wait_for_traffic(1000, SOON);
        process::signal(manager.pid(), Signal::HUP);
        manager
    };
    let finished = run(&["env", "--default-signal=HUP"]).finish(SOON);
    assert_eq!(finished.code, Some(0));
    finished.summary_with(STOCK);
    finished.assert_nothing_left();

    let manager = run(&["nohup"]);
    manager.wait_for_traffic(1000, SOON);
    manager.terminate_whole(STOCK);
}

/// As by a snapshot of a virtual machine or a frozen control group.
#[test]
fn a_pause_of_manager_and_nfs_together_ends_no_nf() {
    let scratch = Scratch::new();
    let bundle = endless(&scratch, "0", "nf fwd = pacer {}", "fwd");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(1000, SOON);
    let nf = manager.wait_for_instance("fwd-0", None, SOON);
    process::signal(nf, Signal::STOP);
    process::signal(manager.pid(), Signal::STOP);
    std::thread::sleep(Duration::from_secs(6));
    process::signal(manager.pid(), Signal::CONT);
    // Whoever wakes them up may need a moment for all.
    std::thread::sleep(Duration::from_millis(500));
    process::signal(nf, Signal::CONT);
    manager.wait_for_traffic(1000, SOON);
    assert_eq!(manager.wait_for_instance("fwd-0", None, SOON), nf);
    assert_eq!(manager.terminate_whole(STOCK).dropped("nf_lost"), 0);
}

#[test]
fn a_stop_in_the_middle_of_an_apply_ends_everything() {
    let scratch = Scratch::new();
    let first = endless(&scratch, "0", "nf fwd = pacer {}", "fwd");
    let slow = endless(
        &scratch,
        "1",
        "nf fwd = pacer {}\nnf slow = pacer { startup = 8 s }",
        "fwd -> slow",
    );
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    let socket = manager.socket();
    let apply = std::thread::spawn(move || {
        let body = format!("{{\"version\":1,\"bundle\":{:?}}}", slow.display().to_string());
        onvm_tests::http::request(&socket, "POST", "/v1/apply", Some(&body))
    });
    manager.wait_until("the apply is under way", SOON, |s| {
        s.state == ManagerState::Applying
    });
    manager.terminate_whole(STOCK);
    // It is told of the failure, or its connection ends with the manager; either way it does not wait for ever.
    if let Ok((code, body)) = apply.join().unwrap() {
        assert_ne!(code, 200, "{body}");
    }
}

#[test]
fn a_stop_while_the_old_generation_drains_does_not_wait_for_it() {
    let scratch = Scratch::new();
    // Its last burst would be handed back after a minute and a half.
    let slow = "nf slow = pacer { pause = 1500 ms }";
    let old = endless(&scratch, "0", slow, "slow");
    let new = endless(&scratch, "1", "nf quick = pacer {}", "quick");
    let manager = Manager::ready(&old, "test", &scratch.run_dir(), &[]);
    manager.wait_until("it has much to do", SOON, |s| s.balance.in_flight > 1000);
    let former = manager.status().generation;
    let socket = manager.socket();
    let apply = std::thread::spawn(move || manager::apply(&socket, &new, None));
    manager.wait_until("the new generation serves", SOON, |s| s.generation != former);
    let finished = manager.terminate();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(
        !finished.stderr.contains("did not drain in time"),
        "{}",
        finished.stderr
    );
    finished.assert_nothing_left();
    assert!(apply.join().unwrap().is_ok(), "the new generation was published");
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

#[test]
fn ctrl_c_in_a_terminal_reaches_the_manager_alone() {
    let scratch = Scratch::new();
    let manager = Manager::ready(
        &endless(&scratch, "0", "nf fwd = pacer {}", "fwd"),
        "test",
        &scratch.run_dir(),
        &[],
    );
    let own = process::process_group(manager.pid());
    let others = manager.nf_processes();
    assert!(others.len() == 1 && others.iter().all(|&pid| process::process_group(pid) != own));
    manager.terminate_whole(STOCK);
}

#[test]
fn an_nf_that_prints_without_end_fills_no_log() {
    let scratch = Scratch::new();
    scratch.manifest("shout", "");
    let nfs = "use \"shout.nf.toml\" as shout\nnf fwd = pacer {}\nnf loud = shout {}";
    let manager = Manager::ready(
        &endless(&scratch, "0", nfs, "fwd -> loud"),
        "test",
        &scratch.run_dir(),
        &[],
    );
    // It prints six kilobytes for each burst.
    manager.wait_for_traffic(5000, SOON);
    manager.wait_for_log("lines left out");
    let log = manager.log().len();
    assert!((10..1 << 20).contains(&log), "the log has {log} bytes");
    manager.terminate_whole(STOCK);
}

#[test]
fn what_an_nf_starts_goes_with_it() {
    let scratch = Scratch::new();
    scratch.manifest("parent", "");
    let nfs = "use \"parent.nf.toml\" as parent\nnf fwd = pacer {}\nnf par = parent {}";
    let bundle = endless(&scratch, "0", nfs, "fwd -> par");
    // The filter of system calls would keep it from starting one.
    let command = lacking(&scratch, "seccomp", &bundle, &["--waive", "syscalls"]);
    let manager = Manager::spawn(command, "test", &scratch.run_dir());
    manager.wait_for_log("READY");
    assert_eq!(
        manager.nf_processes().len(),
        3,
        "two functions and the child of one"
    );
    let pid = instance(&manager.status(), "par-0").pid;
    process::signal(pid.unwrap(), Signal::KILL);
    manager.wait_for_instance("par-0", pid, SOON);
    let three = || (manager.nf_processes().len() == 3).then_some(());
    assert!(
        process::wait_for(SOON, three).is_some(),
        "the old child is gone: {:?}",
        manager.nf_processes()
    );
    manager.terminate_whole(STOCK);
}
