//! The real host: the only module that touches the machine.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags};

use onvmc::{
    artifact::Artifact,
    host::{Entry, Host},
};

/// Files of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskHost;

impl Host for DiskHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Reading a FIFO waits for its writer. A FIFO that a shell hands over, as `/dev/stdin`, is intended.
        if fs::metadata(path)?.file_type().is_fifo() && !path.starts_with("/dev") {
            let text = "this is a FIFO, expected a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        fs::read(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|found| found.len())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let entry = |found: io::Result<fs::DirEntry>| {
            let found = found?;
            Ok(match found.file_type()?.is_dir() {
                true => Entry::Directory(found.path()),
                false => Entry::File(found.path()),
            })
        };
        fs::read_dir(directory)?.map(entry).collect()
    }
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{}: {source}. Check that the directory exists and can be written.", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{}: it exists and is not a bundle (it has no bundle.toml). \
         Nothing was overwritten; name another directory, or remove this one.", .0.display()
    )]
    NotABundle(PathBuf),
}

/// Writes a bundle to a directory beside `dir` and puts it in the place of `dir` in one step: at every moment there is
/// the whole old bundle or the whole new one.
///
/// # Errors
/// When `dir` is there and is not a bundle, or when the file system refuses. What was at `dir` is then unchanged.
pub fn write_bundle(artifact: &Artifact, dir: &Path) -> Result<(), WriteError> {
    let there = dir.symlink_metadata().is_ok();
    if there && !dir.join("bundle.toml").is_file() {
        return Err(WriteError::NotABundle(dir.to_path_buf()));
    }
    let aside = sibling(dir)?;
    let written = write_all(artifact, &aside).and_then(|()| put_in_place(&aside, dir, there));
    if written.is_err() || there {
        // After an exchange this is the old bundle.
        let _ = fs::remove_dir_all(&aside);
    }
    written
}

/// Replaces a file's content in one step.
///
/// # Errors
/// What the file system says; the file is then unchanged.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    // Through a link, so that a linked source stays linked.
    let path = fs::canonicalize(path)?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let aside = path.with_file_name(format!(".{name}.tmp-{}", std::process::id()));
    let write = || {
        let mut file = fs::File::create(&aside)?;
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&aside, &path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))
}

/// A name beside `dir` that this process alone uses.
fn sibling(dir: &Path) -> Result<PathBuf, WriteError> {
    let Some(name) = dir.file_name() else {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it has no name of its own");
        return Err(WriteError::Io {
            path: dir.to_path_buf(),
            source,
        });
    };
    let aside = dir.with_file_name(format!(".{}.tmp-{}", name.to_string_lossy(), std::process::id()));
    match fs::remove_dir_all(&aside) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(WriteError::Io { path: aside, source })
        }
        _ => Ok(aside),
    }
}

fn write_all(artifact: &Artifact, aside: &Path) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| WriteError::Io { path, source }
    };
    fs::create_dir(aside).map_err(failed(aside))?;
    let mut dirs = std::collections::BTreeSet::from([aside.to_path_buf()]);
    for (name, content) in &artifact.files {
        let path = aside.join(name);
        if let Some(parent) = path.parent().filter(|p| !dirs.contains(*p)) {
            fs::create_dir_all(parent).map_err(failed(parent))?;
            let within = parent.ancestors().take_while(|a| *a != aside);
            dirs.extend(within.map(Path::to_path_buf));
        }
        let write = || {
            let mut file = fs::File::create_new(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(failed(&path))?;
    }
    dirs.iter().try_for_each(|d| sync_dir(d).map_err(failed(d)))
}

fn put_in_place(aside: &Path, dir: &Path, there: bool) -> Result<(), WriteError> {
    let failed = |source: io::Error| WriteError::Io {
        path: dir.to_path_buf(),
        source,
    };
    if there {
        exchange(aside, dir).map_err(failed)?;
    } else {
        // Refuses instead of replacing when somebody else was faster.
        rustix::fs::renameat_with(CWD, aside, CWD, dir, RenameFlags::NOREPLACE)
            .or_else(|e| {
                if unsupported(e) {
                    rustix::fs::rename(aside, dir)
                } else {
                    Err(e)
                }
            })
            .map_err(|e| failed(e.into()))?;
    }
    let parent = dir
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    sync_dir(parent).map_err(failed)
}

/// Swaps two directories. File systems that cannot do it in one step get two: the old one is moved out of the way.
fn exchange(aside: &Path, dir: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, aside, CWD, dir, RenameFlags::EXCHANGE) {
        Err(e) if unsupported(e) => {
            let old = aside.with_extension("old");
            fs::rename(dir, &old)?;
            fs::rename(aside, dir).or_else(|e| fs::rename(&old, dir).and(Err(e)))?;
            fs::remove_dir_all(&old)
        }
        other => Ok(other?),
    }
}

fn unsupported(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].contains(&e)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(content: &str) -> Artifact {
        let files = [
            ("bundle.toml".to_owned(), content.into()),
            ("a/b/c".to_owned(), content.into()),
        ];
        let index = onvm_bundle::Index {
            format: 1,
            name: String::new(),
            generation: String::new(),
            compiler: String::new(),
            main: String::new(),
            params: Default::default(),
            secrets: Vec::new(),
            files: Vec::new(),
        };
        Artifact {
            index,
            files: files.into_iter().collect(),
        }
    }

    #[test]
    fn a_bundle_is_replaced_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("edge.bundle");
        write_bundle(&artifact("one"), &dir).unwrap();
        write_bundle(&artifact("two"), &dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a/b/c")).unwrap(), "two");
        let names: Vec<_> = fs::read_dir(root.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["edge.bundle"], "nothing is left behind");

        let other = root.path().join("precious");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("data"), "mine").unwrap();
        assert!(matches!(
            write_bundle(&artifact("three"), &other),
            Err(WriteError::NotABundle(_))
        ));
        assert_eq!(fs::read_to_string(other.join("data")).unwrap(), "mine");
    }

    #[test]
    fn a_missing_parent_is_named() {
        let root = tempfile::tempdir().unwrap();
        let e = write_bundle(&artifact("x"), &root.path().join("no/such/dir")).unwrap_err();
        assert!(e.to_string().contains("no/such"), "{e}");
    }
}
