//! The same filter in the form in which container engines take it: `seccomp.json` of every bundle.
//!
//! The compiler writes it, and knows no system calls: the text is kept in `onvm-bundle`, and this holds it to the filter.

use serde_json::{Value, json};

use super::{Condition, Verdict, calls, errno};

/// What runc does under the filter before it executes the program: it opens the FIFO by which it is told to go on.
const TOLD_TO_START: i32 = libc::O_WRONLY | libc::O_CLOEXEC;

fn text() -> String {
    let (mut always, mut replaced, mut some) = (Vec::new(), Vec::new(), Vec::new());
    for (call, verdict) in calls() {
        match verdict {
            Verdict::Always(libc::SECCOMP_RET_ALLOW) => always.push(call.name()),
            Verdict::Always(action) => {
                assert_eq!(action, errno(libc::ENOSYS));
                replaced.push(call.name());
            }
            Verdict::If(any) => some.extend(any.iter().map(|c| conditional(call.name(), c))),
        }
    }
    some.push(conditional("openat", &super::masked(2, -1, TOLD_TO_START)));
    always.sort_unstable();
    let mut rules = vec![
        json!({ "names": always, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": replaced, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }),
    ];
    rules.extend(some);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "archMap": [
            { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": [] },
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": [] },
        ],
        "syscalls": rules,
    });
    format!("{}\n", serde_json::to_string_pretty(&profile).unwrap())
}

fn conditional(name: &str, condition: &Condition) -> Value {
    json!({
        "names": [name],
        "action": "SCMP_ACT_ALLOW",
        "args": [{
            "index": condition.index,
            "value": condition.mask,
            "valueTwo": condition.value,
            "op": "SCMP_CMP_MASKED_EQ",
        }],
    })
}

#[cfg(target_arch = "x86_64")]
#[test]
fn containers_get_the_filter_of_processes() {
    let text = text();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../compiler/bundle/src/seccomp.json");
        std::fs::write(path, &text).unwrap();
    } else {
        assert!(
            text == onvm_bundle::SECCOMP_PROFILE,
            "compiler/bundle/src/seccomp.json is stale: UPDATE_DOCS=1 cargo test -p onvm-run --lib profile"
        );
    }
}
