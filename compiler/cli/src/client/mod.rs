//! Talking to a running manager: HTTP and JSON over its control socket.

mod choose;
mod own;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes};
use hyper_util::rt::TokioIo;
use onvm_api::{
    APPLY_PATH, ApiError, ApplyReply, ApplyRequest, STATUS_PATH, STOP_PATH, Status, StopReply, VERBOSE,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

pub(super) use self::choose::Wanted;
use self::own::Directory;
use super::{Outcome, output::Output};

/// A manager answers a question at once; anything longer means that it hangs.
const ANSWER: Duration = Duration::from_secs(5);
/// An apply waits for instances to start and for packets to drain, each with a deadline of its own.
const APPLY: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no manager is running: there is no control socket in {}. Start one with `onvm-run BUNDLE`, or say where it is with `--run-dir` or `--socket`.", .0.display())]
    None(PathBuf),
    #[error("several managers are running: {}. Name one of them {how}.", .names.join(", "))]
    Several { names: Vec<String>, how: &'static str },
    #[error("no manager `{name}` is running in {}; running: {}.", .run_dir.display(), .names.join(", "))]
    Unknown {
        name: String,
        names: Vec<String>,
        run_dir: PathBuf,
    },
    #[error(
        "{target} is for the manager `{name}`, and the only one that runs is `{running}`. If it is meant for `{running}`: `{command}`"
    )]
    Another {
        target: String,
        name: String,
        running: String,
        command: String,
    },
    #[error("no manager answers at {}: {reason}. Check that `onvm-run` runs and that you may open its socket.", socket.display())]
    Unreachable { socket: PathBuf, reason: String },
    #[error(
        "the manager's answer cannot be understood: {0}. Use the `onvmc` that belongs to this `onvm-run`."
    )]
    Answer(String),
    #[error("{}: {found}, so it may be anybody's. {remedy}", path.display())]
    Foreign {
        path: PathBuf,
        found: String,
        remedy: &'static str,
    },
    #[error("{0}")]
    Refused(ApiError),
}

impl ClientError {
    /// Says it, and how the command ends.
    pub(super) fn report(&self, out: &Output) -> Outcome {
        let (code, outcome) = match self {
            Self::None(_) | Self::Unreachable { .. } => ("no_runtime", Outcome::NoRuntime),
            Self::Foreign { .. } => ("foreign_runtime", Outcome::NoRuntime),
            Self::Several { .. } => ("several_runtimes", Outcome::Usage),
            Self::Unknown { .. } => ("no_such_runtime", Outcome::NoRuntime),
            Self::Another { .. } => ("other_runtime", Outcome::Usage),
            Self::Answer(_) => ("answer", Outcome::NoRuntime),
            Self::Refused(e) => (e.code.as_str(), Outcome::ApplyFailed),
        };
        out.error(code, &self.to_string());
        outcome
    }
}

/// The control socket of one manager.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(super) fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, STATUS_PATH, None::<&()>, ANSWER)
    }

    pub(super) fn apply(&self, request: &ApplyRequest) -> Result<ApplyReply, ClientError> {
        self.ask(Method::POST, APPLY_PATH, Some(request), APPLY)
    }

    /// With the hits of each steering rule.
    pub(super) fn verbose_status(&self) -> Result<Status, ClientError> {
        let path = format!("{STATUS_PATH}?{VERBOSE}");
        self.ask(Method::GET, &path, None::<&()>, ANSWER)
    }

    /// The socket is still where it was: the manager is there, or was killed.
    pub(super) fn is_left(&self) -> bool {
        self.socket.symlink_metadata().is_ok()
    }

    /// The process that listens.
    pub(super) fn process(&self) -> Result<Process, ClientError> {
        let unreachable = |e: std::io::Error| ClientError::Unreachable {
            socket: self.socket.clone(),
            reason: e.to_string(),
        };
        let (dir, name) = self.place()?;
        let stream = std::os::unix::net::UnixStream::connect(dir.by_descriptor(name)).map_err(unreachable)?;
        let pid = own::refuse_peer(&self.socket, &stream)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| unreachable(e.into()))?;
        Ok(Process(fd))
    }

    pub(super) fn stop(&self) -> Result<StopReply, ClientError> {
        self.ask(Method::POST, STOP_PATH, None::<&()>, ANSWER)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable {
            socket: self.socket.clone(),
            reason,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| unreachable(e.to_string()))?;
        let (dir, name) = self.place()?;
        let connect = async {
            let stream = UnixStream::connect(dir.by_descriptor(name)).await;
            let stream = stream.map_err(|e| unreachable(e.to_string()))?;
            own::refuse_peer(&self.socket, &stream)?;
            exchange(stream, method, path, body).await.map_err(unreachable)
        };
        match runtime.block_on(async { tokio::time::timeout(within, connect).await }) {
            Err(_) => Err(unreachable(format!("no answer within {} s", within.as_secs()))),
            Ok(Err(e)) => Err(e),
            Ok(Ok((true, body))) => {
                serde_json::from_slice(&body).map_err(|e| ClientError::Answer(e.to_string()))
            }
            Ok(Ok((false, body))) => match serde_json::from_slice(&body) {
                Ok(error) => Err(ClientError::Refused(error)),
                Err(e) => Err(ClientError::Answer(e.to_string())),
            },
        }
    }

    /// The socket's directory and name, once nobody else can have put them there.
    fn place(&self) -> Result<(Directory, &str), ClientError> {
        let none = || ClientError::None(self.socket.clone());
        let name = self.socket.file_name().and_then(|name| name.to_str());
        let dir = match self.socket.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let (name, dir) = (name.ok_or_else(none)?, Directory::open(dir)?.ok_or_else(none)?);
        dir.refuse_foreign(name)?;
        Ok((dir, name))
    }
}

/// A manager's process, whatever process has its id later.
#[derive(Debug)]
pub(super) struct Process(OwnedFd);

impl Process {
    /// Whether it ends in that time.
    pub(super) fn ends_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut ended = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut ended, Timespec::try_from(left).ok().as_ref()) {
                Ok(n) if n > 0 => return true,
                Ok(_) | Err(_) if left.is_zero() => return false,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// One request on a connection of its own: whether it succeeded, and the body.
async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<(bool, Bytes), String> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let bytes = body
        .map(serde_json::to_vec)
        .transpose()
        .map_err(|e| e.to_string())?
        .unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "onvm")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(bytes)))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let ok = response.status().is_success();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|e| e.to_string())?
        .to_bytes();
    driver.abort();
    Ok((ok, body))
}

/// As `onvm-run` chooses it.
pub(super) fn default_run_dir() -> PathBuf {
    let user = rustix::process::geteuid();
    onvm_api::default_run_dir(user.as_raw(), std::env::var_os("XDG_RUNTIME_DIR"))
}
