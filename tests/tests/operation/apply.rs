//! Edits that are applied while packets flow, by the control socket and by `onvmc`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use onvm_api::{ApiError, ManagerState};
use onvm_tests::{
    Manager, Scratch, capture,
    holdings::{Holdings, memory},
    manager::{self, SOON, dropped, instance},
    process, programs,
};

/// Packets of the capture that is repeated.
const STOCK: usize = 640;

/// A scratch directory with a capture of 64 flows, of which every second is TCP, and the pacer's manifest.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.pacer();
    let mixed = |i: u32| match i % 2 {
        0 => capture::udp((i % 64) as u16, i, 30),
        _ => capture::tcp((i % 64) as u16, 80, i, 30),
    };
    capture::write(
        &scratch.path("in.pcap"),
        &(0..STOCK as u32).map(mixed).collect::<Vec<_>>(),
    );
    scratch
}

/// A bundle of endless traffic with these declarations.
fn endless(scratch: &Scratch, name: &str, declarations: &str) -> PathBuf {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
         port b = pcap {{ write = \"/dev/null\" }}\n{declarations}\n"
    );
    scratch.build(&chain, name)
}

const FIRST: &str = "nf pace = pacer {}\nnf fwd = forward {}\nsteer a { else -> pace -> fwd -> b }";

#[test]
fn every_kind_of_edit_takes_effect_and_loses_nothing() {
    let scratch = scratch();
    let first = endless(&scratch, "0", FIRST);
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(1000, SOON);
    let edits: [(&str, &str, &[&str], &[&str]); 5] = [
        (
            "a rule",
            "nf pace = pacer {}\nnf fwd = forward {}\nsteer a { udp -> drop else -> pace -> fwd -> b }",
            &[],
            &[],
        ),
        (
            "an added NF and a named chain",
            "nf pace = pacer {}\nnf fwd = forward {}\nnf mon = monitor {}\nchain main = pace -> mon -> fwd -> b\nsteer a { udp -> drop else -> main }",
            &["mon-0"],
            &[],
        ),
        (
            "the chain's order",
            "nf pace = pacer {}\nnf fwd = forward {}\nnf mon = monitor {}\nchain main = pace -> fwd -> mon -> b\nsteer a { else -> main }",
            &[],
            &[],
        ),
        (
            "changed parameters",
            "nf pace = pacer { pause = 2 ms }\nnf fwd = forward {}\nnf mon = monitor {}\nchain main = pace -> fwd -> mon -> b\nsteer a { else -> main }",
            &["pace-0"],
            &["pace-0"],
        ),
        (
            "removed NFs",
            "nf fwd = pacer {}\nsteer a { else -> fwd -> b }",
            &["fwd-0"],
            &["fwd-0", "mon-0", "pace-0"],
        ),
    ];
    let mut running = manager.status().generation;
    for (i, (what, declarations, started, stopped)) in edits.iter().enumerate() {
        let bundle = endless(&scratch, &(i + 1).to_string(), declarations);
        let before = manager.status();
        let reply = manager
            .apply(&bundle, Some(&running))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(
            (&reply.started[..], &reply.stopped[..]),
            (&own(started)[..], &own(stopped)[..]),
            "{what}"
        );
        assert_eq!(reply.previous, running, "{what}");
        running = reply.generation;
        let after = manager.wait_for_traffic(1000, SOON);
        assert_eq!(
            (&after.generation, after.state),
            (&running, ManagerState::Running),
            "{what}"
        );
        for name in &reply.kept {
            assert_eq!(
                instance(&after, name).pid,
                instance(&before, name).pid,
                "{what}: {name} is the same process"
            );
        }
        assert!(
            after
                .services
                .iter()
                .flat_map(|s| &s.instances)
                .all(|i| i.restarts == 0),
            "{what}: {after:#?}"
        );
    }
    // The one NF that is left.
    process::wait_for(SOON, || (manager.nf_processes().len() == 1).then_some(()))
        .unwrap_or_else(|| panic!("processes: {:?}", manager.nf_processes()));
    let summary = manager.terminate_whole(STOCK);
    assert!(summary.dropped("chain") > 0, "UDP was dropped for a while");
    assert_eq!(
        summary.balance.dropped,
        summary.dropped("chain") + summary.dropped("shutdown"),
        "{:?}",
        summary.drops
    );
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

#[test]
fn the_same_bundle_again_makes_no_generation() {
    let scratch = scratch();
    let bundle = endless(&scratch, "0", FIRST);
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let before = manager.status();
    let again = endless(&scratch, "again", FIRST);
    let reply = manager.apply(&again, None).unwrap();
    assert_eq!(
        (&reply.generation, &reply.previous),
        (&before.generation, &before.generation)
    );
    assert!(reply.started.is_empty() && reply.stopped.is_empty(), "{reply:?}");
    assert_eq!(manager.status().bundle_dir, before.bundle_dir);
    manager.terminate_whole(STOCK);
}

/// The manager answers this edit with an error of this code that holds the words, and goes on as it was.
fn refused(manager: &Manager, bundle: &Path, base: Option<&str>, code: &str, words: &[&str]) {
    let before = manager.status();
    let processes = manager.nf_processes();
    let error = manager
        .apply(bundle, base)
        .expect_err("this edit must be refused");
    assert_eq!(error.code, code, "{error:?}");
    for word in words {
        assert!(
            error.message.contains(word),
            "{word:?} is missing in: {}",
            error.message
        );
    }
    assert!(!error.remedy.is_empty());
    let after = manager.wait_for_traffic(1000, SOON);
    assert_eq!(
        (after.generation, after.state),
        (before.generation, ManagerState::Running)
    );
    assert_eq!(after.services.len(), before.services.len());
    let left = process::wait_for(SOON, || (manager.nf_processes() == processes).then_some(()));
    assert!(
        left.is_some(),
        "processes before {processes:?}, after {:?}",
        manager.nf_processes()
    );
}

#[test]
fn an_edit_that_cannot_be_done_leaves_the_old_running() {
    let scratch = scratch();
    let bundle = endless(&scratch, "0", FIRST);
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);

    // The program wants a parameter that this manifest does not have.
    scratch.manifest("attacker", "");
    let more = "use \"attacker.nf.toml\" as attacker\n\
                nf fw = attacker {}\nnf mon = monitor {}\nnf pace = pacer {}\nnf fwd = forward {}\n\
                steer a { else -> pace -> fw -> mon -> fwd -> b }";
    let unready = endless(&scratch, "unready", more);
    refused(
        &manager,
        &unready,
        None,
        ApiError::NOT_READY,
        &["fw-0", "parameter `how` is missing"],
    );

    let other_ports =
        FIRST.replace("-> b", "-> c") + "\nport c = pcap { write = \"/dev/null\" }\nsteer b { else -> drop }";
    let other_ports = endless(&scratch, "ports", &other_ports);
    refused(&manager, &other_ports, None, ApiError::NOT_CHANGEABLE, &["ports"]);

    let dropping = endless(&scratch, "dropping", &FIRST.replace("else", "udp -> drop else"));
    refused(
        &manager,
        &dropping,
        Some(&"0".repeat(64)),
        ApiError::BASE_MOVED,
        &["planned"],
    );

    std::fs::write(dropping.join("manager.toml"), "").unwrap();
    refused(&manager, &dropping, None, ApiError::BAD_BUNDLE, &["manager.toml"]);
    refused(
        &manager,
        &scratch.path("nothing"),
        None,
        ApiError::BAD_BUNDLE,
        &["nothing"],
    );
    manager.terminate_whole(STOCK);
}

/// Names of what is in the run directory's `bundles`.
fn copies(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(scratch.run_dir().join("test/bundles")).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_refused_edit_leaves_nothing_of_its_copy_and_room_for_the_next() {
    let scratch = scratch();
    let first = endless(&scratch, "0", FIRST);
    // Rules that the small file system cannot hold.
    scratch.write("long.rules", "# nothing\n".repeat(1 << 18) + "accept arp\n");
    let fw = "nf fw = firewall { rules = file(\"long.rules\") }\nnf pace = pacer {}\nsteer a { else -> pace -> fw -> b }";
    let large = endless(&scratch, "large", fw);
    let good = endless(&scratch, "good", &FIRST.replace("else", "udp -> drop else"));
    std::fs::create_dir(scratch.run_dir()).unwrap();
    let mounted = scratch.run_dir().display().to_string();
    programs::tool(
        "mount",
        &["-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", &mounted],
    );
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
        let before = copies(&scratch);
        for _ in 0..3 {
            refused(&manager, &large, None, ApiError::INTERNAL, &["No space left"]);
            assert_eq!(copies(&scratch), before);
        }
        manager.apply(&good, None).unwrap();
        assert_eq!(copies(&scratch).len(), 1);
        manager.terminate_whole(STOCK);
    }));
    programs::tool("umount", &[&mounted]);
    tried.unwrap_or_else(|e| std::panic::resume_unwind(e));
}

