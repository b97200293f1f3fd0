//! User ids for NFs, which no two processes of the host have at the same time.
//!
//! They are of the range that systemd sets aside for services without a name of their own (`DynamicUser=`), and are taken as systemd
//! takes them: who holds a lock on `/run/systemd/dynamic-uid/<id>` has the id. So managers do not share ids with each other, and not
//! with such services either. See <https://systemd.io/UIDS-GIDS/>.

use std::{fs, io, path::Path};

use crate::{error::RunError, jail, rundir::lock::Lock};

/// The range of systemd's `DynamicUser=`; the last is [`jail::REHEARSAL_USER`].
const FIRST: u32 = 61_184;
const LAST: u32 = jail::REHEARSAL_USER - 1;
const DIRECTORY: &str = "/run/systemd/dynamic-uid";

/// A user id that is nobody else's while this lives.
#[derive(Debug)]
pub(crate) struct User {
    id: u32,
    _lock: Lock,
}

impl User {
    /// One for an NF; none when the manager is not root and cannot choose.
    pub(super) fn reserve() -> Result<Option<Self>, RunError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        Self::reserve_in(Path::new(DIRECTORY), &jail::end_all_of).map(Some)
    }

    /// `end_all_of` ends the processes of a user that a killed manager has left behind.
    fn reserve_in(directory: &Path, end_all_of: &dyn Fn(u32) -> io::Result<()>) -> Result<Self, RunError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        for id in FIRST..=LAST {
            let path = directory.join(id.to_string());
            let taken = Lock::take(&path, &format!("onvm-nf-{id}\n")).map_err(failed(&path))?;
            let Some((lock, used_before)) = taken else {
                continue;
            };
            let user = Self { id, _lock: lock };
            if used_before {
                end_all_of(id).map_err(failed(&path))?;
            }
            return Ok(user);
        }
        Err(RunError::Unsupported(format!(
            "all user ids from {FIRST} to {LAST} are in use. Stop another onvm-run, or services with `DynamicUser=`."
        )))
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    RunError::io(
        path,
        "onvm-run takes user ids for NFs there, as systemd does, and root must be able to write it.",
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn no_two_have_an_id_and_survivors_are_ended_before_it_is_given_again() {
        let directory = tempfile::tempdir().unwrap();
        let ended = RefCell::new(Vec::new());
        let end = |id| {
            ended.borrow_mut().push(id);
            Ok(())
        };
        let reserve = || User::reserve_in(directory.path(), &end).unwrap();
        let (first, second) = (reserve(), reserve());
        assert_eq!((first.id(), second.id()), (FIRST, FIRST + 1));
        drop(first);
        assert_eq!(reserve().id(), FIRST, "given back");
        assert!(ended.borrow().is_empty());
        // A manager that is killed leaves the file, and loses the lock.
        flock(&second._lock._file, FlockOperation::Unlock).unwrap();
        let again = reserve();
        let third = reserve();
        assert_eq!((again.id(), third.id()), (FIRST, FIRST + 1));
        assert_eq!(*ended.borrow(), [FIRST + 1]);
    }
}
