//! What only a machine of its own can show: control groups that are delegated to `onvm-run`, and several NUMA nodes. These run in
//! `make test-lab`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::collections::BTreeMap;

use onvm_api::Status;
use onvm_tests::{
    Scratch,
    guest::{Guest, Hardware, Machine},
    manager::instance,
};

/// How a function that fills socket buffers fares beside an honest one: in the group that the manager starts in, and without one.
const SCRIPT: &str = "
cd /sys/fs/cgroup
echo '+memory +pids' > cgroup.subtree_control
mkdir plain onvm
setfattr -n user.delegate -v 1 onvm
for group in plain onvm; do
    echo \"BEGIN $group\"
    sh -c \"echo \\$\\$ > /sys/fs/cgroup/$group/cgroup.procs; exec onvm-run /test.bundle 2>&1\" &
    manager=$!
    sleep 12
    echo \"LIMITS $(cat $group/nf-*/pids.max $group/nf-*/memory.max | tr '\\n' ' ')\"
    kill $manager
    wait $manager
    echo \"CODE $?\"
    echo \"LEFT $(ls $group | grep -c ^nf-)\"
done
";

#[test]
#[ignore = "needs QEMU and a kernel, which `make test-lab` fetches"]
fn kernel_memory_is_limited_where_a_control_group_is_delegated() {
    let scratch = Scratch::new();
    let how = "[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which attack.\"\n";
    scratch.manifest("attacker", how);
    let chain = "use \"attacker.nf.toml\" as attacker\nmanager { hugepages = off, buffers = 1024 }\n\
                 port a = null\nport b = null\nnf honest = monitor {}\n\
                 nf greedy = attacker { how = \"kernel\" } with { memory = 16 MiB }\n\
                 steer a { else -> honest -> b }\nsteer b { else -> greedy -> a }\n";
    let guest = Guest::new();
    guest.add_program("/usr/bin/setfattr");
    guest.add(&scratch.build(chain, "out.bundle"), "test.bundle");
    let text = guest.run(SCRIPT);
    let (plain, delegated) = text.split_once("BEGIN onvm").expect("both were run");
    let refused = "took more than its `memory`";
    assert!(
        !plain.contains(refused),
        "nothing limits it without a group:\n{text}"
    );
    assert!(delegated.contains(refused), "its group limits it:\n{text}");
    // The limits of the honest one at least: 64 threads, and its memory and room for the kernel.
    assert!(delegated.contains("LIMITS 64 "), "{text}");
    for part in [plain, delegated] {
        assert!(
            part.contains("CODE 0"),
            "the manager lives and ends in order:\n{text}"
        );
        assert!(part.contains("LEFT 0"), "no group is left:\n{text}");
    }
}

/// By instance: the cores that its process may run on, in the kernel's words; `!`: status says that nothing else runs there.
fn cores_of_kernel(machine: &mut Machine, names: &[&str]) -> Vec<String> {
    let status: Status =
        serde_json::from_str(&machine.run("onvmc status --run-dir /run/onvm --json")).unwrap();
    let of = |name: &&str| {
        let instance = instance(&status, name);
        let list = machine.run(&format!(
            "grep Cpus_allowed_list /proc/{}/status",
            instance.pid.unwrap()
        ));
        let list = list.rsplit('\t').next().unwrap().trim();
        format!("{list}{}", if instance.own_cores { "!" } else { "" })
    };
    names.iter().map(of).collect()
}

/// Pages of an instance's process by node.
fn pages(machine: &mut Machine, name: &str) -> BTreeMap<String, u64> {
    let status: Status =
        serde_json::from_str(&machine.run("onvmc status --run-dir /run/onvm --json")).unwrap();
    let pid = instance(&status, name).pid.unwrap();
    let maps = machine.run(&format!(
        "grep -E ' heap| stack|memfd:{name}' /proc/{pid}/numa_maps"
    ));
    let mut pages = BTreeMap::new();
    for word in maps.split_whitespace() {
        if let Some((node @ ("N0" | "N1"), count)) = word.split_once('=') {
            *pages.entry(node.to_owned()).or_default() += count.parse::<u64>().unwrap();
        }
    }
    pages
}

