//! What a network function may and may not do as a process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{collections::HashSet, fs, path::Path, process::Command, time::Duration};

use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance, lacking, lacks, unprivileged},
    probe::assert_held,
    process,
};

/// Users for network functions, as the runtime documents them.
const USERS: std::ops::Range<u32> = 61_184..65_520;

#[test]
fn each_process_has_its_own_user_and_no_right() {
    let scratch = Scratch::new();
    scratch.manifest("probe", "[effects]\nreads = [\"ip.src\"]\n");
    let packets: Vec<_> = (0..100).map(|i| capture::udp(1, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    // The probe stands on no packet's way.
    let chain = "use \"probe.nf.toml\" as probe\nport a = pcap { read = file(\"in.pcap\") }\n\
                 port b = pcap { write = \"/dev/null\" }\nnf fwd = forward {} with { replicas = 2 }\nnf mon = monitor {}\n\
                 nf look = probe {} with { memory = 64 MiB }\nsteer a { tcp port 1 -> look -> b else -> fwd -> mon -> b }\n";
    let bundle = scratch.build(chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let status = manager.status();
    let instances: Vec<_> = status.services.iter().flat_map(|s| &s.instances).collect();
    assert_eq!(instances.len(), 4);
    let mut users = HashSet::new();
    for i in &instances {
        let pid = i.pid.unwrap();
        let ids = process::status_field(pid, "Uid");
        let ids: Vec<u32> = ids.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert!(ids.iter().all(|id| USERS.contains(id)), "{}: {ids:?}", i.name);
        assert!(users.insert(ids[0]), "{} shares its user", i.name);
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(
                process::status_field(pid, set),
                "0000000000000000",
                "{}: {set}",
                i.name
            );
        }
        assert_eq!(process::status_field(pid, "NoNewPrivs"), "1", "{}", i.name);
        assert_eq!(process::status_field(pid, "Groups"), "", "{}", i.name);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let variables = environment.split(|b| *b == 0).filter(|v| !v.is_empty());
        for variable in variables.map(String::from_utf8_lossy) {
            assert!(variable.starts_with("ONVM_NF_"), "{}: {variable}", i.name);
        }
        for (fd, path) in process::descriptors(pid) {
            let path = path.to_string_lossy().into_owned();
            let own = ["/dev/null", "pipe:", "socket:", "/memfd:"]
                .iter()
                .any(|p| path.starts_with(p));
            assert!(own, "{}: descriptor {fd} leads to {path}", i.name);
        }
    }
    assert_held(instance(&status, "look-0"));
    assert_eq!(status.isolation.missing, [], "this host offers everything");
    for namespace in ["user", "pid", "ipc", "net", "mnt"] {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        for i in &instances {
            assert_ne!(of(i.pid.unwrap()), of(manager.pid()), "{}: {namespace}", i.name);
        }
    }
    let limits = fs::read_to_string(format!(
        "/proc/{}/limits",
        instance(&status, "look-0").pid.unwrap()
    ))
    .unwrap();
    for (name, most) in [
        ("Max data size", 64 << 20),
        ("Max core file size", 0),
        ("Max file size", 0),
        ("Max processes", 64),
        ("Max open files", 1024),
        ("Max locked memory", 64 << 10),
    ] {
        let line = limits.lines().find(|l| l.starts_with(name)).unwrap();
        let values: Vec<&str> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [most.to_string(), most.to_string()], "{line}");
    }
    manager.terminate_whole(0);
}

const PROBED: &str = "use \"probe.nf.toml\" as probe\nport a = pcap { read = file(\"in.pcap\"), repeat = true }\n\
                      port b = pcap { write = \"/dev/null\" }\nnf fwd = forward {}\nnf look = probe {}\n\
                      steer a { tcp port 1 -> look -> b else -> fwd -> b }\n";

/// A manager in `command` on a chain with the probe.
fn probed(scratch: &Scratch, command: impl FnOnce(&Path) -> Command) -> Manager {
    scratch.manifest("probe", "[effects]\nreads = [\"ip.src\"]\n");
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 1, 30)]);
    let bundle = scratch.build(PROBED, "bundle");
    Manager::spawn(command(&bundle), "test", &scratch.run_dir())
}

