//! What network functions, and strangers at their sockets, say and send: it is bounded, quoted, and keeps nobody waiting.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nflib::session::{self, FromNf};
use onvm_tests::{
    Manager,
    manager::{SOON, instance},
    misused::{STOCK, build, bundle, scratch},
    process,
};
use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
    process::{Resource, Rlimit},
};

#[test]
fn what_a_function_says_is_quoted_wherever_it_is_shown() {
    let scratch = scratch();
    let manager = Manager::ready(
        &build(&scratch, "without", "", ""),
        "test",
        &scratch.run_dir(),
        &[],
    );
    let error = manager.apply(&bundle(&scratch, "escape_text"), None).unwrap_err();
    assert!(error.message.contains("one\\nforged line"), "{error:?}");
    assert!(error.message.len() < 2000, "{} bytes", error.message.len());
    let named = manager.apply(&bundle(&scratch, "escape_name"), None).unwrap_err();
    assert!(named.message.contains("invisible characters"), "{named:?}");
    let log = manager.log();
    // As JSON, which escapes the escape once more.
    assert!(log.contains("one\\\\rforged line"), "what it prints: {log}");
    for text in [&error.message, &log] {
        let strange = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(strange), "{text:?}");
    }
    manager.terminate_whole(STOCK);
}

#[test]
fn a_descriptor_that_takes_long_to_close_keeps_nobody_waiting() {
    let scratch = scratch();
    let manager = Manager::ready(&bundle(&scratch, "linger"), "test", &scratch.run_dir(), &[]);
    manager.wait_until("it is ended several times", SOON, |s| {
        instance(s, "bad-0").restarts >= 2
    });
    manager.terminate_whole(STOCK);
}

/// A connection to an instance's socket; none while others wait there.
fn connect(path: &Path) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok()?;
    Some(socket)
}

/// A TCP connection that is closed once its peer, which reads nothing, goes, and that peer.
fn unread() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sockopt::set_socket_recv_buffer_size(&listener, 2048).unwrap();
    let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (silent, _) = listener.accept().unwrap();
    sockopt::set_socket_send_buffer_size(&writer, 4096).unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    (writer, silent)
}

#[test]
fn messages_with_descriptors_cost_the_manager_nothing_that_stays() {
    const ATTEMPTS: usize = 3000;
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap();
    let scratch = scratch();
    let bundle = build(&scratch, "external", "", "");
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--nfs", "external"]);
    let socket = manager.nf_socket("pace-0");
    process::wait_for(SOON, || socket.exists().then_some(())).expect("its socket appears");
    let holds = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", manager.pid())).unwrap();
        (tasks.count(), process::descriptors(manager.pid()).len())
    };
    let before = holds();
    let (mut sent, mut peers) = (0, Vec::new());
    let until = Instant::now() + SOON;
    for _ in 0..ATTEMPTS {
        let connection = connect(&socket).or_else(|| {
            // One that is closed for long keeps this instance waiting, and no other.
            std::thread::sleep(Duration::from_millis(1));
            None
        });
        let (Some(connection), true) = (connection, Instant::now() < until) else {
            continue;
        };
        let (writer, silent) = unread();
        sockopt::set_socket_linger(&writer, Some(Duration::from_secs(600))).unwrap();
        if session::send(&connection, &FromNf::Ready, &[writer.as_fd()]).is_ok() {
            sent += 1;
            peers.push(silent);
        } else {
            sockopt::set_socket_linger(&writer, None).unwrap();
        }
    }
    let after = holds();
    assert!(
        after.0 <= before.0 + 20 && after.1 <= before.1 + 300,
        "threads and descriptors: {before:?} before, {after:?} after {sent} messages"
    );
    drop(peers);
    assert_eq!(manager.terminate().code, Some(1), "it ends before it was ready");
}

#[test]
fn who_fails_at_a_socket_again_and_again_is_logged_within_bounds() {
    let scratch = scratch();
    let bundle = build(&scratch, "external", "", "");
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--nfs", "external"]);
    let socket = manager.nf_socket("pace-0");
    process::wait_for(SOON, || socket.exists().then_some(())).expect("its socket appears");
    let began = Instant::now();
    let mut connections = 0;
    // Far more than can be logged in the time.
    while connections < 300 && began.elapsed() < SOON {
        connections += usize::from(connect(&socket).is_some());
    }
    let windows = began.elapsed().as_secs() as usize + 2;
    assert_eq!(connections, 300, "{}", manager.log());
    assert!(10 * windows < connections, "{windows} windows");
    // Those left out are counted in a later window.
    let counted = process::wait_for(SOON, || {
        drop(connect(&socket));
        std::thread::sleep(Duration::from_millis(50));
        manager.log().contains("complaints left out").then_some(())
    });
    assert!(counted.is_some(), "{}", manager.log());
    let windows = began.elapsed().as_secs() as usize + 2;
    let lines = manager.log().lines().filter(|l| l.contains("it hung up")).count();
    assert!(
        lines > 0 && lines <= 10 * windows,
        "{lines} lines of {connections} connections"
    );
    assert_eq!(manager.terminate().code, Some(1), "it ends before it was ready");
}
