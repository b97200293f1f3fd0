//! One instance's life: started, registered, running, stopped, or lost and started again. A task per instance.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use nflib::{
    Region,
    layout::{ABI_VERSION, Layout, MAX_COUNTERS},
    memory::Geometry,
    session::{self, Command, FromNf, IdlePolicy, ToNf},
};
use onvm_bundle::Restart;
use tokio::{
    io::unix::AsyncFd,
    process::Child,
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
};

use super::{
    output,
    rundir::{InstanceDir, RunDir},
    spec::InstanceSpec,
};

/// From the start of a process to its `ready`.
const READY_DEADLINE: Duration = Duration::from_secs(10);
/// From a hang-up to the process's end.
const GONE_DEADLINE: Duration = Duration::from_millis(100);
/// From `stop` to the process's end.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// Pauses before restarts: none before the first, then doubling. A run of at least the longest pause starts over.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the memory of all instances has in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub run_dir: Arc<RunDir>,
    pub packets: OwnedFd,
    pub packets_read_only: OwnedFd,
    pub geometry: Geometry,
    pub workers: u32,
    pub ring: u32,
    pub idle: IdlePolicy,
}

/// What a supervisor reports.
#[derive(Debug)]
pub(super) enum Report {
    Starting,
    /// The instance has registered and may be given packets.
    Ready {
        region: Region,
        pid: u32,
        counters: Vec<String>,
    },
    /// The instance is gone; the supervisor waits for [`Order::Recovered`].
    Lost {
        why: String,
    },
    /// It did not come to `ready`; there is nothing to recover.
    NotReady {
        why: String,
    },
    /// It will be started again after this pause.
    Pausing(Duration),
    /// It will not be started again, for this reason; none: it stopped as it was told.
    Ended {
        why: Option<String>,
    },
}

/// What a supervisor is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Stop the instance; it holds no packets any more.
    Stop,
    /// End the instance at once, since it misbehaves.
    Kill(String),
    /// The packets of the lost instance have been recovered.
    Recovered,
}

/// A supervisor's end.
enum End {
    Stopped,
    Lost { why: String, clean_exit: bool },
    NotReady(String),
}

#[derive(Debug)]
pub(super) struct Supervisor {
    pub slot: u16,
    pub spec: InstanceSpec,
    pub shared: Arc<Shared>,
    pub reports: UnboundedSender<(u16, Report)>,
}

/// A started instance: its connection, and its process if this manager started it.
struct Running {
    connection: AsyncFd<OwnedFd>,
    region: Region,
    child: Option<Child>,
}

