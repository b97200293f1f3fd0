//! The control socket, as any program may use or misuse it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use onvm_api::ApiError;
use onvm_tests::{
    Manager, Scratch, capture, http,
    manager::{self, SOON},
    process, programs,
};

const STOCK: usize = 64;

fn running(scratch: &Scratch) -> Manager {
    Manager::ready(&bundle(scratch), "test", &scratch.run_dir(), &[])
}

fn bundle(scratch: &Scratch) -> PathBuf {
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = "use \"pacer.nf.toml\" as pacer\nport a = pcap { read = file(\"in.pcap\"), repeat = true }\n\
                 port b = pcap { write = \"/dev/null\" }\nnf pace = pacer {}\nsteer a { else -> pace -> b }\n";
    scratch.build(chain, "bundle")
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
    let long = format!("{{\"version\":1,\"bundle\":\"/{}\"}}", "x".repeat(100_000));
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
        ("POST", "/v1/apply", Some(long.as_str()), 413),
        (
            "POST",
            "/v1/apply",
            Some("{\"version\":1,\"bundle\":\"test.bundle\"}"),
            422,
        ),
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

/// As after `onvm-run … &`.
#[test]
fn onvmc_status_waits_a_moment_for_a_manager_that_starts() {
    let scratch = Scratch::new();
    let bundle = bundle(&scratch);
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &[]);
    let run_dir = scratch.run_dir().display().to_string();
    let onvmc = programs::path("onvmc").display().to_string();
    let text = programs::tool(&onvmc, &["status", "--run-dir", &run_dir]);
    assert!(text.contains(&format!("pid {}", manager.pid())), "{text}");
    manager.wait_for_log("READY");
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
    let status: onvm_api::Status = serde_json::from_str(&json).unwrap();
    assert_eq!(status.pid, manager.pid());
    manager.terminate_whole(STOCK);
}

#[test]
fn onvmc_stop_returns_when_the_manager_has_stopped() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let run_dir = scratch.run_dir().display().to_string();
    let stop = |more: &[&str]| {
        let mut command = programs::command("onvmc");
        command.args(["stop", "--run-dir", &run_dir]).args(more);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    };
    let (code, text) = stop(&["other"]);
    assert!(code == Some(4) && text.contains("`other`"), "{text}");
    manager.wait_for_traffic(1, SOON);
    let (code, text) = stop(&["test"]);
    assert_eq!(code, Some(0), "{text}");
    let stopped = format!("test (pid {}) has stopped", manager.pid());
    assert!(text.contains(&stopped), "{text}");
    assert!(process::has_ended(manager.pid()));
    assert!(manager.finish(SOON).summary_with(STOCK).balance.delivered > 0);
    let (code, text) = stop(&[]);
    assert!(
        code == Some(4) && text.contains("no manager is running"),
        "{text}"
    );
}

/// Through the flow cache as well as past it, and on over an apply.
#[test]
fn a_verbose_status_counts_the_hits_of_each_rule() {
    let scratch = Scratch::new();
    scratch.pacer();
    let tcp = |i| capture::tcp((i % 7) as u16, 80, i, 30);
    let packets: Vec<_> = (0..300)
        .map(|i| {
            if i % 3 == 0 {
                tcp(i)
            } else {
                capture::udp((i % 7) as u16, i, 30)
            }
        })
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let build = |rules: &str, out: &str| {
        scratch.build(
            &format!(
                "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\") }}\n\
                 port b = pcap {{ write = \"/dev/null\" }}\nnf pace = pacer {{}}\nsteer a {{\n{rules}    else -> pace -> b\n}}\n"
            ),
            out,
        )
    };
    let first = build("    tcp port 22 -> drop\n    tcp port 80 -> drop\n", "first");
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    manager.wait_until("the capture has passed", SOON, |s| {
        s.ports[0].done && s.balance.in_flight == 0
    });
    assert!(
        manager.status().ports[0].rules.is_empty(),
        "they were not asked for"
    );
    let hits = || {
        let (_, body) = manager.get("/v1/status?verbose");
        let status: onvm_api::Status = serde_json::from_str(&body).unwrap();
        assert!(status.ports[1].rules.is_empty(), "no rules are written there");
        let rules = status.ports[0].rules.iter();
        let line = |source: &str| source.rsplit(':').nth(1).unwrap().to_owned();
        rules
            .map(|r| (r.rule.clone(), r.source.as_deref().map(line), r.packets))
            .collect::<Vec<_>>()
    };
    let row = |rule: &str, line: u32, packets: u64| (rule.to_owned(), Some(line.to_string()), packets);
    let seen = hits();
    let expected = [
        row("tcp port 22", 6, 0),
        row("tcp port 80", 7, 100),
        row("else", 8, 200),
    ];
    assert_eq!(seen, expected);
    let second = build("    udp port 99 -> drop\n    tcp port 80 -> drop\n", "second");
    manager.apply(&second, None).unwrap();
    let expected = [
        row("udp port 99", 6, 0),
        row("tcp port 80", 7, 100),
        row("else", 8, 200),
    ];
    assert_eq!(hits(), expected);
    let run_dir = scratch.run_dir().display().to_string();
    let onvmc = programs::path("onvmc").display().to_string();
    let text = programs::tool(&onvmc, &["status", "-v", "--run-dir", &run_dir]);
    let words = ["a", "tcp", "port", "80", "drop", "100"];
    let has_all = |line: &str| {
        words
            .iter()
            .all(|word| line.split_whitespace().any(|w| w == *word))
    };
    assert!(text.lines().any(has_all), "{text}");
    manager.terminate_whole(0);
}

