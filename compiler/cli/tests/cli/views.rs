//! What is shown of programs and of the host: differences, graphs, placement, `onvmc doctor`.

use std::{fs, path::Path};

use crate::{CHAIN, onvmc, run, text, workspace};

#[test]
fn differences() {
    let dir = workspace(CHAIN);
    fs::write(
        dir.path().join("b.chain"),
        CHAIN.replace("fw = forward", "fw = monitor"),
    )
    .unwrap();
    run(dir.path(), &["build", "a.chain", "-o", "a.bundle"], 0);
    let (out, _) = run(dir.path(), &["diff", "a.bundle", "a.chain"], 0);
    assert_eq!(out, "No changes.\n");
    let (out, _) = run(dir.path(), &["diff", "a.bundle", "b.chain"], 0);
    assert!(
        out.contains("~ nf fw") && out.contains("Instances to replace: fw-0"),
        "{out}"
    );
    let (out, _) = run(dir.path(), &["diff", "a.chain", "b.chain", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["version"], &json["changes"][0]["action"]),
        (&1.into(), &"changed".into())
    );
}

#[test]
fn graphs_of_a_source_and_of_its_bundle_are_the_same() {
    let dir = workspace(&format!("/// Where it comes from.\n{CHAIN}"));
    run(dir.path(), &["build", "a.chain", "-o", "a.bundle"], 0);
    for (format, sign) in [
        ("svg", "<svg "),
        ("dot", "digraph "),
        ("mermaid", "flowchart LR"),
        ("json", "{"),
    ] {
        let (of_source, _) = run(dir.path(), &["graph", "a.chain", "--format", format], 0);
        let (of_bundle, _) = run(dir.path(), &["graph", "a.bundle", "--format", format], 0);
        assert!(of_source.starts_with(sign), "{of_source}");
        assert_eq!(of_source, of_bundle);
        assert_eq!(
            of_source.contains("Where it comes from."),
            format != "mermaid",
            "{of_source}"
        );
    }
    for (file, sign) in [
        ("a.svg", "<svg "),
        ("a.dot", "digraph "),
        ("a.mmd", "flowchart"),
        ("a.json", "{"),
    ] {
        let (out, _) = run(dir.path(), &["graph", "a.chain", "-o", file], 0);
        assert_eq!(out, "");
        assert!(
            fs::read_to_string(dir.path().join(file))
                .unwrap()
                .starts_with(sign)
        );
    }
    let (out, _) = run(dir.path(), &["graph", "a.chain", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["version"], &json["services"][0]["chains"][0]),
        (&1.into(), &"wan -> fw -> wan".into())
    );
    let (_, err) = run(dir.path(), &["graph", "a.chain", "-o", "no/such/a.svg"], 1);
    assert!(err.contains("no/such/a.svg"), "{err}");
    run(dir.path(), &["graph", "none.chain"], 1);
    run(dir.path(), &["graph", "a.chain", "--format", "gif"], 2);
    let (_, err) = run(dir.path(), &["graph", "a.chain", "-o", "a.png"], 2);
    assert!(
        err.contains(".svg, .dot") && !dir.path().join("a.png").exists(),
        "{err}"
    );
    run(
        dir.path(),
        &["graph", "a.chain", "-o", "a.png", "--format", "svg"],
        0,
    );
}

#[test]
fn placement_is_explained() {
    let dir = workspace(&format!("{CHAIN}manager {{ cores = [4, 5, 6] }}\n"));
    let (out, _) = run(dir.path(), &["check", "a.chain", "--explain-placement"], 0);
    let (same, _) = run(
        dir.path(),
        &["build", "a.chain", "-o", "a.bundle", "--explain-placement"],
        0,
    );
    assert_eq!(out, same);
    insta::assert_snapshot!(out);
    let json = |args: &[&str]| {
        let (out, _) = run(dir.path(), args, 0);
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let checked = json(&["check", "a.chain", "--explain-placement", "--json"]);
    let built = json(&[
        "build",
        "a.chain",
        "-o",
        "a.bundle",
        "--explain-placement",
        "--json",
    ]);
    assert_eq!(checked["placements"][0]["placement"], built["placement"]);
    assert_eq!(
        built["placement"]["seats"][1]["runs_on"],
        serde_json::json!([5, 6])
    );
    assert_eq!(built["placement"]["version"], 1);
    assert!(json(&["check", "a.chain", "--json"])["placements"].is_null());
}

#[test]
fn fusions_are_proposed_and_shown() {
    let source = |fuse: &str| {
        format!(
            "port wan = null {{ size = 64 }}\nport lan = null {{}}\n\
             nf fw = firewall {{ default = accept }} {fuse}\nnf mon = monitor {fuse}\nnf own = forward with {{ cores = 1 }}\n\
             nf more = forward with {{ replicas = 2 }}\nnf fwd = forward {fuse}\n\
             chain long = fw -> mon -> fwd -> own -> lan\nchain short = more -> fwd -> fw -> lan\n\
             steer wan {{ tcp -> long  else -> short }}\nsteer lan {{ else -> drop }}\n"
        )
    };
    let dir = workspace(&source(""));
    let build = ["build", "a.chain", "-o", "a.bundle"];
    let (proposed, _) = run(dir.path(), &[&build[..], &["--explain-fusion"]].concat(), 0);
    insta::assert_snapshot!(proposed);
    // As proposed, nothing is left to propose.
    fs::write(dir.path().join("a.chain"), source("with { fuse = \"fw_mon\" }")).unwrap();
    let (left, _) = run(
        dir.path(),
        &[&build[..], &["--explain-fusion", "--json"]].concat(),
        0,
    );
    let left: serde_json::Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left["fusions"], serde_json::json!([]));
    let (placed, _) = run(dir.path(), &[&build[..], &["--explain-placement"]].concat(), 0);
    assert!(
        placed.contains("fw_mon: fw, mon, fwd; packets are read-only for all of them"),
        "{placed}"
    );
}

