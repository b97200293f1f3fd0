//! Finding an NF's program, and starting it with as few rights as there are.

use std::{
    fs::File,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use onvm_bundle::RunSpec;

use super::users::User;
use crate::{
    error::RunError,
    jail::{Confinement, Jail, StartError, Started, is_seen},
};

/// Bytes at the start of a script that the kernel looks at.
const LONGEST_FIRST_LINE: u64 = 256;

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
        .map(|path| std::path::absolute(&path).unwrap_or(path))
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

/// What a program needs of the file system beside what every NF sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// It is a script, which its interpreter reads by its path.
    pub script: bool,
    /// The manifest's `files`.
    pub files: Vec<PathBuf>,
}

impl Needs {
    /// Of a program with this absolute path, whose manifests name these files. What is not there, or could not be seen, is an error
    /// before anything starts.
    pub(super) fn of<'a>(
        instance: &str,
        path: &Path,
        files: impl Iterator<Item = &'a String>,
    ) -> Result<Self, RunError> {
        let fail = |reason: String| RunError::Files {
            instance: instance.to_owned(),
            program: path.display().to_string(),
            reason,
        };
        let interpreter = interpreter(path);
        if let Some(interpreter) = interpreter.as_ref().filter(|path| !is_seen(path)) {
            return Err(fail(format!(
                "expected an interpreter that NFs can see in its first line, e.g. one in /usr, found `{}`",
                interpreter.display()
            )));
        }
        let beside = |name: &String| {
            let file = path.with_file_name(name);
            match file.exists() {
                true => Ok(file),
                false => Err(fail(format!(
                    "`files` of its manifest names `{name}`, and there is no {}",
                    file.display()
                ))),
            }
        };
        Ok(Self {
            script: interpreter.is_some(),
            files: files.map(beside).collect::<Result<_, _>>()?,
        })
    }
}

/// The interpreter that a script's first line names; none of another program.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    let file = File::open(path).ok()?;
    file.take(LONGEST_FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty());
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(words.next()?)))
}

/// What the process of an instance is started with.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Absolute.
    pub path: PathBuf,
    pub needs: Needs,
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
            needs: &self.needs,
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
            files: Vec::new(),
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
            files: Vec::new(),
            fuses: false,
            image: None,
        };
        assert_eq!(find("x", &spec, &[dir.path().to_path_buf()]).unwrap(), path);
    }

    #[test]
    fn a_script_needs_an_interpreter_that_it_can_see_and_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nf.py");
        let needs = |first: &str, files: &[&str]| {
            std::fs::write(&path, first).unwrap();
            let files: Vec<String> = files.iter().map(ToString::to_string).collect();
            Needs::of("nf-0", &path, files.iter()).map_err(|e| e.to_string())
        };
        let script = |files: &[&str]| Needs {
            script: true,
            files: files.iter().map(|name| dir.path().join(name)).collect(),
        };
        assert_eq!(needs("#!/bin/sh -e\n", &[]), Ok(script(&[])));
        assert_eq!(needs("#! \t/usr/bin/env sh", &["nf.py"]), Ok(script(&["nf.py"])));
        assert_eq!(needs("\x7fELF", &[]), Ok(Needs::default()));
        assert_eq!(needs("#!\n", &[]), Ok(Needs::default()));
        let error = needs("#!/home/me/bin/python\n", &[]).unwrap_err();
        assert!(
            error.contains("`/home/me/bin/python`") && error.contains("NF `nf-0`"),
            "{error}"
        );
        let error = needs("#!/usr/bin/../../home/me/python\n", &[]).unwrap_err();
        assert!(error.contains("NFs can see"), "{error}");
        let error = needs("", &["lib"]).unwrap_err();
        assert!(
            error.contains("`lib`") && error.contains("there is no "),
            "{error}"
        );
    }
}
