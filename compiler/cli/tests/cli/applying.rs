//! `onvmc plan` and `onvmc apply`.

use std::{fs, path::Path};

use onvm_bundle::Bundle;

use crate::{CHAIN, manager::running, run};

#[test]
fn a_plan_changes_nothing() {
    let (dir, applies) = running(4, false);
    let (out, _) = run(
        dir.path(),
        &["plan", "edited.chain", "--to", "a", "--run-dir", "run"],
        0,
    );
    assert!(
        out.contains("+ rule wan: arp -> drop") && out.contains("Instances to keep: fw-0"),
        "{out}"
    );
    run(
        dir.path(),
        &[
            "plan",
            "edited.chain",
            "--to",
            "a",
            "--run-dir",
            "run",
            "--exit-code",
        ],
        3,
    );
    let (out, _) = run(
        dir.path(),
        &["plan", "a.chain", "--run-dir", "run", "--exit-code"],
        0,
    );
    assert!(out.contains("No changes."), "{out}");
    run(
        dir.path(),
        &["plan", "a.bundle", "--run-dir", "run", "--exit-code"],
        0,
    );
    assert!(applies.try_recv().is_err());
}

#[test]
fn an_apply_of_a_source() {
    let (dir, applies) = running(2, false);
    let (_, err) = run(
        dir.path(),
        &[
            "apply",
            "edited.chain",
            "--to",
            "a",
            "--run-dir",
            "run",
            "--auto-approve",
        ],
        0,
    );
    assert!(err.contains("Applied in 1.5 ms"), "{err}");
    let (apply, bundle) = applies.recv().unwrap();
    assert!(Path::new(&apply.bundle).is_absolute());
    assert!(!Path::new(&apply.bundle).exists(), "removed after use");
    assert_eq!(bundle.index.name, "a", "the manager keeps its name");
    let before = Bundle::load(&dir.path().join("a.bundle")).unwrap();
    assert_eq!(apply.base, Some(before.index.generation));
    assert_eq!(bundle.manager.services[0].id, before.manager.services[0].id);
}

#[test]
fn an_apply_is_not_made_without_a_yes() {
    let (dir, applies) = running(2, false);
    let (_, err) = run(
        dir.path(),
        &["apply", "edited.chain", "--to", "a", "--run-dir", "run"],
        2,
    );
    assert!(err.contains("--auto-approve"), "{err}");
    let (out, _) = run(dir.path(), &["apply", "a.chain", "--run-dir", "run"], 0);
    assert!(out.contains("No changes."), "the same again needs no yes: {out}");
    assert!(applies.try_recv().is_err());
}

#[test]
fn an_apply_that_fails() {
    let (dir, _applies) = running(2, true);
    let (_, err) = run(
        dir.path(),
        &[
            "apply",
            "edited.chain",
            "--to",
            "a",
            "--run-dir",
            "run",
            "--auto-approve",
        ],
        5,
    );
    assert!(err.contains("another apply is under way"), "{err}");
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|n| !n.to_string_lossy().contains("apply")),
        "{left:?}"
    );
}

#[test]
fn what_only_a_restart_changes_is_planned_as_that_and_not_applied() {
    let (dir, applies) = running(4, false);
    let resized = CHAIN.replace("null {}", "null { size = 128 }");
    fs::write(dir.path().join("resized.chain"), resized).unwrap();
    let (out, _) = run(
        dir.path(),
        &["plan", "resized.chain", "--to", "a", "--run-dir", "run"],
        0,
    );
    assert!(
        out.contains("kind: null { size = 64 } => null { size = 128 }"),
        "{out}"
    );
    assert!(
        out.contains("needs a restart") && out.contains("refuses it: ports\n"),
        "{out}"
    );
    assert!(out.contains("Instances to replace: fw-0"), "{out}");
    let (out, _) = run(
        dir.path(),
        &["plan", "resized.chain", "--to", "a", "--run-dir", "run", "--json"],
        0,
    );
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["needs_restart"], serde_json::json!(["ports"]));
    // Neither a question nor a request.
    let (_, err) = run(
        dir.path(),
        &["apply", "resized.chain", "--to", "a", "--run-dir", "run"],
        5,
    );
    assert!(err.contains("ports") && err.contains("Stop onvm-run"), "{err}");
    let args = [
        "apply",
        "resized.chain",
        "--to",
        "a",
        "--run-dir",
        "run",
        "--auto-approve",
        "--json",
    ];
    let (_, err) = run(dir.path(), &args, 5);
    let json: serde_json::Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
    assert_eq!(json["error"]["code"], "not_changeable");
    assert!(applies.try_recv().is_err());
}