/// Adds a file of zeros to a bundle that takes no room and a while to read. What the index says of it is wrong, which shows
/// at the end of it.
fn bloat(bundle: &Path, size: u64) {
    let path = bundle.join("files/zeros");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().set_len(size).unwrap();
    let text = std::fs::read_to_string(bundle.join("bundle.toml")).unwrap();
    let mut index: onvm_bundle::Index = toml::from_str(&text).unwrap();
    index.files.push(onvm_bundle::FileEntry {
        path: "files/zeros".into(),
        sha256: "0".repeat(64),
        size,
    });
    index.generation = onvm_bundle::generation_id(&index);
    std::fs::write(bundle.join("bundle.toml"), toml::to_string(&index).unwrap()).unwrap();
}

#[test]
fn a_stop_while_a_bundle_is_read_does_not_wait_for_it() {
    let scratch = scratch();
    let first = endless(&scratch, "0", FIRST);
    let slow = endless(&scratch, "slow", &FIRST.replace("else", "udp -> drop else"));
    bloat(&slow, 1000 << 20);
    let huge = endless(&scratch, "huge", &FIRST.replace("else", "udp -> drop else"));
    bloat(&huge, 1 << 40);
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    refused(&manager, &huge, None, ApiError::BAD_BUNDLE, &["at most"]);
    let socket = manager.socket();
    let apply = std::thread::spawn(move || {
        let body = format!("{{\"version\":1,\"bundle\":{:?}}}", slow.display().to_string());
        onvm_tests::http::request(&socket, "POST", "/v1/apply", Some(&body))
    });
    // It answers while it reads, and nothing is started yet.
    manager.wait_until("the apply is under way", SOON, |s| {
        s.state == ManagerState::Applying
    });
    assert_eq!(copies(&scratch).len(), 1);
    manager.terminate_whole(STOCK);
    if let Ok((code, body)) = apply.join().unwrap() {
        assert_ne!(code, 200, "{body}");
        assert!(body.contains("stopping"), "{body}");
    }
}

