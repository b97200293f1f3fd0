//! The directory tree that an NF sees: programs and libraries of the system, what its own program needs, read-only, and nothing
//! else.
//!
//! A new, empty file system becomes the root; the directories of [`Root::of_all`] are mounted into it. The host's tree goes, with
//! `/proc`, `/sys`, `/run` and everybody's data.

use std::{
    ffi::{CStr, CString},
    fs,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Mode},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
    },
};

use super::child::check;

/// Where distributions keep programs, the loader and libraries.
pub(super) const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/libx32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
];
/// Files that programs look for: where libraries are, and the two devices of a program without devices.
pub(super) const FILES: [&str; 5] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/dev/zero",
];

fn is_in_system(path: &Path) -> bool {
    SYSTEM.iter().any(|directory| path.starts_with(directory))
}

/// Whether every NF sees what is at this path now.
pub(crate) fn is_seen(path: &Path) -> bool {
    let real = fs::canonicalize(path);
    is_in_system(path) && real.is_ok_and(|real| is_in_system(&real))
}

/// What the tree is made of, worked out before the process starts.
#[derive(Debug)]
pub(super) struct Root {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// In the host's tree.
    path: CString,
    /// The directories on the way to it, outermost first, without the leading `/`.
    parents: Vec<CString>,
    /// Without the leading `/`.
    name: CString,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory,
    File,
    Link(CString),
}

impl Root {
    /// What every NF sees of what there is on this host.
    pub(super) fn of_all() -> Self {
        let all = SYSTEM.into_iter().chain(FILES).map(Path::new);
        let entries = all.filter_map(Entry::of).collect();
        Self { entries }
    }

    /// What one sees beside that: files and directories, by absolute paths.
    pub(super) fn of<'a>(own: impl Iterator<Item = &'a Path>) -> Self {
        let own = own.filter(|path| !is_in_system(path));
        let entries = own.filter_map(Entry::of).collect();
        Self { entries }
    }

    /// Makes the trees the root of this process, which has a mount namespace of its own.
    pub(super) fn enter(trees: [&Self; 2]) -> Result<(), Errno> {
        // What is mounted here is not to show on the host.
        set_attributes(CWD, c"/", 0, libc::MS_PRIVATE)?;
        let root = mount_empty()?;
        let mut entries = trees.into_iter().flat_map(|tree| &tree.entries);
        entries.try_for_each(|entry| entry.add(&root))?;
        rustix::process::fchdir(&root)?;
        // The old root goes on top of the new one, and away.
        rustix::process::pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")?;
        set_attributes(root.as_fd(), c"", libc::MOUNT_ATTR_RDONLY, 0)
    }
}

/// An empty file system, mounted over the root so that it belongs to this namespace; the root of the process stays beneath it.
fn mount_empty() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"mode", c"755"), (c"size", c"64k"), (c"nr_inodes", c"512")] {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    move_mount(
        root.as_fd(),
        c"",
        CWD,
        c"/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(root)
}

impl Entry {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let kind = if metadata.is_symlink() && fs::metadata(path).is_ok_and(|m| m.is_dir()) {
            // `/bin` to `usr/bin`.
            let target = fs::read_link(path).ok()?;
            Kind::Link(CString::new(target.as_os_str().as_bytes()).ok()?)
        } else if metadata.is_dir() {
            Kind::Directory
        } else {
            Kind::File
        };
        let inside = |path: &Path| CString::new(path.strip_prefix("/").ok()?.as_os_str().as_bytes()).ok();
        let mut parents: Vec<CString> = path.ancestors().skip(1).filter_map(inside).collect();
        parents.retain(|p| !p.is_empty());
        parents.reverse();
        Some(Self {
            path: CString::new(path.as_os_str().as_bytes()).ok()?,
            parents,
            name: inside(path)?,
            kind,
        })
    }

    fn add(&self, root: &OwnedFd) -> Result<(), Errno> {
        for parent in &self.parents {
            existing(rustix::fs::mkdirat(root, parent, DIRECTORY))?;
        }
        match &self.kind {
            Kind::Link(target) => return rustix::fs::symlinkat(target, root, &self.name),
            Kind::Directory => rustix::fs::mkdirat(root, &self.name, DIRECTORY)?,
            Kind::File => {
                rustix::fs::mknodat(root, &self.name, rustix::fs::FileType::RegularFile, Mode::RUSR, 0)?
            }
        }
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = match open_tree(CWD, &self.path, flags) {
            // One that this user may not enter stays empty.
            Err(Errno::ACCESS) => return Ok(()),
            other => other?,
        };
        let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
        set_attributes(tree.as_fd(), c"", attributes, 0)?;
        move_mount(
            tree.as_fd(),
            c"",
            root.as_fd(),
            &self.name,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
    }
}

const DIRECTORY: Mode = Mode::from_raw_mode(0o755);

fn existing(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Sets attributes of a mount and of all below it.
fn set_attributes(
    fd: BorrowedFd<'_>,
    path: &CStr,
    attributes: u64,
    propagation: libc::c_ulong,
) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string and the attributes are of the size that is given; both live through the call, which only
    // reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    check(done)
}
