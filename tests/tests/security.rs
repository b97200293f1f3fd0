//! What `docs/SECURITY.md` promises against hostile network functions, under each way of running the manager.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use onvm_api::Status;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance, lacks, unprivileged},
    marks,
    probe::assert_held,
    process, programs,
};
use rustix::fs::{FallocateFlags, FlockOperation, flock};

const STOCK: usize = 64;
/// Between two looks at what a manager holds.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
const ATTACKS: [&str; 7] = [
    "descriptors",
    "memory",
    "processes",
    "threads",
    "timers",
    "calls",
    "log",
];

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.pacer();
    let how = "[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which attack.\"\n";
    // It may write packets, so that it holds what a writer holds.
    scratch.manifest("attacker", &format!("[effects]\nwrites = [\"ip.ttl\"]\n{how}"));
    scratch.manifest("probe", "[effects]\nreads = [\"ip.src\"]\n");
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch
}

/// An honest chain from `a` to `b`, and one from `c` to `d` through all attackers.
fn bundle(scratch: &Scratch, out: &str, pages: &str, attacks: &[&str]) -> PathBuf {
    let nfs: String = attacks
        .iter()
        .map(|how| format!("nf {how}_nf = attacker {{ how = \"{how}\" }} with {{ memory = 64 MiB }}\n"))
        .collect();
    let path: String = attacks.iter().map(|how| format!("{how}_nf -> ")).collect();
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"attacker.nf.toml\" as attacker\n\
         use \"probe.nf.toml\" as probe\nmanager {{ hugepages = {pages} }}\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
         port c = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport d = pcap {{ write = \"/dev/null\" }}\n\
         nf pace = pacer {{}}\nnf slow = pacer {{}}\nnf look = probe {{}}\n{nfs}\
         steer a {{ else -> pace -> b }}\nsteer c {{ tcp port 1 -> look -> d else -> slow -> {path}d }}\n"
    );
    scratch.build(&chain, out)
}

/// Packets that a port has sent.
fn sent(status: &Status, port: &str) -> u64 {
    status.ports.iter().find(|p| p.name == port).unwrap().tx_packets
}

/// What follows `what: ` in the name of a counter of the attacker.
fn got(status: &Status, how: &str, what: &str) -> String {
    let prefix = format!("{what}: ");
    let counters = &instance(status, &format!("{how}_nf-0")).counters;
    counters
        .keys()
        .find_map(|name| name.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("{how} names no {what}: {counters:?}"))
        .to_owned()
}

fn number(status: &Status, how: &str, what: &str) -> u64 {
    got(status, how, what).parse().unwrap()
}

/// The attackers got no more than is promised, and the honest chain goes on.
fn assert_promised(manager: &Manager, own_user: bool) {
    let status = manager.wait_until("the attacked chain moves", SOON, |s| sent(s, "d") > 100);
    assert!(number(&status, "descriptors", "descriptors") <= 1024);
    assert!(number(&status, "descriptors", "descriptors") > 900, "it did try");
    assert!(number(&status, "memory", "memory") <= 64);
    assert!(number(&status, "memory", "memory") > 16, "it did try");
    for what in ["shared memory", "stack memory", "huge memory"] {
        assert_eq!(got(&status, "memory", what), "PermissionDenied", "{what}");
    }
    assert_eq!(got(&status, "processes", "fork"), "PermissionDenied");
    if own_user {
        assert!(number(&status, "threads", "threads") < 64);
    }
    assert!(number(&status, "timers", "timers") < 1_000_000);
    let calls = &instance(&status, "calls_nf-0").counters;
    assert_eq!(
        calls.keys().collect::<Vec<_>>(),
        ["remove pages: PermissionDenied"]
    );
    assert_held(instance(&status, "look-0"));
    // The last one goes on all the time.
    manager.wait_for_log("lines left out");
    let strange = |c: char| c.is_control() && c != '\n';
    assert!(!manager.log().contains(strange), "{:?}", manager.log());
    let from = sent(&manager.status(), "b");
    let asked = Instant::now();
    let status = manager.wait_until("the honest chain goes on", SOON, |s| sent(s, "b") >= from + 3000);
    assert!(asked.elapsed() < SOON);
    for how in ATTACKS {
        assert_eq!(instance(&status, &format!("{how}_nf-0")).restarts, 0, "{how}");
    }
}

/// Descriptors and memory files of the manager, and what lies in its run directory.
fn holds(scratch: &Scratch, manager: &Manager) -> (usize, usize, Vec<String>) {
    let maps = fs::read_to_string(format!("/proc/{}/maps", manager.pid())).unwrap();
    let files = maps.lines().filter(|l| l.contains("memfd:")).count();
    let entries = fs::read_dir(scratch.run_dir().join("test")).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    (process::descriptors(manager.pid()).len(), files, names)
}

/// The same once nothing comes or goes any more, such as the connection of the last request.
fn settled(scratch: &Scratch, manager: &Manager) -> (usize, usize, Vec<String>) {
    let mut before = holds(scratch, manager);
    let settled = process::wait_for(SOON, || {
        std::thread::sleep(LOOK_PERIOD);
        let now = holds(scratch, manager);
        let same = now == before;
        before = now;
        same.then_some(())
    });
    assert!(settled.is_some(), "it opens and closes without end: {before:?}");
    before
}

/// Attackers come by an apply and go by another; then all is as before. Gives the last status, and the manager's capabilities.
fn attack(
    scratch: &Scratch,
    pages: &str,
    start: impl FnOnce(&Path) -> Command,
    own_user: bool,
) -> (Status, u64) {
    let honest = bundle(scratch, "honest", pages, &[]);
    let attacked = bundle(scratch, "attacked", pages, &ATTACKS);
    let manager = Manager::spawn(start(&honest), "test", &scratch.run_dir());
    manager.wait_for_log("READY");
    manager.wait_for_traffic(1000, SOON);
    let (before, processes) = (settled(scratch, &manager), manager.nf_processes().len());
    assert_eq!(processes, 3);
    manager
        .apply(&attacked, None)
        .unwrap_or_else(|e| panic!("{e}\n{}", manager.log()));
    assert_promised(&manager, own_user);
    manager
        .apply(&honest, None)
        .unwrap_or_else(|e| panic!("{e}\n{}", manager.log()));
    let same =
        || (holds(scratch, &manager) == before && manager.nf_processes().len() == processes).then_some(());
    assert!(
        process::wait_for(SOON, same).is_some(),
        "descriptors, mappings, files: {before:?} before, {:?} after; NFs: {:?}",
        holds(scratch, &manager),
        manager.nf_processes()
    );
    let status = manager.status();
    let capabilities = process::status_field(manager.pid(), "CapEff");
    manager.terminate_whole(2 * STOCK);
    (status, u64::from_str_radix(&capabilities, 16).unwrap())
}

fn as_root(scratch: &Scratch, bundle: &Path) -> Command {
    let mut command = programs::command("onvm-run");
    command
        .arg(bundle)
        .arg("--run-dir")
        .arg(scratch.run_dir())
        .arg("--json");
    command
}

/// `command` started by another program, with these arguments before it.
fn by(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args());
    outer
}

