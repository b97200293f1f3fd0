//! `onvm-run`, and what it does with NFs.

use std::path::Path;

use onvm_bundle::Run;

use super::{Check, Machine, Options, Subject, facts};

/// First and last user id that `onvm-run` gives to NFs when it is root.
const USERS: (u64, u64) = (61_184, 65_519);

pub(super) fn all(machine: &dyn Machine, options: &Options, subject: Option<Subject<'_>>) -> Vec<Check> {
    let mut checks = vec![version(machine), isolation(machine), run_dir(machine, options)];
    let containers = subject.is_some_and(|s| s.manager.services.iter().any(|s| s.run == Run::Container));
    if containers {
        checks.push(docker(machine));
    }
    checks
}

fn version(machine: &dyn Machine) -> Check {
    const NAME: &str = "onvm-run";
    let install = "make release && sudo make install";
    let Some(path) = machine.program(NAME, &[]) else {
        return Check::failed(NAME, "it is neither beside onvmc nor in PATH", install);
    };
    let shown = path.display();
    match machine.run(&path, &["--version"]) {
        Err(why) => Check::failed(NAME, format!("{shown} does not start: {why}"), install),
        Ok(text) => {
            // `onvm-run 0.1.0 (DPDK 22.11.5)`
            let found = format!("{}, {shown}", text.trim());
            let own = env!("CARGO_PKG_VERSION");
            match text.split_whitespace().nth(1) {
                Some(version) if version == own => Check::ok(NAME, found),
                _ => Check::warning(NAME, format!("{found}; onvmc has version {own}"), install),
            }
        }
    }
}

/// What keeps NFs apart; see the page on running.
fn isolation(machine: &dyn Machine) -> Check {
    const NAME: &str = "isolation";
    if !machine.exists(Path::new("/proc/self/fd")) {
        return Check::failed(
            NAME,
            "/proc is not mounted, and NFs are started through it",
            "sudo mount -t proc proc /proc",
        );
    }
    if !facts::is_root(machine) {
        let found =
            "not root: NFs share the user id of onvm-run, and could send signals to it and to each other";
        return Check::warning(NAME, found, "sudo onvm-run BUNDLE");
    }
    let map = machine.read(Path::new("/proc/self/uid_map")).unwrap_or_default();
    let covers = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        matches!((numbers.next(), numbers.next(), numbers.next()),
            (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) if first <= USERS.0 && USERS.1 < first.saturating_add(count))
    };
    if map.lines().any(covers) {
        return Check::ok(
            NAME,
            format!("root: each NF gets a user id of its own, from {} on", USERS.0),
        );
    }
    Check::failed(
        NAME,
        format!(
            "this user namespace has no user ids {} to {}, which NFs get where onvm-run is root",
            USERS.0, USERS.1
        ),
        "start onvm-run outside of the user namespace, or as another user than root",
    )
}

/// Paths of Unix sockets are at most 107 bytes long, which `onvm-run` checks itself.
fn run_dir(machine: &dyn Machine, options: &Options) -> Check {
    const NAME: &str = "run directory";
    let dir = &options.run_dir;
    let nearest = dir
        .ancestors()
        .find(|p| machine.exists(p))
        .unwrap_or(Path::new("/"));
    match machine.may(nearest, super::Access::Write) {
        true => Check::ok(NAME, format!("{} can be written", dir.display())),
        false => Check::failed(
            NAME,
            format!("{} cannot be written by this user", nearest.display()),
            format!("sudo install -d -o \"$USER\" {}", dir.display()),
        ),
    }
}

fn docker(machine: &dyn Machine) -> Check {
    const NAME: &str = "docker";
    let Some(path) = machine.program(NAME, &[]) else {
        return Check::failed(
            NAME,
            "no docker in PATH, and `run = container` is asked for",
            "sudo apt-get install docker.io docker-compose",
        );
    };
    match machine.run(
        &path,
        &["version", "--format", "{{.Client.Version}} {{.Server.Version}}"],
    ) {
        Ok(text) => {
            let mut versions = text.split_whitespace();
            let (client, engine) = (versions.next().unwrap_or("?"), versions.next().unwrap_or("?"));
            Check::ok(NAME, format!("client {client}, engine {engine}"))
        }
        Err(why) => Check::failed(
            NAME,
            format!("the engine does not answer: {why}"),
            "sudo systemctl start docker",
        ),
    }
}