/// A watch of a manager, and its lines.
fn watch(scratch: &Scratch, more: &[&str]) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut command = programs::command("onvmc");
    command
        .args(["status", "--watch", "0.1", "--run-dir"])
        .arg(scratch.run_dir());
    let mut child = command
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// Reads on until the status has been shown so often.
fn see(lines: &mut impl BufRead, times: usize) {
    let shown = lines
        .lines()
        .map(|line| line.unwrap())
        .filter(|line| line.starts_with("test  ") || line.starts_with("{\""));
    assert_eq!(shown.take(times).count(), times);
}

#[test]
fn a_watch_ends_well_with_its_manager_by_a_signal_and_with_its_reader() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let (mut interrupted, mut lines) = watch(&scratch, &[]);
    see(&mut lines, 2);
    process::signal(interrupted.id(), rustix::process::Signal::INT);
    let ended = process::wait_for(SOON, || interrupted.try_wait().unwrap());
    assert_eq!(ended.and_then(|status| status.code()), Some(0));

    let (mut unread, mut lines) = watch(&scratch, &["--json"]);
    see(&mut lines, 2);
    drop(lines);
    let ended = process::wait_for(SOON, || unread.try_wait().unwrap());
    assert_eq!(ended.and_then(|status| status.code()), Some(0));

    let (mut whole, mut lines) = watch(&scratch, &["--verbose"]);
    see(&mut lines, 1);
    manager.terminate_whole(STOCK);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains('\u{1b}'), "there is no terminal: {rest}");
    let ended = process::wait_for(SOON, || whole.try_wait().unwrap());
    let mut said = String::new();
    whole.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{said}");
    assert_eq!(said, "The manager has stopped.\n");
}

#[test]
fn a_bundle_is_named_by_its_absolute_path() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    for path in ["bundle", "", "./bundle", "../bundle"] {
        let error = manager::apply(&manager.socket(), Path::new(path), None).unwrap_err();
        assert_eq!(error.code, ApiError::BAD_REQUEST, "{path}: {error}");
        assert!(error.message.contains("absolute"), "{error}");
    }
    manager.terminate_whole(STOCK);
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn thousands_of_half_requests_cost_nothing_that_stays() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    manager.wait_for_traffic(1000, SOON);
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let all = rustix::process::Rlimit {
        current: most,
        maximum: most,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    let before = descriptors(manager.pid());
    let half = |i: usize| {
        let mut stream = UnixStream::connect(manager.socket()).unwrap();
        let part: &[u8] = match i % 4 {
            0 => b"",
            1 => b"GET /v1/st",
            2 => b"POST /v1/apply HTTP/1.1\r\nhost: x\r\n",
            _ => b"POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"version\"",
        };
        // It may have been pushed out by then.
        let _ = stream.write_all(part);
        stream
    };
    let halves: Vec<UnixStream> = (0..3000).map(half).collect();
    // While all of them stay, who asks is answered.
    manager.status();
    let now = descriptors(manager.pid());
    assert!(now <= before + 80, "{before} descriptors became {now}");
    // Those that were not pushed out are ended.
    process::wait_for(SOON, || (descriptors(manager.pid()) <= before).then_some(()))
        .unwrap_or_else(|| panic!("{before} descriptors became {}", descriptors(manager.pid())));
    drop(halves);
    manager.terminate_whole(STOCK);
}

