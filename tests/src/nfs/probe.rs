//! Tries to get at the packets for writing, although its manifest declares no write, and reports how far it came by the
//! names of its counters, e.g. `reopen: PermissionDenied`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    process::ExitCode,
};

use nflib::{
    layout::ABI_VERSION,
    memory::Mapping,
    session::{self, FromNf, ToNf},
};
use rustix::fs::{Mode, OFlags};

pub(crate) fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let socket = std::env::var_os(session::SOCKET_VARIABLE).ok_or(io::ErrorKind::NotFound)?;
    let connection = session::connect(Path::new(&socket))?;
    let pid = std::process::id();
    session::send(
        &connection,
        &FromNf::Hello {
            abi: ABI_VERSION,
            pid,
        },
        &[],
    )?;
    let Some((ToNf::Welcome { .. }, fds)) = session::receive(&connection)? else {
        return Err(io::Error::other("no welcome"));
    };
    let packets = fds.get(1).ok_or(io::ErrorKind::NotFound)?;
    let names = attempts(packets);
    session::send(&connection, &FromNf::Counters { first: 0, names }, &[])?;
    session::send(&connection, &FromNf::Ready, &[])?;
    // Until the manager says stop, or goes.
    while let Ok(Some((message, _))) = session::receive::<ToNf>(&connection) {
        if message == ToNf::Stop {
            break;
        }
    }
    Ok(())
}

fn attempts(packets: &OwnedFd) -> Vec<String> {
    let path = format!("/proc/self/fd/{}", packets.as_raw_fd());
    let open = |flags| rustix::fs::open(path.as_str(), flags, Mode::empty()).map(drop);
    vec![
        outcome("map", Mapping::new(packets.as_fd(), true).map(drop)),
        outcome("reopen", open(OFlags::RDWR)),
        outcome("chmod", rustix::fs::fchmod(packets, Mode::from_raw_mode(0o777))),
        outcome("reopen after chmod", open(OFlags::WRONLY)),
        outcome(
            "chown",
            rustix::fs::fchown(packets, Some(rustix::process::getuid()), None),
        ),
    ]
}

fn outcome<E: Into<io::Error>>(what: &str, result: Result<(), E>) -> String {
    match result.map_err(Into::into) {
        Ok(()) => format!("{what}: done"),
        Err(e) => format!("{what}: {:?}", e.kind()),
    }
}
