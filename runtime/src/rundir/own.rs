//! Directories that belong to this user. One that another user made, or may write to, is not used, and no link is
//! followed: its author would choose what this process, often root, writes and removes.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat, statat, unlinkat},
    io::Errno,
};

use super::WRITABLE;
use crate::error::RunError;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Group and others may write.
const WRITTEN_BY_OTHERS: u32 = 0o022;

/// The users that may use a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The user alone.
    Own,
    /// The group as well: its members may use the control socket.
    Group,
}

impl Access {
    pub(super) fn directory(self) -> Mode {
        Mode::from_raw_mode(if self == Self::Group { 0o750 } else { 0o700 })
    }

    pub(super) fn file(self) -> Mode {
        Mode::from_raw_mode(if self == Self::Group { 0o640 } else { 0o600 })
    }

    pub(super) fn socket(self) -> Mode {
        Mode::from_raw_mode(if self == Self::Group { 0o660 } else { 0o600 })
    }
}

/// The directory of all run directories.
#[derive(Debug)]
pub(super) struct Base {
    pub fd: OwnedFd,
    /// Absolute.
    pub path: PathBuf,
    /// As its mode grants.
    pub access: Access,
}

/// Opens the directory of all run directories; makes it where it is missing, for root as it is usual below `/run`, for others
/// private.
pub(super) fn open_base(path: &Path) -> Result<Base, RunError> {
    // Without a `/` at its end, which would have a link followed.
    let path: PathBuf = path.components().collect();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(RunError::io(parent, WRITABLE))?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let within = rustix::fs::open(parent, DIRECTORY - OFlags::NOFOLLOW, Mode::empty());
    let within = within.map_err(|e| RunError::io(parent, WRITABLE)(e.into()))?;
    let is_root = rustix::process::geteuid().is_root();
    let mode = Mode::from_raw_mode(if is_root { 0o755 } else { 0o700 });
    let made = make(within.as_fd(), name, mode).map_err(RunError::io(&path, WRITABLE))?;
    let (fd, found) = open(within.as_fd(), name, &path)?;
    refuse_foreign(&path, &found, true)?;
    let place = fstat(&within).map_err(|e| RunError::io(parent, WRITABLE)(e.into()))?;
    // In a place like `/tmp` a user's own is private, also what an earlier manager left open.
    let private = !is_root && found.st_uid != 0 && place.st_mode & WRITTEN_BY_OTHERS != 0;
    let granted = if made || private {
        fchmod(&fd, mode).map_err(|e| RunError::io(&path, WRITABLE)(e.into()))?;
        mode.as_raw_mode()
    } else {
        found.st_mode
    };
    let absolute = fs::read_link(by_descriptor(&fd)).map_err(RunError::io(&path, "Is /proc mounted?"))?;
    Ok(Base {
        fd,
        path: absolute,
        access: match granted & 0o010 != 0 {
            true => Access::Group,
            false => Access::Own,
        },
    })
}

/// Opens a directory below one's own; makes it where it is missing. Its mode is this one, whatever the umask.
pub(super) fn open_dir(
    at: BorrowedFd<'_>,
    name: &str,
    shown: &Path,
    mode: Mode,
) -> Result<OwnedFd, RunError> {
    make(at, name, mode).map_err(RunError::io(shown, WRITABLE))?;
    let (fd, found) = open(at, name, shown)?;
    refuse_foreign(shown, &found, false)?;
    fchmod(&fd, mode).map_err(|e| RunError::io(shown, WRITABLE)(e.into()))?;
    Ok(fd)
}

/// Whether it was missing.
fn make(at: BorrowedFd<'_>, name: impl rustix::path::Arg, mode: Mode) -> io::Result<bool> {
    match mkdirat(at, name, mode) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn open(
    at: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    shown: &Path,
) -> Result<(OwnedFd, Stat), RunError> {
    let opened = openat(at, name, DIRECTORY, Mode::empty());
    let fd = opened.map_err(|e| match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => foreign(
            shown,
            "this is a symbolic link, which may lead anywhere",
            "Name the directory itself with --run-dir, or remove the link.",
        ),
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Directory => foreign(
            shown,
            "this is not a directory",
            "Choose another directory with --run-dir.",
        ),
        _ => RunError::io(shown, WRITABLE)(e.into()),
    })?;
    let found = fstat(&fd).map_err(|e| RunError::io(shown, WRITABLE)(e.into()))?;
    Ok((fd, found))
}

/// A directory of root counts as own where that is permitted: root needs no directory to do anything.
pub(super) fn refuse_foreign(shown: &Path, found: &Stat, or_root: bool) -> Result<(), RunError> {
    let user = rustix::process::geteuid().as_raw();
    if found.st_uid != user && !(or_root && found.st_uid == 0) {
        let found = format!(
            "this belongs to user {}, and onvm-run runs as user {user}",
            found.st_uid
        );
        let remedy = "Choose a directory of your own with --run-dir, or remove this one.";
        return Err(foreign(shown, &found, remedy));
    }
    if found.st_mode & WRITTEN_BY_OTHERS != 0 {
        let found = format!(
            "others may write here (mode {:o}), and so replace files of onvm-run here",
            found.st_mode & 0o7777
        );
        let remedy = "Take that right away with `chmod go-w`, or choose another directory with --run-dir.";
        return Err(foreign(shown, &found, remedy));
    }
    Ok(())
}

fn foreign(path: &Path, found: &str, remedy: &'static str) -> RunError {
    RunError::Foreign {
        path: path.to_path_buf(),
        found: found.to_owned(),
        remedy,
    }
}

/// An open directory by this process's own descriptor: the same wherever it lies, and whatever lies at its path by now.
pub(super) fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Removes what has this name, a whole tree or a link, but not its target. A missing entry is not an error, and one
/// that cannot be removed stays.
pub(super) fn remove(at: &OwnedFd, name: &str) {
    if let Err(Errno::ISDIR | Errno::PERM) = unlinkat(at, name, AtFlags::empty()) {
        let _ = fs::remove_dir_all(by_descriptor(at).join(name));
    }
}