#[test]
fn attackers_get_what_is_promised_from_root() {
    let scratch = scratch();
    let (status, _) = attack(&scratch, "off", |bundle| as_root(&scratch, bundle), true);
    assert_eq!(status.isolation.missing, []);
}

#[test]
fn attackers_get_what_is_promised_from_root_without_sys_resource() {
    const SYS_RESOURCE: u64 = 1 << 24;
    let scratch = scratch();
    let start = |bundle: &Path| {
        let drop = ["--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"];
        by("setpriv", &drop, &as_root(&scratch, bundle))
    };
    let (_, capabilities) = attack(&scratch, "off", start, true);
    assert_eq!(capabilities & SYS_RESOURCE, 0, "{capabilities:x}");
    assert_ne!(capabilities, 0);
}

#[test]
fn attackers_get_what_is_promised_from_another_user() {
    let scratch = scratch();
    let (status, _) = attack(
        &scratch,
        "off",
        |bundle| unprivileged(&scratch, bundle, &[]),
        true,
    );
    assert_eq!(lacks(&status), ["user ids"]);
}

/// The kernel gives no user namespace to a process whose root directory was changed.
#[test]
fn attackers_get_what_is_promised_from_another_user_without_user_namespaces() {
    let scratch = scratch();
    let root = scratch.path("root");
    fs::create_dir(&root).unwrap();
    let start = |bundle: &Path| {
        let inner = unprivileged(&scratch, bundle, &[]);
        let script = "mount --rbind / \"$0\" && exec chroot --userspec=65534:65534 --groups= \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(&root);
        command.arg(inner.get_program()).args(inner.get_args());
        command.env("HOME", "/nonexistent");
        command
    };
    let (status, _) = attack(&scratch, "off", start, false);
    let missing: Vec<&str> = status
        .isolation
        .missing
        .iter()
        .map(|m| m.means.as_str())
        .collect();
    assert!(missing.contains(&"user namespace"), "{missing:?}");
    assert!(
        status.isolation.means.iter().any(|m| m.starts_with("landlock")),
        "{status:#?}"
    );
}