#[test]
fn of_two_edits_at_once_one_is_refused() {
    let scratch = scratch();
    let bundle = endless(&scratch, "0", FIRST);
    let slow = FIRST.replace(
        "nf fwd = forward {}",
        "nf fwd = pacer { startup = 1500 ms, pause = 100 us }",
    );
    let slow = endless(&scratch, "slow", &slow);
    let other = endless(&scratch, "other", &FIRST.replace("else", "udp -> drop else"));
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let socket = manager.socket();
    let first = std::thread::spawn(move || manager::apply(&socket, &slow, None));
    manager.wait_until("the first apply is under way", SOON, |s| {
        s.state == ManagerState::Applying
    });
    let error = manager.apply(&other, None).expect_err("an apply is under way");
    assert_eq!(error.code, ApiError::BUSY, "{error:?}");
    let reply = first.join().unwrap().expect("the first apply is done");
    assert_eq!(manager.status().generation, reply.generation);
    manager.wait_for_traffic(1000, SOON);
    manager.terminate_whole(STOCK);
}

#[test]
fn onvmc_applies_and_says_by_its_exit_code_what_came_of_it() {
    let scratch = scratch();
    let bundle = endless(&scratch, "0", FIRST);
    let run_dir = scratch.run_dir();
    let onvmc = |arguments: &[&str]| {
        let mut command = programs::command("onvmc");
        let output = command
            .current_dir(scratch.path(""))
            .args(arguments)
            .arg("--run-dir")
            .arg(&run_dir)
            .output();
        let output = output.expect("onvmc can be started");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    };
    let apply = ["apply", "test.chain", "--auto-approve"];
    let (code, text) = onvmc(&apply);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("onvm-run"), "{text}");

    let manager = Manager::ready(&bundle, "test", &run_dir, &[]);
    let before = manager.status().generation;
    endless(&scratch, "1", &FIRST.replace("else", "udp -> drop else"));
    let (code, text) = onvmc(&["plan", "test.chain", "--exit-code"]);
    assert_eq!(code, Some(3), "{text}");
    assert_eq!(manager.status().generation, before, "a plan changes nothing");
    let (code, text) = onvmc(&["apply", "test.chain"]);
    assert_eq!(code, Some(2), "there is no terminal to ask on: {text}");
    assert_eq!(manager.status().generation, before);
    let (code, text) = onvmc(&apply);
    assert_eq!(code, Some(0), "{text}");
    let applied = manager.status().generation;
    assert_ne!(applied, before);
    manager.wait_until("UDP is dropped", SOON, |s| dropped(&s.drops, "chain") > 0);
    let (code, text) = onvmc(&apply);
    assert_eq!(code, Some(0), "the same again: {text}");
    assert_eq!(manager.status().generation, applied);

    // The program wants a parameter that this manifest does not have.
    scratch.manifest("attacker", "");
    endless(
        &scratch,
        "2",
        &FIRST.replace(
            "nf fwd = forward {}",
            "use \"attacker.nf.toml\" as attacker\nnf fwd = attacker {}",
        ),
    );
    let (code, text) = onvmc(&apply);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("parameter `how` is missing"), "{text}");
    assert_eq!(manager.status().generation, applied);
    manager.terminate_whole(STOCK);
}

