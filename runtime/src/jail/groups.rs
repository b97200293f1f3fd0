//! Control groups of the second version: a common limit of all that the kernel keeps for an NF, and of its threads.
//!
//! They are used where a group has been delegated to the manager, as systemd does for a unit with `Delegate=yes`. The kernel lets
//! only groups without processes have groups with limits below them, so the manager moves into a leaf of its own:
//!
//! ```text
//! onvm.service            delegated
//! ├── manager             onvm-run
//! ├── nf-0                memory.max, pids.max
//! └── nf-1
//! ```
//!
//! A process starts in its group ([`Group::directory`] goes to `clone3`). It would cost some milliseconds to move it there later,
//! which is why the first version, in which that is the only way, is not used.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{Mode, OFlags};

/// Bytes that an instance may have beyond its data: its programs and libraries, page tables, pipes, sockets, timers.
const ROOM: u64 = 64 << 20;
/// The names of the manager's own leaf and of those of instances.
const LEAF: &str = "manager";
const PREFIX: &str = "nf-";

/// The group that has been delegated to the manager.
#[derive(Debug)]
pub(super) struct Groups {
    directory: PathBuf,
    memory: bool,
    threads: bool,
    next: AtomicU64,
    /// Groups whose processes had not gone when they were to be removed.
    left: Mutex<Vec<PathBuf>>,
}

/// The group of one instance; it is removed with the instance's last process.
#[derive(Debug)]
pub(super) struct Group {
    groups: Arc<Groups>,
    path: PathBuf,
    directory: OwnedFd,
}

impl Groups {
    /// Takes over the group that has been delegated to this process. Otherwise says why there is none.
    pub(super) fn take() -> Result<Self, String> {
        let directory = own_group()?;
        let shown = directory.display().to_string();
        let read = |file: &str| {
            let path = directory.join(file);
            fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let offered = read("cgroup.controllers")?;
        let offers = |name: &str| offered.split_whitespace().any(|c| c == name);
        let (memory, threads) = (offers("memory"), offers("pids"));
        if !memory && !threads {
            return Err(format!("the group {shown} controls neither memory nor pids"));
        }
        if !is_delegated(&directory) {
            return Err(format!(
                "the group {shown} is not delegated to onvm-run: start it as a service with Delegate=yes, or by `systemd-run \
                 --scope -p Delegate=yes`"
            ));
        }
        let own = std::process::id().to_string();
        if let Some(other) = read("cgroup.procs")?.lines().find(|pid| *pid != own) {
            return Err(format!(
                "the group {shown} holds other processes, {other} for one"
            ));
        }
        let failed = |e: io::Error| format!("the group {shown} cannot be divided: {e}");
        let controllers = [(memory, "+memory"), (threads, "+pids")].into_iter();
        let controllers = controllers.filter(|(has, _)| *has).map(|(_, name)| name);
        make(&directory.join(LEAF)).map_err(failed)?;
        fs::write(directory.join(LEAF).join("cgroup.procs"), &own).map_err(failed)?;
        let controllers = controllers.collect::<Vec<_>>().join(" ");
        fs::write(directory.join("cgroup.subtree_control"), controllers).map_err(failed)?;
        remove_old(&directory);
        Ok(Self {
            directory,
            memory,
            threads,
            next: AtomicU64::new(0),
            left: Mutex::new(Vec::new()),
        })
    }

    /// What they limit, e.g. `memory, threads`.
    pub(super) fn limits(&self) -> String {
        let limits = [(self.memory, "memory"), (self.threads, "threads")].into_iter();
        let limits = limits.filter(|(has, _)| *has).map(|(_, name)| name);
        limits.collect::<Vec<_>>().join(" and ")
    }

    /// A new group, with these bytes of data and as many threads.
    pub(super) fn group(self: &Arc<Self>, memory: Option<u64>, threads: u64) -> io::Result<Group> {
        self.left().retain(|path| !is_removed(path));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{PREFIX}{number}"));
        make(&path)?;
        let directory = rustix::fs::open(
            &path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let group = Group {
            groups: Arc::clone(self),
            path,
            directory,
        };
        let set = |file: &str, value: u64| fs::write(group.path.join(file), value.to_string());
        if self.threads {
            set("pids.max", threads)?;
        }
        if let (true, Some(bytes)) = (self.memory, memory) {
            set("memory.max", bytes.saturating_add(ROOM))?;
            set("memory.oom.group", 1)?;
        }
        Ok(group)
    }

    fn left(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // The list is whole between any two steps.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Whether the kernel ended its processes because they wanted more memory than it has.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|number| number != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !is_removed(&self.path) {
            self.groups.left().push(std::mem::take(&mut self.path));
        }
    }
}

/// The directory of the group that this process is in.
fn own_group() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let groups = read("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or("this process is in no control group of version 2")?;
    let mounts = read("/proc/self/mountinfo")?;
    let found = mounts.lines().find_map(|line| mounted_at(line, own));
    found.ok_or_else(|| "no control groups of version 2 are mounted".to_owned())
}

/// Where a group is, if a line of `mountinfo` mounts it: `36 35 0:31 ROOT POINT OPTIONS … - cgroup2 …`.
fn mounted_at(line: &str, group: &str) -> Option<PathBuf> {
    let (fields, kind) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    if kind.split(' ').next()? != "cgroup2" {
        return None;
    }
    let below = Path::new(group).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

/// systemd marks delegated groups; otherwise the owner of a group may divide it.
fn is_delegated(group: &Path) -> bool {
    let marked = |name: &str| {
        let mut value = [0; 1];
        rustix::fs::getxattr(group, name, &mut value[..]).is_ok() && value == *b"1"
    };
    let own = || {
        let user = rustix::process::geteuid();
        !user.is_root() && fs::metadata(group).is_ok_and(|m| m.uid() == user.as_raw())
    };
    marked("trusted.delegate") || marked("user.delegate") || own()
}

fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Removes a group; false as long as it has a process.
fn is_removed(group: &Path) -> bool {
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}

/// Removes leftovers of a killed manager. Groups that still have processes stay.
fn remove_old(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let old = entries.filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
    old.for_each(|entry| {
        is_removed(&entry.path());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_where_its_tree_is_mounted() {
        let whole = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        let found = mounted_at(whole, "/system.slice/onvm.service");
        assert_eq!(found, Some("/sys/fs/cgroup/system.slice/onvm.service".into()));
        let part = "30 23 0:26 /outer /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(mounted_at(part, "/outer/in"), Some("/sys/fs/cgroup/in".into()));
        assert_eq!(mounted_at(part, "/other"), None);
        let first = "31 23 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids";
        assert_eq!(mounted_at(first, "/"), None);
    }
}
