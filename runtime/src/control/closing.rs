//! Closing what an NF has had a hand in, where it may take its time.
//!
//! The last close of a descriptor can wait: a TCP socket with `SO_LINGER` for its peer, a file of a FUSE mount for the
//! process behind it. An NF can send such descriptors, also in messages that nobody reads: they are closed with the
//! socket. The control thread must not wait for that.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Drops a value in a thread of its own. Without one, it is dropped here.
pub(super) fn close_aside<T: Send + 'static>(value: T) {
    let thread = std::thread::Builder::new().name("closing".to_owned());
    let _ = thread.stack_size(64 << 10).spawn(move || drop(value));
}

/// A socket that an NF has the other end of, or can connect to.
#[derive(Debug)]
pub(super) struct NfSocket(Option<OwnedFd>);

impl From<OwnedFd> for NfSocket {
    fn from(fd: OwnedFd) -> Self {
        Self(Some(fd))
    }
}

impl AsFd for NfSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Some(fd) => fd.as_fd(),
            None => unreachable!("only drop takes the descriptor out"),
        }
    }
}

impl AsRawFd for NfSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for NfSocket {
    fn drop(&mut self) {
        close_aside(self.0.take());
    }
}
