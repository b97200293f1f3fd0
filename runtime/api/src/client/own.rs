//! The owner of a socket. An apply goes only to the user's own manager or to root's, not to another user's socket at
//! the place where theirs would be, as anybody may in `/tmp`.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, statat},
    io::Errno,
    net::sockopt::socket_peercred,
    process::Pid,
};

use super::ClientError;

const WRITTEN_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A directory that is the user's or root's, held open.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// None: it is not there.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, ClientError> {
        // Without a `/` at its end, which would have a link followed.
        let path: PathBuf = path.components().collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => {
                let is_link = path.is_symlink();
                let found = match is_link {
                    true => "it is a symbolic link".to_owned(),
                    false => format!("it cannot be checked ({e})"),
                };
                return Err(foreign(&path, found));
            }
        };
        let found = fstat(&fd).map_err(|e| foreign(&path, e.to_string()))?;
        refuse_owner(&path, found.st_uid)?;
        // Where only owners may replace what is there, others may add to it.
        if found.st_mode & WRITTEN_BY_OTHERS != 0 && found.st_mode & STICKY == 0 {
            return Err(foreign(
                &path,
                "others may replace files in this directory".to_owned(),
            ));
        }
        Ok(Some(Self { fd, path }))
    }

    /// The names of the directories in it that have a file of this name.
    pub(super) fn with(&self, file: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.by_descriptor(".")).into_iter().flatten();
        let entries = entries.filter_map(Result::ok);
        entries
            .filter(|e| e.path().join(file).symlink_metadata().is_ok())
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Refuses a socket that somebody else put there, and a link to one.
    pub(super) fn refuse_foreign(&self, socket: &str) -> Result<(), ClientError> {
        let path = self.path.join(socket);
        let found: Stat = match statat(&self.fd, socket, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Err(ClientError::Missing(path)),
            Err(e) => return Err(foreign(&path, format!("it cannot be checked ({e})"))),
        };
        refuse_owner(&path, found.st_uid)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Socket => Ok(()),
            _ => Err(foreign(&path, "it is not a socket".to_owned())),
        }
    }

    /// The path of what is in it, whatever lies at the directory's own path by now.
    pub(super) fn by_descriptor(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(name)
    }
}

/// The other end's process; refused where it is neither the user's nor root's.
pub(super) fn refuse_peer(socket: &Path, stream: impl AsFd) -> Result<Pid, ClientError> {
    let peer = socket_peercred(stream).map_err(|e| foreign(socket, e.to_string()))?;
    refuse_owner(socket, peer.uid.as_raw())?;
    Ok(peer.pid)
}

fn refuse_owner(path: &Path, owner: u32) -> Result<(), ClientError> {
    let user = rustix::process::geteuid().as_raw();
    match owner == user || owner == 0 {
        true => Ok(()),
        false => Err(foreign(
            path,
            format!("it belongs to user {owner}, and this is user {user}"),
        )),
    }
}

fn foreign(path: &Path, found: String) -> ClientError {
    ClientError::Foreign {
        path: path.to_path_buf(),
        found,
    }
}
