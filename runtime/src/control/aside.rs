//! Work that may wait for a disk is done in a thread of its own, while the control thread keeps answering.
//!
//! No thread can be ended from outside. One that hangs, in a file system that does not answer, is left behind and ends with the
//! process; until then no other apply is taken.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use onvm_api::ApiError;
use tokio::sync::{Notify, oneshot};

use super::{Manager, apply::UNCHANGED};
use crate::error::RunError;

/// For one piece of such work; a bundle is at most 1 GiB.
const DEADLINE: Duration = Duration::from_secs(30);
/// For it to end once its outcome is no longer wanted.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// The one thread whose outcome is awaited, or was and is not any more, and the bell that it rings when it is done.
#[derive(Debug, Default)]
pub(super) struct Aside {
    thread: Option<JoinHandle<()>>,
    done: Arc<Notify>,
}

impl Aside {
    fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until something is done.
    pub(super) async fn done(&self) {
        self.done.notified().await;
    }

    /// Starts the work.
    pub(super) fn start<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, RunError> {
        let (outcome, receiver) = oneshot::channel();
        let done = self.done.clone();
        let thread = std::thread::Builder::new().name("aside".to_owned());
        let started = thread.spawn(move || {
            // Dropped here, with what it made, where nobody waits any more.
            drop(outcome.send(work()));
            done.notify_one();
        });
        self.thread = Some(started.map_err(RunError::system("a thread cannot be started"))?);
        Ok(receiver)
    }

    /// Starts what waits for others and not for a disk, so that it needs no thread.
    fn start_waiting<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> oneshot::Receiver<T> {
        let (outcome, receiver) = oneshot::channel();
        let done = self.done.clone();
        tokio::task::spawn_local(async move {
            drop(outcome.send(work.await));
            done.notify_one();
        });
        receiver
    }
}

fn stopping() -> ApiError {
    ApiError::new(ApiError::NOT_READY, "The manager is stopping", UNCHANGED)
}

impl Manager {
    /// Finds the container engine, if no NF has needed it so far, and handles events meanwhile.
    pub(super) async fn find_engine(&mut self) -> Result<Result<(), RunError>, ApiError> {
        let mut found = self.aside.start_waiting(self.fleet.find_engine());
        self.pump(Instant::now() + DEADLINE, |m| m.stopping || !found.is_empty())
            .await;
        found.try_recv().map_err(|_| match self.stopping {
            true => stopping(),
            false => ApiError::new(
                ApiError::NOT_READY,
                format!(
                    "The container engine and Compose do not answer within {} s",
                    DEADLINE.as_secs()
                ),
                UNCHANGED,
            ),
        })
    }

    /// Does work that may take long, and handles events meanwhile.
    pub(super) async fn aside<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if self.aside.is_busy() {
            let message = "A former apply still waits for the disk that its bundle is on";
            return Err(ApiError::new(
                ApiError::BUSY,
                message,
                "Repair or unmount that file system, or start onvm-run again.",
            ));
        }
        let started = self.aside.start(work);
        let mut outcome = started.map_err(|e| ApiError::new(ApiError::INTERNAL, e.to_string(), UNCHANGED))?;
        self.pump(Instant::now() + DEADLINE, |m| m.stopping || !outcome.is_empty())
            .await;
        if let Ok(outcome) = outcome.try_recv() {
            // All that is left of it is its end.
            self.aside.thread = None;
            return Ok(outcome);
        }
        Err(match self.stopping {
            true => stopping(),
            false => ApiError::new(
                ApiError::BAD_BUNDLE,
                format!("It cannot be read within {} s", DEADLINE.as_secs()),
                "Put the bundle on a file system that answers.",
            ),
        })
    }

    /// Gives what is done aside a moment to remove what it made.
    pub(super) async fn end_aside(&mut self) {
        self.pump(Instant::now() + END_DEADLINE, |m| !m.aside.is_busy())
            .await;
    }
}
