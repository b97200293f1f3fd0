//! FIFOs as captures: both ways, with who is slow, late, absent, or goes away.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use onvm_tests::{Manager, Scratch, capture, manager::SOON, programs, variants};

const LONG: Duration = Duration::from_secs(60);

fn fifo(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path(name);
    programs::tool("mkfifo", &[path.to_str().unwrap()]);
    path
}

fn start(scratch: &Scratch, from: &Path, to: &Path, arguments: &[&str]) -> Manager {
    let chain = format!(
        "port a = pcap {{ read = \"{}\" }}\nport b = pcap {{ write = \"{}\" }}\nnf fwd = forward {{}}\n\
         steer a {{ else -> fwd -> b }}\n",
        from.display(),
        to.display()
    );
    let bundle = scratch.build(&chain, "bundle");
    Manager::start(&bundle, "test", &scratch.run_dir(), arguments)
}

fn packets(count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|i| capture::udp((i % 100) as u16, i, 200))
        .collect()
}

fn bytes(packets: &[Vec<u8>]) -> Vec<u8> {
    variants::pcap(packets, 1, false, 0xa1b2_c3d4, 65_535).bytes
}

#[test]
fn packets_go_through_fifos_while_they_come() {
    let scratch = Scratch::new();
    let (from, to) = (fifo(&scratch, "from"), fifo(&scratch, "to"));
    let manager = start(&scratch, &from, &to, &["--exit-when-done"]);
    // Neither end has anybody yet.
    manager.wait_for_log("READY");
    let packets = packets(4);
    let three = 24 + 3 * (16 + packets[0].len());
    let mut writer = File::options().write(true).open(&from).unwrap();
    writer.write_all(&bytes(&packets)[..three + 5]).unwrap();
    let reader = thread::spawn(move || {
        let mut file = File::open(to).unwrap();
        // What is whole of it leaves, though no more comes.
        let mut early = vec![0; three];
        file.read_exact(&mut early).unwrap();
        early
    });
    assert!(reader.join().unwrap().ends_with(&packets[2]));
    drop(writer);
    let finished = manager.finish(LONG);
    // The writer went away in the middle of a packet.
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("cut short after packet 3"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_slow_reader_and_a_slow_writer_lose_nothing() {
    let scratch = Scratch::new();
    let (from, to) = (fifo(&scratch, "from"), fifo(&scratch, "to"));
    let manager = start(&scratch, &from, &to, &["--exit-when-done"]);
    let sent = packets(40_000);
    let all = bytes(&sent);
    let copy = scratch.path("copy.pcap");
    let writer = thread::spawn(move || {
        let mut file = File::options().write(true).open(from).unwrap();
        for part in all.chunks(1 << 20) {
            file.write_all(part).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    let into = copy.clone();
    let reader = thread::spawn(move || {
        let mut file = File::open(to).unwrap();
        thread::sleep(Duration::from_millis(500));
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        fs::write(into, all).unwrap();
    });
    let summary = manager.finish(LONG).summary();
    writer.join().unwrap();
    reader.join().unwrap();
    assert_eq!(summary.balance.delivered, 40_000);
    assert!(capture::read(&copy) == sent);
}

#[test]
fn a_reader_that_goes_away_is_an_error_and_what_it_misses_is_counted() {
    let scratch = Scratch::new();
    let to = fifo(&scratch, "to");
    let from = scratch.path("in.pcap");
    capture::write(&from, &packets(50_000));
    let manager = start(&scratch, &from, &to, &["--exit-when-done"]);
    let mut some = [0; 100_000];
    File::open(&to).unwrap().read_exact(&mut some).unwrap();
    let finished = manager.finish(LONG);
    assert_eq!(finished.code, Some(1));
    for words in ["port `b`", "to: the capture is cut", "its reader went away"] {
        assert!(finished.stderr.contains(words), "{words}: {}", finished.stderr);
    }
    let balance: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(balance["balance"]["received"], 50_000);
    assert_eq!(balance["balanced"], true);
    let refused = &balance["drops"][0];
    assert_eq!(refused["reason"], "port_refused", "{balance}");
    let missing = balance["cut"][0]["packets"].as_u64().unwrap();
    let there = 50_000 - refused["packets"].as_u64().unwrap() - missing;
    assert!(there >= 100_000 / 260 - 1, "{there}");
}

#[test]
fn a_signal_is_heard_while_nobody_is_at_the_other_end() {
    for (name, repeat) in [("from", false), ("to", false), ("from", true)] {
        let scratch = Scratch::new();
        let waits = fifo(&scratch, name);
        capture::write(&scratch.path("in.pcap"), &packets(3));
        let chain = match name {
            "from" => format!(
                "port a = pcap {{ read = \"{}\", repeat = {repeat} }}\nport b = pcap {{ write = \"/dev/null\" }}\n",
                waits.display()
            ),
            _ => format!(
                "port a = pcap {{ read = \"{}\" }}\nport b = pcap {{ write = \"{}\" }}\n",
                scratch.path("in.pcap").display(),
                waits.display()
            ),
        };
        let chain = chain + "nf fwd = forward {}\nsteer a { else -> fwd -> b }\n";
        let bundle = scratch.build(&chain, "bundle");
        let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &[]);
        if repeat {
            thread::sleep(Duration::from_secs(1));
        } else {
            manager.wait_for_log("READY");
        }
        if name == "to" {
            // Before that there would be nothing to lose.
            manager.wait_until("packets came in", SOON, |status| status.balance.received == 3);
        }
        let began = Instant::now();
        onvm_tests::process::signal(manager.pid(), rustix::process::Signal::TERM);
        let finished = manager.finish(SOON);
        assert!(began.elapsed() < Duration::from_secs(8), "{name}");
        // Three packets wait for a reader that never came; nothing was lost at the other end.
        let code = if name == "to" || repeat { 1 } else { 0 };
        assert_eq!(finished.code, Some(code), "{name} {repeat}: {}", finished.stderr);
        if name == "to" {
            assert!(
                finished.stderr.contains("not opened by a reader"),
                "{}",
                finished.stderr
            );
        }
    }
}

#[test]
fn damage_that_is_met_while_running_is_an_error_with_the_packet() {
    let scratch = Scratch::new();
    let from = fifo(&scratch, "from");
    let to = scratch.path("out.pcap");
    let manager = start(&scratch, &from, &to, &["--exit-when-done"]);
    let sent = packets(50);
    let mut all = bytes(&sent);
    let at = 24 + 40 * (16 + sent[0].len());
    all[at + 8..at + 12].fill(0xff);
    File::options()
        .write(true)
        .open(&from)
        .unwrap()
        .write_all(&all)
        .unwrap();
    let finished = manager.finish(LONG);
    assert_eq!(finished.code, Some(1));
    let name = from.display().to_string();
    for words in ["port `a`", &name, "damaged after packet 40"] {
        assert!(finished.stderr.contains(words), "{words}: {}", finished.stderr);
    }
    assert!(capture::read(&to) == sent[..40], "the packets before left");
}

const REPLAY: &str = "port wan = tap { name = \"wan0\" }\nport lan = tap { name = \"lan0\" }\nnf mon = monitor\n\
                      steer wan { else -> mon -> lan }\ntest \"t\" {\n    replay wan file(\"in.pcap\")\n    \
                      expect lan 1 packet\n}\n";

#[test]
fn a_fifo_where_the_compiler_reads_a_file_is_refused_and_not_waited_for() {
    let scratch = Scratch::new();
    fifo(&scratch, "in.pcap");
    scratch.write("a.chain", REPLAY);
    let mut command: Command = programs::command("onvmc");
    let output = command
        .args(["test", "a.chain"])
        .current_dir(scratch.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("this is a FIFO"), "{said}");
}

#[test]
fn a_replay_that_does_not_end_is_stopped() {
    let scratch = Scratch::new();
    capture::write(&scratch.path("in.pcap"), &packets(1));
    scratch.write("a.chain", REPLAY);
    // A manager that never ends, where the compiler looks for it.
    fs::create_dir(scratch.path("bin")).unwrap();
    fs::copy(programs::path("onvmc"), scratch.path("bin/onvmc")).unwrap();
    let script = scratch.write("bin/onvm-run", "#!/bin/sh\nexec sleep 1000\n");
    programs::tool("chmod", &["+x", script.to_str().unwrap()]);
    let output = Command::new(scratch.path("bin/onvmc"))
        .args(["test", "a.chain", "--timeout", "1"])
        .current_dir(scratch.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("did not end within 1 s") && said.contains("--timeout"),
        "{said}"
    );
}

/// DPDK's own driver of captures waits for a writer as it opens the device, and cannot be interrupted.
#[test]
fn a_signal_is_heard_while_a_driver_opens_a_device() {
    let scratch = Scratch::new();
    let waits = fifo(&scratch, "from");
    let chain = format!(
        "port a = vdev {{ device = \"net_pcap0,rx_pcap={}\" }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
         nf fwd = forward {{}}\nsteer a {{ else -> fwd -> b }}\n",
        waits.display()
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &[]);
    let opens = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", manager.pid())).ok()?;
        let waits = |task: std::io::Result<fs::DirEntry>| {
            // openat, on x86-64 and on arm64.
            let call = fs::read_to_string(task.ok()?.path().join("syscall")).ok()?;
            ["257 ", "56 "]
                .iter()
                .any(|open| call.starts_with(open))
                .then_some(())
        };
        tasks.into_iter().find_map(waits)
    };
    onvm_tests::process::wait_for(SOON, opens).expect("the driver waits at the FIFO");
    onvm_tests::process::signal(manager.pid(), rustix::process::Signal::TERM);
    let finished = manager.finish(Duration::from_secs(8));
    finished.assert_refused(&["stopped before all NFs were ready"]);
    let stderr = &finished.stderr;
    assert!(stderr.contains("its driver does not return"), "{stderr}");
}
