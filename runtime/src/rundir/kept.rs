//! Copies of the bundles that run, so that the operator may move or change the originals.

use std::{
    fs::File,
    io::Write,
    ops::Deref,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use onvm_bundle::Bundle;
use rustix::fs::{Mode, OFlags, fchmod, openat};

use super::{
    RunDir, WRITABLE,
    own::{self, Access},
};
use crate::error::RunError;

const NO_ROOM: &str = "Make room there, or choose another directory with --run-dir.";

/// A copied bundle. Dropping it removes the copy.
#[derive(Debug)]
pub(crate) struct Kept {
    bundle: Bundle,
    _copy: Copy,
}

impl Deref for Kept {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

/// Copies bundles into a run directory; for a thread that may wait for a disk.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// `bundles` in the run directory.
    bundles: OwnedFd,
    path: PathBuf,
    access: Access,
}

impl RunDir {
    pub(crate) fn keeper(&self) -> Result<Keeper, RunError> {
        let path = self.path.join("bundles");
        Ok(Keeper {
            bundles: own::open_dir(self.fd.as_fd(), "bundles", &path, self.access.directory())?,
            path,
            access: self.access,
        })
    }
}

impl Keeper {
    /// Copies a bundle to where its generation lives while it runs. The copy is of the verified content; of a failure
    /// nothing is left.
    pub(crate) fn keep(self, bundle: &Bundle) -> Result<Kept, RunError> {
        let name: String = bundle.index.generation.chars().take(16).collect();
        let path = self.path.join(&name);
        own::remove(&self.bundles, &name);
        let copy = Copy {
            within: self.bundles,
            name,
        };
        let mode = self.access.directory();
        let dir = own::open_dir(copy.within.as_fd(), &copy.name, &path, mode)?;
        bundle.hand_out(|name| {
            let to = path.join(name);
            let mut file = create(&dir, &path, name, self.access)?;
            Ok::<_, RunError>(move |piece: &[u8]| file.write_all(piece).map_err(RunError::io(&to, NO_ROOM)))
        })?;
        Ok(Kept {
            bundle: Bundle {
                dir: path,
                ..bundle.clone()
            },
            _copy: copy,
        })
    }
}

/// Makes a file, and the directories on the way to it.
fn create(dir: &OwnedFd, shown: &Path, name: &str, access: Access) -> Result<File, RunError> {
    let mut at = None;
    let mut shown = shown.to_path_buf();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        shown.push(part);
        let within = at.as_ref().unwrap_or(dir).as_fd();
        if parts.peek().is_some() {
            at = Some(own::open_dir(within, part, &shown, access.directory())?);
            continue;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(within, part, flags, Mode::RUSR | Mode::WUSR)
            .and_then(|file| fchmod(&file, access.file()).map(|()| file));
        return made
            .map(File::from)
            .map_err(|e| RunError::io(&shown, NO_ROOM)(e.into()));
    }
    Err(RunError::io(&shown, WRITABLE)(
        std::io::ErrorKind::InvalidInput.into(),
    ))
}

/// The directory of a copy, whole or begun.
#[derive(Debug)]
struct Copy {
    /// `bundles` in the run directory.
    within: OwnedFd,
    name: String,
}

impl Drop for Copy {
    fn drop(&mut self) {
        own::remove(&self.within, &self.name);
    }
}