#[test]
fn a_file_of_another_name_is_not_for_the_only_manager() {
    let (dir, applies) = running(4, false);
    for command in ["plan", "apply"] {
        let (out, err) = run(dir.path(), &[command, "edited.chain", "--run-dir", "run"], 2);
        let remedy = format!("`onvmc {command} edited.chain --run-dir run --to a`");
        assert!(out.is_empty() && err.contains(&remedy), "{out}{err}");
        assert!(err.contains("`edited`") && err.contains("`a`"), "{err}");
    }
    let (_, err) = run(
        dir.path(),
        &["plan", "edited.chain", "--run-dir", "run", "--json"],
        2,
    );
    let json: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(json["error"]["code"], "other_runtime");
    // A name that is said is that manager's or nobody's.
    let args = ["apply", "a.chain", "--to", "b", "--run-dir", "run"];
    let (_, err) = run(dir.path(), &args, 4);
    assert!(
        err.contains("no manager `b`") && err.contains("running: a"),
        "{err}"
    );
    run(dir.path(), &["status", "b", "--run-dir", "run"], 4);
    // Whose file it is says the file's name, and for a bundle the name that it was built with.
    run(
        dir.path(),
        &["build", "edited.chain", "-o", "e.bundle", "--name", "a"],
        0,
    );
    run(dir.path(), &["plan", "e.bundle", "--run-dir", "run"], 0);
    // A socket is said in so many words.
    run(
        dir.path(),
        &["plan", "edited.chain", "--socket", "run/a/control.sock"],
        0,
    );
    let both = ["plan", "a.chain", "--to", "a", "--socket", "run/a/control.sock"];
    run(dir.path(), &both, 2);
    run(dir.path(), &["plan", "none.chain", "--run-dir", "run"], 1);
    assert!(applies.try_recv().is_err());
}

/// A bundle of another version of the NFs may hold rules that this one's do not take.
#[test]
fn a_plan_with_an_nf_that_would_not_start_does_not_succeed() {
    let (dir, applies) = running(2, false);
    fs::write(dir.path().join("a.rules"), "accept tcp\n").unwrap();
    let chain = CHAIN.replace("forward", "firewall { rules = file(\"a.rules\") }");
    fs::write(dir.path().join("c.chain"), chain).unwrap();
    let inputs = onvmc::Inputs {
        name: Some("a"),
        ..Default::default()
    };
    let checked = onvmc::check(&onvmc_cli::disk::DiskHost, &dir.path().join("c.chain"), &inputs).unwrap();
    let mut program = checked.program.unwrap();
    let rules = program.files.values_mut().next().unwrap();
    *rules = b"forbid everything\n".to_vec();
    let artifact = onvmc::artifact::Artifact::new(&program, &checked.sources).unwrap();
    onvmc_cli::disk::write_bundle(&artifact, &dir.path().join("c.bundle")).unwrap();
    let (out, err) = run(dir.path(), &["plan", "c.bundle", "--run-dir", "run"], 1);
    assert!(
        out.contains("~ nf fw") && err.contains("does not start"),
        "{out}{err}"
    );
    assert!(applies.try_recv().is_err());
}
