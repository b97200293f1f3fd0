//! Cores and memory of NFs, as the kernel reports them. Two cores suffice; what three and more show is in `guests`.

use std::{fs, path::PathBuf};

use onvm_api::Status;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    process,
};
use rustix::{
    process::Signal,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

const ONE: &str = "nf one = forward with { cores = 1, numa = NODE }\n";

/// Has everything that this thread starts run on the first two cores; gives these.
fn on_two_cores() -> [usize; 2] {
    let allowed = sched_getaffinity(None).unwrap();
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&c| allowed.is_set(c))
        .take(2)
        .collect();
    let cores = cores.try_into().expect("this test needs two cores");
    let mut two = CpuSet::new();
    for core in cores {
        two.set(core);
    }
    sched_setaffinity(None, &two).unwrap();
    cores
}

/// The node of a core; the first one where the kernel knows none.
fn node_of(core: usize) -> u16 {
    let entries = fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).unwrap();
    let node = entries.filter_map(|e| {
        e.unwrap()
            .file_name()
            .to_str()?
            .strip_prefix("node")?
            .parse()
            .ok()
    });
    node.min().unwrap_or(0)
}

/// The cores that a thread may run on, as the kernel says it.
fn kernel_says(thread: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    list.unwrap().trim().to_owned()
}

/// What status and kernel say of an instance's cores, and whether it has them to itself.
fn cores(status: &Status, name: &str) -> (String, bool) {
    let instance = instance(status, name);
    let [core] = instance.cores.as_slice() else {
        panic!("{instance:#?}");
    };
    assert_eq!(kernel_says(&instance.pid.unwrap().to_string()), core.to_string());
    (core.to_string(), instance.own_cores)
}

fn bundle(scratch: &Scratch, out: &str, nfs: &str, steps: &str) -> PathBuf {
    let chain = format!(
        "port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = null {{}}\n{nfs}\
         steer a {{ else -> {steps} -> b }}\n"
    );
    scratch.build(&chain, out)
}

#[test]
fn an_instance_has_its_cores_alone_while_they_suffice_and_keeps_them_over_a_loss() {
    let [first, second] = on_two_cores().map(|core| core.to_string());
    let scratch = Scratch::new();
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 0, 30)]);
    let one = ONE.replace("NODE", &node_of(second.parse().unwrap()).to_string());
    let alone = bundle(&scratch, "alone", &one, "one");
    let manager = Manager::ready(&alone, "test", &scratch.run_dir(), &[]);
    let threads = fs::read_dir(format!("/proc/{}/task", manager.pid())).unwrap();
    let worker = threads.map(|t| t.unwrap().path()).find(|thread| {
        let name = fs::read_to_string(thread.join("comm")).unwrap_or_default();
        name.trim() == "worker-0"
    });
    let worker = worker.expect("there is a worker");
    assert_eq!(
        kernel_says(worker.strip_prefix("/proc").unwrap().to_str().unwrap()),
        first
    );
    let status = manager.status();
    assert_eq!(cores(&status, "one-0"), (second.clone(), true));
    let pid = instance(&status, "one-0").pid;

    // Two more, which share: one core must be left for them, and there is no third.
    let two = format!("{one}nf two = monitor with {{ replicas = 2 }}\n");
    let reply = manager
        .apply(&bundle(&scratch, "crowded", &two, "one -> two"), None)
        .unwrap();
    assert_eq!(reply.kept, ["one-0"]);
    let status = manager.status();
    for name in ["one-0", "two-0", "two-1"] {
        assert_eq!(cores(&status, name), (second.clone(), false), "{name}");
    }
    manager.wait_for_log("too few cores");
    manager
        .apply(&bundle(&scratch, "again", &one, "one"), None)
        .unwrap();
    let status = manager.wait_until("it has its own again", SOON, |s| instance(s, "one-0").own_cores);
    assert_eq!(instance(&status, "one-0").pid, pid, "it has not been replaced");

    process::signal(pid.unwrap(), Signal::KILL);
    manager.wait_for_instance("one-0", pid, SOON);
    assert_eq!(cores(&manager.status(), "one-0"), (second, true));
    manager.wait_for_traffic(1, SOON);
    manager.terminate_whole(1);
}

#[test]
fn memory_of_an_nf_comes_from_its_node() {
    let [_, core] = on_two_cores();
    let scratch = Scratch::new();
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 0, 30)]);
    let node = node_of(core);
    let nfs = format!("{}nf two = monitor\n", ONE.replace("NODE", &node.to_string()));
    let bundle = bundle(&scratch, "bundle", &nfs, "one -> two");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let status = manager.status();
    let maps = |name: &str| {
        let pid = instance(&status, name).pid.unwrap();
        fs::read_to_string(format!("/proc/{pid}/numa_maps")).unwrap()
    };
    // `prefer:0` or, in newer kernels, `prefer=...`: the policy and its nodes.
    let prefers = |line: &str| line.split(' ').nth(1) == Some(&*format!("prefer:{node}"));
    let (asked, free) = (maps("one-0"), maps("two-0"));
    assert!(!free.lines().any(prefers), "{free}");
    let region = |maps: &str| {
        let line = maps
            .lines()
            .find(|l| l.contains("memfd:") && !l.contains("onvm-packets"));
        line.unwrap_or_else(|| panic!("no region in {maps}")).to_owned()
    };
    assert!(prefers(&region(&asked)), "{asked}");
    assert!(!prefers(&region(&free)), "{free}");
    let stack = asked
        .lines()
        .find(|l| l.contains(" stack "))
        .expect("it has a stack");
    assert!(prefers(stack), "{asked}");
    manager.terminate_whole(1);
}

#[test]
fn each_packet_of_a_flow_may_meet_another_instance_without_affinity() {
    let scratch = Scratch::new();
    capture::write(&scratch.path("in.pcap"), &vec![capture::udp(1, 0, 30); 256]);
    for (affinity, busy) in [("flow", 1), ("none", 2)] {
        let nfs = format!("nf one = forward with {{ replicas = 2, affinity = {affinity} }}\n");
        let bundle = bundle(&scratch, affinity, &nfs, "one");
        let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
        let status = manager.wait_for_traffic(2048, SOON);
        let instances = ["one-0", "one-1"].map(|name| instance(&status, name).rx_packets > 0);
        assert_eq!(instances.iter().filter(|busy| **busy).count(), busy, "{affinity}");
        manager.terminate_whole(256);
    }
}