/// Two edits and a killed function a round; `ONVM_TEST_ROUNDS=500` for a thousand edits, as in `make test-lab`.
#[test]
fn many_edits_and_losses_leave_nothing_behind() {
    let rounds = std::env::var("ONVM_TEST_ROUNDS").map_or(10, |n| n.parse().unwrap());
    let scratch = scratch();
    let bundles = [
        endless(&scratch, "0", FIRST),
        endless(
            &scratch,
            "1",
            &FIRST.replace("nf fwd = forward {}", "nf fwd = monitor {} with { replicas = 2 }"),
        ),
    ];
    let manager = Manager::ready(&bundles[0], "test", &scratch.run_dir(), &[]);
    let holds = || Holdings::of(&manager, &scratch);
    let mut before = None;
    for _ in 0..rounds {
        manager.apply(&bundles[1], None).unwrap_or_else(|e| panic!("{e}"));
        let pid = manager.wait_for_instance("fwd-1", None, SOON);
        process::signal(pid, rustix::process::Signal::KILL);
        manager.wait_for_instance("fwd-1", Some(pid), SOON);
        manager.apply(&bundles[0], None).unwrap_or_else(|e| panic!("{e}"));
        // Once the replaced functions have gone.
        before = before.or_else(|| {
            process::wait_for(SOON, || (manager.nf_processes().len() == 2).then_some(()));
            std::thread::sleep(Duration::from_millis(500));
            Some((holds(), memory(&manager)))
        });
    }
    let (before, memory_before) = before.unwrap();
    let same = process::wait_for(SOON, || (before == holds()).then_some(()));
    assert!(same.is_some(), "{before:?} before, {:?} after", holds());
    let (grown, most) = (memory(&manager).saturating_sub(memory_before), 4 << 10);
    println!("{rounds} rounds: {grown} KiB more than the {memory_before} KiB after the first");
    assert!(grown < most, "memory has grown by {grown} KiB in {rounds} rounds");
    manager.terminate_whole(STOCK);
}
