//! Images on a real engine: that of `onvmc image`, and that of the Dockerfile of `onvmc new nf --container`.

use std::{
    fs,
    process::{Command, Output},
};

use onvm_tests::{Engine, Scratch, programs};

fn succeed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// As `compose.yaml` restricts it.
const ALONE: &[&str] = &[
    "run",
    "--rm",
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
];

#[test]
fn an_engine_takes_the_image_as_it_was_named_and_runs_it() {
    let engine = Engine::shared();
    let mut command = engine.command(programs::path("onvmc").to_str().unwrap());
    let image = command
        .args(["image", "--json", "--tag", "onvm-nf-try:0.1.0", "--binary"])
        .arg(programs::static_onvm_nf());
    let made: serde_json::Value = serde_json::from_str(&succeed(&image.output().unwrap())).unwrap();
    assert_eq!(made["engine"], "docker");
    for tag in made["tags"].as_array().unwrap() {
        let tag = tag.as_str().unwrap();
        let form = "{{.Id}} {{.Config.User}} {{len .RootFS.Layers}}";
        let id = engine.docker(&["image", "inspect", "--format", form, tag]);
        assert_eq!(id, format!("{} 65534:65534 1", made["id"].as_str().unwrap()));
        let listed = engine.docker(&[ALONE, &[tag, "--list"]].concat());
        assert!(listed.contains("firewall"), "{listed}");
    }
    engine.docker(&["rmi", "onvm-nf-try:0.1.0", made["tags"][0].as_str().unwrap()]);
}

/// The program is one that is there; that it is built as the Dockerfile says is a test of the new NF itself.
#[test]
fn the_dockerfile_of_a_new_nf_makes_the_same_image() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    let mut new = programs::command("onvmc");
    new.current_dir(scratch.path(""))
        .args(["new", "nf", "boxed", "--container"]);
    succeed(&new.output().unwrap());
    let dir = scratch.path("boxed");
    let program = dir.join("target/release/boxed");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(programs::static_onvm_nf(), &program).unwrap();

    engine.docker(&["build", "--quiet", "--tag", "boxed:0.1.0", dir.to_str().unwrap()]);
    let form = "{{json .Config.Entrypoint}} {{.Config.User}}";
    let built = engine.docker(&["image", "inspect", "--format", form, "boxed:0.1.0"]);
    let listed = engine.docker(&[ALONE, &["boxed:0.1.0", "--list"]].concat());
    assert!(listed.contains("firewall"), "{listed}");

    let mut image: Command = engine.command(programs::path("onvmc").to_str().unwrap());
    let image = image
        .args(["image", "--tag", "boxed:0.2.0", "--binary"])
        .arg(&program);
    let exact = succeed(&image.output().unwrap());
    let made = engine.docker(&["image", "inspect", "--format", form, "boxed:0.2.0"]);
    assert_eq!(built, made);
    engine.docker(&["rmi", "boxed:0.1.0", "boxed:0.2.0", exact.trim()]);
}
