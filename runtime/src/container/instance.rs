//! One instance's container, which is started again and again.

use std::{
    fs, future, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use bollard::{
    container::LogOutput,
    errors::Error,
    models::ContainerUpdateBody,
    query_parameters::{
        AttachContainerOptionsBuilder, KillContainerOptions, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{Engine, short, text};
use crate::fleet::{Assignment, assigned, has_moved};

/// For the engine to notice an end.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// Before it is looked again for the output of a container that has not ended.
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);
/// For a killed process to go.
const KILL_DEADLINE: Duration = Duration::from_secs(2);

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// None: it is gone, or the engine does not know.
    pub(crate) code: Option<i64>,
    pub(crate) out_of_memory: bool,
}

impl Exit {
    pub(crate) fn is_clean(self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self {
                out_of_memory: true, ..
            } => f.write_str("the kernel ended it: it took more than its `memory`, kernel memory included"),
            // As shells and engines show a signal.
            Self {
                code: Some(code @ 129..=192),
                ..
            } => {
                write!(f, "its container ended (signal {}, exit code {code})", code - 128)
            }
            Self { code: Some(code), .. } => write!(f, "its container ended (exit code {code})"),
            Self { code: None, .. } => f.write_str("its container is gone"),
        }
    }
}

/// A created container. It is removed by [`Container::remove`], not on drop.
#[derive(Debug)]
pub(crate) struct Container {
    engine: Arc<Engine>,
    id: String,
    life: Option<Life>,
    moving: Arc<tokio::sync::Mutex<()>>,
}

/// One life of it.
#[derive(Debug)]
struct Life {
    exit: watch::Receiver<Option<Exit>>,
    /// The process at the socket. Readable once it has ended, which is long before the engine says so.
    process: Option<AsyncFd<OwnedFd>>,
}

impl Container {
    pub(super) fn new(engine: Arc<Engine>, id: String) -> Self {
        Self {
            engine,
            id,
            life: None,
            moving: Arc::default(),
        }
    }

    /// As `docker ps` shows it.
    pub(crate) fn id(&self) -> &str {
        short(&self.id)
    }

    pub(super) fn full_id(&self) -> &str {
        &self.id
    }

    /// Starts it; what it prints from then on.
    pub(crate) async fn start(&mut self) -> Result<impl Stream<Item = Bytes> + use<>, String> {
        let Engine { client, ends, .. } = &*self.engine;
        let output = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true);
        // Before it runs, so that nothing is missed.
        let output = client.attach_container(&self.id, Some(output.build())).await;
        let output = output.map_err(|e| text(&e))?.output;
        let exit = ends.expect(&self.id);
        let later = output_later(self.engine.clone(), self.id.clone(), exit.clone());
        self.life = Some(Life { exit, process: None });
        let started = client
            .start_container(&self.id, None::<StartContainerOptions>)
            .await;
        if let Err(e) = started {
            self.life = None;
            ends.forget(&self.id);
            return Err(text(&e));
        }
        ends.started(&self.id);
        Ok(bytes(output).chain(later))
    }

    /// The process that has connected, if it is this container's: it can be watched and ended without the engine.
    pub(crate) fn connected(&mut self, pid: u32) {
        let Some(life) = &mut self.life else { return };
        life.process = process_of(&self.id, pid);
    }

    /// Its exit, once it is there; for ever, where it was not started.
    pub(crate) async fn ended(&mut self) -> Exit {
        match &mut self.life {
            Some(life) => exit(&mut life.exit).await,
            None => future::pending().await,
        }
    }

    /// Waits until nothing of it runs any more.
    pub(crate) async fn is_dead(&mut self) {
        match &mut self.life {
            Some(Life {
                process: Some(process),
                ..
            }) => drop(process.readable().await),
            Some(life) => drop(exit(&mut life.exit).await),
            None => {}
        }
    }

    /// Ends what runs of it; returns once it has ended, so that nobody writes to its memory afterwards. Where its process cannot be
    /// seen from here and the engine is away, that is when the engine is back.
    pub(crate) async fn kill(&mut self) {
        let Some(life) = &mut self.life else { return };
        // What the engine says may be late, and about the life before.
        if life.process.is_none() && life.exit.borrow().is_some() {
            return;
        }
        if let Some(process) = &life.process {
            // One that has ended cannot be sent a signal, and one of another user namespace perhaps neither.
            let _ = pidfd_send_signal(process.get_ref(), Signal::KILL);
            let gone = tokio::time::timeout(KILL_DEADLINE, process.readable()).await;
            if gone.is_ok() {
                return;
            }
        }
        let mut warned = false;
        loop {
            let client = &self.engine.client;
            match client
                .kill_container(&self.id, None::<KillContainerOptions>)
                .await
            {
                // One that has ended meanwhile cannot be killed.
                Err(Error::DockerResponseServerError {
                    status_code: 404 | 409,
                    ..
                }) => return,
                Err(e) if !std::mem::replace(&mut warned, true) => {
                    tracing::warn!(container = %short(&self.id), "it cannot be killed yet: {}", text(&e));
                }
                _ => {}
            }
            let ended = tokio::time::timeout(KILL_DEADLINE, exit(&mut life.exit)).await;
            if ended.is_ok() {
                return;
            }
        }
    }

    /// How its life ended, once the engine knows; until then it cannot be started again.
    pub(crate) async fn exit(&mut self) -> Option<Exit> {
        let life = self.life.as_mut()?;
        let exit = tokio::time::timeout(END_DEADLINE, exit(&mut life.exit))
            .await
            .ok();
        self.engine.ends.forget(&self.id);
        self.life = None;
        exit
    }

    /// Whether the engine still has it.
    pub(crate) async fn is_there(&self) -> bool {
        let found = self.engine.client.inspect_container(&self.id, None).await;
        !matches!(
            found,
            Err(Error::DockerResponseServerError { status_code: 404, .. })
        )
    }

    /// Puts it on these cores, none: all, and takes its memory from this node.
    pub(crate) async fn place(&self, cores: &[u16], node: Option<u16>) -> Result<(), String> {
        let listed: Vec<String> = cores.iter().map(ToString::to_string).collect();
        let body = ContainerUpdateBody {
            cpuset_cpus: (!cores.is_empty()).then(|| listed.join(",")),
            cpuset_mems: node.map(|node| node.to_string()),
            ..ContainerUpdateBody::default()
        };
        let updated = self.engine.client.update_container(&self.id, body).await;
        updated.map_err(|e| format!("it cannot be put on cores {}: {}", listed.join(","), text(&e)))
    }

    /// The same while it runs and without waiting, for the cores that it is to be on by then. Where that fails, it is moved when it
    /// is started next.
    pub(crate) fn follow(&self, instance: &str, assignment: Arc<Mutex<Assignment>>) {
        let (id, instance, moving) = (self.id.clone(), instance.to_owned(), self.moving.clone());
        let container = Self::new(self.engine.clone(), id);
        tokio::task::spawn_local(async move {
            let _one_at_a_time = moving.lock().await;
            let cores = assigned(&assignment);
            match container.place(&cores, None).await {
                Ok(()) => has_moved(&assignment, cores),
                Err(e) => tracing::warn!(instance, "{e}"),
            }
        });
    }

    pub(crate) async fn remove(self) {
        self.engine.ends.forget(&self.id);
        if let Err(e) = self.engine.remove(&self.id).await {
            tracing::warn!(
                container = %self.id(),
                "it cannot be removed ({}): the next onvm-run of this bundle removes it",
                text(&e)
            );
        }
    }
}

