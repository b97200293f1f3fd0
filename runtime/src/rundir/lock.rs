//! Lock files: a process owns a resource while it lives and holds the lock on its file.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// Removes the file when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    pub(crate) _file: File,
}

impl Lock {
    /// Takes the lock, writes the text into its file, and says whether the file was there: its owner removes it, unless it was
    /// killed. None: somebody has it.
    pub(crate) fn take(path: &Path, text: &str) -> io::Result<Option<(Self, bool)>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        loop {
            let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
            let metadata = file.metadata()?;
            // Removed by its former owner between the two steps.
            if metadata.nlink() == 0 {
                continue;
            }
            file.set_len(0)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            (&file).write_all(text.as_bytes())?;
            let lock = Self {
                path: path.to_path_buf(),
                _file: file,
            };
            return Ok(Some((lock, metadata.len() > 0)));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // First the name, then, with the descriptor, the lock: a process that opened the file before checks whether
        // it still has its name.
        let _ = fs::remove_file(&self.path);
    }
}