/// Huge pages of the host, whose number goes back to what it was.
struct HugePages(String);

const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

impl HugePages {
    fn reserve(pages: u32) -> Self {
        let made = Self(fs::read_to_string(HUGE_PAGES).unwrap());
        fs::write(HUGE_PAGES, pages.to_string()).unwrap();
        made
    }

    fn free() -> u64 {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("HugePages_Free:"));
        line.unwrap().trim().parse().unwrap()
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(HUGE_PAGES, self.0.trim());
    }
}

const HUGE: &str = "2 MiB";

/// One after the other: all are about the huge pages that are free.
#[test]
fn with_huge_pages_attackers_get_what_is_promised_domains_are_apart_and_pages_taken_away_end_no_manager() {
    let _pages = HugePages::reserve(256);
    let first = scratch();
    attack(&first, HUGE, |bundle| as_root(&first, bundle), true);
    marks::assert_apart(marks::found_by_hand(["red", "blue"], HUGE));

    let scratch = scratch();
    let bundle = bundle(&scratch, "honest", HUGE, &[]);
    let manager = Manager::spawn(as_root(&scratch, &bundle), "test", &scratch.run_dir());
    manager.wait_for_log("READY");
    manager.wait_for_traffic(1000, SOON);
    let packets = process::descriptors(manager.pid())
        .into_iter()
        .filter(|(_, path)| path.to_string_lossy().starts_with("/memfd:onvm-packets"))
        .find_map(|(fd, _)| {
            let path = format!("/proc/{}/fd/{fd}", manager.pid());
            fs::File::options().read(true).write(true).open(path).ok()
        })
        .expect("root opens the packet file");
    let length = packets.metadata().unwrap().len();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // The manager may touch a page before it has left the host's stock, and gets it back then; so again.
    let taken = process::wait_for(SOON, || {
        rustix::fs::fallocate(packets.as_fd(), hole, 0, length).unwrap();
        fs::write(HUGE_PAGES, "0").unwrap();
        let log = manager.log();
        log.contains("pages of the packet memory were taken away")
            .then_some(())
    });
    assert!(
        taken.is_some(),
        "{} are free; {}",
        HugePages::free(),
        manager.log()
    );
    let from = manager.status().balance.received;
    manager.wait_until("it goes on", SOON, |s| s.balance.received > from + 500);
    drop(packets);
    assert_eq!(manager.terminate().code, Some(0));
}

const USERS: &str = "/run/systemd/dynamic-uid";

/// None of these user ids is left behind. Another manager that takes one makes its file before it locks it.
fn assert_given_back(users: &[String]) {
    let given_back = process::wait_for(SOON, || abandoned(users).is_empty().then_some(()));
    assert!(given_back.is_some(), "{:?}", abandoned(users));
}

