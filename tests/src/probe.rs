//! What the network function `probe` of `test-nf` tries.

use onvm_api::InstanceStatus;

/// What the probe tried and did not get, in whatever jail.
const REFUSED: [&str; 20] = [
    "map",
    "reopen",
    "chmod",
    "reopen after chmod",
    "chown",
    "punch a hole",
    "make a directory",
    "make memory",
    "join a group",
    "take a core",
    "open a network",
    "see files",
    "write a file",
    "write here",
    "write to shared memory",
    "write beside its socket",
    "mount",
    "type into a terminal",
    "trace",
    "start a process",
];

/// A process has no `/sys` and no `/proc`; a container has those of its own namespaces.
const REFUSED_TO_PROCESSES: [&str; 2] = ["see devices", "see processes"];

/// The probe got nothing that it is not to have.
pub fn assert_held(probe: &InstanceStatus) {
    assert_refused(probe, &[&REFUSED[..], &REFUSED_TO_PROCESSES].concat());
}

/// The same of one in a container.
pub fn assert_contained(probe: &InstanceStatus) {
    assert_refused(probe, &REFUSED);
}

fn assert_refused(probe: &InstanceStatus, refused: &[&str]) {
    let attempts: Vec<&String> = probe.counters.keys().collect();
    for what in refused {
        let prefix = format!("{what}: ");
        let outcome = attempts.iter().find_map(|a| a.strip_prefix(&prefix));
        let kinds = ["PermissionDenied", "NotFound"];
        assert!(
            outcome.is_some_and(|o| kinds.contains(&o)),
            "{what}: {attempts:?}"
        );
    }
    for what in ["lead a session: done", "signal others: 0"] {
        assert!(attempts.contains(&&what.to_owned()), "{what}: {attempts:?}");
    }
}
