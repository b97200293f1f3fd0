//! The control socket, as any program may use or misuse it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use onvm_bundle::api::ApiError;
use onvm_tests::{Manager, Scratch, capture, http, manager::SOON, programs};

const STOCK: usize = 64;

fn running(scratch: &Scratch) -> Manager {
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = "use \"pacer.nf.toml\" as pacer\nport a = pcap { read = file(\"in.pcap\"), repeat = true }\n\
                 port b = pcap { write = \"/dev/null\" }\nnf pace = pacer {}\nsteer a { else -> pace -> b }\n";
    let bundle: PathBuf = scratch.build(chain, "bundle");
    Manager::ready(&bundle, "test", &scratch.run_dir(), &[])
}

#[test]
fn curl_reads_status_and_metrics() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let socket = manager.socket().display().to_string();
    let curl = |path: &str| {
        programs::tool(
            "curl",
            &[
                "-sS",
                "--fail",
                "--max-time",
                "10",
                "--unix-socket",
                &socket,
                path,
            ],
        )
    };
    let status: serde_json::Value = serde_json::from_str(&curl("http://x/v1/status")).unwrap();
    assert_eq!(status["bundle"], "test");
    let metrics = curl("http://x/metrics");
    for name in ["nf=\"pace\"", "instance=\"pace-0\"", "chain=", "hop=", "# EOF"] {
        assert!(metrics.contains(name), "{name} is missing:\n{metrics}");
    }
    let mode = std::fs::metadata(manager.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    manager.terminate_whole(STOCK);
}

#[test]
fn a_stop_by_the_socket_is_orderly() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let (code, body) = http::request(&manager.socket(), "POST", "/v1/stop", None).unwrap();
    assert_eq!(code, 200, "{body}");
    let finished = manager.finish(SOON);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.assert_nothing_left();
}

#[test]
fn wrong_requests_get_an_error_that_names_the_remedy() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let socket = manager.socket();
    let cases = [
        ("GET", "/v2/status", None, 404),
        ("DELETE", "/v1/status", None, 404),
        ("POST", "/v1/apply", Some("{"), 400),
        ("POST", "/v1/apply", Some("{\"version\":1}"), 400),
        (
            "POST",
            "/v1/apply",
            Some("{\"version\":99,\"bundle\":\"/x\"}"),
            400,
        ),
        ("POST", "/v1/apply", Some("[1,2,3]"), 400),
        (
            "POST",
            "/v1/apply",
            Some("{\"version\":1,\"bundle\":\"/no/such/bundle\"}"),
            422,
        ),
    ];
    for (method, path, body, want) in cases {
        let (code, answer) = http::request(&socket, method, path, body).unwrap();
        assert_eq!(code, want, "{method} {path} {body:?}: {answer}");
        let error: ApiError = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
        assert!(!error.message.is_empty() && !error.remedy.is_empty(), "{answer}");
    }
    manager.wait_for_traffic(1000, SOON);
    manager.terminate_whole(STOCK);
}

#[test]
fn clients_that_talk_nonsense_or_nothing_disturb_nobody() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let connect = || {
        let stream = UnixStream::connect(manager.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    };
    // Some that say nothing and stay.
    let idle: Vec<UnixStream> = (0..100).map(|_| connect()).collect();
    for nonsense in [
        &b"\0\xff\x16\x03\x01"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
    ] {
        let mut stream = connect();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // An error answer or the end of the connection.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            !answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    // A body without end is refused before it fills the memory.
    let mut endless = connect();
    endless.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = "POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4000000000\r\n\r\n";
    endless.write_all(head.as_bytes()).unwrap();
    let chunk = vec![b' '; 1 << 20];
    let taken = (0..64).take_while(|_| endless.write_all(&chunk).is_ok()).count();
    assert!(taken < 64, "64 MiB of a request were taken");
    manager.wait_for_traffic(1000, SOON);
    drop(idle);
    manager.terminate_whole(STOCK);
}

#[test]
fn onvmc_status_shows_what_runs() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let run_dir = scratch.run_dir().display().to_string();
    let onvmc = programs::path("onvmc").display().to_string();
    let text = programs::tool(&onvmc, &["status", "--run-dir", &run_dir]);
    for word in ["pace-0", "running"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    let json = programs::tool(&onvmc, &["status", "--json", "--run-dir", &run_dir]);
    let status: onvm_bundle::api::Status = serde_json::from_str(&json).unwrap();
    assert_eq!(status.pid, manager.pid());
    manager.terminate_whole(STOCK);
}
