//! The run directory: one manager at a time, and nothing left of it afterwards.
//!
//! ```text
//! <run dir>/<bundle>/           0755
//!     manager.lock              flock held while the manager lives; its process id
//!     control.sock              0660
//!     bundles/<generation>/     what runs, copied, so that the operator may remove the original
//!     nf/<instance>/            0700, where somebody else starts the NFs
//!         nf.sock               0600
//! ```

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use onvm_bundle::Bundle;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock};

use crate::error::RunError;

const LOCK: &str = "manager.lock";

/// Attempts to open a lock that others remove all the time.
const MOST_ATTEMPTS: u32 = 100;

/// Whether what was there a moment ago is not, or the reverse.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
    )
}

/// Makes the directory where it is missing, and opens its lock.
fn open_lock(path: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(path)?;
    let path = path.canonicalize()?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path.join(LOCK))?;
    Ok((path, lock))
}

/// Whether the open file is still the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), path.metadata()) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// The locked directory of one bundle; removed on drop.
#[derive(Debug)]
pub(super) struct RunDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

const WRITABLE: &str = "Choose a directory that you may write to with --run-dir.";

impl RunDir {
    /// Makes and locks `<base>/<bundle>`. What a killed manager left there is removed.
    pub(super) fn lock(base: &Path, bundle: &str) -> Result<Self, RunError> {
        let path = base.join(bundle);
        let mut attempts = 0;
        let (path, mut lock, free) = loop {
            attempts += 1;
            match open_lock(&path) {
                // A manager that ends removes file and directory, perhaps between the steps here.
                Err(e) if attempts < MOST_ATTEMPTS && is_passing(&e) => std::thread::yield_now(),
                Err(e) => return Err(RunError::io(&path, WRITABLE)(e)),
                Ok((path, lock)) => {
                    let free = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
                    if !free || is_at(&lock, &path.join(LOCK)) {
                        break (path, lock, free);
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
            path,
            _lock: lock.try_clone().map_err(RunError::io(&lock_path, WRITABLE))?,
        };
        lock.set_len(0).map_err(RunError::io(&lock_path, WRITABLE))?;
        write!(lock, "{}", std::process::id()).map_err(RunError::io(&lock_path, WRITABLE))?;
        dir.clear();
        Ok(dir)
    }

    #[cfg(test)]
    fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn control_socket(&self) -> PathBuf {
        self.path.join(onvm_bundle::api::CONTROL_SOCKET)
    }

    /// Copies a bundle to where its generation lives while it runs, and loads the copy.
    pub(super) fn keep(&self, bundle: &Bundle) -> Result<Bundle, RunError> {
        let short: String = bundle.index.generation.chars().take(16).collect();
        let target = self.path.join("bundles").join(short);
        let listed = bundle.index.files.iter().map(|f| f.path.as_str());
        for name in listed.chain(["bundle.toml"]) {
            let (from, to) = (bundle.dir.join(name), target.join(name));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(RunError::io(parent, WRITABLE))?;
            }
            fs::copy(&from, &to)
                .map_err(RunError::io(&from, "Check that the file exists and can be read."))?;
        }
        Ok(Bundle::load(&target)?)
    }

    /// Forgets a bundle that was kept and does not run any more.
    pub(super) fn forget(&self, bundle: &Bundle) {
        if bundle.dir.starts_with(&self.path) {
            remove(&bundle.dir);
        }
    }

    /// Makes an instance's own directory, empty. It stays the manager's.
    pub(super) fn instance(&self, name: &str) -> Result<InstanceDir, RunError> {
        let path = self.path.join("nf").join(name);
        remove(&path);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.path.join("nf"))
            .and_then(|()| fs::DirBuilder::new().mode(0o700).create(&path))
            .map_err(RunError::io(&path, WRITABLE))?;
        let fd = rustix::fs::open(
            &path,
            OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| RunError::io(&path, WRITABLE)(e.into()))?;
        Ok(InstanceDir { path, fd })
    }

    fn clear(&self) {
        let _ = fs::remove_file(self.control_socket());
        remove(&self.path.join("nf"));
        remove(&self.path.join("bundles"));
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        self.clear();
        let _ = fs::remove_file(self.path.join(LOCK));
        // Fails when somebody else put a file there, which then stays.
        let _ = fs::remove_dir(&self.path);
    }
}

/// The directory that one instance's socket lives in.
#[derive(Debug)]
pub(super) struct InstanceDir {
    path: PathBuf,
    fd: OwnedFd,
}

impl InstanceDir {
    /// The directory by this process's own descriptor: the same wherever it lies and whoever may traverse the way there.
    pub(super) fn by_descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Listens at `nf.sock`, which the manager's user, and nobody else, may connect to.
    pub(super) fn listen(&self) -> Result<OwnedFd, RunError> {
        // Bound through the descriptor, so that a long run directory does not exceed a socket address.
        let path = self.by_descriptor().join("nf.sock");
        let failed = |e| RunError::io(self.path.join("nf.sock"), WRITABLE)(e);
        let listener = nflib::session::listen(&path).map_err(failed)?;
        rustix::fs::chmodat(&self.fd, "nf.sock", Mode::RUSR | Mode::WUSR, AtFlags::empty())
            .map_err(|e| failed(e.into()))?;
        Ok(listener)
    }
}

impl Drop for InstanceDir {
    fn drop(&mut self) {
        // Only if it is still this one's: a successor of the same name has made its own by then.
        let mine = rustix::fs::fstat(&self.fd).ok().map(|s| s.st_ino);
        let there = rustix::fs::stat(&self.path).ok().map(|s| s.st_ino);
        if mine.is_some() && mine == there {
            remove(&self.path);
        }
    }
}

/// Removes a tree; what is not there needs no removing, and what cannot be removed stays.
fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

/// Where run directories are when the operator names none.
pub fn default_base() -> PathBuf {
    let uid = rustix::process::geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid.is_root() => PathBuf::from("/run/onvm"),
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("onvm"),
        _ => PathBuf::from(format!("/tmp/onvm-{}", uid.as_raw())),
    }
}

/// Sets a socket's mode.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

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
        let _old_socket = old.listen().unwrap();
        let new = dir.instance("fw-0").unwrap();
        let _new_socket = new.listen().unwrap();
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
