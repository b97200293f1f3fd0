//! What only a kernel of its own can show: control groups that are delegated to `onvm-run`. These run in `make test-lab`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use onvm_tests::{Scratch, guest::Guest};

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
