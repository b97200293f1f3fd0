//! The captures that ports write: refusals before one is opened, and reports of those that are not whole.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use onvm_bundle::{Bundle, PortKind};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::Serialize;

/// Refuses an output that cannot be written, in an operator's words: the driver would only say that it failed.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    if !dir.is_dir() {
        return Err(format!(
            "{shown}: the directory {} does not exist. Make it first.",
            dir.display()
        ));
    }
    let refused = |e: std::io::Error| {
        format!("{shown}: cannot be written: {e}. Name a file in a directory that you may write to.")
    };
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(format!("{shown}: this is a directory. Name a file to write.")),
        // Opening a pipe would wait for its reader.
        Ok(there) if there.is_file() => File::options().write(true).open(path).map(drop).map_err(refused),
        Ok(_) => Ok(()),
        Err(_) => accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|e| refused(e.into())),
    }
}

/// Refuses a port that writes what another one writes or reads: each would spoil the other's file. Gives the port's
/// index in the bundle and the reason.
pub(super) fn refuse_shared(bundle: &Bundle) -> Result<(), (usize, String)> {
    let mut reads = Vec::new();
    let mut writes = Vec::new();
    for (n, port) in bundle.manager.ports.iter().enumerate() {
        if let PortKind::Pcap { read, write, .. } = &port.kind {
            let file = |path: &Option<_>| path.as_ref().and_then(|p| identity(&bundle.resolve(p)));
            reads.extend(file(read).map(|f| (n, f)));
            writes.extend(file(write).map(|f| (n, f)));
        }
    }
    for (at, (n, file)) in writes.iter().enumerate() {
        let mut writers = writes[..at].iter();
        let (other, does) = match (
            writers.find(|(_, f)| f == file),
            reads.iter().find(|(_, f)| f == file),
        ) {
            (Some((other, _)), _) => (other, "writes"),
            (None, Some((other, _))) => (other, "reads"),
            (None, None) => continue,
        };
        let other = &bundle.manager.ports[*other].name;
        let reason = format!(
            "{}: port `{other}` {does} this file. Write to a file of its own.",
            file.display()
        );
        return Err((*n, reason));
    }
    Ok(())
}

/// One name for all ways to the same file. None: it is a device, a pipe or nothing that could be found.
fn identity(path: &Path) -> Option<PathBuf> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => path.canonicalize().ok(),
        Ok(_) => None,
        Err(_) => {
            let dir = path.parent().filter(|p| !p.as_os_str().is_empty());
            let dir = dir.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(dir.join(path.file_name()?))
        }
    }
}

/// An input that could not be read to its end.
#[derive(Debug, Clone, Serialize)]
pub struct UnreadInput {
    pub port: String,
    pub file: PathBuf,
    /// It names the file and the packet.
    pub reason: String,
}

impl std::fmt::Display for UnreadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port `{}`: {}", self.port, self.reason)
    }
}

/// An output that does not hold all that was sent into it.
#[derive(Debug, Clone, Serialize)]
pub struct CutOutput {
    pub port: String,
    pub file: PathBuf,
    /// Bytes that are there and bytes that should be.
    pub bytes: u64,
    pub expected: u64,
    /// Packets that are not there, or not as a whole.
    pub packets: u64,
    pub reason: String,
}

impl std::fmt::Display for CutOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "port `{}`: {}: the capture is cut, {} of {} bytes are there and packets that were sent are missing: {}. {}",
            self.port,
            self.file.display(),
            self.bytes,
            self.expected,
            self.packets,
            self.reason
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_a_missing_directory_are_no_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let error = check(dir.path()).unwrap_err();
        assert!(error.contains("this is a directory"), "{error}");
        let error = check(&dir.path().join("no/out.pcap")).unwrap_err();
        assert!(error.contains("does not exist. Make it first"), "{error}");
        check(&dir.path().join("out.pcap")).unwrap();
        assert!(!dir.path().join("out.pcap").exists(), "a check leaves nothing");
        check(Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn an_existing_output_is_not_touched_by_the_check() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "before").unwrap();
        check(file.path()).unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "before");
    }

    #[test]
    fn one_file_has_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.pcap"), dir.path().join("./a.pcap"));
        assert_eq!(identity(&a), identity(&b));
        fs::write(&a, "").unwrap();
        std::os::unix::fs::symlink(&a, dir.path().join("link")).unwrap();
        assert_eq!(identity(&a), identity(&dir.path().join("link")));
        assert_eq!(identity(Path::new("/dev/null")), None);
    }
}
