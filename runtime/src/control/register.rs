//! How an instance comes to be known: it connects to its own socket, says hello, is given its memory, and says that it is
//! ready. See [`nflib::session`] for the messages.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nflib::{
    Region,
    layout::{ABI_VERSION, Layout, MAX_COUNTERS},
    session::{self, FromNf, ToNf},
};
use tokio::{io::unix::AsyncFd, process::Child};

use super::{
    ending::describe_exit,
    supervise::{Report, Shared, Supervisor},
};

/// From the start of a process to its `ready`.
const READY_DEADLINE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Waits for the instance at its socket, up to its `ready`.
    pub(super) async fn register(
        &self,
        listener: &AsyncFd<OwnedFd>,
        child: &mut Option<Child>,
    ) -> Result<(AsyncFd<OwnedFd>, Region), String> {
        let deadline = child
            .is_some()
            .then(|| tokio::time::Instant::now() + READY_DEADLINE);
        loop {
            let connection = match child.as_mut() {
                None => accept(listener).await,
                Some(child) => tokio::select! {
                    connection = accept(listener) => connection,
                    status = child.wait() => return Err(describe_exit(status)),
                    () = sleep_until(deadline) => return Err(too_late()),
                },
            };
            let connection = connection.map_err(|e| format!("its socket failed: {e}"))?;
            let pid = match peer(&connection, child.as_ref()) {
                Ok(pid) => pid,
                Err(why) => {
                    let _ = session::send(&connection, &ToNf::Refused { reason: why.clone() }, &[]);
                    tracing::warn!(instance = %self.spec.name, "{why}");
                    continue;
                }
            };
            let until = deadline.unwrap_or_else(|| tokio::time::Instant::now() + READY_DEADLINE);
            let greeted = tokio::time::timeout_at(until, self.greet(&connection))
                .await
                .unwrap_or_else(|_| Err(too_late()));
            match (greeted, child.as_mut()) {
                (Ok((region, counters)), _) => {
                    self.report(Report::Ready {
                        region: region.clone(),
                        pid,
                        counters,
                    });
                    return Ok((connection, region));
                }
                // Somebody else's program: let it mend itself and come again.
                (Err(why), None) => tracing::warn!(instance = %self.spec.name, "{why}"),
                (Err(why), Some(child)) => {
                    // Its exit says more than the broken connection.
                    let exit = tokio::time::timeout(Duration::from_millis(200), child.wait()).await;
                    return Err(match exit {
                        Ok(status) if why == HUNG_UP => describe_exit(status),
                        _ => why,
                    });
                }
            }
        }
    }

    /// Hello, welcome, counters, ready.
    async fn greet(&self, connection: &AsyncFd<OwnedFd>) -> Result<(Region, Vec<String>), String> {
        match hear(connection).await? {
            FromNf::Hello { abi: ABI_VERSION, .. } => {}
            FromNf::Hello { abi, .. } => {
                let why = format!(
                    "it speaks ABI {abi} and this manager ABI {ABI_VERSION}; rebuild it with this nflib"
                );
                let _ = session::send(connection, &ToNf::Refused { reason: why.clone() }, &[]);
                return Err(why);
            }
            other => return Err(format!("it began with {other:?} in place of a hello")),
        }
        let region = self
            .welcome(connection)
            .map_err(|e| format!("it could not be welcomed: {e}"))?;
        let mut counters = Vec::new();
        loop {
            match hear(connection).await? {
                FromNf::Counters { first, names } => {
                    if first != counters.len() || counters.len() + names.len() > MAX_COUNTERS {
                        return Err(format!(
                            "it named more than {MAX_COUNTERS} counters, or not in order"
                        ));
                    }
                    counters.extend(names);
                }
                FromNf::Ready => return Ok((region, counters)),
                FromNf::Failed { reason } => return Err(reason),
                other => return Err(format!("it said {other:?} before it was ready")),
            }
        }
    }

    fn welcome(&self, connection: &AsyncFd<OwnedFd>) -> io::Result<Region> {
        let Shared {
            workers,
            ring,
            geometry,
            idle,
            ..
        } = *self.shared;
        let layout = Layout::new(workers, ring, MAX_COUNTERS as u32);
        let (region_fd, region) = Region::create(&self.spec.name, layout)?;
        let configuration = serde_json::to_vec(&self.spec.configuration)?;
        let mut contents = vec![session::content_descriptor("configuration", &configuration)?];
        for file in &self.spec.files {
            contents.push(session::content_descriptor("file", file)?);
        }
        let packets = if self.spec.read_only {
            &self.shared.packets_read_only
        } else {
            &self.shared.packets
        };
        let mut fds = vec![region_fd.as_fd(), packets.as_fd()];
        fds.extend(contents.iter().map(AsFd::as_fd));
        let message = ToNf::Welcome {
            instance: self.spec.name.clone(),
            geometry,
            idle,
        };
        session::send(connection, &message, &fds)?;
        Ok(region)
    }
}

const HUNG_UP: &str = "it hung up";

pub(super) async fn hear(connection: &AsyncFd<OwnedFd>) -> Result<FromNf, String> {
    loop {
        let mut guard = connection
            .readable()
            .await
            .map_err(|e| format!("its connection failed: {e}"))?;
        match guard.try_io(session::receive::<FromNf>) {
            Err(_would_block) => {}
            Ok(Ok(Some((message, _fds)))) => return Ok(message),
            Ok(Ok(None)) => return Err(HUNG_UP.to_owned()),
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => return Err(HUNG_UP.to_owned()),
            Ok(Err(e)) => return Err(format!("it sent what is no message: {e}")),
        }
    }
}

/// Registers a descriptor with the event loop.
#[expect(
    deprecated,
    reason = "the objection is to types that do not own their descriptor; this one does"
)]
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

async fn accept(listener: &AsyncFd<OwnedFd>) -> io::Result<AsyncFd<OwnedFd>> {
    loop {
        let mut guard = listener.readable().await?;
        match guard.try_io(session::accept) {
            Err(_would_block) => {}
            Ok(connection) => return watch(connection?),
        }
    }
}

/// The peer's process id; only the process that was started may register, whoever else finds the socket.
fn peer(connection: &AsyncFd<OwnedFd>, child: Option<&Child>) -> Result<u32, String> {
    let credentials = rustix::net::sockopt::socket_peercred(connection.get_ref())
        .map_err(|e| format!("the peer's credentials cannot be read: {e}"))?;
    let pid = credentials.pid.as_raw_nonzero().get() as u32;
    match child.map(Child::id) {
        None => Ok(pid),
        Some(Some(expected)) if expected == pid => Ok(pid),
        Some(_) => Err(format!(
            "process {pid} asked to register and is not the one that was started"
        )),
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn too_late() -> String {
    format!(
        "it was not ready within {} s of its start",
        READY_DEADLINE.as_secs()
    )
}
