//! Without an engine, without Compose, without an image: what is missing is said at once, with the remedy.

use std::time::Duration;

use onvm_tests::{Engine, Manager, Scratch, manager::SOON};

const CONTAINED: &str =
    "port a = null {}\nnf mon = monitor {} with { run = container }\nsteer a { else -> mon -> a }\n";

#[test]
fn no_engine() {
    let scratch = Scratch::new();
    let bundle = scratch.build(CONTAINED, "bundle");
    let run_dir = scratch.run_dir();
    let mut command = onvm_tests::programs::command("onvm-run");
    command.arg(&bundle).arg("--run-dir").arg(&run_dir);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let finished = Manager::spawn(command, "test", &run_dir).finish(SOON);
    finished.assert_error(&[
        "/nonexistent/docker.sock",
        "apt-get install docker.io",
        "dockerd",
        "--nfs process",
    ]);
    finished.assert_nothing_left();
}

#[test]
fn no_compose() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    let bundle = scratch.build(CONTAINED, "bundle");
    let run_dir = scratch.run_dir();
    let mut command = engine.onvm_run(&bundle, &run_dir, &[]);
    command.env("PATH", scratch.path("empty"));
    let finished = Manager::spawn(command, "test", &run_dir).finish(SOON);
    finished.assert_error(&["Compose is missing", "apt-get install docker-compose"]);
    finished.assert_nothing_left();
}

#[test]
fn no_image() {
    let (engine, scratch) = (Engine::shared(), Scratch::new());
    let manifest = scratch.manifest("without", "");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let named = text.replace("args = [", "image = \"onvm/missing:7\"\nargs = [");
    std::fs::write(&manifest, named).unwrap();
    let source = format!(
        "use \"without.nf.toml\" as without\n{}",
        CONTAINED.replace("monitor", "without")
    );
    let bundle = scratch.build(&source, "bundle");
    let run_dir = scratch.run_dir();
    let finished = Manager::spawn(engine.onvm_run(&bundle, &run_dir, &[]), "test", &run_dir)
        .finish(Duration::from_secs(60));
    finished.assert_error(&["`onvm/missing:7`", "onvmc image", "pulls none"]);
    assert_eq!(engine.containers(&run_dir, "test", None), Vec::<String>::new());
}

/// An edit that needs what is not there leaves all as it is.
#[test]
fn an_edit_that_needs_an_engine_is_refused() {
    let scratch = Scratch::new();
    let first = scratch.build(&CONTAINED.replace("container", "process"), "first");
    let second = scratch.build(CONTAINED, "second");
    let run_dir = scratch.run_dir();
    let mut command = onvm_tests::programs::command("onvm-run");
    command.arg(&first).arg("--run-dir").arg(&run_dir).arg("--json");
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let manager = Manager::spawn(command, "test", &run_dir);
    manager.wait_for_log("READY");
    let before = manager.status().generation;
    let refused = manager.apply(&second, None).unwrap_err();
    assert!(
        refused.message.contains("/nonexistent/docker.sock"),
        "{refused:?}"
    );
    manager.wait_for_traffic(1000, SOON);
    assert_eq!(manager.status().generation, before);
    manager.terminate_whole(0);
}
