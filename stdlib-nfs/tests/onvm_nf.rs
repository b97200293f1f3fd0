//! The multi-call binary's command line.

#![allow(clippy::unwrap_used)]

use std::{os::unix::process::CommandExt, process::Command};

/// Exit code, standard output and standard error.
fn run(called_as: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onvm-nf"));
    let output = command
        .arg0(called_as)
        .args(arguments)
        .env_remove("ONVM_NF_SOCKET")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn lists_names_and_summaries() {
    let (code, out, _) = run("onvm-nf", &["--list"]);
    assert_eq!(code, Some(0));
    assert_eq!(out.lines().count(), stdlib_nfs::NFS.len());
    assert!(out.lines().all(|line| line.len() > 40), "{out}");
    assert_eq!(
        run("onvm-nf", &["--version"]).1,
        concat!("onvm-nf ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_use_is_one_line_and_exit_code_2() {
    for arguments in [&["router9"][..], &[], &["forward", "now"]] {
        let (code, out, err) = run("onvm-nf", arguments);
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (Some(2), "", 1),
            "{err}"
        );
        assert!(
            err.contains("give one of firewall, flow_tracker, forward, monitor, payload_scan"),
            "{err}"
        );
    }
}

/// Both get as far as asking for the manager's socket.
#[test]
fn an_nf_is_chosen_by_argument_or_by_name() {
    let by_argument = run("onvm-nf", &["forward"]);
    assert_eq!(by_argument.0, Some(2));
    assert!(by_argument.2.contains("ONVM_NF_SOCKET"), "{}", by_argument.2);
    assert_eq!(run("/usr/bin/forward", &[]), by_argument);
}