/// On the host that the test runs on: the answer is whole, and its exit code says whether something failed.
#[test]
fn doctor_looks_at_this_host() {
    let dir = workspace(CHAIN);
    let examined = |args: &[&str]| {
        let output = onvmc(dir.path(), args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), out, err)
    };
    for target in [&["doctor", "a.chain", "--json"][..], &["doctor", "--json"]] {
        let (code, out, _) = examined(target);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        let checks = json["checks"].as_array().unwrap();
        let failed = checks.iter().filter(|c| c["state"] == "failed").count();
        assert_eq!(
            (json["version"].as_u64(), json["failed"].as_u64()),
            (Some(1), Some(failed as u64))
        );
        assert_eq!(code, Some(i32::from(failed > 0)), "{out}");
        assert!(
            checks.iter().all(|c| (c["state"] == "ok") == c["fix"].is_null()),
            "{out}"
        );
        let memory = checks.iter().find(|c| c["name"] == "memory").unwrap();
        assert!(memory["found"].as_str().unwrap().contains("free"), "{out}");
    }
    let (_, out, err) = examined(&["doctor", "a.chain"]);
    assert!(out.contains("cores") && err.contains("failed"), "{out}{err}");
    fs::write(
        dir.path().join("b.chain"),
        CHAIN.replace("null {}", "af_packet { interface = \"nosuch0\" }"),
    )
    .unwrap();
    let (out, _) = run(dir.path(), &["doctor", "b.chain"], 1);
    assert!(out.contains("nosuch0") && out.contains("fix: "), "{out}");
    run(dir.path(), &["doctor", "none.chain"], 1);
}

#[test]
fn an_edit_is_shown_with_the_packets_that_it_sends_another_way() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chains");
    let dir = tempfile::tempdir().unwrap();
    run(
        &examples,
        &[
            "build",
            "edge.chain",
            "-o",
            dir.path().join("edge.bundle").to_str().unwrap(),
        ],
        0,
    );
    let bundle = dir.path().join("edge.bundle");
    let (out, err) = run(&examples, &["diff", bundle.to_str().unwrap(), "edge-v2.chain"], 0);
    assert_eq!(err, "");
    insta::assert_snapshot!("diff_edge", out);
    let (out, _) = run(
        &examples,
        &["diff", bundle.to_str().unwrap(), "edge-v2.chain", "--json"],
        0,
    );
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let traffic = &report["traffic"];
    assert_eq!(traffic["certainty"], "modelled");
    assert_eq!(traffic["paths"].as_array().unwrap().len(), 3);
    for change in traffic["paths"].as_array().unwrap() {
        let bytes = change["bytes"].as_str().unwrap();
        assert!(bytes.len() >= 120 && bytes.len().is_multiple_of(2), "{bytes}");
        assert_ne!(change["was"]["path"], change["now"]["path"]);
    }
    let (out, _) = run(&examples, &["diff", "edge.chain", "edge.chain", "--json"], 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["traffic"], serde_json::Value::Null);
    // An edit that changes no packet's way.
    fs::write(dir.path().join("a.chain"), CHAIN).unwrap();
    fs::write(
        dir.path().join("b.chain"),
        CHAIN.replace("forward", "forward with { replicas = 2 }"),
    )
    .unwrap();
    let (out, _) = run(dir.path(), &["diff", "a.chain", "b.chain"], 0);
    assert!(out.ends_with("No traffic changes path.\n"), "{out}");
    // What an NF decides by cannot be read.
    fs::write(dir.path().join("a.rules"), "forbid everything\n").unwrap();
    let bad = CHAIN.replace("forward", "firewall { rules = file(\"a.rules\") }");
    fs::write(dir.path().join("c.chain"), bad).unwrap();
    let (out, err) = run(dir.path(), &["diff", "a.chain", "c.chain"], 1);
    assert!(out.is_empty() && err.contains("a.rules:1:1"), "{out}{err}");
}
