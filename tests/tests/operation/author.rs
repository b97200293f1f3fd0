//! An author of network functions begins with `onvmc new nf`.

use std::{path::Path, process::Command, time::Duration};

use onvm_tests::{Manager, Scratch, capture, programs};

#[test]
fn a_new_nf_builds_passes_its_test_and_runs_in_its_chain() {
    let scratch = Scratch::new();
    let nflib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nflib");
    let mut new = programs::command("onvmc");
    new.current_dir(scratch.path(""))
        .args(["new", "nf", "my_nf", "--nflib"])
        .arg(&nflib);
    succeed(new);
    let dir = scratch.path("my_nf");
    // The versions that are here already; nothing is fetched.
    std::fs::copy(nflib.join("../Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    // What the workspace has built already is used again, as far as its settings are the same.
    let target = programs::directory().parent().unwrap().to_path_buf();
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(&dir)
            .args(arguments)
            .arg("--offline")
            .env("CARGO_TARGET_DIR", &target);
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        if std::env::var_os("CARGO_PROFILE_DEV_DEBUG").is_none() {
            command.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        }
        succeed(command)
    };
    cargo(&["build"]);
    let tested = cargo(&["test"]);
    assert!(tested.contains("test result: ok. 1 passed"), "{tested}");

    let mut build = programs::command("onvmc");
    build
        .current_dir(&dir)
        .args(["build", "my_nf.chain", "-o", "my_nf.bundle"]);
    succeed(build);
    let path = target.join("debug");
    let arguments = ["--exit-when-done", "--nf-path", path.to_str().unwrap()];
    // The example writes beside itself.
    let mut run = programs::command("onvm-run");
    run.current_dir(&dir)
        .arg("my_nf.bundle")
        .arg("--run-dir")
        .arg(scratch.run_dir())
        .arg("--json")
        .args(arguments);
    let summary = Manager::spawn(run, "my_nf", &scratch.run_dir())
        .finish(Duration::from_secs(30))
        .summary();
    assert_eq!((summary.balance.received, summary.balance.delivered), (3, 3));
    assert_eq!(
        capture::read(&dir.join("my_nf-out.pcap")),
        capture::read(&dir.join("my_nf.pcap"))
    );
}

#[test]
fn a_new_chain_runs_as_it_is() {
    let scratch = Scratch::new();
    let mut new = programs::command("onvmc");
    new.current_dir(scratch.path(""))
        .args(["new", "chain", "my_chain"]);
    succeed(new);
    let bundle = scratch.build_as("my_chain.chain", "my_chain", "bundle", &[("out", "/dev/null")]);
    let run = Manager::start(&bundle, "my_chain", &scratch.run_dir(), &["--exit-when-done"]);
    let summary = run.finish(Duration::from_secs(30)).summary();
    assert_eq!(summary.balance.received, 3);
}

fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text.into_owned()
}
