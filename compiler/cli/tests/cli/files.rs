//! Commands that read and write files: sources, bundles, new programs and NFs, pages.

use std::{fs, path::Path, process::Command};

use onvm_bundle::Bundle;

use crate::{CHAIN, run, workspace};

#[test]
fn build_verify_and_damage() {
    let dir = workspace(CHAIN);
    let (out, _) = run(dir.path(), &["build", "a.chain", "-o", "a.bundle"], 0);
    assert_eq!(out, "", "nothing but messages");
    run(dir.path(), &["verify", "a.bundle"], 0);
    let (out, _) = run(dir.path(), &["verify", "a.bundle", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["name"], "a");
    fs::write(dir.path().join("a.bundle/flows.toml"), "").unwrap();
    let (_, err) = run(dir.path(), &["verify", "a.bundle"], 1);
    assert!(err.contains("flows.toml") && err.contains("onvmc build"), "{err}");
    run(
        dir.path(),
        &["build", "a.chain", "-o", "a.bundle", "--name", "edge"],
        0,
    );
    assert_eq!(
        Bundle::load(&dir.path().join("a.bundle")).unwrap().index.name,
        "edge"
    );
}

#[test]
fn what_is_not_there() {
    let dir = workspace(CHAIN);
    let (_, err) = run(dir.path(), &["check", "none.chain"], 1);
    assert!(err.contains("none.chain"), "{err}");
    run(dir.path(), &["verify", "none.bundle"], 1);
    run(dir.path(), &["verify", "."], 1);
    run(dir.path(), &["build", "a.chain", "-o", "no/such/dir/a.bundle"], 1);
    run(
        dir.path(),
        &["build", "a.chain", "-o", "x", "--previous", "none"],
        1,
    );
    run(dir.path(), &["check"], 2);
    run(dir.path(), &["frobnicate"], 2);
    run(
        dir.path(),
        &["build", "a.chain", "-o", "x", "--set", "novalue"],
        2,
    );
    run(dir.path(), &["--help"], 0);
}

#[test]
fn a_directory_that_is_no_bundle_is_left_alone() {
    let dir = workspace(CHAIN);
    fs::create_dir(dir.path().join("precious")).unwrap();
    fs::write(dir.path().join("precious/data"), "mine").unwrap();
    let (_, err) = run(dir.path(), &["build", "a.chain", "-o", "precious"], 1);
    assert!(err.contains("not a bundle"), "{err}");
    assert_eq!(
        fs::read_to_string(dir.path().join("precious/data")).unwrap(),
        "mine"
    );
}

#[test]
fn diagnostics_in_each_format() {
    let dir = workspace("port wan = null {}\nsteer wan { else -> wna }\n");
    let (out, err) = run(dir.path(), &["check", "a.chain"], 1);
    assert!(
        out.is_empty() && err.contains("did you mean") && err.contains("C0101"),
        "{err}"
    );
    let (_, err) = run(dir.path(), &["check", "a.chain", "--error-format", "short"], 1);
    assert_eq!(
        err.lines().next().unwrap(),
        "a.chain:2:21: error[C0101]: unknown name `wna`"
    );
    let (out, err) = run(dir.path(), &["check", "a.chain", "--json"], 1);
    let found: serde_json::Value = serde_json::from_str(err.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&found["version"], &found["diagnostics"][0]["code"]),
        (&1.into(), &"C0101".into())
    );
    let result: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(result["refused"], 1);
}

#[test]
fn warnings_can_be_denied() {
    let dir = workspace("let a = 1\nport wan = null {}\nsteer wan { else -> wan }\n");
    run(dir.path(), &["check", "a.chain"], 0);
    run(dir.path(), &["check", "a.chain", "--deny-warnings"], 1);
    run(
        dir.path(),
        &["build", "a.chain", "-o", "a.bundle", "--deny-warnings"],
        1,
    );
    assert!(!dir.path().join("a.bundle").exists());
}

#[test]
fn every_code_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (list, _) = run(dir.path(), &["explain"], 0);
    assert!(list.lines().count() > 50, "{list}");
    for line in list.lines() {
        let code = line.split(' ').next().unwrap();
        let (page, _) = run(dir.path(), &["explain", code], 0);
        assert!(page.starts_with(&format!("{code}: ")), "{page}");
        assert!(page.lines().count() >= 3, "{page}");
    }
    let (_, err) = run(dir.path(), &["explain", "C9999"], 2);
    assert!(err.contains("C9999"), "{err}");
}

#[test]
fn inputs_are_set() {
    let dir = workspace("param size: int\nport wan = null { size = $size }\nsteer wan { else -> wan }\n");
    let (_, err) = run(dir.path(), &["check", "a.chain"], 1);
    assert!(err.contains("--set size="), "{err}");
    run(
        dir.path(),
        &["build", "a.chain", "-o", "b", "--set", "size=128"],
        0,
    );
    assert_eq!(
        Bundle::load(&dir.path().join("b")).unwrap().index.params["size"],
        "128"
    );
    for bad in [
        "size=12 s",
        "size=wide",
        "sise=128",
        "size=1\nport x = null {}",
        "size=9999",
    ] {
        run(dir.path(), &["check", "a.chain", "--set", bad], 1);
    }
}

