//! The NF's side of the session: saying, hearing, and noticing that the manager is gone.

use std::{io, os::fd::OwnedFd, time::Duration};

use crate::{
    RunError,
    session::{self, FromNf, ToNf},
};

/// Says something; none when the manager is gone.
pub(crate) fn say(connection: &OwnedFd, message: &FromNf) -> Result<Option<()>, RunError> {
    match session::send(connection, message, &[]) {
        Ok(()) => Ok(Some(())),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Says something if there is room for it now, and whether there was; none when the manager is gone.
pub(crate) fn try_say(connection: &OwnedFd, message: &[u8]) -> Result<Option<bool>, RunError> {
    match session::try_send(connection, message) {
        Ok(sent) => Ok(Some(sent)),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn hear(connection: &OwnedFd) -> Result<Option<(ToNf, Vec<OwnedFd>)>, RunError> {
    match session::receive(connection) {
        Ok(message) => Ok(message),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn is_gone(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

/// Whether the other end hung up. A message in the socket is none of this function's business.
pub(crate) fn manager_is_gone(connection: &OwnedFd) -> Result<bool, RunError> {
    Ok(
        poll(connection, rustix::event::PollFlags::empty(), Duration::ZERO)?
            .intersects(rustix::event::PollFlags::HUP | rustix::event::PollFlags::ERR),
    )
}

pub(crate) fn readable(connection: &OwnedFd, at_most: Duration) -> Result<bool, RunError> {
    Ok(!poll(connection, rustix::event::PollFlags::IN, at_most)?.is_empty())
}

fn poll(
    connection: &OwnedFd,
    flags: rustix::event::PollFlags,
    at_most: Duration,
) -> Result<rustix::event::PollFlags, RunError> {
    let timeout = rustix::time::Timespec {
        tv_sec: at_most.as_secs() as i64,
        tv_nsec: at_most.subsec_nanos().into(),
    };
    let mut fds = [rustix::event::PollFd::new(connection, flags)];
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(fds[0].revents()),
        Err(e) => Err(io::Error::from(e).into()),
    }
}
