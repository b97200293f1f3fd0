//! A manager at the other end of a socket: which one is meant, its status, its end.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::mpsc,
};

use onvm_api::{
    API_VERSION, ApiError, ApplyReply, ApplyRequest, Balance, BufferStatus, Isolation, ManagerState, Status,
    StopReply,
};
use onvm_bundle::Bundle;

use crate::{CHAIN, run, text, workspace};

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
                    flow_entries_ended: 0,
                    version: API_VERSION,
                    generation: new.index.generation.clone(),
                    previous: running.index.generation.clone(),
                    started: Vec::new(),
                    stopped: Vec::new(),
                    draining: Vec::new(),
                    reconfigured: Vec::new(),
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
        domains: Vec::new(),
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
pub(crate) fn running(
    requests: usize,
    refuse: bool,
) -> (tempfile::TempDir, mpsc::Receiver<(ApplyRequest, Bundle)>) {
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