impl Supervisor {
    /// Supervises until the instance is stopped or not to be restarted.
    pub(super) async fn run(self, mut orders: UnboundedReceiver<Order>) {
        let mut pause = Duration::ZERO;
        loop {
            let began = Instant::now();
            self.report(Report::Starting);
            let (why, clean_exit) = match self.live(&mut orders).await {
                End::Stopped => return self.report(Report::Ended { why: None }),
                End::NotReady(why) => {
                    self.report(Report::NotReady { why: why.clone() });
                    (why, false)
                }
                End::Lost { why, clean_exit } => {
                    self.report(Report::Lost { why: why.clone() });
                    if !recovered(&mut orders).await {
                        return self.report(Report::Ended { why: None });
                    }
                    (why, clean_exit)
                }
            };
            let again = match self.spec.restart {
                Restart::Always => true,
                Restart::OnFailure => !clean_exit,
                Restart::Never => false,
            };
            if !again {
                return self.report(Report::Ended { why: Some(why) });
            }
            if began.elapsed() >= LONGEST_PAUSE {
                pause = Duration::ZERO;
            }
            self.report(Report::Pausing(pause));
            if !wait(&mut orders, pause).await {
                return self.report(Report::Ended { why: None });
            }
            pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
    }

    fn report(&self, report: Report) {
        // The manager outlives its supervisors; when it is gone, there is nobody to tell.
        let _ = self.reports.send((self.slot, report));
    }

    /// One life of the instance.
    async fn live(&self, orders: &mut UnboundedReceiver<Order>) -> End {
        let (dir, listener) = match self.socket() {
            Ok(socket) => socket,
            Err(why) => return End::NotReady(why),
        };
        let mut child = match self.start(&dir) {
            Ok(child) => child,
            Err(why) => return End::NotReady(why),
        };
        let started = tokio::select! {
            started = self.register(&listener, &mut child) => started,
            stop = wait_for_stop(orders) => {
                end_process(child.as_mut()).await;
                return if stop { End::Stopped } else { End::NotReady("it was ended before it was ready".into()) };
            }
        };
        let (connection, region) = match started {
            Ok(started) => started,
            Err(why) => {
                end_process(child.as_mut()).await;
                return End::NotReady(why);
            }
        };
        let mut running = Running {
            connection,
            region,
            child,
        };
        let end = running.watch(orders).await;
        end_process(running.child.as_mut()).await;
        end
    }

    fn socket(&self) -> Result<(InstanceDir, AsyncFd<OwnedFd>), String> {
        let user = self.spec.launch.as_ref().and_then(|l| l.user);
        let dir = self
            .shared
            .run_dir
            .instance(&self.spec.name, user)
            .map_err(|e| e.to_string())?;
        let listener = dir.listen().map_err(|e| e.to_string())?;
        let listener = watch(listener).map_err(|e| format!("its socket cannot be watched: {e}"))?;
        Ok((dir, listener))
    }

    fn start(&self, dir: &InstanceDir) -> Result<Option<Child>, String> {
        let Some(launch) = &self.spec.launch else {
            return Ok(None);
        };
        let mut child = launch
            .start(dir)
            .map_err(|e| format!("{} cannot be started: {e}", launch.program.display()))?;
        output::forward(&self.spec.name, &mut child);
        Ok(Some(child))
    }

    /// Waits for the instance at its socket, up to its `ready`.
    async fn register(
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

impl Running {
    /// Watches the running instance until it goes or is to go.
    async fn watch(&mut self, orders: &mut UnboundedReceiver<Order>) -> End {
        loop {
            tokio::select! {
                heard = hear(&self.connection) => match heard {
                    Err(why) => return self.gone(why).await,
                    // Nothing was asked of it, and one that talks without end must not keep this thread busy.
                    Ok(message) => return End::Lost { why: format!("it said {message:?} unasked"), clean_exit: false },
                },
                order = orders.recv() => match order {
                    Some(Order::Stop) | None => {
                        self.stop().await;
                        return End::Stopped;
                    }
                    Some(Order::Kill(why)) => return End::Lost { why, clean_exit: false },
                    Some(Order::Recovered) => {}
                },
            }
        }
    }

    async fn gone(&mut self, why: String) -> End {
        let Some(child) = self.child.as_mut() else {
            return End::Lost {
                why,
                clean_exit: false,
            };
        };
        // Before the wait: a process that has been waited for has no group that could be named safely.
        has_ended(child, GONE_DEADLINE).await;
        kill_group(child);
        match tokio::time::timeout(Duration::from_millis(100), child.wait()).await {
            Ok(status) => {
                let clean_exit = status.as_ref().is_ok_and(std::process::ExitStatus::success);
                End::Lost {
                    why: describe_exit(status),
                    clean_exit,
                }
            }
            Err(_) => End::Lost {
                why,
                clean_exit: false,
            },
        }
    }

    async fn stop(&mut self) {
        self.region
            .command()
            .store(Command::Stop as u32, Ordering::Release);
        self.region.nf_bell().wake();
        // The command word is enough for an NF that runs; the message reaches one that looks at its socket alone.
        let _ = session::send(&self.connection, &ToNf::Stop, &[]);
        if let Some(child) = self.child.as_mut() {
            has_ended(child, STOP_DEADLINE).await;
        }
    }
}

const HUNG_UP: &str = "it hung up";

async fn hear(connection: &AsyncFd<OwnedFd>) -> Result<FromNf, String> {
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
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
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

/// Waits until the lost instance's packets are recovered; false when it is to stop for good.
async fn recovered(orders: &mut UnboundedReceiver<Order>) -> bool {
    let mut stop = false;
    loop {
        match orders.recv().await {
            Some(Order::Recovered) => return !stop,
            Some(Order::Stop) => stop = true,
            Some(Order::Kill(_)) => {}
            None => return false,
        }
    }
}

/// Waits before a restart; false when it is to stop for good.
async fn wait(orders: &mut UnboundedReceiver<Order>, pause: Duration) -> bool {
    let until = tokio::time::Instant::now() + pause;
    loop {
        match tokio::time::timeout_at(until, orders.recv()).await {
            Err(_) => return true,
            Ok(Some(Order::Stop) | None) => return false,
            Ok(Some(_)) => {}
        }
    }
}

/// Reads orders until one ends the instance: true for a stop, false for a kill.
async fn wait_for_stop(orders: &mut UnboundedReceiver<Order>) -> bool {
    loop {
        match orders.recv().await {
            Some(Order::Stop) | None => return true,
            Some(Order::Kill(_)) => return false,
            Some(Order::Recovered) => {}
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until the process has ended, without reaping it: until then its group can be named safely.
async fn has_ended(child: &Child, at_most: Duration) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let Some(pid) = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
    else {
        return;
    };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let began = Instant::now();
    while matches!(waitid(WaitId::Pid(pid), look), Ok(None)) && began.elapsed() < at_most {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Kills what the process has started, and the process: it leads a process group of its own.
fn kill_group(child: &Child) {
    if let Some(group) = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
    {
        // Fails when there is nobody left in the group.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Kills the process if it still runs, and reaps it.
async fn end_process(child: Option<&mut Child>) {
    if let Some(child) = child {
        kill_group(child);
        // Fails only for a process that has been reaped.
        let _ = child.kill().await;
    }
}

fn too_late() -> String {
    format!(
        "it was not ready within {} s of its start",
        READY_DEADLINE.as_secs()
    )
}

fn describe_exit(status: io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("its process ended ({status})"),
        Err(e) => format!("its process cannot be waited for: {e}"),
    }
}
