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
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    closing::{Closing, NfSocket},
    cores,
    log::{
        self,
        limit::WHEN_FLOODED,
        quote::{LONGEST_REASON, is_fit, quote, quote_debug},
    },
    patience,
    processes::describe_exit,
    spec::lock,
    supervise::{Report, Shared, Supervisor},
};
use crate::jail::NfProcess;

/// From the start of a process to its `ready`.
pub(super) const READY_DEADLINE: Duration = Duration::from_secs(10);
/// Between looks at a connection that is not read from.
const HANG_UP_CHECK: Duration = Duration::from_millis(1);
/// From a hang-up before `ready` to the process's end.
const EXIT_DEADLINE: Duration = Duration::from_millis(200);

/// A counter or gauge of an NF's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnCounter {
    pub(crate) name: String,
    pub(crate) is_gauge: bool,
}

impl Supervisor {
    /// Waits for a process that this manager has started, up to its `ready`.
    pub(super) async fn register(
        &self,
        connection: &AsyncFd<NfSocket>,
        process: &mut NfProcess,
    ) -> Result<Region, String> {
        let pid = process.id();
        let greeted = tokio::select! {
            biased;
            greeted = self.greet(connection) => greeted,
            status = process.wait() => return Err(describe_exit(process, status)),
            () = patience::elapse(READY_DEADLINE) => return Err(too_late()),
        };
        match greeted {
            Ok((region, counters)) => {
                self.report(Report::Ready {
                    region: region.clone(),
                    pid,
                    container: self.container.borrow().clone(),
                    counters,
                });
                Ok(region)
            }
            Err(why) => {
                // Its exit says more than the broken connection.
                let exit = tokio::time::timeout(EXIT_DEADLINE, process.wait()).await;
                Err(match exit {
                    Ok(status) if why == HUNG_UP => describe_exit(process, status),
                    _ => why,
                })
            }
        }
    }

    /// Waits for a program that somebody else has started, up to its `ready`.
    pub(super) async fn await_registration(
        &self,
        listener: &AsyncFd<NfSocket>,
    ) -> Result<(AsyncFd<NfSocket>, Region), String> {
        let outcome = self.admit(listener, None).await;
        self.close_complaints();
        outcome.map(|(connection, region, _)| (connection, region))
    }

    pub(super) fn close_complaints(&self) {
        self.complaints.borrow_mut().close(|n| self.left_out(n));
    }

    /// Waits for one that comes up to its `ready`, of this user if one is given.
    pub(super) async fn admit(
        &self,
        listener: &AsyncFd<NfSocket>,
        user: Option<u32>,
    ) -> Result<(AsyncFd<NfSocket>, Region, u32), String> {
        loop {
            let connection = self
                .accept(listener)
                .await
                .map_err(|e| format!("its socket failed: {e}"))?;
            let greeted = match peer(&connection, user) {
                Ok(pid) => patience::within(READY_DEADLINE, self.greet(&connection))
                    .await
                    .unwrap_or_else(|| Err(too_late()))
                    .map(|(region, counters)| (pid, region, counters)),
                Err(why) => Err(why),
            };
            match greeted {
                Ok((pid, region, counters)) => {
                    self.report(Report::Ready {
                        region: region.clone(),
                        pid,
                        container: self.container.borrow().clone(),
                        counters,
                    });
                    return Ok((connection, region, pid));
                }
                // Let it fix itself and come again.
                Err(why) => {
                    drop(connection);
                    self.complain(&why).await;
                }
            }
        }
    }

    /// The next connection, once all that the instance sent before is closed.
    async fn accept(&self, listener: &AsyncFd<NfSocket>) -> io::Result<AsyncFd<NfSocket>> {
        self.closing.done().await;
        loop {
            let mut guard = listener.readable().await?;
            match guard.try_io(session::accept) {
                Err(_would_block) => {}
                Ok(connection) => return watch(connection?, &self.closing),
            }
        }
    }

    /// Logs why a peer was sent away. One that comes too often has to wait.
    async fn complain(&self, why: &str) {
        let over = {
            let mut limit = self.complaints.borrow_mut();
            if limit.pass(|n| self.left_out(n)) {
                tracing::warn!(instance = %self.spec.name, "{why}");
            }
            limit.is_over()
        };
        if over {
            tokio::time::sleep(WHEN_FLOODED).await;
        }
    }

    fn left_out(&self, complaints: u64) {
        tracing::warn!(instance = %self.spec.name, complaints, "too many failed at its socket; complaints left out");
    }

    /// Hello, welcome, counters, ready.
    pub(super) async fn greet(
        &self,
        connection: &AsyncFd<NfSocket>,
    ) -> Result<(Region, Vec<OwnCounter>), String> {
        match hear(connection).await? {
            FromNf::Hello { abi: ABI_VERSION, .. } => {}
            FromNf::Hello { abi, .. } => {
                let why = format!(
                    "it speaks ABI {abi} and this manager ABI {ABI_VERSION}; rebuild it with this nflib"
                );
                let _ = session::send(connection, &ToNf::Refused { reason: why.clone() }, &[]);
                return Err(why);
            }
            other => {
                return Err(format!("expected a hello first, got {}", quote_debug(&other)));
            }
        }
        let region = self
            .welcome(connection)
            .map_err(|e| format!("it could not be welcomed: {e}"))?;
        let mut counters = Vec::new();
        loop {
            match hear(connection).await? {
                FromNf::Counters { first, names, gauges } => {
                    check_names(first, &names, &gauges, counters.len())?;
                    let counter = |(n, name)| OwnCounter {
                        name,
                        is_gauge: gauges.contains(&n),
                    };
                    counters.extend(names.into_iter().enumerate().map(counter));
                }
                FromNf::Ready => return Ok((region, counters)),
                FromNf::Failed { reason } => return Err(quote(reason, LONGEST_REASON)),
                other => {
                    return Err(format!("it sent {} before it was ready", quote_debug(&other)));
                }
            }
        }
    }

