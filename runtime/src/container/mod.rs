//! NFs in containers: a bundle's `compose.yaml` on a real engine.
//!
//! At the start Compose creates the containers, all by one command, and those of a service that may be scaled ahead of their use
//! ([`create`]). From there on the engine's own API is spoken, which takes a fraction of the time: a container that was created is
//! started, and one that an edit or a loss asks for is created from the same file ([`service`]). The engine tells of every container that ends ([`events`]); whether an NF is there at all is seen at
//! its socket, so that nothing waits for the engine while packets flow, nor while it is away.

mod batch;
mod compose;
mod create;
mod events;
mod hardening;
mod instance;
mod service;

use std::{sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error, models::SystemInfo};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::{compose::Compose, create::Request, events::Ends};
pub(crate) use self::{
    create::{Created, Wanted},
    instance::{Container, Exit},
};
use crate::{error::RunError, rundir::RunDir};

/// Seconds for an answer of the engine. One that starts a container on a busy machine takes some.
const ANSWER_SECONDS: u64 = 30;
/// For its first answer: who starts a manager waits for that.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
const SOCKET: &str = "unix:///var/run/docker.sock";

/// A container engine, and what this manager has created there.
#[derive(Debug)]
pub(crate) struct Engine {
    client: Docker,
    /// The label `onvm.manager` of all of this manager's containers.
    manager: String,
    ends: Ends,
    requests: UnboundedSender<Request>,
    /// Engine and Compose with their versions, to be shown.
    pub(crate) name: String,
}

impl Engine {
    /// Finds the engine and Compose, and removes what a killed manager of the same bundle and run directory has left behind.
    /// The first containers are created by Compose, if the start of the manager asks for them.
    pub(crate) async fn find(run_dir: &RunDir, at_start: bool) -> Result<Arc<Self>, RunError> {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| SOCKET.to_owned());
        let answered = tokio::time::timeout(FIRST_ANSWER, connect(&host)).await;
        let (client, info) = match answered {
            Ok(Ok(connected)) => connected,
            Ok(Err(e)) => return Err(unreachable(&host, &e)),
            Err(_) => return Err(no_engine(&host, "it does not answer")),
        };
        hardening::of_engine(&info)?;
        let compose = Compose::find().await?;
        let version = info.server_version.as_deref().unwrap_or("of unknown version");
        let name = format!("engine {version}, {}", compose.name());
        let manager = run_dir.label();
        let (requests, receiver) = unbounded_channel();
        let engine = Arc::new(Self {
            ends: Ends::default(),
            client,
            manager,
            requests,
            name,
        });
        engine.remove_leftovers().await?;
        tokio::task::spawn_local(events::follow(Arc::downgrade(&engine)));
        let creator = create::Creator::new(Arc::downgrade(&engine), compose, run_dir.base_path(), at_start);
        tokio::task::spawn_local(creator.run(receiver));
        tracing::info!("containers: {}", engine.name);
        Ok(engine)
    }

    /// Removes everything of this manager's that is there.
    async fn remove_leftovers(&self) -> Result<(), RunError> {
        let failed = |e: Error| RunError::Unsupported(format!("containers of a former run: {}", text(&e)));
        for (id, _) in self.containers(&[]).await.map_err(failed)? {
            tracing::warn!(container = %short(&id), "removing a container that a former onvm-run left behind");
            self.remove(&id).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Waits until everything is removed that this manager still has: what was created ahead, and what nobody waited for any more.
    /// The instances' own are removed by their supervisors.
    pub(crate) async fn close(&self) {
        create::close(self).await;
    }
}

async fn connect(host: &str) -> Result<(Docker, SystemInfo), Error> {
    let client = match host.strip_prefix("unix://") {
        Some(path) => Docker::connect_with_unix(path, ANSWER_SECONDS, API_DEFAULT_VERSION)?,
        None => Docker::connect_with_host(host)?.with_timeout(Duration::from_secs(ANSWER_SECONDS)),
    };
    let client = client.negotiate_version().await?;
    let info = client.info().await?;
    Ok((client, info))
}

/// An engine's error in one line.
fn text(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::RequestTimeoutError => format!("no answer within {ANSWER_SECONDS} s"),
        e => e.to_string(),
    }
}

fn unreachable(host: &str, error: &Error) -> RunError {
    let denied = "permission denied";
    let why = text(error);
    let source = std::error::Error::source(error).map(ToString::to_string);
    if [Some(&why), source.as_ref()]
        .into_iter()
        .flatten()
        .any(|t| t.to_lowercase().contains(denied))
    {
        return RunError::Unsupported(format!(
            "the container engine at {host} refuses this user. Run onvm-run as root or as a member of the engine's group (`docker`)."
        ));
    }
    no_engine(host, &why)
}

fn no_engine(host: &str, why: &str) -> RunError {
    RunError::Unsupported(format!(
        "no container engine at {host}: {why}. Install one (`apt-get install docker.io docker-compose`) and start it \
         (`systemctl start docker`; without systemd: `dockerd`), name another in DOCKER_HOST, or run the NFs as processes \
         (`--nfs process`)."
    ))
}

/// As `docker ps` shows it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
