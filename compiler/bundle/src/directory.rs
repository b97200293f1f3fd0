//! A bundle's directory, held open: every file is opened below it, by a way without links, and only if it is a regular one.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};

use crate::{BundleError, is_file_path};

/// Nothing is waited for, whatever lies there by the time of the opening.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

#[derive(Debug)]
pub(crate) struct Directory {
    pub path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            fd: rustix::fs::open(path, FLAGS | OFlags::DIRECTORY, Mode::empty())?,
        })
    }

    /// Opens a file for reading, and gives its size as well.
    pub(crate) fn file(&self, name: &str) -> Result<(File, u64), BundleError> {
        if !is_file_path(name) {
            return Err(self.escapes(name));
        }
        let mut parts: Vec<&str> = name.split('/').collect();
        let last = parts.pop().unwrap_or_default();
        let above = self.descend(name, &parts)?;
        let at = above.as_ref().unwrap_or(&self.fd);
        // Looked at before it is opened, since opening a device can have effects; and again after, since it may be another by then.
        let found = statat(at, last, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.failed(name, e))?;
        self.regular(name, FileType::from_raw_mode(found.st_mode))?;
        let fd =
            openat(at, last, FLAGS | OFlags::NOFOLLOW, Mode::empty()).map_err(|e| self.failed(name, e))?;
        let opened = fstat(&fd).map_err(|e| self.failed(name, e))?;
        self.regular(name, FileType::from_raw_mode(opened.st_mode))?;
        Ok((fd.into(), u64::try_from(opened.st_size).unwrap_or(0)))
    }

    /// The directory below; none: this one.
    fn descend(&self, name: &str, parts: &[&str]) -> Result<Option<OwnedFd>, BundleError> {
        let mut below = None;
        for part in parts {
            let at = below.as_ref().unwrap_or(&self.fd).as_fd();
            match openat(
                at,
                *part,
                FLAGS | OFlags::NOFOLLOW | OFlags::DIRECTORY,
                Mode::empty(),
            ) {
                Ok(fd) => below = Some(fd),
                Err(e) => {
                    let found = statat(at, *part, AtFlags::SYMLINK_NOFOLLOW);
                    let is_link =
                        found.is_ok_and(|f| FileType::from_raw_mode(f.st_mode) == FileType::Symlink);
                    return Err(if is_link {
                        self.escapes(name)
                    } else {
                        self.failed(name, e)
                    });
                }
            }
        }
        Ok(below)
    }

    fn regular(&self, name: &str, kind: FileType) -> Result<(), BundleError> {
        match kind {
            FileType::RegularFile => Ok(()),
            FileType::Symlink => Err(self.escapes(name)),
            _ => Err(BundleError::Io {
                path: self.path.join(name),
                source: io::Error::other("it is not a regular file"),
            }),
        }
    }

    fn escapes(&self, name: &str) -> BundleError {
        BundleError::Escapes {
            bundle: self.path.clone(),
            entry: name.to_owned(),
        }
    }

    fn failed(&self, name: &str, e: Errno) -> BundleError {
        let path = self.path.join(name);
        match e {
            Errno::NOENT | Errno::NOTDIR => BundleError::Missing(path),
            Errno::LOOP => self.escapes(name),
            _ => BundleError::Io {
                path,
                source: e.into(),
            },
        }
    }
}
