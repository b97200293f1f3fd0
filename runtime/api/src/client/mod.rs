//! A client of the control socket, which talks to the user's own manager or to root's alone.

mod http;
mod own;
mod process;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use self::own::Directory;
pub use self::{
    http::{Answer, connect, exchange},
    process::Process,
};
use crate::{
    APPLY_PATH, ApiError, ApplyReply, ApplyRequest, CONTROL_SOCKET, FLOWS_DELETE_PATH, FLOWS_PATH,
    FlowsDeleteReply, FlowsDeleteRequest, FlowsReply, FlowsRequest, LOGS_PATH, LogsReply, LogsRequest,
    SCALE_PATH, SEND_PATH, STATUS_PATH, STOP_PATH, ScaleReply, ScaleRequest, SendReply, SendRequest, Status,
    StopReply, VERBOSE,
};

/// A manager answers a question at once; anything longer means that it hangs.
const ANSWER: Duration = Duration::from_secs(5);
/// An apply waits for instances to start and for packets to drain, each with a deadline of its own.
const APPLY: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("there is no control socket at {}", .0.display())]
    Missing(PathBuf),
    #[error("no manager answers at {}: {reason}. Check that `onvm-run` runs and that you may open its socket.", socket.display())]
    Unreachable { socket: PathBuf, reason: String },
    #[error(
        "the manager's answer cannot be understood: {0}. Use the `onvmc` that belongs to this `onvm-run`."
    )]
    Answer(String),
    #[error("{}: {found}, so it may be anybody's", path.display())]
    Foreign { path: PathBuf, found: String },
    #[error("{0}")]
    Refused(ApiError),
}

/// The names of the managers below a directory, in order; each has a control socket. None: there is no such directory.
pub fn managers(run_dir: &Path) -> Result<Option<Vec<String>>, ClientError> {
    let dir = Directory::open(run_dir)?;
    Ok(dir.map(|dir| {
        let mut names = dir.with(CONTROL_SOCKET);
        names.sort();
        names
    }))
}

