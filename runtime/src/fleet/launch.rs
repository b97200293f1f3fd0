//! Finding an NF's program, and starting it with as few rights as there are.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use onvm_bundle::RunSpec;

use super::users::User;
use crate::{
    error::RunError,
    jail::{Confinement, Jail, StartError, Started},
};

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

/// What the process of an instance is started with.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// None: it shares the user of the manager, which is not root and cannot choose.
    pub user: Option<Arc<User>>,
    /// Bytes of data that the process may allocate.
    pub memory: Option<u64>,
    /// The NUMA node of its memory; none: that of the core where it runs.
    pub node: Option<u16>,
}

impl Program {
    /// Starts the program in its jail, on these cores; none: on all.
    pub(super) async fn start(&self, jail: &Jail, cores: &[u16]) -> Result<Started, StartError> {
        let confinement = Confinement {
            memory: self.memory,
            user: self.user.as_ref().map(|user| user.id()),
            cores,
            node: self.node,
        };
        jail.start(&self.path, &self.args, &confinement).await
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
            fuses: false,
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
            fuses: false,
            image: None,
        };
        assert_eq!(find("x", &spec, &[dir.path().to_path_buf()]).unwrap(), path);
    }
}
