//! Ends that nobody asked for: of the manager, of the engine's daemon, of the shim between it and a container. What can go on goes
//! on; the rest is counted, and healed once the daemon is back.

use std::{fs, time::Duration};

use onvm_api::InstanceState;
use onvm_tests::{
    Engine, Manager, Scratch, capture,
    manager::{SOON, instance, unprivileged},
    process, programs,
};
use rustix::process::{Pid, Signal, kill_process};

/// For a container to come on a busy machine, and for the engine to notice what has happened to it.
const SOME_TIME: Duration = Duration::from_secs(90);
/// Packets of a repeated capture.
const STOCK: u16 = 500;

const SOURCE: &str = "port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = pcap { write = \"/dev/null\" }\n\
                      nf fw = forward {}\nnf mon = monitor {}\nsteer a { else -> fw -> mon -> b }\n";

fn start(engine: &Engine, scratch: &Scratch) -> Manager {
    let packets: Vec<_> = (0..STOCK).map(|i| capture::udp(i % 50, i.into(), 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let bundle = scratch.build(SOURCE, "bundle");
    let run_dir = scratch.run_dir();
    let command = engine.onvm_run(&bundle, &run_dir, &["--nfs", "compose"]);
    let manager = Manager::spawn(command, "test", &run_dir);
    manager.wait_for_log("READY");
    manager.wait_for_traffic(1000, SOON);
    manager
}

fn end_whole(manager: Manager, engine: &Engine, scratch: &Scratch) {
    manager.terminate_whole(usize::from(STOCK));
    assert_eq!(
        engine.containers(&scratch.run_dir(), "test", None),
        Vec::<String>::new()
    );
}

#[test]
fn the_next_manager_removes_what_a_killed_one_left() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    let mut first = start(&engine, &scratch);
    let pids: Vec<u32> = ["fw-0", "mon-0"]
        .map(|name| instance(&first.status(), name).pid.unwrap())
        .to_vec();
    let left = engine.containers(&scratch.run_dir(), "test", None);
    first.kill();
    // Its NFs end with it, and look for no other manager.
    for pid in pids {
        let ended = process::wait_for(SOON, || process::has_ended(pid).then_some(()));
        assert!(ended.is_some(), "process {pid} outlives its manager");
    }
    let second = start(&engine, &scratch);
    let now = engine.containers(&scratch.run_dir(), "test", None);
    assert!(
        left.len() == 2 && now.len() == 2 && !now.iter().any(|id| left.contains(id)),
        "{left:?} {now:?}"
    );
    end_whole(second, &engine, &scratch);
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

/// The process between the engine and a container.
fn shim_of(pid: u32) -> u32 {
    process::status_field(pid, "PPid").trim().parse().unwrap()
}

#[test]
#[ignore = "for `make test-lab`: takes its time"]
fn a_killed_shim() {
    let (engine, scratch) = (Engine::start(), Scratch::new());
    let manager = start(&engine, &scratch);
    let pid = instance(&manager.status(), "fw-0").pid.unwrap();
    let shim = shim_of(pid);
    let name = fs::read_to_string(format!("/proc/{shim}/comm")).unwrap();
    assert!(name.starts_with("containerd-shim"), "{name}");
    kill(shim);
    // The engine ends the container, since nobody watches it any more.
    manager.wait_for_instance("fw-0", Some(pid), SOME_TIME);
    manager.wait_for_traffic(1000, SOON);
    end_whole(manager, &engine, &scratch);
}

#[test]
#[ignore = "for `make test-lab`: takes its time"]
fn a_killed_daemon() {
    let (engine, scratch) = (Engine::start(), Scratch::new());
    let manager = start(&engine, &scratch);
    let before = instance(&manager.status(), "fw-0").clone();
    engine.kill_daemon();
    manager.wait_for_log("the container engine does not answer");
    // Packets need no daemon.
    let status = manager.wait_for_traffic(100_000, SOON);
    assert_eq!(instance(&status, "fw-0").pid, before.pid);
    assert_eq!(status.balance.dropped, 0, "{:?}", status.drops);

    // One that is lost now cannot come back, and what it held is counted; the others are as they were.
    kill(before.pid.unwrap());
    let lost = |status: &onvm_api::Status| instance(status, "fw-0").state != InstanceState::Running;
    let status = manager.wait_until("fw-0 is lost", SOON, lost);
    assert_eq!(instance(&status, "mon-0").state, InstanceState::Running);
    manager.wait_until("its packets are counted", SOON, |status| {
        status
            .drops
            .iter()
            .any(|drop| drop.reason == "nf_lost" && drop.packets > 0)
    });

    engine.restart_daemon();
    manager.wait_for_log("the container engine answers again");
    let healed = |status: &onvm_api::Status| {
        ["fw-0", "mon-0"]
            .iter()
            .all(|name| instance(status, name).state == InstanceState::Running)
    };
    manager.wait_until("all run again", SOME_TIME, healed);
    manager.wait_for_traffic(1000, SOON);
    end_whole(manager, &engine, &scratch);
}

/// A stop while the daemon is away takes a bounded time, and the next manager tidies up.
#[test]
#[ignore = "for `make test-lab`: takes its time"]
fn a_stop_without_the_daemon() {
    let (engine, scratch) = (Engine::start(), Scratch::new());
    let manager = start(&engine, &scratch);
    engine.kill_daemon();
    manager.wait_for_log("the container engine does not answer");
    let finished = manager.terminate();
    finished.summary_with(usize::from(STOCK));
    assert!(
        finished
            .stderr
            .contains("the next onvm-run of this bundle removes it"),
        "{}",
        finished.stderr
    );
    engine.restart_daemon();
    let next = start(&engine, &scratch);
    end_whole(next, &engine, &scratch);
}

/// A member of the engine's group need not be root.
#[test]
#[ignore = "for `make test-lab`: opens the engine to all users"]
fn a_manager_that_is_not_root() {
    let (engine, scratch) = (Engine::start(), Scratch::new());
    engine.let_everybody_in();
    let packets: Vec<_> = (0..STOCK).map(|i| capture::udp(i % 50, i.into(), 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let bundle = scratch.build(SOURCE, "bundle");
    let mut command = unprivileged(&scratch, &bundle, &["--nfs", "compose"]);
    command.env("DOCKER_HOST", &engine.host);
    let manager = Manager::spawn(command, "test", &scratch.run_dir());
    manager.wait_for_log("READY");
    let status = manager.wait_for_traffic(1000, SOON);
    let pid = instance(&status, "fw-0").pid.unwrap();
    let own = process::status_field(manager.pid(), "Uid");
    assert!(
        !own.starts_with('0') && process::status_field(pid, "Uid") == own,
        "{own}"
    );
    kill(pid);
    manager.wait_for_instance("fw-0", Some(pid), SOME_TIME);
    end_whole(manager, &engine, &scratch);
}

/// A network function that prints without end as a process, `fw`, and in a container, `mon`.
fn start_shouting(engine: &Engine, scratch: &Scratch) -> Manager {
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 1, 30)]);
    scratch.manifest("shout", "");
    let source = SOURCE.replace("forward {}", "shout {}");
    let source = source.replace("monitor {}", "shout {} with { run = container }");
    let source = format!("use \"shout.nf.toml\" as shout\n{source}");
    let bundle = scratch.build(&source, "bundle");
    let run_dir = scratch.run_dir();
    let manager = Manager::spawn(engine.onvm_run(&bundle, &run_dir, &[]), "test", &run_dir);
    manager.wait_for_log("READY");
    manager
}

/// Exit code, output and errors of `onvmc logs`.
fn logs(scratch: &Scratch, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = programs::command("onvmc");
    command
        .arg("logs")
        .args(arguments)
        .arg("--run-dir")
        .arg(scratch.run_dir());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn logs_are_there_for_processes_and_containers() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    let manager = start_shouting(&engine, &scratch);
    for nf in ["fw", "mon-0"] {
        let instance = format!(" {}-0 info: ", nf.trim_end_matches("-0"));
        let found = process::wait_for(SOON, || {
            let (code, text, _) = logs(&scratch, &[nf, "--tail", "1"]);
            (code == Some(0) && !text.is_empty()).then_some(text)
        });
        let text = found.unwrap_or_else(|| panic!("{nf} has printed nothing"));
        assert!(
            text.lines().count() == 1 && text.contains(&instance) && text.contains("shout"),
            "{text}"
        );
    }
    let (code, text, errors) = logs(&scratch, &["mom"]);
    assert!(
        code != Some(0) && text.is_empty() && errors.contains("mom"),
        "{errors}"
    );
    manager.terminate();
}

#[test]
#[ignore = "for `make test-lab`: takes its time"]
fn what_is_printed_is_heard_again_once_the_daemon_is_back() {
    // Without this option a daemon ends the containers of the former one.
    let (engine, scratch) = (Engine::start_with(&["--live-restore"]), Scratch::new());
    let manager = start_shouting(&engine, &scratch);
    let last = || logs(&scratch, &["mon", "--tail", "1"]).1;
    let printed = process::wait_for(SOON, || (!last().is_empty()).then_some(()));
    assert!(printed.is_some(), "it has printed nothing");
    let before = instance(&manager.status(), "mon-0").clone();
    engine.kill_daemon();
    manager.wait_for_log("the container engine does not answer");
    let silent = last();
    engine.restart_daemon();
    let heard = process::wait_for(SOME_TIME, || (last() != silent).then_some(()));
    assert!(heard.is_some(), "nothing since {silent}");
    let now = instance(&manager.status(), "mon-0").clone();
    assert_eq!((now.pid, now.restarts), (before.pid, before.restarts));
    manager.terminate();
    assert_eq!(
        engine.containers(&scratch.run_dir(), "test", None),
        Vec::<String>::new()
    );
}
