//! User ids for NFs, which no two processes of the host have at the same time.
//!
//! They are of the range that systemd sets aside for services without a name of their own (`DynamicUser=`), and are taken as systemd
//! takes them: the holder of a lock on `/run/systemd/dynamic-uid/<id>` has the id. So managers do not share ids with
//! each other, and not with such services either. See <https://systemd.io/UIDS-GIDS/>.

use std::{fs, io, path::Path};

use crate::{error::RunError, jail, rundir::lock::Lock};

/// The range of systemd's `DynamicUser=`; the last is [`jail::REHEARSAL_USER`].
const FIRST: u32 = 61_184;
const LAST: u32 = jail::REHEARSAL_USER - 1;
const DIRECTORY: &str = "/run/systemd/dynamic-uid";

/// What is known of a user id's processes, and done to them.
struct Processes<'a> {
    /// Whether another manager that lives started one of them.
    belong_to_a_manager: &'a dyn Fn(u32) -> io::Result<bool>,
    /// Ends those that a killed manager has left behind.
    end_all: &'a dyn Fn(u32) -> io::Result<()>,
}

/// A user id that is nobody else's while this lives.
#[derive(Debug)]
pub(crate) struct User {
    id: u32,
    _lock: Lock,
}

impl User {
    /// One for an NF; none when the manager is not root and cannot choose.
    pub(crate) fn reserve() -> Result<Option<Self>, RunError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let processes = Processes {
            belong_to_a_manager: &belong_to_a_manager,
            end_all: &jail::end_all_of,
        };
        Self::reserve_in(Path::new(DIRECTORY), &processes).map(Some)
    }

    fn reserve_in(directory: &Path, processes: &Processes<'_>) -> Result<Self, RunError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        for id in FIRST..=LAST {
            let path = directory.join(id.to_string());
            let taken = Lock::take(&path, &format!("onvm-nf-{id}\n")).map_err(failed(&path))?;
            let Some((lock, used_before)) = taken else {
                continue;
            };
            // A manager in a chroot, with another `/run`, cannot see the lock, nor this one its.
            if (processes.belong_to_a_manager)(id).map_err(failed(Path::new("/proc")))? {
                continue;
            }
            let user = Self { id, _lock: lock };
            if used_before {
                (processes.end_all)(id).map_err(failed(&path))?;
            }
            return Ok(user);
        }
        Err(RunError::Unsupported(format!(
            "all user ids from {FIRST} to {LAST} are in use. Stop another onvm-run, or services with `DynamicUser=`."
        )))
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

/// Whether a program of this one's name, other than this process, is the parent of a process of the user.
fn belong_to_a_manager(user: u32) -> io::Result<bool> {
    let name = fs::read("/proc/self/comm")?;
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc")? {
        // A process that has ended meanwhile has no files any more.
        let Ok(status) = fs::read_to_string(entry?.path().join("status")) else {
            continue;
        };
        let field = |key: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(key)?.split_whitespace().next())
        };
        if field("Uid:") != Some(user.to_string().as_str()) {
            continue;
        }
        if let Some(parent) = field("PPid:").filter(|parent| *parent != own)
            && fs::read(format!("/proc/{parent}/comm")).is_ok_and(|of_parent| of_parent == name)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    RunError::io(
        path,
        "onvm-run takes user ids for NFs there, as systemd does, and root must be able to write it.",
    )
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn no_two_have_an_id_and_survivors_are_ended_before_it_is_given_again() {
        let directory = tempfile::tempdir().unwrap();
        let (ended, elsewhere) = (RefCell::new(Vec::new()), Cell::new(None));
        let processes = Processes {
            belong_to_a_manager: &|id| Ok(elsewhere.get() == Some(id)),
            end_all: &|id| {
                ended.borrow_mut().push(id);
                Ok(())
            },
        };
        let reserve = || User::reserve_in(directory.path(), &processes).unwrap();
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
        // It has been killed, too, and a manager that sees another `/run` uses the id since.
        flock(&third._lock._file, FlockOperation::Unlock).unwrap();
        elsewhere.set(Some(FIRST + 1));
        assert_eq!(reserve().id(), FIRST + 2);
        assert_eq!(*ended.borrow(), [FIRST + 1]);
    }
}
