//! Closing descriptors that an NF has influenced, which may take time.
//!
//! The last close of a descriptor can wait: a TCP socket with `SO_LINGER` for its peer, a file of a FUSE mount for the
//! process behind it. From Linux 6.16 on, the kernel refuses messages with descriptors to an instance's socket
//! ([`nflib::rights`]), and closing it waits for nothing. On an older one an NF can send such descriptors, also in messages
//! that nobody reads: they are closed with the socket. The control thread must not wait for that, so a thread does; and an
//! instance is not listened to again before everything of it is closed, so that it costs no more than a few of these threads.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

use nflib::rights;
use tokio::sync::Semaphore;

/// Threads that close what is one instance's; more than one of its lives needs.
const MOST_AT_ONCE: u32 = 16;

/// What is being closed of one instance.
#[derive(Debug, Clone)]
pub(super) struct Closing(Arc<Semaphore>);

impl Closing {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_AT_ONCE as usize)))
    }

    /// Drops a value in a thread of its own. Without one, it is dropped here.
    pub(super) fn aside<T: Send + 'static>(&self, value: T) {
        let place = self.0.clone().try_acquire_owned();
        let close = move || {
            drop(value);
            drop(place);
        };
        let thread = std::thread::Builder::new().name("closing".to_owned());
        let _ = thread.stack_size(64 << 10).spawn(close);
    }

    /// Waits until everything is closed.
    pub(super) async fn done(&self) {
        // It fails for a semaphore that is closed, and this one never is.
        let _ = self.0.acquire_many(MOST_AT_ONCE).await;
    }
}

/// A socket that an NF has the other end of, or can connect to.
#[derive(Debug)]
pub(super) struct NfSocket {
    fd: Option<OwnedFd>,
    pub(super) closing: Closing,
}

impl NfSocket {
    pub(super) fn new(fd: OwnedFd, closing: Closing) -> Self {
        Self {
            fd: Some(fd),
            closing,
        }
    }
}

impl AsFd for NfSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
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
        // Where no descriptors come in, none are closed with it.
        match self.fd.take() {
            Some(fd) if !rights::are_refused(&fd) => self.closing.aside(fd),
            fd => drop(fd),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use nflib::session::{self, FromNf};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    /// A connection whose closing takes `time`: it has data for a peer that reads none.
    fn lingering(time: Duration) -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (silent, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[0; 65536]).is_ok() {}
        sockopt::set_socket_linger(&writer, Some(time)).unwrap();
        (writer.into(), silent)
    }

    /// As on a kernel that cannot refuse descriptors.
    #[tokio::test]
    async fn a_socket_with_what_takes_long_to_close_is_waited_for_by_its_own_instance_alone() {
        let (closing, other) = (Closing::new(), Closing::new());
        let (writer, silent) = lingering(Duration::from_secs(600));
        let (ours, theirs) = pair();
        session::send(&theirs, &FromNf::Ready, &[writer.as_fd()]).unwrap();
        drop(writer);
        let moment = Duration::from_millis(100);
        drop(NfSocket::new(ours, closing.clone()));
        assert!(
            tokio::time::timeout(moment, closing.done()).await.is_err(),
            "it is still being closed"
        );
        other.done().await;
        // Its peer goes, and with it the reason to wait.
        drop(silent);
        closing.done().await;
    }

    #[test]
    fn a_socket_that_takes_no_descriptors_needs_no_thread() {
        let (ours, theirs) = pair();
        if rights::refuse(&ours).is_err() {
            // Linux before 6.16.
            return;
        }
        let sent = session::send(&theirs, &FromNf::Ready, &[theirs.as_fd()]);
        assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        session::send(&theirs, &FromNf::Ready, &[]).unwrap();
        let closing = Closing::new();
        let places = closing.0.available_permits();
        drop(NfSocket::new(ours, closing.clone()));
        assert_eq!(closing.0.available_permits(), places);
    }
}
