//! The connections to the control socket: how many there are, and for how long.

use std::{cell::Cell, collections::VecDeque, convert::Infallible, rc::Rc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::AbortHandle,
};

use super::Response;

/// Connections at a time. One more takes the place of the oldest whose request has not come yet.
const MOST: usize = 64;
/// For a whole request to come.
const ASKING: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 5000 });
/// For an answer to be read.
const ANSWERING: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });
/// Bytes of a request's head, and of what is read or written at a time.
const BUFFER: usize = 16 << 10;
/// Where a connection cannot be accepted, for lack of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// How far a connection is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    has_asked: Cell<bool>,
    asked: Notify,
    answered: Notify,
}

impl Progress {
    /// The whole request has come.
    pub(super) fn asked(&self) {
        self.has_asked.set(true);
        self.asked.notify_one();
    }

    /// Its answer is there to be sent.
    pub(super) fn answered(&self) {
        self.answered.notify_one();
    }

    /// Waits until the time of the present step is over. An answer takes as long as what was asked for.
    async fn late(&self) {
        if tokio::time::timeout(ASKING, self.asked.notified()).await.is_ok() {
            self.answered.notified().await;
            tokio::time::sleep(ANSWERING).await;
        }
    }
}

/// Accepts for ever; each connection gets one answer.
pub(super) async fn accept<F>(
    listener: UnixListener,
    answer: impl Fn(hyper::Request<Incoming>, Rc<Progress>) -> F + Clone + 'static,
) where
    F: Future<Output = Result<Response, Infallible>> + 'static,
{
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Where all are being answered, this one is closed.
                if open.has_room() {
                    let progress = Rc::<Progress>::default();
                    let task = tokio::task::spawn_local(converse(stream, answer.clone(), progress.clone()));
                    open.connections.push_back((task.abort_handle(), progress));
                }
                // One that was pushed out goes before the next is accepted.
                tokio::task::yield_now().await;
            }
            Err(e) => {
                tracing::warn!("the control socket accepts no connections: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse<F>(
    stream: UnixStream,
    answer: impl Fn(hyper::Request<Incoming>, Rc<Progress>) -> F,
    progress: Rc<Progress>,
) where
    F: Future<Output = Result<Response, Infallible>>,
{
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| answer(request, progress.clone())),
        );
    // The fate of a connection concerns only its client.
    let _ = tokio::select! {
        ended = connection => ended,
        () = progress.late() => Ok(()),
    };
}

/// In the order in which they came.
#[derive(Debug, Default)]
struct Open {
    connections: VecDeque<(AbortHandle, Rc<Progress>)>,
}

impl Open {
    /// Makes room for one more, if need be.
    fn has_room(&mut self) -> bool {
        self.connections.retain(|(task, _)| !task.is_finished());
        if self.connections.len() < MOST {
            return true;
        }
        let waiting = self.connections.iter().position(|(_, p)| !p.has_asked.get());
        let waiting = waiting.and_then(|at| self.connections.remove(at));
        waiting.inspect(|(task, _)| task.abort()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Says this, reads nothing, and waits until the other end is gone.
    async fn is_ended(said: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        // More than a socket holds.
        let answer = |_request, progress: Rc<Progress>| async move {
            progress.asked();
            progress.answered();
            Ok(Response::new(Full::from(vec![b'x'; 64 << 20])))
        };
        tokio::task::spawn_local(accept(listener, answer));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        let gone = async {
            while client.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .unwrap_or_else(|_| panic!("{said:?}: the connection stays"));
    }

    #[tokio::test]
    async fn who_does_not_ask_or_does_not_read_is_not_waited_for() {
        let both = async {
            is_ended("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            is_ended("POST / HTTP/1.1\r\nhost: x\r\nx: ").await;
            is_ended("").await;
        };
        tokio::task::LocalSet::new().run_until(both).await;
    }
}
