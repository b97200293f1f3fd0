//! The Compose that is installed: version 2 as the engine's plug-in or as a program of its own, or docker-compose 1.29.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{error::RunError, jail};

/// The ways to call it, best first.
const WAYS: [&[&str]; 3] = [
    &["docker", "compose"],
    &["docker-compose"],
    &["podman", "compose"],
];
/// For an answer about its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
/// For a command: version 1 takes some 0.8 s for the first container on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of its complaint that are shown.
const LONGEST_COMPLAINT: usize = 2000;

#[derive(Debug)]
pub(super) struct Compose {
    way: &'static [&'static str],
    version: String,
}

impl Compose {
    pub(super) async fn find() -> Result<Self, RunError> {
        for way in WAYS {
            let version = output(way, ["version", "--short"], &[], None, VERSION_DEADLINE).await;
            if let Ok(version) = version {
                let version = version.trim().trim_start_matches('v').to_owned();
                return Ok(Self { way, version });
            }
        }
        Err(RunError::Unsupported(
            "Compose is missing: neither `docker compose` nor `docker-compose` works. Install it (Debian: `apt-get install \
             docker-compose`), or run the NFs as processes (`--nfs process`)."
                .to_owned(),
        ))
    }

    /// To be shown.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.way.join(" "), self.version)
    }

    /// Creates the containers of these services, in a project of their own, and starts none.
    pub(super) async fn create(
        &self,
        project: &str,
        bundle: &Path,
        services: &[String],
        variables: &[(String, String)],
    ) -> Result<(), String> {
        // With `scale` also those that are started when a service is scaled.
        let options = [
            "--project-name",
            project,
            "--file",
            "compose.yaml",
            "--profile",
            "scale",
        ];
        let command = ["up", "--no-start", "--no-build", "--no-deps"];
        let services = services.iter().map(String::as_str);
        let arguments = options.into_iter().chain(command).chain(services);
        // Where it reads seccomp.json.
        output(self.way, arguments, variables, Some(bundle), DEADLINE)
            .await
            .map(drop)
    }
}

/// Runs it to its end: what it prints, or why it failed.
async fn output<'a>(
    way: &[&str],
    arguments: impl IntoIterator<Item = &'a str>,
    variables: &[(String, String)],
    directory: Option<&Path>,
    deadline: Duration,
) -> Result<String, String> {
    let [program, first @ ..] = way else {
        return Err("there is no program".to_owned());
    };
    let shown = way.join(" ");
    let mut command = Command::new(program);
    command
        .args(first)
        .args(arguments)
        .envs(
            variables
                .iter()
                .map(|(name, value)| (OsStr::new(name), OsString::from(value))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let child = command
        .spawn()
        .map_err(|e| format!("`{shown}` cannot be started: {e}"))?;
    // The sweep for what NFs leave behind leaves it alone.
    let _own = child.id().map(jail::OwnChild::new);
    let ended = tokio::time::timeout(deadline, child.wait_with_output()).await;
    let output = ended
        .map_err(|_| format!("`{shown}` did not end within {} s", deadline.as_secs()))?
        .map_err(|e| format!("`{shown}` cannot be waited for: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(LONGEST_COMPLAINT).collect();
            Err(format!("`{shown}` failed ({}): {said}", output.status))
        }
    }
}