#[test]
fn nobody_gets_more_than_the_modes_say_whatever_the_umask() {
    let scratch = Scratch::new();
    let bundle = bundle(&scratch);
    for mask in ["000", "077"] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]);
        command.arg(programs::path("onvm-run")).arg(&bundle);
        command.arg("--run-dir").arg(scratch.run_dir()).arg("--json");
        let manager = Manager::spawn(command, "test", &scratch.run_dir());
        manager.wait_for_log("READY");
        let kept = PathBuf::from(manager.status().bundle_dir);
        let dir = scratch.run_dir().join("test");
        for (path, expected) in [
            (scratch.run_dir(), 0o755),
            (dir.clone(), 0o750),
            (dir.join("control.sock"), 0o660),
            (dir.join("manager.lock"), 0o600),
            (dir.join("bundles"), 0o750),
            (kept.join("bundle.toml"), 0o640),
            (kept.join("nfs"), 0o750),
            (kept.join("nfs/pace-0.toml"), 0o640),
        ] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, expected, "umask {mask}, {}", path.display());
        }
        manager.terminate_whole(STOCK);
        std::fs::remove_dir(scratch.run_dir()).unwrap();
    }
}

/// A run directory in a place like `/tmp` can be anybody's, and so can what answers there.
#[test]
fn onvmc_talks_to_nobody_elses_socket() {
    let scratch = Scratch::new();
    let manager = running(&scratch);
    let onvmc = |options: &[&str]| {
        let output = programs::command("onvmc")
            .arg("status")
            .args(options)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let run_dir = scratch.run_dir().display().to_string();
    let socket = manager.socket().display().to_string();
    let refused = |options: &[&str], words: &str| {
        let (code, text) = onvmc(options);
        assert!(
            code == Some(4) && text.contains(words) && text.contains("--run-dir"),
            "{code:?} {text}"
        );
    };
    let owned_by = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
    for path in [
        scratch.run_dir(),
        scratch.run_dir().join("test"),
        manager.socket(),
    ] {
        owned_by(&path, 65_534);
        refused(&["--run-dir", &run_dir], "belongs to user 65534");
        owned_by(&path, 0);
        assert_eq!(onvmc(&["--run-dir", &run_dir]).0, Some(0));
    }
    for dir in [scratch.run_dir(), scratch.run_dir().join("test")] {
        let mode = std::fs::metadata(&dir).unwrap().permissions();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        refused(&["--run-dir", &run_dir], "others may replace");
        std::fs::set_permissions(&dir, mode).unwrap();
    }
    std::os::unix::fs::symlink(&socket, scratch.path("link.sock")).unwrap();
    refused(
        &["--socket", &scratch.path("link.sock").display().to_string()],
        "not a socket",
    );
    std::os::unix::fs::symlink(&run_dir, scratch.path("link")).unwrap();
    refused(
        &["--run-dir", &scratch.path("link/").display().to_string()],
        "symbolic link",
    );
    manager.terminate_whole(STOCK);

    // A process of another user, behind a socket that looks like one's own.
    let mut script = Command::new("perl");
    script.uid(65_534).args(["-MSocket", "-e"]);
    script
        .arg("socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un('fake.sock')); listen(S, 5); sleep 60");
    let theirs = scratch.path("theirs");
    std::fs::create_dir(&theirs).unwrap();
    owned_by(&theirs, 65_534);
    let mut other = script.current_dir(&theirs).spawn().unwrap();
    let fake = theirs.join("fake.sock");
    let there = process::wait_for(SOON, || fake.exists().then_some(()));
    owned_by(&theirs, 0);
    if there.is_some() {
        owned_by(&fake, 0);
        refused(
            &["--socket", &fake.display().to_string()],
            "belongs to user 65534",
        );
    }
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(there.is_some(), "no socket was made");
}
