//! Finding an NF's program, and starting it with as few rights as there are.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use onvm_bundle::RunSpec;
use tokio::process::{Child, Command};

use super::rundir::InstanceDir;
use crate::{
    error::RunError,
    jail::{Confinement, Jail},
};

/// First user id for NFs, in the range that systemd sets aside for services without a name of their own
/// (`DynamicUser=`, 61184 to 65519).
const FIRST_USER: u32 = 61_184;
const USERS: u32 = 4_336;

/// The user that the instance in this slot runs as; none when the manager is not root and cannot choose.
pub(super) fn user_of(slot: u16) -> Option<u32> {
    rustix::process::geteuid()
        .is_root()
        .then(|| FIRST_USER + u32::from(slot) % USERS)
}

/// Looks for a program beside onvm-run, in the given directories, then in `PATH`.
pub(super) fn find(instance: &str, spec: &RunSpec, directories: &[PathBuf]) -> Result<PathBuf, RunError> {
    let own = std::env::current_exe()
        .ok()
        .and_then(|p| p.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named: Vec<PathBuf> = own.into_iter().chain(directories.iter().cloned()).collect();
    let all = named.iter().cloned().chain(std::env::split_paths(&path));
    let executable = |p: &PathBuf| {
        p.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    all.map(|dir| dir.join(&spec.binary))
        .find(executable)
        .ok_or_else(|| {
            let mut searched: Vec<String> = named.iter().map(|d| d.display().to_string()).collect();
            searched.push("PATH".to_owned());
            RunError::Program {
                instance: instance.to_owned(),
                binary: spec.binary.clone(),
                searched: searched.join(", "),
            }
        })
}

/// What an instance is started with.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub user: Option<u32>,
    /// Bytes of data that the process may allocate.
    pub memory: Option<u64>,
    /// Cores that it may run on; empty: all.
    pub cores: Vec<usize>,
}

impl Launch {
    /// Starts the process in its jail: its own user, an empty environment except for its socket, its instance's directory to
    /// work in.
    pub(super) fn start(&self, dir: &InstanceDir, jail: &Jail) -> io::Result<Child> {
        // Through descriptors, so that the NF's user needs no way to the program or the directory.
        let program = File::open(&self.program)?;
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command
            .arg0(&self.program)
            .args(&self.args)
            .current_dir(dir.by_descriptor())
            .env_clear()
            .env(nflib::session::SOCKET_VARIABLE, "nf.sock")
            // It dies with this manager, and looks for no other.
            .env(nflib::session::REATTACH_VARIABLE, "0")
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let confinement = Confinement {
            memory: self.memory,
            own_user: self.user.is_some(),
            cores: &self.cores,
        };
        jail.close_around(&mut command, &confinement);
        command.spawn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_nowhere_is_named_with_where_it_was_looked_for() {
        let spec = RunSpec {
            binary: "no-such-nf".into(),
            args: Vec::new(),
            image: None,
        };
        let error = find("fw-0", &spec, &[PathBuf::from("/opt/nfs")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`no-such-nf`") && error.contains("/opt/nfs") && error.contains("--nf-path"),
            "{error}"
        );
    }

    #[test]
    fn directories_come_before_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sh");
        std::fs::write(&path, "#!/bin/true").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let spec = RunSpec {
            binary: "sh".into(),
            args: Vec::new(),
            image: None,
        };
        assert_eq!(find("x", &spec, &[dir.path().to_path_buf()]).unwrap(), path);
    }
}
