//! The commands as an operator meets them: exit codes, streams, and a manager at the other end of a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
    sync::mpsc,
};

use onvm_bundle::{
    Bundle,
    api::{
        API_VERSION, ApiError, ApplyReply, ApplyRequest, Balance, BufferStatus, Isolation, ManagerState,
        Status, StopReply,
    },
};

const CHAIN: &str = "port wan = null {}\nnf fw = forward\nsteer wan { else -> fw -> wan }\n";

fn onvmc(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onvmc"));
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .env_remove("ONVM_RUN_DIR");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command, checks how it ends, and returns stdout and stderr.
fn run(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = onvmc(dir, args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "onvmc {args:?}\nstdout: {out}\nstderr: {err}"
    );
    assert!(
        !out.contains('\u{1b}') && !err.contains('\u{1b}'),
        "no colour without a terminal"
    );
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

fn workspace(chain: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.chain"), chain).unwrap();
    dir
}

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
}

#[test]
fn completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(dir.path(), &["completions", shell], 0).0.contains("onvmc"));
    }
}

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

/// A manager that runs `bundle` and answers `requests` requests; it sends each apply to the test, and a look at the
/// bundle while it is still there.
fn manager(
    socket: &Path,
    bundle: &Path,
    requests: usize,
    refuse: bool,
) -> mpsc::Receiver<(ApplyRequest, Bundle)> {
    let listener = UnixListener::bind(socket).unwrap();
    let running = Bundle::load(bundle).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(requests) {
            let mut stream = stream.unwrap();
            let (head, body) = request(&mut stream);
            let (status, reply) = if head.is_empty() {
                continue;
            } else if head.starts_with("POST /v1/stop ") {
                let version = API_VERSION;
                ("200 OK", serde_json::to_string(&StopReply { version }).unwrap())
            } else if head.starts_with("GET /v1/status ") {
                ("200 OK", serde_json::to_string(&status(&running)).unwrap())
            } else if refuse {
                let error = ApiError::new(ApiError::BUSY, "another apply is under way", "Try again.");
                ("409 Conflict", serde_json::to_string(&error).unwrap())
            } else {
                let apply: ApplyRequest = serde_json::from_slice(&body).unwrap();
                let new = Bundle::load(Path::new(&apply.bundle)).unwrap();
                let reply = ApplyReply {
                    version: API_VERSION,
                    generation: new.index.generation.clone(),
                    previous: running.index.generation.clone(),
                    started: Vec::new(),
                    stopped: Vec::new(),
                    kept: Vec::new(),
                    took_ms: 1.5,
                };
                sender.send((apply, new)).unwrap();
                ("200 OK", serde_json::to_string(&reply).unwrap())
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                reply.len()
            );
            stream.write_all((head + &reply).as_bytes()).unwrap();
        }
    });
    receiver
}

fn request(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).unwrap();
        if n == 0 {
            return (String::new(), bytes);
        }
        bytes.extend(&chunk[..n]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = text(&bytes[..end]);
        let length = head
            .lines()
            .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            return (head, bytes[end + 4..].to_vec());
        }
    }
}

fn status(bundle: &Bundle) -> Status {
    Status {
        version: API_VERSION,
        bundle: bundle.index.name.clone(),
        generation: bundle.index.generation.clone(),
        bundle_dir: bundle.dir.display().to_string(),
        pid: 7,
        uptime_s: 1.0,
        state: ManagerState::Running,
        isolation: Isolation::default(),
        ports: Vec::new(),
        chains: Vec::new(),
        services: Vec::new(),
        drops: Vec::new(),
        buffers: BufferStatus {
            total: 16_384,
            in_use: 0,
        },
        balance: Balance {
            received: 0,
            generated: 0,
            delivered: 0,
            dropped: 0,
            in_flight: 0,
        },
    }
}