/// Those of these user ids whose files are there and locked by nobody.
fn abandoned(users: &[String]) -> Vec<String> {
    let free = |user: &&String| {
        let file = fs::File::open(Path::new(USERS).join(user));
        file.is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockShared).is_ok())
    };
    users.iter().filter(free).cloned().collect()
}

fn users(manager: &Manager) -> Vec<String> {
    let user = |pid| {
        let ids = process::status_field(pid, "Uid");
        ids.split_whitespace().next().unwrap().to_owned()
    };
    manager.nf_processes().into_iter().map(user).collect()
}

#[test]
fn two_managers_share_no_user_id_and_give_all_of_them_back() {
    let scratches = [scratch(), scratch()];
    let managers = scratches.each_ref().map(|scratch| {
        let bundle = bundle(scratch, "honest", "off", &[]);
        Manager::ready(&bundle, "test", &scratch.run_dir(), &[])
    });
    let [mut killed, stopped] = managers;
    let (of_killed, of_stopped) = (users(&killed), users(&stopped));
    let all = [of_killed, of_stopped.clone()].concat();
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), 6, "{all:?}");
    let there = |user: &String| Path::new(USERS).join(user).exists();
    assert!(all.iter().all(there), "{all:?}");
    assert_eq!(abandoned(&all), Vec::<String>::new());
    let nfs = killed.nf_processes();
    killed.kill();
    let gone = || nfs.iter().all(|&pid| process::has_ended(pid)).then_some(());
    assert!(
        process::wait_for(SOON, gone).is_some(),
        "NFs outlive their manager"
    );
    stopped.terminate_whole(2 * STOCK);
    // Other managers of this host may have them by now.
    assert_given_back(&of_stopped);
    let bundle = scratches[0].path("honest");
    let again = Manager::ready(&bundle, "test", &scratches[0].run_dir(), &[]);
    let of_again = users(&again);
    again.terminate_whole(2 * STOCK);
    assert_given_back(&of_again);
}

/// As in a chroot or a container: the locks on user ids of the two are in different file systems.
#[test]
fn managers_that_see_no_common_run_directory_share_no_user_id() {
    let scratches = [scratch(), scratch()];
    let [first, second] = scratches
        .each_ref()
        .map(|scratch| bundle(scratch, "honest", "off", &[]));
    let first = Manager::ready(&first, "test", &scratches[0].run_dir(), &[]);
    let mut apart = Command::new("unshare");
    let hide = format!("mount -t tmpfs none {USERS} && exec \"$@\"");
    apart
        .args(["--mount", "sh", "-c", &hide, "sh"])
        .arg(programs::path("onvm-run"));
    apart
        .arg(&second)
        .arg("--run-dir")
        .arg(scratches[1].run_dir())
        .arg("--json");
    let second = Manager::spawn(apart, "test", &scratches[1].run_dir());
    second.wait_for_log("READY");
    let all: std::collections::HashSet<_> = [&first, &second].into_iter().flat_map(users).collect();
    assert_eq!(all.len(), 6, "{all:?}");
    second.terminate_whole(2 * STOCK);
    assert_eq!(first.nf_processes().len(), 3, "its NFs live on");
    first.terminate_whole(2 * STOCK);
}

#[test]
fn each_promise_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |page: &str| fs::read_to_string(root.join(page)).unwrap();
    let text = read("docs/SECURITY.md") + &read("docs/ARCHITECTURE.md");
    let mut named = 0;
    for code in text.split('`').skip(1).step_by(2) {
        let Some((file, name)) = code.split_once(".rs: ") else {
            continue;
        };
        let source =
            fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_else(|e| panic!("{code}: {e}"));
        let (before, _) = source
            .split_once(&format!("fn {name}("))
            .unwrap_or_else(|| panic!("{code}"));
        // A reason to ignore it in `make test` may stand between.
        assert!(
            before.lines().rev().take(3).any(|line| line.trim() == "#[test]"),
            "{code}"
        );
        named += 1;
    }
    assert!(named > 28, "{named} tests are named");
}
