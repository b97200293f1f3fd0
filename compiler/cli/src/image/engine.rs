//! The container engine that gets the image.

use std::{
    io::{Seek, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use onvmc::doctor::Machine;

use super::Refusal;
use crate::{limited, machine::ThisMachine};

/// For an archive of some MiB.
const LIMIT: Duration = Duration::from_secs(120);

/// An engine's command, what asks it for an answer, and what starts it.
struct Engine {
    command: &'static str,
    probe: &'static [&'static str],
    start: &'static str,
}

const ENGINES: &[Engine] = &[
    Engine {
        command: "docker",
        probe: &["version", "--format", "{{.Server.Version}}"],
        start: "Start it (`systemctl start docker`; `dockerd` where the system has no init) or point DOCKER_HOST to one that runs",
    },
    Engine {
        command: "podman",
        probe: &["info", "--format", "{{.Version.Version}}"],
        start: "`podman info` says more",
    },
];

const WITHOUT: &str = "No engine is needed for an archive: onvmc image --format oci -o FILE";

/// Gives the archive to the first engine that answers, and its name back. The engine's command finds it, as by `DOCKER_HOST`.
pub(super) fn load(archive: &[u8]) -> Result<&'static str, Refusal> {
    let mut silent = Vec::new();
    for engine in ENGINES {
        let Some(program) = ThisMachine.program(engine.command, &[]) else {
            continue;
        };
        match ThisMachine.run(&program, engine.probe) {
            Ok(_) => return give(&program, archive).map(|()| engine.command),
            Err(why) => {
                let stop = if why.ends_with(['.', '?', '!']) { "" } else { "." };
                silent.push(format!("{}: {why}{stop} {}", engine.command, engine.start));
            }
        }
    }
    if silent.is_empty() {
        let install = "there is no container engine: neither docker nor podman is in PATH. Install one (Debian: apt install docker.io)";
        return Err(("engine", format!("{install}. {WITHOUT}")));
    }
    Err((
        "engine",
        format!("no container engine answers. {}. {WITHOUT}", silent.join(". ")),
    ))
}

fn give(program: &Path, archive: &[u8]) -> Result<(), Refusal> {
    let refused = |why: &str| {
        (
            "load",
            format!("{} does not take the image: {why}", program.display()),
        )
    };
    // A file and not a pipe, which nobody could fill while the command is waited for.
    let mut file = tempfile::tempfile().map_err(|e| refused(&format!("no temporary file: {e}")))?;
    file.write_all(archive)
        .and_then(|()| file.rewind())
        .map_err(|e| refused(&format!("cannot write a temporary file: {e}")))?;
    let mut command = Command::new(program);
    let ended = limited::run_on(command.arg("load"), Stdio::from(file), LIMIT)
        .map_err(|e| refused(&e.to_string()))?;
    if ended.stopped {
        return Err(refused(&format!("it did not end within {} s", LIMIT.as_secs())));
    }
    if !ended.output.status.success() {
        let said = String::from_utf8_lossy(&ended.output.stderr);
        return Err(refused(
            said.lines().next().unwrap_or("it failed without a message"),
        ));
    }
    Ok(())
}