#[test]
#[ignore = "needs QEMU and a kernel, which `make test-lab` fetches"]
fn cores_and_memory_are_on_the_nodes_that_are_asked_for() {
    let scratch = Scratch::new();
    let chain = |nfs: &str, steps: &str| {
        format!(
            "manager {{ hugepages = off, buffers = 2048 }}\nport a = null\nport b = null\n{nfs}\
             steer a {{ else -> {steps} -> b }}\nsteer b {{ else -> drop }}\n"
        )
    };
    let two = "nf plain = forward with { replicas = 2 }\nnf far = monitor with { cores = 1, numa = 1 }\n";
    let three = format!("{two}nf more = forward with {{ cores = 2 }}\n");
    let guest = Guest::new();
    guest.add_own("onvmc");
    guest.add(
        &scratch.build(&chain(two, "plain -> far"), "two.bundle"),
        "two.bundle",
    );
    guest.add(
        &scratch.build(&chain(&three, "plain -> far -> more"), "three.bundle"),
        "three.bundle",
    );
    guest.add(
        &scratch.build(&chain("nf x = forward with { numa = 2 }\n", "x"), "none.bundle"),
        "none.bundle",
    );
    let nodes = [
        "-smp",
        "6",
        "-nic",
        "none",
        "-object",
        "memory-backend-ram,id=m0,size=768M",
        "-object",
        "memory-backend-ram,id=m1,size=768M",
        "-numa",
        "node,nodeid=0,cpus=0-2,memdev=m0",
        "-numa",
        "node,nodeid=1,cpus=3-5,memdev=m1",
    ];
    let mut machine = guest.boot(&Hardware {
        arguments: nodes.map(str::to_owned).to_vec(),
        ..Hardware::default()
    });
    let refused = machine.run("! onvm-run /none.bundle --run-dir /run/onvm 2>&1");
    assert!(
        refused.contains("asks for NUMA node 2") && refused.contains("0, 1"),
        "{refused}"
    );

    machine.run("onvm-run /two.bundle --run-dir /run/onvm > /tmp/out 2> /tmp/log & manager=$!");
    machine.wait_for("the manager is ready", "cat /tmp/log", |log| {
        log.contains("READY")
    });
    let before = ["plain-0", "plain-1", "far-0"];
    // The worker has the first core. What is left is 1, 2, 4 and 5.
    let at_first = cores_of_kernel(&mut machine, &before);
    assert_eq!(at_first, ["1-2,4-5", "1-2,4-5", "3!"]);
    let far = pages(&mut machine, "far-0");
    assert!(far.get("N1").is_some_and(|n| *n > 20), "{far:?}");
    assert_eq!(far.get("N0").copied().unwrap_or(0), 0, "{far:?}");

    // One that comes takes two from those that share, which are moved.
    let reply = machine.run("onvmc apply /three.bundle --auto-approve --run-dir /run/onvm --json");
    assert!(reply.contains("more-0"), "{reply}");
    let after = ["plain-0", "plain-1", "far-0", "more-0"];
    assert_eq!(
        cores_of_kernel(&mut machine, &after),
        ["4-5", "4-5", "3!", "1-2!"]
    );
    // One that is lost comes back to its own.
    let status: Status =
        serde_json::from_str(&machine.run("onvmc status --run-dir /run/onvm --json")).unwrap();
    machine.run(&format!("kill -9 {}", instance(&status, "more-0").pid.unwrap()));
    machine.wait_for("it is back", "onvmc status --run-dir /run/onvm --json", |text| {
        let status: Status = serde_json::from_str(text).expect(text);
        let more = instance(&status, "more-0");
        more.restarts == 1 && more.state == onvm_api::InstanceState::Running
    });
    assert_eq!(cores_of_kernel(&mut machine, &["more-0"]), ["1-2!"]);
    machine.run("onvmc apply /two.bundle --auto-approve --run-dir /run/onvm --json");
    assert_eq!(cores_of_kernel(&mut machine, &before), at_first);
    machine.run("kill $manager; wait $manager");
}
