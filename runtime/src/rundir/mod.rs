//! The run directory: one manager at a time, and nothing left of it afterwards.
//!
//! ```text
//! <run dir>/                    0755 where root made it, else 0700; nobody else may write to it
//!     <bundle>/                 0750 or 0700
//!         manager.lock          flock held while the manager lives; its process id
//!         control.sock          0660 or 0600
//!         bundles/<generation>/ what runs, copied, so that the operator may remove the original
//!         nf/<instance>/        0700, where the manager does not start the NFs itself; 0710 for a container: its group may pass
//!             nf.sock           0600, the container's user's
//! ```
//!
//! Modes are set and do not depend on the umask. The group has its part where the mode of `<run dir>` grants it one.

mod kept;
pub(crate) mod lock;
mod own;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use onvm_api::CONTROL_SOCKET;
use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, openat, statat, unlinkat},
    fs::{Gid, Uid},
    io::Errno,
};

pub(crate) use self::kept::Kept;
use self::own::{Access, Base};
use crate::error::RunError;

const LOCK: &str = "manager.lock";

/// Attempts to open a lock that others remove all the time.
const MOST_ATTEMPTS: u32 = 100;
/// Bytes of a socket's path, for clients.
const LONGEST_SOCKET_PATH: usize = 107;

/// Whether what was there a moment ago is not, or the reverse.
fn is_passing(error: &RunError) -> bool {
    let RunError::Io { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
    )
}

/// Makes the directory where it is missing, and opens its lock.
fn open_lock(base: &Base, bundle: &str) -> Result<(OwnedFd, File), RunError> {
    let path = base.path.join(bundle);
    let dir = own::open_dir(base.fd.as_fd(), bundle, &path, base.access.directory())?;
    let path = path.join(LOCK);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let open = || -> Result<_, Errno> {
        let lock = openat(&dir, LOCK, flags, mode)?;
        Ok((fstat(&lock)?, lock))
    };
    let (found, lock) = open().map_err(|e| RunError::io(&path, WRITABLE)(e.into()))?;
    own::refuse_foreign(&path, &found, false)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(RunError::io(&path, WRITABLE)(io::Error::other(
            "it is not a regular file",
        )));
    }
    fchmod(&lock, mode).map_err(|e| RunError::io(&path, WRITABLE)(e.into()))?;
    Ok((dir, lock.into()))
}

/// Whether the open file is still the one of this name.
fn is_at(file: &File, dir: &OwnedFd, name: &str) -> bool {
    let (Ok(open), Ok(named)) = (fstat(file), statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)) else {
        return false;
    };
    (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
}

/// The locked directory of one bundle; removed on drop. What it makes and removes is found by descriptor, never by the way
/// there, which others may have changed.
#[derive(Debug)]
pub(crate) struct RunDir {
    base: Base,
    bundle: String,
    fd: OwnedFd,
    /// To be shown, and for clients.
    path: PathBuf,
    access: Access,
    /// Holds the lock.
    _lock: File,
}

const WRITABLE: &str = "Choose a directory that you may write to with --run-dir.";

impl RunDir {
    /// Makes and locks `<base>/<bundle>`. Leftovers of a killed manager are removed.
    pub(crate) fn lock(base: &Path, bundle: &str) -> Result<Self, RunError> {
        let base = own::open_base(base)?;
        let path = base.path.join(bundle);
        if !onvm_bundle::is_bundle_name(bundle) {
            return Err(unnamed(&path));
        }
        let mut attempts = 0;
        let (fd, mut lock, free) = loop {
            attempts += 1;
            match open_lock(&base, bundle) {
                // A manager that ends removes file and directory, perhaps between the steps here.
                Err(e) if attempts < MOST_ATTEMPTS && is_passing(&e) => std::thread::yield_now(),
                Err(e) => return Err(e),
                Ok((fd, lock)) => {
                    let free = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
                    if !free || is_at(&lock, &fd, LOCK) {
                        break (fd, lock, free);
                    }
                }
            }
        };
        let lock_path = path.join(LOCK);
        if !free {
            let mut text = String::new();
            // The holder writes its id right after locking; a lock without one is of that instant.
            let _ = lock.read_to_string(&mut text);
            return Err(RunError::Busy {
                dir: path,
                pid: text.trim().parse().ok(),
            });
        }
        // From here on what is there is removed, whatever fails.
        let dir = Self {
            access: base.access,
            base,
            bundle: bundle.to_owned(),
            fd,
            path,
            _lock: lock.try_clone().map_err(RunError::io(&lock_path, WRITABLE))?,
        };
        lock.set_len(0).map_err(RunError::io(&lock_path, WRITABLE))?;
        write!(lock, "{}", std::process::id()).map_err(RunError::io(&lock_path, WRITABLE))?;
        dir.clear();
        Ok(dir)
    }

