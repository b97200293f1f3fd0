//! Containers come with their NFs and go with them, also when somebody kills one under traffic.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use onvm_tests::{
    Engine, Manager, Scratch, capture,
    manager::{SOON, instance},
    programs,
};
use serde_json::Value;

/// For a container to come on a busy machine.
const SOME_TIME: Duration = Duration::from_secs(60);

const REPEATED: &str =
    "port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = pcap { write = \"/dev/null\" }\n";

/// Packets of a repeated capture.
const STOCK: u16 = 500;

fn packets(scratch: &Scratch, count: u16) {
    let packets: Vec<_> = (0..count).map(|i| capture::udp(i % 50, i.into(), 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
}

/// With what is in `first` before what `PATH` names.
fn manager(engine: &Engine, scratch: &Scratch, bundle: &Path, first: Option<PathBuf>) -> Manager {
    let run_dir = scratch.run_dir();
    let mut command = engine.onvm_run(bundle, &run_dir, &["--nfs", "compose"]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = first.into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(path).unwrap());
    let manager = Manager::spawn(command, "test", &run_dir);
    manager.wait_for_log("READY");
    manager
}

#[test]
fn a_chain_mixes_processes_and_containers_and_leaves_nothing() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    packets(&scratch, 2000);
    let source = |run: &str, out: &str| {
        format!(
            "port a = pcap {{ read = file(\"in.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
             nf fw = firewall {{ rules = {{ drop udp dst port 7 }}, default = accept }} with {{ {run} }}\nnf mon = monitor {{}}\n\
             steer a {{ else -> fw -> mon -> b }}\n",
            scratch.path(out).display()
        )
    };
    let as_process = scratch.build(&source("run = process", "process.pcap"), "process");
    let contained = scratch.build(&source("run = container", "container.pcap"), "container");
    let run_dir = scratch.run_dir();
    for bundle in [&as_process, &contained] {
        let command = engine.onvm_run(bundle, &run_dir, &["--exit-when-done"]);
        let finished = Manager::spawn(command, "test", &run_dir).finish(SOME_TIME);
        finished.summary().assert_whole(0);
    }
    let read = |name: &str| capture::read(&scratch.path(name));
    assert!(!read("process.pcap").is_empty() && read("process.pcap") == read("container.pcap"));
    assert_eq!(engine.containers(&run_dir, "test", None), Vec::<String>::new());
}

#[test]
fn what_is_killed_comes_back_what_is_scaled_waits_and_an_edit_loses_nothing() {
    lives(None);
}

#[test]
#[ignore = "for `make test-lab`, which fetches that version"]
fn the_same_with_compose_2() {
    let compose = programs::directory().parent().unwrap().join("compose");
    assert!(
        compose.join("docker-compose").is_file(),
        "`make setup-lab` fetches it"
    );
    let containers = lives(Some(compose));
    let version = containers.rsplit(' ').next().unwrap();
    let major: u32 = version.split('.').next().unwrap().parse().unwrap();
    assert!(major >= 2, "{containers}");
}

/// Gives what runs the containers.
fn lives(first: Option<PathBuf>) -> String {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    packets(&scratch, STOCK);
    let source = |rule: &str| {
        format!(
            "{REPEATED}nf fw = firewall {{ rules = {{ {rule} }}, default = accept }} with {{ replicas = 1..3 }}\nnf mon = monitor {{}}\n\
             steer a {{ else -> fw -> mon -> b }}\n"
        )
    };
    let bundle = scratch.build(&source("drop udp dst port 9"), "first");
    let manager = manager(&engine, &scratch, &bundle, first);
    // By hand from here on, whatever the load.
    manager.scale("fw", Some(1)).unwrap();
    let run_dir = scratch.run_dir();
    let states = |state: &str| engine.containers(&run_dir, "test", Some(state));
    assert_eq!(
        (states("running").len(), states("created").len()),
        (2, 2),
        "fw-1 and fw-2 wait"
    );

    let status = manager.wait_for_traffic(1000, SOON);
    let fw = instance(&status, "fw-0");
    let id = fw.container.clone().unwrap();
    assert!(states("running").iter().any(|running| running.starts_with(&id)));
    engine.docker(&["kill", &id]);
    let again = manager.wait_for_instance("fw-0", fw.pid, SOME_TIME);
    let status = manager.wait_for_traffic(1000, SOON);
    let healed = instance(&status, "fw-0");
    assert_eq!((healed.pid, healed.restarts), (Some(again), 1));
    assert_eq!(
        healed.container.as_ref(),
        Some(&id),
        "it was started again, not made anew"
    );
    let log = manager.log();
    assert!(log.contains("signal 9, exit code 137"), "{log}");

    // Of those that wait, one is started and one, which somebody has removed, is made anew.
    engine.docker(&["rm", &states("created")[0]]);
    manager.scale("fw", Some(3)).unwrap();
    assert_eq!((states("running").len(), states("created").len()), (4, 0));

    let by_compose = inspected(&engine, &manager, "fw-0");
    let lost = manager.status().balance.dropped;
    // The firewall's instances are others, and the monitor stays.
    let second = scratch.build(
        &source("drop udp dst port 7").replace("1..3", "1..3, memory = 70 MiB"),
        "second",
    );
    let applied = manager.apply(&second, None).unwrap();
    assert_eq!(applied.started, ["fw-0", "fw-1", "fw-2"]);
    let status = manager.wait_for_traffic(1000, SOON);
    let lost_since = status
        .drops
        .iter()
        .filter(|d| d.reason != "nf_verdict")
        .map(|d| d.packets)
        .sum::<u64>()
        - lost;
    assert_eq!(lost_since, 0, "{:?}", status.drops);
    assert!(
        !instance(&status, "fw-0")
            .container
            .as_ref()
            .unwrap()
            .starts_with(&id)
    );
    // The manager has made this one itself, from the file that Compose had.
    let again = inspected(&engine, &manager, "fw-0");
    assert_eq!(again, by_compose, "but for its memory, user and identity");

    // The monitor was kept by the edit; made anew, it is of the bundle that runs now.
    let monitor = instance(&status, "mon-0");
    let id = monitor.container.clone().unwrap();
    engine.docker(&["rm", "--force", &id]);
    manager.wait_for_instance("mon-0", monitor.pid, SOME_TIME);
    assert_ne!(instance(&manager.status(), "mon-0").container.as_ref(), Some(&id));
    manager.terminate_whole(usize::from(STOCK));
    assert_eq!(engine.containers(&run_dir, "test", None), Vec::<String>::new());
    status.isolation.containers.unwrap()
}

/// What an instance's container was created with, as far as it is not its own: what the engine leaves empty in one way or another is
/// left out.
fn inspected(engine: &Engine, manager: &Manager, name: &str) -> BTreeMap<String, Value> {
    let id = instance(&manager.status(), name).container.clone().unwrap();
    let found: Value = serde_json::from_str(&engine.docker(&["inspect", &id])).unwrap();
    let of = |part: &str, own: &[&str]| {
        let fields = found[0][part].as_object().unwrap().clone();
        let others = fields.into_iter().filter(|(key, value)| {
            let text = value.to_string();
            let empty = ["null", "\"\"", "[]", "{}", "0"].contains(&text.as_str());
            !empty && !own.contains(&key.as_str())
        });
        others
            .map(|(key, value)| (format!("{part}.{key}"), plain(&key, value)))
            .collect::<Vec<_>>()
    };
    let host = of("HostConfig", &["Memory", "MemorySwap"]);
    // `Attach…` and `Volumes` say how a Compose asked, not what it got.
    let config = of(
        "Config",
        &[
            "Hostname",
            "User",
            "Labels",
            "AttachStdout",
            "AttachStderr",
            "Volumes",
        ],
    );
    let mounts = ("Mounts".to_owned(), found[0]["Mounts"].clone());
    let known: BTreeMap<String, Value> = host.into_iter().chain(config).chain([mounts]).collect();
    assert!(
        [
            "HostConfig.CapDrop",
            "HostConfig.SecurityOpt",
            "Config.Cmd",
            "Mounts"
        ]
        .iter()
        .all(|key| known.contains_key(*key)),
        "{known:?}"
    );
    known
}

/// The filter of system calls is a text of JSON, which each writes in its own way; the order of the environment says nothing.
fn plain(key: &str, mut value: Value) -> Value {
    if let (Some(variables), "Env") = (value.as_array_mut(), key) {
        variables.sort_by_key(ToString::to_string);
    }
    for option in value.as_array_mut().into_iter().flatten() {
        let filter = option.as_str().and_then(|o| o.strip_prefix("seccomp="));
        if let Some(filter) = filter.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            *option = filter;
        }
    }
    value
}