    fn welcome(&self, connection: &AsyncFd<NfSocket>) -> io::Result<Region> {
        let Shared {
            workers,
            ring,
            node,
            ref domains,
            ..
        } = *self.shared;
        let layout = Layout::of_instance(workers, ring);
        let layout = match self.spec.generates {
            true => layout.with_blanks((ring / BLANKS_PART).clamp(FEWEST_BLANKS, MOST_BLANKS)),
            false => layout,
        };
        let (region_fd, region) = Region::create(&self.spec.name, layout)?;
        match (self.spec.request.node, node) {
            (Some(asked), _) => region.prefer_node(asked)?,
            // For speed alone: nobody asked for it.
            (None, Some(near)) => drop(region.prefer_node(near)),
            (None, None) => {}
        }
        let contents = lock(&self.given).descriptors()?;
        let (_, of_domain) = domains
            .of(self.spec.domain.as_deref())
            .ok_or_else(|| io::Error::other("its domain has no packet memory"))?;
        let packets = match self.spec.read_only {
            true => &of_domain.read_only,
            false => &of_domain.writable,
        };
        let mut fds = vec![region_fd.as_fd(), packets.as_fd()];
        fds.extend(contents.iter().map(AsFd::as_fd));
        let message = ToNf::Welcome {
            instance: self.spec.name.clone(),
            geometry: of_domain.geometry,
            idle: cores::lock(&self.assignment).idle,
            log: Some(log::shown().to_owned()),
        };
        session::send(connection, &message, &fds)?;
        Ok(region)
    }
}

/// An instance that makes packets has one blank buffer of each worker for so many descriptors of a ring, within these bounds.
const BLANKS_PART: u32 = 4;
const FEWEST_BLANKS: u32 = 64;
const MOST_BLANKS: u32 = 1024;

/// Bytes of a counter's name.
pub(super) const LONGEST_NAME: usize = 256;

pub(super) const HUNG_UP: &str = "it hung up";

/// Ends when the other end has gone, and reads nothing.
pub(super) async fn hung_up(connection: &AsyncFd<NfSocket>) {
    loop {
        let Ok(ready) = connection.ready(Interest::READABLE).await else {
            return;
        };
        if ready.ready().is_read_closed() {
            return;
        }
        tokio::time::sleep(HANG_UP_CHECK).await;
    }
}

pub(super) async fn hear(connection: &AsyncFd<NfSocket>) -> Result<FromNf, String> {
    loop {
        let mut guard = connection
            .readable()
            .await
            .map_err(|e| format!("its connection failed: {e}"))?;
        let received = match guard.try_io(session::receive_any) {
            Err(_would_block) => continue,
            Ok(Ok(received)) => received,
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => return Err(HUNG_UP.to_owned()),
            Ok(Err(e)) => return Err(format!("its connection failed: {e}")),
        };
        let message = received.message();
        if !received.fds.is_empty() {
            connection.get_ref().closing.aside(received.fds);
            return Err("it sent descriptors, which messages of NFs must not carry".to_owned());
        }
        return match message {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(HUNG_UP.to_owned()),
            // The error's text holds parts of the message.
            Err(e) => Err(format!(
                "it sent a malformed message: {}",
                quote(e.to_string(), LONGEST_REASON)
            )),
        };
    }
}

/// Names are shown by `status` and `/metrics`, so they must stay within bounds, and a list of none would be without end.
fn check_names(first: usize, names: &[String], gauges: &[usize], known: usize) -> Result<(), String> {
    if gauges.len() > names.len() || gauges.iter().any(|place| *place >= names.len()) {
        return Err("it named gauges that are not among its counters".to_owned());
    }
    if names.is_empty() {
        return Err("it sent an empty list of counters".to_owned());
    }
    if first != known || known + names.len() > MAX_COUNTERS {
        return Err(format!(
            "it named more than {MAX_COUNTERS} counters, or not in order"
        ));
    }
    let unfit = |name: &&String| name.len() > LONGEST_NAME || !is_fit(name);
    match names.iter().find(unfit) {
        None => Ok(()),
        Some(_) => Err(format!(
            "the name of one of its counters has more than {LONGEST_NAME} bytes, or control or invisible characters"
        )),
    }
}

/// Registers a descriptor with the event loop.
#[expect(
    deprecated,
    reason = "the objection is to types that do not own their descriptor; this one does"
)]
pub(super) fn watch(fd: OwnedFd, closing: &Closing) -> io::Result<AsyncFd<NfSocket>> {
    AsyncFd::new(NfSocket::new(fd, closing.clone()))
}

/// The peer's process id. It must be this user, if one is given.
fn peer(connection: &AsyncFd<NfSocket>, user: Option<u32>) -> Result<u32, String> {
    let credentials = rustix::net::sockopt::socket_peercred(connection.get_ref())
        .map_err(|e| format!("the peer's credentials cannot be read: {e}"))?;
    let found = credentials.uid.as_raw();
    match user {
        Some(expected) if found != expected => Err(format!(
            "the peer is user {found}, and this instance's container has user {expected}"
        )),
        _ => Ok(credentials.pid.as_raw_nonzero().get() as u32),
    }
}

pub(super) fn too_late() -> String {
    format!(
        "it was not ready within {} s of its start",
        READY_DEADLINE.as_secs()
    )
}