    /// The directory of all run directories, absolute.
    pub(crate) fn base_path(&self) -> PathBuf {
        self.base.path.clone()
    }

    /// A name for what belongs to this directory elsewhere: another bundle's or directory's has another. Lower-case letters, digits,
    /// `-` and `_`.
    pub(crate) fn label(&self) -> String {
        let hash = onvm_bundle::hash_bytes(self.path.as_os_str().as_encoded_bytes());
        format!("onvm-{}-{}", self.bundle.to_ascii_lowercase(), &hash[..8])
    }

    #[cfg(test)]
    fn path(&self) -> &Path {
        &self.path
    }

    /// Listens at the control socket.
    pub(crate) fn listen(&self) -> Result<UnixListener, RunError> {
        let path = self.path.join(CONTROL_SOCKET);
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(RunError::SocketPath(path));
        }
        // Until its mode is set, the directory keeps others away.
        let listener = UnixListener::bind(own::by_descriptor(&self.fd).join(CONTROL_SOCKET));
        let listener = listener.map_err(RunError::io(&path, WRITABLE))?;
        let mode = self.access.socket();
        rustix::fs::chmodat(&self.fd, CONTROL_SOCKET, mode, AtFlags::empty())
            .map_err(|e| RunError::io(&path, "Check the run directory's file system.")(e.into()))?;
        Ok(listener)
    }

    /// Makes an instance's own directory, empty. It stays the manager's.
    pub(crate) fn instance(&self, name: &str) -> Result<InstanceDir, RunError> {
        let path = self.path.join("nf").join(name);
        if !onvm_bundle::is_name(name) {
            return Err(unnamed(&path));
        }
        let all = Mode::from_raw_mode(0o755);
        let within = own::open_dir(self.fd.as_fd(), "nf", &self.path.join("nf"), all)?;
        own::remove(&within, name);
        let fd = own::open_dir(within.as_fd(), name, &path, Mode::RWXU)?;
        Ok(InstanceDir { path, within, fd })
    }

    fn clear(&self) {
        for name in [CONTROL_SOCKET, "nf", "bundles"] {
            own::remove(&self.fd, name);
        }
    }
}

/// Nothing that a bundle or a message says gets here unchecked; this is the last place where it could lead elsewhere.
fn unnamed(path: &Path) -> RunError {
    RunError::io(path, "Build the bundle again with `onvmc build`.")(io::Error::other("this is not a name"))
}

impl Drop for RunDir {
    fn drop(&mut self) {
        self.clear();
        let _ = unlinkat(&self.fd, LOCK, AtFlags::empty());
        // Fails when somebody else put a file there, which then stays.
        let _ = unlinkat(&self.base.fd, &self.bundle, AtFlags::REMOVEDIR);
    }
}

/// The directory that one instance's socket lives in.
#[derive(Debug)]
pub(crate) struct InstanceDir {
    path: PathBuf,
    /// `nf` in the run directory.
    within: OwnedFd,
    fd: OwnedFd,
}

impl InstanceDir {
    /// The directory by this process's own descriptor: the same wherever it lies and whatever the rights on the path
    /// to it.
    pub(crate) fn by_descriptor(&self) -> PathBuf {
        own::by_descriptor(&self.fd)
    }