/// The control socket of one manager.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Connects with each request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    pub fn status(&self) -> Result<Status, ClientError> {
        self.ask("GET", STATUS_PATH, None::<&()>, ANSWER)
    }

    /// With the hits of each steering rule.
    pub fn verbose_status(&self) -> Result<Status, ClientError> {
        let path = format!("{STATUS_PATH}?{VERBOSE}");
        self.ask("GET", &path, None::<&()>, ANSWER)
    }

    /// Returns once the old generation has ended.
    pub fn apply(&self, request: &ApplyRequest) -> Result<ApplyReply, ClientError> {
        self.ask("POST", APPLY_PATH, Some(request), APPLY)
    }

    /// Returns once new flows meet the new set of instances.
    pub fn scale(&self, request: &ScaleRequest) -> Result<ScaleReply, ClientError> {
        self.ask("POST", SCALE_PATH, Some(request), APPLY)
    }

    /// Flow entries of NFs.
    pub fn flows(&self, request: &FlowsRequest) -> Result<FlowsReply, ClientError> {
        self.ask("POST", FLOWS_PATH, Some(request), ANSWER)
    }

    /// Returns once no worker obeys them any more.
    pub fn delete_flows(&self, request: &FlowsDeleteRequest) -> Result<FlowsDeleteReply, ClientError> {
        self.ask("POST", FLOWS_DELETE_PATH, Some(request), APPLY)
    }

    /// Returns once all instances have answered, or their time is over.
    pub fn send(&self, request: &SendRequest) -> Result<SendReply, ClientError> {
        self.ask("POST", SEND_PATH, Some(request), ANSWER)
    }

    pub fn logs(&self, request: &LogsRequest) -> Result<LogsReply, ClientError> {
        self.ask("POST", LOGS_PATH, Some(request), ANSWER)
    }

    /// Returns once the manager has the request; [`Self::process`] says when it has ended.
    pub fn stop(&self) -> Result<StopReply, ClientError> {
        self.ask("POST", STOP_PATH, None::<&()>, ANSWER)
    }

    /// The socket is still where it was: the manager is there, or was killed.
    pub fn is_left(&self) -> bool {
        self.socket.symlink_metadata().is_ok()
    }

    /// The process that listens.
    pub fn process(&self) -> Result<Process, ClientError> {
        let (dir, name) = self.place()?;
        let stream = connect(&dir.by_descriptor(name), ANSWER).map_err(|e| self.unreachable(&e))?;
        let pid = own::refuse_peer(&self.socket, &stream)?;
        Process::open(pid).map_err(|e| self.unreachable(&e))
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, ClientError> {
        let (dir, name) = self.place()?;
        let stream = connect(&dir.by_descriptor(name), ANSWER).map_err(|e| self.unreachable(&e))?;
        own::refuse_peer(&self.socket, &stream)?;
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|e| self.unreachable(&e.into()))?.unwrap_or_default();
        let answer = exchange(&stream, method, path, &body, within).map_err(|e| self.unreachable(&e))?;
        let unclear = |e: serde_json::Error| ClientError::Answer(e.to_string());
        match answer.is_success() {
            true => serde_json::from_slice(&answer.body).map_err(unclear),
            false => Err(serde_json::from_slice(&answer.body).map_or_else(unclear, ClientError::Refused)),
        }
    }

    /// The socket's directory and name, once nobody else can have put them there.
    fn place(&self) -> Result<(Directory, &str), ClientError> {
        let missing = || ClientError::Missing(self.socket.clone());
        let name = self.socket.file_name().and_then(|name| name.to_str());
        let dir = match self.socket.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let (name, dir) = (
            name.ok_or_else(missing)?,
            Directory::open(dir)?.ok_or_else(missing)?,
        );
        dir.refuse_foreign(name)?;
        Ok((dir, name))
    }

    fn unreachable(&self, reason: &std::io::Error) -> ClientError {
        ClientError::Unreachable {
            socket: self.socket.clone(),
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixListener,
    };

    use super::*;

    /// A manager that answers one request with these bytes, and gives the request.
    fn answering(answer: &'static str) -> (tempfile::TempDir, Client, std::thread::JoinHandle<String>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(CONTROL_SOCKET);
        let listener = UnixListener::bind(&socket).unwrap();
        let request = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut request = String::new();
            stream.read_to_string(&mut request).unwrap();
            request
        });
        (dir, Client::new(socket), request)
    }

    #[test]
    fn an_apply_is_sent_whole() {
        let (_dir, client, request) = answering(
            "HTTP/1.1 409 Conflict\r\n\r\n{\"version\":1,\"code\":\"busy\",\"message\":\"m\",\"remedy\":\"r\"}",
        );
        let apply = ApplyRequest {
            version: 1,
            bundle: "/b".into(),
            base: None,
        };
        let Err(ClientError::Refused(error)) = client.apply(&apply) else {
            panic!("a refusal of the manager is passed on")
        };
        assert_eq!(error, ApiError::new(ApiError::BUSY, "m", "r"));
        let request = request.join().unwrap();
        assert!(request.starts_with("POST /v1/apply HTTP/1.1\r\n"), "{request}");
        let body = r#"{"version":1,"bundle":"/b","base":null}"#;
        let length = format!("content-length: {}\r\n", body.len());
        assert!(request.contains(&length) && request.ends_with(body), "{request}");
    }

    #[test]
    fn what_is_not_a_manager_is_refused_by_its_fault() {
        let (dir, client, _) = answering("HTTP/1.1 200 OK\r\n\r\nhello");
        assert!(matches!(client.stop(), Err(ClientError::Answer(_))));
        // Its listener is gone.
        assert!(matches!(client.status(), Err(ClientError::Unreachable { .. })));
        let (_dir, mute, _) = answering("");
        let Err(ClientError::Unreachable { reason, .. }) = mute.status() else {
            panic!("an empty answer is none")
        };
        assert!(reason.contains("without an answer"), "{reason}");
        let missing = Client::new(dir.path().join("none.sock"));
        assert!(matches!(missing.status(), Err(ClientError::Missing(_))));
        let beyond = Client::new("/no/such/dir/control.sock");
        assert!(matches!(beyond.status(), Err(ClientError::Missing(_))));
    }

    #[test]
    fn a_link_or_a_file_in_the_place_of_a_socket_is_foreign() {
        let (dir, _client, _) = answering("");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(CONTROL_SOCKET, &link).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [link, file] {
            assert!(
                matches!(Client::new(&path).process(), Err(ClientError::Foreign { .. })),
                "{path:?}"
            );
        }
    }

    #[test]
    fn managers_are_named_by_their_sockets() {
        let dir = tempfile::tempdir().unwrap();
        assert!(managers(&dir.path().join("none")).unwrap().is_none());
        for (name, file) in [("b", CONTROL_SOCKET), ("a", CONTROL_SOCKET), ("c", "lock")] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(file), "").unwrap();
        }
        assert_eq!(managers(dir.path()).unwrap().unwrap(), ["a", "b"]);
    }
}
