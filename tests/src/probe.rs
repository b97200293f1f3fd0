//! What the network function `probe` of `test-nf` tries.

use onvm_api::InstanceStatus;

/// What the probe tried and did not get, in whatever jail.
const REFUSED: [&str; 19] = [
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
    "see devices",
    "see processes",
    "write a file",
    "write here",
    "type into a terminal",
    "trace",
    "start a process",
];

/// The probe got nothing that it is not to have.
pub fn assert_held(probe: &InstanceStatus) {
    let attempts: Vec<&String> = probe.counters.keys().collect();
    for what in REFUSED {
        let prefix = format!("{what}: ");
        let outcome = attempts.iter().find_map(|a| a.strip_prefix(&prefix));
        let refused = ["PermissionDenied", "NotFound"];
        assert!(
            outcome.is_some_and(|o| refused.contains(&o)),
            "{what}: {attempts:?}"
        );
    }
    for what in ["lead a session: done", "signal others: 0"] {
        assert!(attempts.contains(&&what.to_owned()), "{what}: {attempts:?}");
    }
}