/// What it prints once an engine that had gone is back: an output ends with its container or with the engine.
fn output_later(
    engine: Arc<Engine>,
    id: String,
    exit: watch::Receiver<Option<Exit>>,
) -> impl Stream<Item = Bytes> {
    let outputs = stream::unfold((engine, id, exit), async |(engine, id, mut exit)| {
        let ended = tokio::time::timeout(OUTPUT_PAUSE, exit.wait_for(Option::is_some));
        if ended.await.is_ok() {
            return None;
        }
        // An engine that found the container running when it came gives nothing to who attaches.
        let options = LogsOptionsBuilder::new()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .tail("0");
        let output = bytes(engine.client.logs(&id, Some(options.build())));
        Some((output, (engine, id, exit)))
    });
    outputs.flatten()
}

/// Until the engine breaks off.
fn bytes(output: impl Stream<Item = Result<LogOutput, Error>>) -> impl Stream<Item = Bytes> {
    output
        .take_while(|piece| future::ready(piece.is_ok()))
        .filter_map(|piece| future::ready(piece.ok().map(LogOutput::into_bytes)))
}

impl Engine {
    /// Ends and removes a container, if it is there.
    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.client
            .remove_container(id, Some(options))
            .await
            .or_else(unless(&[404, 409]))
    }
}

/// An answer of these kinds is none that matters.
fn unless(codes: &[u16]) -> impl FnOnce(Error) -> Result<(), Error> {
    move |error| match error {
        Error::DockerResponseServerError { status_code, .. } if codes.contains(&status_code) => Ok(()),
        e => Err(e),
    }
}

async fn exit(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    let known = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
    // The sender is gone where the container is.
    known.unwrap_or(Exit {
        code: None,
        out_of_memory: false,
    })
}

/// A handle of a process of this container. None where the process is another's, or cannot be seen from here.
fn process_of(container: &str, pid: u32) -> Option<AsyncFd<OwnedFd>> {
    let handle = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    // Read with the handle open: the number is still that process's, or the handle is of one that has ended.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.contains(container).then(|| watch(handle).ok())?
}

#[expect(
    deprecated,
    reason = "the objection is to types that do not own their descriptor; this one does"
)]
fn watch(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_as_operators_know_it() {
        let exit = |code, out_of_memory| Exit { code, out_of_memory };
        assert_eq!(
            exit(Some(1), false).to_string(),
            "its container ended (exit code 1)"
        );
        assert_eq!(
            exit(Some(137), false).to_string(),
            "its container ended (signal 9, exit code 137)"
        );
        assert!(exit(Some(137), true).to_string().contains("`memory`"));
        assert!(exit(Some(0), false).is_clean() && !exit(None, false).is_clean());
    }

    #[tokio::test]
    async fn a_process_of_another_container_is_not_taken() {
        assert!(process_of("0123456789ab", std::process::id()).is_none());
    }
}
