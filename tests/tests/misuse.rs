//! Network functions that misuse one thing each, and what the manager makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::time::Duration;

use onvm_tests::{
    Manager, Scratch,
    manager::{SOON, instance, lacking},
    misused::{STOCK, build, bundle, scratch},
    process,
};
use rustix::process::Signal;

fn ready(scratch: &Scratch, how: &str) -> Manager {
    Manager::ready(&bundle(scratch, how), "test", &scratch.run_dir(), &[])
}

#[test]
fn one_that_floods_is_ended_and_lets_itself_be_removed() {
    let scratch = scratch();
    let manager = ready(&scratch, "flood");
    manager.wait_until("it is ended for handing back nothing that it holds", SOON, |s| {
        instance(s, "bad-0").restarts >= 1
    });
    manager.wait_for_instance("bad-0", None, SOON);
    let without = build(&scratch, "without", "", "");
    manager
        .apply(&without, None)
        .unwrap_or_else(|e| panic!("{e}\n{}", manager.log()));
    manager.wait_for_traffic(5000, SOON);
    manager.terminate_whole(STOCK);
}

#[test]
fn one_that_damages_the_ring_to_it_is_ended() {
    let scratch = scratch();
    // A ring of 64 is read anew at each push.
    let nfs = "manager { ring = 64 }\nnf bad = misuse { how = \"damage_tail\" }";
    let bundle = build(&scratch, "bundle", nfs, "ip[15] & 3 = 1 -> bad -> b");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_until("it is started again", SOON, |s| {
        instance(s, "bad-0").restarts >= 2
    });
    assert!(manager.log().contains("corrupt ring"), "{}", manager.log());
    manager.terminate_whole(STOCK);
}

#[test]
fn one_that_hands_back_what_is_on_its_way_to_it_frees_no_buffer_twice() {
    let scratch = scratch();
    // A ring of 64 is read anew at each push.
    let nfs = "manager { ring = 64 }\nnf bad = misuse { how = \"steal\" }";
    let bundle = build(&scratch, "bundle", nfs, "ip[15] & 3 = 1 -> bad -> bad -> b");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_until("it has tried several times", SOON, |s| {
        instance(s, "bad-0").restarts >= 4
    });
    // Every packet and every buffer is still counted once.
    manager.terminate_whole(STOCK);
}

#[test]
fn one_that_hoards_is_ended_while_somebody_polls_the_status() {
    let scratch = scratch();
    let manager = ready(&scratch, "hoard");
    // Without a pause between the requests.
    let ended = process::wait_for(SOON, || {
        (instance(&manager.status(), "bad-0").restarts >= 1).then_some(())
    });
    assert!(ended.is_some(), "{}", manager.log());
    manager.terminate_whole(STOCK);
}

#[test]
fn one_that_hangs_is_ended_while_clients_never_pause() {
    let scratch = scratch();
    let manager = ready(&scratch, "keep_one");
    let pid = instance(&manager.status(), "pace-0").pid.unwrap();
    process::signal(pid, Signal::STOP);
    let over = std::sync::atomic::AtomicBool::new(false);
    let poll = || {
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            manager.status();
        }
    };
    let gone = std::thread::scope(|scope| {
        scope.spawn(poll);
        scope.spawn(poll);
        let gone = process::wait_for(Duration::from_secs(15), || process::has_ended(pid).then_some(()));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        gone
    });
    assert!(gone.is_some(), "{}", manager.log());
    manager.terminate_whole(STOCK);
}

#[test]
fn a_process_that_left_the_group_goes_with_its_nf_all_the_same() {
    let scratch = scratch();
    // The filter of system calls would keep it from starting a process.
    let bundle = bundle(&scratch, "escape");
    let command = lacking(&scratch, "seccomp", &bundle, &["--waive", "syscalls"]);
    let manager = Manager::spawn(command, "test", &scratch.run_dir());
    manager.wait_for_log("READY");
    let three = || (manager.nf_processes().len() == 3).then_some(());
    assert!(
        process::wait_for(SOON, three).is_some(),
        "two functions and one that left: {:?}",
        manager.nf_processes()
    );
    let pid = instance(&manager.status(), "bad-0").pid;
    process::signal(pid.unwrap(), Signal::KILL);
    manager.wait_for_instance("bad-0", pid, SOON);
    assert!(
        process::wait_for(SOON, three).is_some(),
        "the old one is gone: {:?}",
        manager.nf_processes()
    );
    manager.terminate_whole(STOCK);
}

#[test]
fn a_log_and_an_output_that_nobody_reads_end_nothing() {
    let scratch = scratch();
    let bundle = build(&scratch, "bundle", "", "");
    let mut command = onvm_tests::programs::command("onvm-run");
    let (log, log_writer) = std::io::pipe().unwrap();
    let (output, output_writer) = std::io::pipe().unwrap();
    command.arg(&bundle).arg("--run-dir").arg(scratch.run_dir());
    command
        .stdin(std::process::Stdio::null())
        .stdout(output_writer)
        .stderr(log_writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let socket = scratch.run_dir().join("test/control.sock");
    let status = || {
        let (_, body) = onvm_tests::http::request(&socket, "GET", "/v1/status", None).ok()?;
        serde_json::from_str::<onvm_api::Status>(&body).ok()
    };
    let running = || {
        let s = status()?;
        (s.state == onvm_api::ManagerState::Running)
            .then(|| instance(&s, "pace-0").pid)
            .flatten()
    };
    let first = process::wait_for(SOON, running).expect("it starts");
    drop((log, output));
    process::signal(first, Signal::KILL);
    let next = process::wait_for(SOON, || running().filter(|&pid| pid != first));
    process::signal(child.id(), Signal::TERM);
    let ended = process::wait_for(SOON, || child.try_wait().unwrap());
    let _ = child.kill();
    assert!(
        next.is_some(),
        "the lost function is replaced, though its loss could not be logged"
    );
    assert_eq!(ended.and_then(|s| s.code()), Some(0));
}