#[test]
fn a_manager_without_rights_holds_its_nfs_too() {
    let scratch = Scratch::new();
    let manager = probed(&scratch, |bundle| unprivileged(&scratch, bundle, &[]));
    manager.wait_for_log("READY");
    manager.wait_for_traffic(1000, SOON);
    let status = manager.status();
    assert_eq!(lacks(&status), ["user ids"]);
    assert_held(instance(&status, "look-0"));
    manager.terminate_whole(1);
}

#[test]
fn what_holds_when_a_means_is_missing_is_said_and_enough() {
    for (call, missing) in [("mount", "mount namespace"), ("landlock", "landlock")] {
        let scratch = Scratch::new();
        let manager = probed(&scratch, |bundle| lacking(&scratch, call, bundle, &[]));
        manager.wait_for_log("READY");
        manager.wait_for_traffic(1000, SOON);
        let status = manager.status();
        assert_eq!(lacks(&status), [missing]);
        assert_held(instance(&status, "look-0"));
        manager.terminate_whole(1);
    }
}

#[test]
fn a_host_where_nothing_keeps_nfs_from_files_is_refused_unless_that_is_waived() {
    let scratch = Scratch::new();
    let calls = "mount,landlock";
    let refused = probed(&scratch, |bundle| lacking(&scratch, calls, bundle, &[]));
    refused
        .finish(SOON)
        .assert_refused(&["`files`", "mount namespace", "landlock", "--waive files"]);
    let waived = ["--waive", "files"];
    let manager = probed(&scratch, |bundle| lacking(&scratch, calls, bundle, &waived));
    manager.wait_for_log("READY");
    manager.wait_for_traffic(1000, SOON);
    assert_eq!(manager.status().isolation.waived, ["files"]);
    manager.terminate_whole(1);
}

#[test]
fn a_write_to_packets_mapped_read_only_ends_the_writer_alone() {
    let scratch = Scratch::new();
    scratch.manifest("crash", "[effects]\nreads = [\"ip.src\"]\n");
    // The same program, with another right.
    let manifest = fs::read_to_string(scratch.path("crash.nf.toml")).unwrap();
    let permitted = manifest.replace("reads = [\"ip.src\"]", "payload = \"write\"");
    scratch.write(
        "permitted.nf.toml",
        permitted.replace("name = \"crash\"", "name = \"permitted\""),
    );
    let packets: Vec<_> = (0..100_000)
        .map(|i| capture::udp((i % 50) as u16, i, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = format!(
        "use \"crash.nf.toml\" as crash\nuse \"permitted.nf.toml\" as permitted\nport a = pcap {{ read = file(\"in.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
         nf fwd = forward {{}}\nnf bad = crash {{}}\nnf good = permitted {{}}\n\
         steer a {{ else -> fwd -> bad -> b }}\nsteer c {{ else -> good -> d }}\n\
         port c = pcap {{ read = file(\"in.pcap\") }}\nport d = pcap {{ write = \"{}\" }}\n",
        scratch.path("out.pcap").display(),
        scratch.path("permitted.pcap").display()
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let done = |s: &onvm_api::Status| s.ports[0].done && s.ports[2].done && s.balance.in_flight == 0;
    let status = manager.wait_until("the captures have passed", Duration::from_secs(30), done);
    assert!(instance(&status, "bad-0").restarts >= 1, "{status:#?}");
    assert_eq!(instance(&status, "fwd-0").restarts, 0);
    assert_eq!(instance(&status, "good-0").restarts, 0, "it may write");
    assert!(
        manager.log().contains("signal: 11 (SIGSEGV)"),
        "{}",
        manager.log()
    );
    let summary = manager.terminate_whole(0);
    assert!(
        summary.dropped("nf_lost") > 0 && summary.balance.delivered > 50_000,
        "{summary:#?}"
    );
    let delivered = capture::read(&scratch.path("out.pcap"));
    let written_to = capture::read(&scratch.path("permitted.pcap"));
    assert_eq!(
        (delivered.len() + written_to.len()) as u64,
        summary.balance.delivered
    );
    let before = capture::multiset(&packets);
    let changed = |packets| {
        let now = capture::multiset(packets).into_iter();
        now.filter(|(p, n)| before.get(p) != Some(n)).count()
    };
    assert_eq!(changed(&delivered), 0, "no packet was changed or doubled");
    assert!(changed(&written_to) > 0, "its writes are there");
    capture::assert_in_order(&delivered);
}
