//! `onvm-run`, and what it does with NFs.

use std::path::Path;

use onvm_api::Isolation;
use onvm_bundle::Run;

use super::{Check, Machine, Options, State, Subject, facts};

pub(super) fn all(machine: &dyn Machine, options: &Options, subject: Option<Subject<'_>>) -> Vec<Check> {
    let mut checks = vec![version(machine)];
    // Only onvm-run knows what it can hold NFs with.
    if checks[0].state != State::Failed {
        checks.push(isolation(machine));
    }
    checks.push(run_dir(machine, options));
    let containers = subject.is_some_and(|s| s.manager.services.iter().any(|s| s.run == Run::Container));
    if containers {
        checks.extend([docker(machine), compose(machine)]);
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

/// The means of isolation, which `onvm-run` tries; see the page on running.
fn isolation(machine: &dyn Machine) -> Check {
    const NAME: &str = "isolation";
    let install = "make release && sudo make install";
    let Some(path) = machine.program("onvm-run", &[]) else {
        return Check::failed(NAME, "only onvm-run can say, which is not there", install);
    };
    let text = match machine.run(&path, &["--isolation", "--json"]) {
        Ok(text) => text,
        Err(why) => {
            let fix = "fix the reported problem, or start onvm-run with the reported `--waive`";
            return Check::failed(NAME, why, fix);
        }
    };
    let Ok(isolation) = serde_json::from_str::<Isolation>(&text) else {
        let found = format!("onvm-run reports something unknown to onvmc: {}", text.trim());
        return Check::failed(NAME, found, install);
    };
    let found = isolation.means.join(", ");
    if isolation.missing.is_empty() {
        return Check::ok(NAME, found);
    }
    let missing: Vec<String> = isolation
        .missing
        .iter()
        .map(|m| format!("{} ({})", m.means, m.reason))
        .collect();
    let fix = match facts::is_root(machine) {
        true => "permit it on this host, or in the profile of the container",
        false => "sudo onvm-run BUNDLE",
    };
    Check::warning(NAME, format!("{found}; not {}", missing.join(", ")), fix)
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

/// Either as the engine's plug-in, or as a program of its own.
fn compose(machine: &dyn Machine) -> Check {
    const NAME: &str = "compose";
    let ways: [(&str, &[&str]); 2] = [
        ("docker", &["compose", "version", "--short"]),
        ("docker-compose", &["version", "--short"]),
    ];
    let found = ways.into_iter().find_map(|(program, arguments)| {
        let path = machine.program(program, &[])?;
        machine.run(&path, arguments).ok()
    });
    match found {
        Some(version) => Check::ok(NAME, version.trim().to_owned()),
        None => Check::failed(
            NAME,
            "neither `docker compose` nor `docker-compose` works, and `run = container` is asked for",
            "sudo apt-get install docker-compose",
        ),
    }
}