#[test]
fn formatting() {
    let dir = workspace("port   wan=null{}\nsteer wan{else->wan}\n");
    let (out, _) = run(dir.path(), &["fmt", "--check", "a.chain"], 1);
    assert_eq!(out, "a.chain\n");
    let (out, _) = run(dir.path(), &["fmt", "--check", "--json", "a.chain"], 1);
    assert_eq!(out, "{\"changed\":[\"a.chain\"],\"files\":1,\"version\":1}\n");
    run(dir.path(), &["fmt", "a.chain"], 0);
    run(dir.path(), &["fmt", "--check", "a.chain"], 0);
    let (out, _) = run(dir.path(), &["fmt", "--json", "a.chain"], 0);
    assert_eq!(out, "{\"changed\":[],\"files\":1,\"version\":1}\n");
    run(dir.path(), &["check", "a.chain"], 0);
    fs::write(dir.path().join("bad.chain"), "port = =\n").unwrap();
    let (_, err) = run(dir.path(), &["fmt", "bad.chain"], 1);
    assert!(err.contains("bad.chain:1"), "{err}");
    assert_eq!(
        fs::read_to_string(dir.path().join("bad.chain")).unwrap(),
        "port = =\n"
    );
}

#[test]
fn a_new_chain_builds() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["new", "chain", "edge"], 0);
    let (_, err) = run(dir.path(), &["check", "--deny-warnings", "edge.chain"], 0);
    assert_eq!(err, "1 file checked\n");
    run(dir.path(), &["fmt", "--check", "edge.chain"], 0);
    run(dir.path(), &["build", "edge.chain", "-o", "edge.bundle"], 0);
    let (_, err) = run(dir.path(), &["new", "chain", "edge"], 1);
    assert!(err.contains("exists"), "{err}");
    run(dir.path(), &["new", "chain", "Edge/../x"], 2);
}

#[test]
fn a_new_nf_has_a_chain_that_builds() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["new", "nf", "my_nf"], 0);
    run(dir.path(), &["check", "--deny-warnings", "my_nf/my_nf.chain"], 0);
    run(dir.path(), &["fmt", "--check", "my_nf/my_nf.chain"], 0);
    run(dir.path(), &["build", "my_nf/my_nf.chain", "-o", "b"], 0);
    let config = &Bundle::load(&dir.path().join("b")).unwrap().instances["my_nf-0"];
    assert_eq!(config.manifest.run.binary, "my_nf");
    run(dir.path(), &["new", "nf", "other", "--nflib", "/nowhere"], 2);
    assert!(!dir.path().join("my_nf/Dockerfile").exists());
    run(dir.path(), &["new", "nf", "boxed", "--container"], 0);
    let dockerfile = fs::read_to_string(dir.path().join("boxed/Dockerfile")).unwrap();
    assert!(
        dockerfile.contains("\nCOPY target/release/boxed /boxed\n"),
        "{dockerfile}"
    );
    assert!(dir.path().join("boxed/tests/container.rs").is_file());
}

/// As the package onvm-dev lays it out: third-party crates are taken from beside `nflib`, without a registry.
#[test]
fn an_installed_onvmc_takes_the_installed_crates() {
    let dir = tempfile::tempdir().unwrap();
    let crates = dir.path().join("share/onvm/crates");
    for made in ["bin", "share/onvm/crates/nflib", "share/onvm/crates/vendor"] {
        fs::create_dir_all(dir.path().join(made)).unwrap();
    }
    fs::write(crates.join("nflib/Cargo.toml"), "").unwrap();
    let onvmc = dir.path().join("bin/onvmc");
    fs::copy(env!("CARGO_BIN_EXE_onvmc"), &onvmc).unwrap();
    let made = Command::new(onvmc)
        .args(["new", "nf", "my_nf"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let crates = crates.canonicalize().unwrap();
    let read = |file: &str| fs::read_to_string(dir.path().join("my_nf").join(file)).unwrap();
    let manifest = read("Cargo.toml");
    for path in ["nflib", "nflib/testing"] {
        let path = format!("path = {:?}", crates.join(path));
        assert!(manifest.contains(&path), "{manifest}");
    }
    let config: toml::Table = toml::from_str(&read(".cargo/config.toml")).unwrap();
    let source = |name: &str, key: &str| config["source"][name][key].as_str().unwrap().to_owned();
    assert_eq!(
        Path::new(&source(&source("crates-io", "replace-with"), "directory")),
        crates.join("vendor")
    );
    // From a workspace cargo goes on as the user has set it up.
    run(dir.path(), &["new", "nf", "other"], 0);
    assert!(!dir.path().join("other/.cargo").exists());
}

#[test]
fn completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(dir.path(), &["completions", shell], 0).0.contains("onvmc"));
    }
}

#[test]
fn manual_pages_are_written_once_for_each_command() {
    let dir = workspace(CHAIN);
    let (out, _) = run(dir.path(), &["man"], 0);
    assert!(out.contains(".TH onvmc 1"), "{out}");
    run(dir.path(), &["man", "share/man1"], 0);
    let page = fs::read_to_string(dir.path().join("share/man1/onvmc-graph.1")).unwrap();
    assert!(page.contains("\\-\\-format"), "{page}");
    let (out, _) = run(dir.path(), &["man", "share/man1", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let written = fs::read_dir(dir.path().join("share/man1")).unwrap().count();
    assert_eq!(json["pages"].as_array().unwrap().len(), written);
    run(dir.path(), &["man", "a.chain"], 1);
}
