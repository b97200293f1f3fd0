//! The socket of a memif port, before the driver opens it.

use std::{fs, os::unix::fs::FileTypeExt, path::Path};

use onvm_bundle::MemifRole;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};

/// Refuses a socket that cannot be opened, and removes one that a killed server left.
pub(super) fn prepare(socket: &str, role: MemifRole) -> Result<(), String> {
    let path = Path::new(socket);
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.is_dir() => {
            return Err(format!(
                "{socket}: the directory {} does not exist. Make it first.",
                dir.display()
            ));
        }
        _ => {}
    }
    let there = match (fs::metadata(path), role) {
        (Ok(there), _) => there,
        (Err(_), MemifRole::Server) => return Ok(()),
        (Err(_), MemifRole::Client) => {
            return Err(format!(
                "{socket}: there is no such socket. Start its server first, or write `role = server`."
            ));
        }
    };
    if !there.file_type().is_socket() {
        return Err(format!("{socket}: this is not a socket. Choose another path."));
    }
    match (role, answers(path)) {
        (MemifRole::Server, true) => Err(format!(
            "{socket}: another program serves this socket. Write `role = client`, or choose another path."
        )),
        (MemifRole::Server, false) => fs::remove_file(path).map_err(|e| {
            format!("{socket}: nobody serves this socket, and it cannot be removed: {e}. Remove it.")
        }),
        (MemifRole::Client, _) => Ok(()),
    }
}

fn answers(path: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else {
        return false;
    };
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .and_then(|s| connect(s, &address))
    .err()
        // Busy or of another kind, it is somebody's.
        != Some(Errno::CONNREFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_server_left_is_removed_and_a_served_socket_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memif.sock");
        let text = path.display().to_string();
        prepare(&text, MemifRole::Server).unwrap();
        assert!(
            prepare(&text, MemifRole::Client)
                .unwrap_err()
                .contains("Start its server first")
        );
        let listener = nflib::session::listen(&path).unwrap();
        let error = prepare(&text, MemifRole::Server).unwrap_err();
        assert!(error.contains("another program serves"), "{error}");
        prepare(&text, MemifRole::Client).unwrap();
        drop(listener);
        assert!(path.exists());
        prepare(&text, MemifRole::Server).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_directory_and_a_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/memif.sock").display().to_string();
        assert!(
            prepare(&missing, MemifRole::Client)
                .unwrap_err()
                .contains("Make it first")
        );
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(prepare(&file.display().to_string(), MemifRole::Server).is_err());
        assert!(file.exists());
    }
}
