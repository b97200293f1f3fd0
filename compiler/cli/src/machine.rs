//! The host that `onvmc doctor` runs on.

use std::{
    fs, io,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use onvmc::doctor::{Access, Machine};

/// Programs that are asked for their version end at once or hang.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any file that is read has.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy)]
pub(super) struct ThisMachine;

impl Machine for ThisMachine {
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn link(&self, path: &Path) -> Option<String> {
        let target = fs::read_link(path).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn may(&self, path: &Path, access: Access) -> bool {
        let mode = match access {
            Access::Read => rustix::fs::Access::READ_OK,
            Access::Write if path.is_dir() => rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
            Access::Write => rustix::fs::Access::WRITE_OK,
        };
        rustix::fs::access(path, mode).is_ok()
    }

    fn variable(&self, name: &str) -> Option<String> {
        // `var` panics for names that no variable can have.
        let possible = !name.is_empty() && !name.contains(['=', '\0']);
        possible.then(|| std::env::var(name).ok()).flatten()
    }

    fn program(&self, name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
        let own = std::env::current_exe()
            .ok()
            .and_then(|p| p.parent().map(Path::to_path_buf));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = own
            .into_iter()
            .chain(directories.iter().cloned())
            .chain(std::env::split_paths(&path));
        let executable = |p: &PathBuf| {
            p.metadata()
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        all.map(|dir| dir.join(name)).find(executable)
    }

    fn run(&self, program: &Path, args: &[&str]) -> Result<String, String> {
        let said = |e: io::Error| e.to_string();
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(said)?;
        let began = Instant::now();
        while child.try_wait().map_err(said)?.is_none() {
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer within {} s", PATIENCE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().map_err(said)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(stderr
            .lines()
            .next()
            .map_or_else(|| output.status.to_string(), str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_answers() {
        let machine = ThisMachine;
        assert!(
            machine
                .read(Path::new("/proc/meminfo"))
                .unwrap()
                .contains("MemAvailable")
        );
        assert!(machine.read(Path::new("/nonexistent")).is_err());
        assert_eq!(machine.variable("A=B"), None);
        let sh = machine.program("sh", &[]).unwrap();
        assert_eq!(machine.run(&sh, &["-c", "echo yes"]), Ok("yes\n".to_owned()));
        assert_eq!(
            machine.run(&sh, &["-c", "echo no >&2; exit 3"]),
            Err("no".to_owned())
        );
        assert!(machine.run(Path::new("/nonexistent"), &[]).is_err());
        assert_eq!(machine.program("no-such-program", &[PathBuf::from("/")]), None);
        let dir = tempfile::tempdir().unwrap();
        assert!(machine.may(dir.path(), Access::Write) && machine.may(dir.path(), Access::Read));
        assert!(!machine.may(&dir.path().join("none"), Access::Read));
    }
}
