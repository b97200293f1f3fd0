//! What `docs/SECURITY.md` promises against hostile network functions that somebody else starts. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use onvm_api::Status;
use onvm_tests::{
    ByHand, Manager, Scratch,
    by_hand::Stubborn,
    manager::{SOON, instance, unprivileged},
    misused::{self, STOCK},
    process, programs,
};

const EXTERNAL: [&str; 2] = ["--nfs", "external"];
/// Instances, what they are, and what they do; each gets some of the flows.
type Attack = (&'static str, &'static str, &'static str);

const READERS: [Attack; 4] = [
    ("forge", "hostile", "seed = 0"),
    ("damage", "misuse", "how = \"damage_tail\""),
    ("steal", "misuse", "how = \"steal\""),
    ("hoard", "misuse", "how = \"hoard\""),
];
/// After these there are no flows left to tell apart.
const WRITERS: [Attack; 2] = [
    ("scribble", "hostile_rw", "seed = 0"),
    ("punch", "misuse_rw", "how = \"punch\""),
];
/// Longer than an instance may keep a packet, so that the manager ends those that do.
const LONGEST_LIFE: Duration = Duration::from_secs(8);

fn scratch() -> Scratch {
    let scratch = misused::scratch();
    let param = |name: &str, kind: &str| {
        format!("[[params]]\nname = \"{name}\"\ntype = \"{kind}\"\ndoc = \"For tests.\"\n")
    };
    let (seed, how) = (param("seed", "int"), param("how", "string"));
    scratch.manifest("hostile", &format!("[effects]\ndrops = true\n{seed}"));
    for (program, param) in [("hostile", seed), ("misuse", how)] {
        let text = format!(
            "name = \"{program}_rw\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\n\n[run]\nbinary = \"test-nf\"\n\
             args = [\"{program}\"]\n\n[effects]\npayload = \"write\"\ndrops = true\n{param}"
        );
        scratch.write(&format!("{program}_rw.nf.toml"), text);
    }
    scratch
}

/// An honest chain from `a` to `b`, and one from `c` to `d` through the attackers: a capture waits for instances that are started
/// again, and so do all chains that it feeds.
fn bundle(scratch: &Scratch, out: &str, attacks: &[Attack]) -> PathBuf {
    // A ring of 64 is read anew at each push.
    let mut nfs = "use \"hostile.nf.toml\" as hostile\nuse \"hostile_rw.nf.toml\" as hostile_rw\n\
                   use \"misuse_rw.nf.toml\" as misuse_rw\nmanager { ring = 64 }\n"
        .to_owned();
    let mut rules = String::new();
    for (i, (name, kind, params)) in attacks.iter().enumerate() {
        nfs += &format!("nf {name} = {kind} {{ {params} }}\n");
        // `steal` needs to stand on its chain twice.
        let again = if *name == "steal" { "steal -> " } else { "" };
        rules += &format!("ip[15] & 7 = {i} -> {name} -> {again}d ");
    }
    nfs += "port c = pcap { read = file(\"in.pcap\"), repeat = true }\nport d = pcap { write = \"/dev/null\" }\n";
    misused::build(
        scratch,
        out,
        &format!("{nfs}steer c {{ {rules} else -> pace -> d }}\n"),
        "",
    )
}

/// Whoever starts them: the user that runs the manager, too.
#[derive(Clone)]
struct Starter {
    test_nf: PathBuf,
    user: Option<u32>,
}

impl Starter {
    fn command(&self, kind: &str) -> Command {
        let mut command = Command::new(&self.test_nf);
        command.arg(kind).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// The program of that instance, again and again.
    fn keep(&self, manager: &Manager, name: &str, kind: &'static str) -> Stubborn {
        let starter = self.clone();
        let command = move || starter.command(kind.trim_end_matches("_rw"));
        Stubborn::start(command, manager.nf_socket(&format!("{name}-0")), LONGEST_LIFE)
    }
}

/// Descriptors and memory files of the manager, and the directories of its instances.
fn holds(scratch: &Scratch, manager: &Manager) -> (usize, usize, usize) {
    let maps = fs::read_to_string(format!("/proc/{}/maps", manager.pid())).unwrap();
    let files = maps.lines().filter(|l| l.contains("memfd:")).count();
    let directories = fs::read_dir(scratch.run_dir().join("test/nf")).unwrap().count();
    (process::descriptors(manager.pid()).len(), files, directories)
}

/// The same once no request is under way any more, which takes a descriptor for its time: as long as nothing changes.
fn settled(scratch: &Scratch, manager: &Manager) -> (usize, usize, usize) {
    let (mut last, mut times) = (holds(scratch, manager), 0);
    while times < 20 {
        std::thread::sleep(Duration::from_millis(10));
        let now = holds(scratch, manager);
        times = if now == last { times + 1 } else { 0 };
        last = now;
    }
    last
}

/// How often each was started again.
fn restarts(status: &Status, attacks: &[Attack]) -> Vec<u32> {
    let restarts = |(name, ..): &Attack| instance(status, &format!("{name}-0")).restarts;
    attacks.iter().map(restarts).collect()
}

/// Attackers come by an apply and go by another; then all is as before.
fn attack(manager: &Manager, scratch: &Scratch, starter: &Starter, attacks: &[Attack]) {
    let before = settled(scratch, manager);
    let bundle = bundle(scratch, "attacked", attacks);
    let keep = |(name, kind, _): &Attack| starter.keep(manager, name, kind);
    let attackers: Vec<Stubborn> = attacks.iter().map(keep).collect();
    apply(manager, &bundle);
    manager.wait_until("all of them have had several lives", 3 * SOON, |s| {
        restarts(s, attacks).iter().all(|restarts| *restarts >= 2)
    });
    if attacks == READERS {
        let ended = |line: &str| line.contains("hoard-0") && line.contains("ended: ");
        manager.wait_until("the one that hoards is ended", SOON, |_| {
            manager.log().lines().any(ended)
        });
        assert!(instance(&manager.status(), "forge-0").refused > 0);
    }
    let through = |s: &Status| instance(s, "pace-0").tx_packets;
    let from = through(&manager.status());
    manager.wait_until("the honest one goes on", SOON, |s| through(s) >= from + 3000);

    apply(manager, &scratch.path("calm"));
    drop(attackers);
    let same = || (holds(scratch, manager) == before).then_some(());
    assert!(
        process::wait_for(SOON, same).is_some(),
        "descriptors, mappings, directories: {before:?} before, {:?} after",
        holds(scratch, manager)
    );
}

/// Where an attacker fails before the last one has started, as on a busy machine, the edit is refused, and comes again.
fn apply(manager: &Manager, bundle: &Path) {
    let attempt = || match manager.apply(bundle, None) {
        Ok(_) => Some(()),
        Err(e) if e.message.contains("did not start") => None,
        Err(e) => panic!("{e}\n{}", manager.log()),
    };
    let applied = process::wait_for(3 * SOON, attempt);
    assert!(applied.is_some(), "no attempt succeeds: {}", manager.log());
}

fn attack_all(start: impl FnOnce(&Scratch, &Path) -> Command, user: Option<u32>) {
    let scratch = scratch();
    let calm = bundle(&scratch, "calm", &[]);
    let manager = Manager::spawn(start(&scratch, &calm), "test", &scratch.run_dir());
    let copied = scratch.path("test-nf");
    let test_nf = match copied.exists() {
        true => copied,
        false => programs::path("test-nf"),
    };
    let starter = Starter { test_nf, user };
    let honest = ByHand::start(starter.command("pacer"), &manager.nf_socket("pace-0"));
    manager.wait_for_log("READY");
    manager.wait_for_traffic(1000, SOON);
    attack(&manager, &scratch, &starter, &READERS);
    attack(&manager, &scratch, &starter, &WRITERS);
    manager.wait_for_traffic(1000, SOON);
    let status = manager.status();
    let pace = instance(&status, "pace-0");
    assert_eq!((pace.restarts, pace.pid), (0, Some(honest.id())));
    manager.terminate_whole(2 * STOCK);
}

#[test]
fn attackers_from_outside_harm_nobody_but_themselves() {
    let start = |scratch: &Scratch, bundle: &Path| {
        let mut command = programs::command("onvm-run");
        command.arg(bundle).arg("--run-dir").arg(scratch.run_dir());
        command.arg("--json").args(EXTERNAL);
        command
    };
    attack_all(start, None);
}

#[test]
fn attackers_from_outside_harm_nobody_where_all_are_another_user() {
    const NOBODY: u32 = 65_534;
    attack_all(
        |scratch, bundle| unprivileged(scratch, bundle, &EXTERNAL),
        Some(NOBODY),
    );
}

#[test]
fn what_one_from_outside_says_is_quoted() {
    let scratch = scratch();
    let bundle = misused::bundle(&scratch, "escape_text");
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &EXTERNAL);
    let starter = Starter {
        test_nf: programs::path("test-nf"),
        user: None,
    };
    let _bad = ByHand::start(starter.command("misuse"), &manager.nf_socket("bad-0"));
    manager.wait_for_log("one\\\\nforged line");
    let log = manager.log();
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    assert!(log.lines().all(|line| line.len() < 4096), "{log}");
    assert_eq!(manager.terminate().code, Some(1), "it ends before it was ready");
}
