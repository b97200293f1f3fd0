//! What an NF may and may not do from inside a container.

use std::fs;

use onvm_tests::{
    Engine, Manager, Scratch, capture, manager::instance, marks, probe::assert_contained, process,
};

const SOURCE: &str = "use \"probe.nf.toml\" as probe\nport a = pcap { read = file(\"in.pcap\"), repeat = true }\n\
                      port b = pcap { write = \"/dev/null\" }\nnf fwd = forward {}\nnf look = probe {}\n\
                      steer a { tcp port 1 -> look -> b else -> fwd -> b }\n";

#[test]
fn a_container_gets_its_socket_and_nothing_else() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    scratch.manifest("probe", "[effects]\nreads = [\"ip.src\"]\n");
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 1, 30)]);
    let bundle = scratch.build(SOURCE, "bundle");
    let run_dir = scratch.run_dir();
    let manager = Manager::spawn(
        engine.onvm_run(&bundle, &run_dir, &["--nfs", "compose"]),
        "test",
        &run_dir,
    );
    manager.wait_for_log("READY");
    let status = manager.status();
    assert!(status.isolation.containers.is_some());
    assert_contained(instance(&status, "look-0"));

    let pid = |name: &str| instance(&status, name).pid.unwrap();
    let (look, fwd) = (pid("look-0"), pid("fwd-0"));
    for field in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(process::status_field(look, field), "0000000000000000", "{field}");
    }
    assert_eq!(process::status_field(look, "NoNewPrivs"), "1");
    assert_eq!(process::status_field(look, "Seccomp"), "2");
    let users = [look, fwd].map(|pid| process::status_field(pid, "Uid"));
    assert_ne!(users[0], users[1], "each has its own user");
    assert!(users.iter().all(|ids| !ids.starts_with('0')), "{users:?}");
    for namespace in ["pid", "ipc", "net", "mnt", "uts"] {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert!(
            of(look) != of(manager.pid()) && of(look) != of(fwd),
            "{namespace}"
        );
    }
    let devices = fs::read_to_string(format!("/proc/{look}/net/dev")).unwrap();
    let devices: Vec<&str> = devices
        .lines()
        .skip(2)
        .filter_map(|line| line.trim().split(':').next())
        .collect();
    assert_eq!(devices, ["lo"], "no network but its own loopback");
    // By the host's path of it, so that no other instance's is there.
    let seen = fs::read_dir(format!("/proc/{look}/root/run/onvm")).unwrap();
    let seen: Vec<_> = seen.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(seen, ["nf.sock"]);
    let mounts = fs::read_to_string(format!("/proc/{look}/mountinfo")).unwrap();
    let run_dir_mounts = mounts.lines().filter(|line| line.contains(" /run/onvm "));
    assert!(
        run_dir_mounts.count() == 1 && !mounts.contains("fwd-0"),
        "{mounts}"
    );
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))
        .unwrap();
    assert!(root.split(' ').nth(5).unwrap().starts_with("ro"), "{root}");
    let processes = fs::read_dir(format!("/proc/{look}/root/proc")).unwrap();
    let processes = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    assert_eq!(processes.collect::<Vec<_>>(), [1], "it sees itself alone");
    // Another user of this host cannot connect to the socket either.
    let socket = manager.nf_socket("look-0");
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).unwrap();
        (found.mode() & 0o7777, found.uid().to_string())
    };
    let (socket_mode, owner) = mode(&socket);
    assert!(
        socket_mode == 0o600 && users[0].starts_with(&owner),
        "{socket_mode:o} {owner}"
    );
    assert_eq!(mode(socket.parent().unwrap()), (0o710, "0".to_owned()));
    manager.terminate();
}

#[test]
fn a_container_finds_no_packet_of_another_domain() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    let bundle = marks::program(&scratch, ["red", "blue"], "off");
    let run_dir = scratch.run_dir();
    let command = engine.onvm_run(&bundle, &run_dir, &["--nfs", "compose"]);
    let manager = Manager::spawn(command, "test", &run_dir);
    marks::assert_apart(marks::found(manager));
}