    /// Listens at `nf.sock`, which only this user may connect to, whose group has the same number; none: the manager's.
    pub(crate) fn listen(&self, user: Option<u32>) -> Result<OwnedFd, RunError> {
        /// It gets its name once it can be connected to.
        const UNREADY: &str = ".nf.sock";
        let failed = |e| RunError::io(self.path.join("nf.sock"), WRITABLE)(e);
        // Bound through the descriptor, so that a long run directory does not exceed a socket address.
        let listener = nflib::session::listen(&self.by_descriptor().join(UNREADY)).map_err(failed)?;
        rustix::fs::chmodat(&self.fd, UNREADY, Mode::RUSR | Mode::WUSR, AtFlags::empty())
            .and_then(|()| user.map_or(Ok(()), |user| self.give(UNREADY, user)))
            .and_then(|()| rustix::fs::renameat(&self.fd, UNREADY, &self.fd, "nf.sock"))
            .map_err(|e| failed(e.into()))?;
        Ok(listener)
    }
}

impl InstanceDir {
    /// Gives a user the socket, and its group the way to it. The directory stays the manager's.
    fn give(&self, socket: &str, user: u32) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        rustix::fs::chownat(&self.fd, socket, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::fchown(&self.fd, None, Some(gid))?;
        fchmod(&self.fd, Mode::RWXU | Mode::XGRP)
    }
}

impl Drop for InstanceDir {
    fn drop(&mut self) {
        // Only if it is still this one's: a successor of the same name has made its own by then.
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else {
            return;
        };
        let mine = fstat(&self.fd).ok().map(|s| s.st_ino);
        let there = statat(&self.within, name, AtFlags::SYMLINK_NOFOLLOW);
        if mine.is_some() && mine == there.ok().map(|s| s.st_ino) {
            own::remove(&self.within, name);
        }
    }
}

/// A directory of the user's own, made where it is missing.
pub(crate) fn private(path: &Path) -> Result<PathBuf, RunError> {
    Ok(own::open_base(path)?.path)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicU32, Ordering},
    };

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the name, nothing beside `nf/` is made, changed or removed.
        #[test]
        fn no_instances_name_leads_out_of_the_directory(
            parts in prop::collection::vec(prop::sample::select(vec!["..", ".", "/", "a", "bundles", "\0", ""]), 0..5),
            other in any::<String>(),
        ) {
            let base = tempfile::tempdir().unwrap();
            let dir = RunDir::lock(base.path(), "edge").unwrap();
            fs::create_dir(dir.path().join("bundles")).unwrap();
            for file in ["bundles/kept", "../beside"] {
                fs::write(dir.path().join(file), "").unwrap();
            }
            for name in [parts.concat(), other] {
                if let Ok(instance) = dir.instance(&name) {
                    prop_assert_eq!(instance.path.parent().map(Path::to_path_buf), Some(dir.path().join("nf")));
                }
            }
            for (within, expected) in [("", "bundles manager.lock"), ("bundles", "kept"), ("..", "beside edge")] {
                let entries = fs::read_dir(dir.path().join(within)).unwrap();
                let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
                let mut names: Vec<String> = names.filter(|name| name != "nf").collect();
                names.sort();
                prop_assert_eq!(names.join(" "), expected);
            }
        }
    }

    #[test]
    fn a_second_manager_is_refused_by_the_first_ones_id() {
        let base = tempfile::tempdir().unwrap();
        let first = RunDir::lock(base.path(), "edge").unwrap();
        let second = RunDir::lock(base.path(), "edge").unwrap_err();
        assert!(
            second
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{second}"
        );
        let path = first.path().to_path_buf();
        drop(first);
        assert!(!path.exists());
        RunDir::lock(base.path(), "edge").unwrap();
    }

    #[test]
    fn a_successor_keeps_its_directory_when_the_predecessor_goes() {
        let base = tempfile::tempdir().unwrap();
        let dir = RunDir::lock(base.path(), "edge").unwrap();
        let old = dir.instance("fw-0").unwrap();
        let _old_socket = old.listen(None).unwrap();
        let new = dir.instance("fw-0").unwrap();
        let _new_socket = new.listen(None).unwrap();
        drop(old);
        assert!(dir.path().join("nf/fw-0/nf.sock").exists());
    }

    #[test]
    fn two_never_hold_the_lock_however_often_it_comes_and_goes() {
        let base = tempfile::tempdir().unwrap();
        let holders = AtomicU32::new(0);
        let taken = AtomicU32::new(0);
        let hammer = || {
            while taken.load(Ordering::Relaxed) < 200 {
                match RunDir::lock(base.path(), "edge") {
                    Ok(dir) => {
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                        taken.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(dir);
                    }
                    Err(RunError::Busy { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(hammer))));
    }
}
