//! The end: packets leave, then NFs, workers and ports stop, in this order.

use std::time::{Duration, Instant};

use onvm_api as wire;

use super::{Manager, TICK};
use crate::{api::Summary, error::RunError, ports::OpenPort, worker::Command};

/// For the container engine to remove what was created ahead.
const ENGINE_DEADLINE: Duration = Duration::from_secs(10);
/// For packets to leave when the manager stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// For an output to get on: to be written where the worker has ended.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(2);
/// For workers and receivers to end once they are told to.
const WORKER_DEADLINE: Duration = Duration::from_secs(2);

impl Manager {
    /// Lets packets leave, stops NFs, workers and ports, in this order.
    pub(super) async fn shut_down(mut self) -> Result<Summary, RunError> {
        self.state = wire::ManagerState::Stopping;
        // From here on a worker ends as requested, also where a start has failed.
        self.stopping = true;
        tracing::info!("stopping");
        self.workers.stop_receivers();
        self.pump(Instant::now() + WORKER_DEADLINE, |m| m.workers.receivers_ended())
            .await;
        self.workers.send_all(|| Command::CloseIngress);
        self.pump(Instant::now() + DRAIN_DEADLINE, |m| m.ingress_closed && m.quiet())
            .await;
        self.fleet.stop_all();
        self.pump(Instant::now() + 2 * DRAIN_DEADLINE, |m| m.fleet.all_ended())
            .await;
        if tokio::time::timeout(ENGINE_DEADLINE, self.fleet.close_engine())
            .await
            .is_err()
        {
            tracing::warn!(
                "the container engine does not answer; the next onvm-run of this bundle removes what is left there"
            );
        }
        self.end_workers().await?;
        self.end_aside().await;
        self.end_outputs().await;
        let mut summary = Summary::new(self.status());
        for open in self.ports.drain(..) {
            summary.unread.extend(open.unread());
            summary.cut.extend(open.cut());
            open.close()?;
        }
        tracing::info!("stopped");
        Ok(summary)
    }

    /// Lets outputs be written to their end, as long as they get on.
    async fn end_outputs(&mut self) {
        let progress =
            |m: &Self| -> Vec<_> { m.ports.iter().filter_map(OpenPort::output_progress).collect() };
        let (mut last, mut since) = (progress(self), Instant::now());
        while !last.is_empty() && since.elapsed() < OUTPUT_DEADLINE {
            self.pump(Instant::now() + TICK, |m| progress(m) != last).await;
            let now = progress(self);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    async fn end_workers(&mut self) -> Result<(), RunError> {
        self.workers.send_all(|| Command::Exit);
        let ended = self
            .pump(Instant::now() + WORKER_DEADLINE, |m| m.workers.all_ended())
            .await;
        if !ended {
            let text = "worker did not stop within 2 s: a port driver is blocking it. Packets still inside are lost.";
            return Err(RunError::Unsupported(text.to_owned()));
        }
        match self.workers.join() {
            true => Ok(()),
            false => Err(RunError::Unsupported("a worker ended by a fault".to_owned())),
        }
    }
}