/// A directory with a running manager of `a.chain` below `run/a`, and an edited source.
fn running(requests: usize, refuse: bool) -> (tempfile::TempDir, mpsc::Receiver<(ApplyRequest, Bundle)>) {
    let dir = workspace(CHAIN);
    run(dir.path(), &["build", "a.chain", "-o", "a.bundle"], 0);
    fs::create_dir_all(dir.path().join("run/a")).unwrap();
    let edited = CHAIN.replace("else -> fw", "arp -> drop else -> fw");
    fs::write(dir.path().join("edited.chain"), edited).unwrap();
    let applies = manager(
        &dir.path().join("run/a/control.sock"),
        &dir.path().join("a.bundle"),
        requests,
        refuse,
    );
    (dir, applies)
}

#[test]
fn no_manager() {
    let dir = workspace(CHAIN);
    for args in [
        &["status", "--run-dir", "."][..],
        &["status", "--socket", "none.sock"],
        &["stop", "--run-dir", "."],
        &["plan", "a.chain", "--run-dir", "."],
        &["apply", "a.chain", "--run-dir", ".", "--auto-approve"],
    ] {
        let (_, err) = run(dir.path(), args, 4);
        assert!(err.contains("onvm-run"), "the remedy: {err}");
    }
    let (_, err) = run(dir.path(), &["status", "--run-dir", ".", "--json"], 4);
    let json: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(json["error"]["code"], "no_runtime");
}

#[test]
fn a_status() {
    let (dir, _applies) = running(2, false);
    let (out, _) = run(dir.path(), &["status", "--run-dir", "run"], 0);
    assert!(out.starts_with("a  running  up 1 s  pid 7"), "{out}");
    let (out, _) = run(dir.path(), &["status", "a", "--run-dir", "run", "--json"], 0);
    let status: Status = serde_json::from_str(&out).unwrap();
    assert_eq!(status.pid, 7);
}

#[test]
fn a_stop_that_takes_too_long() {
    let (dir, _applies) = running(5, false);
    let args = ["stop", "--run-dir", "run", "--timeout", "1"];
    let (out, err) = run(dir.path(), &args, 1);
    assert!(out.is_empty() && err.contains("not within 1 s"), "{out}{err}");
    assert!(err.contains("running") && err.contains("`kill -9 7`"), "{err}");
    run(dir.path(), &["stop", "b", "--run-dir", "run"], 4);
    run(dir.path(), &["stop", "--timeout", "0"], 2);
}

/// It says nothing of an end in order.
#[test]
fn a_watch_of_a_manager_that_is_gone_fails() {
    let (dir, _applies) = running(1, false);
    let args = ["status", "--watch", "0.1", "--run-dir", "run"];
    let (out, err) = run(dir.path(), &args, 4);
    assert!(
        out.starts_with("a  running") && err.contains("no manager answers"),
        "{out}{err}"
    );
    for wrong in ["0", "-1", "nan", "inf", "a"] {
        run(dir.path(), &["status", &format!("--watch={wrong}")], 2);
    }
}

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
fn several_managers() {
    let (dir, _applies) = running(1, false);
    fs::create_dir_all(dir.path().join("run/b")).unwrap();
    let _second = UnixListener::bind(dir.path().join("run/b/control.sock")).unwrap();
    let (_, err) = run(dir.path(), &["status", "--run-dir", "run"], 2);
    assert!(err.contains("a, b") && err.contains("status NAME"), "{err}");
    run(dir.path(), &["status", "a", "--run-dir", "run"], 0);
    let (_, err) = run(dir.path(), &["plan", "edited.chain", "--run-dir", "run"], 2);
    assert!(err.contains("a, b") && err.contains("--to NAME"), "{err}");
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
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains");
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
    let checked = onvmc::check(&onvmc::disk::DiskHost, &dir.path().join("c.chain"), &inputs).unwrap();
    let mut program = checked.program.unwrap();
    let rules = program.files.values_mut().next().unwrap();
    *rules = b"forbid everything\n".to_vec();
    let artifact = onvmc::artifact::Artifact::new(&program, &checked.sources).unwrap();
    onvmc::disk::write_bundle(&artifact, &dir.path().join("c.bundle")).unwrap();
    let (out, err) = run(dir.path(), &["plan", "c.bundle", "--run-dir", "run"], 1);
    assert!(
        out.contains("~ nf fw") && err.contains("does not start"),
        "{out}{err}"
    );
    assert!(applies.try_recv().is_err());
}
