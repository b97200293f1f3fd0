//! The control thread: starts everything, supervises the NFs, answers the control socket, applies edits, stops everything.
//!
//! One thread, one event at a time. Long work (an apply, a drain) waits in [`Manager::pump`], which goes on
//! handling events, so that status stays available and a lost NF is noticed meanwhile.

mod apply;
mod aside;
mod cores;
mod history;
mod logs;
mod memory;
mod messages;
#[cfg(test)]
mod model;
mod place;
mod program;
mod reconfigure;
mod scale;
mod signals;
mod start;
mod status;
mod stop;
mod threads;
mod totals;
mod unsupported;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use onvm_api as wire;
use tokio::sync::mpsc::UnboundedReceiver;

pub use start::{Options, start};

use self::{aside::Aside, history::History, memory::Memory, signals::Signals, totals::Rates};
use crate::{
    api::{Request, Summary, metrics},
    director::{Director, FlowRequests},
    dpdk::{self, Eal},
    error::RunError,
    fleet::{Fleet, HostOptions, Report, processes},
    generation::Generation,
    ports::{Claims, OpenPort},
    rundir::{Kept, RunDir},
    worker::{Workers, WorkersEvent},
};

/// Between checks of conditions without an event: ends of captures, NFs without progress.
const TICK: Duration = Duration::from_millis(20);
/// A tick that comes so much too late says that this process did not run.
const LATE: Duration = Duration::from_millis(250);
/// Between looks for processes that NFs left behind.
const SWEEP: Duration = Duration::from_secs(1);
/// An instance that has packets waiting and hands nothing back for so long counts as hung. One that hands some back and
/// keeps others is ended by its worker.
const HANG_DEADLINE: Duration = Duration::from_secs(2);

/// The running manager. Field order is drop order: what uses DPDK goes before DPDK.
#[derive(Debug)]
pub struct Manager {
    /// Of the first bundle; a later one may come from a file of another name.
    name: String,
    bundle: Arc<Kept>,
    generation: Arc<Generation>,
    fleet: Fleet,
    director: Director,
    /// Slots of the services of the present generation.
    serving: HashSet<u16>,
    /// What instances have asked whose services are not among these yet.
    early: Vec<(u16, FlowRequests)>,
    history: History,
    rates: Rates,
    state: wire::ManagerState,
    began: Instant,
    /// When the next tick is due, whatever else happens.
    next_tick: Instant,
    swept: Instant,
    workers: Workers,
    reports: UnboundedReceiver<(u16, Report)>,
    requests: UnboundedReceiver<Request>,
    aside: Aside,
    signals: Signals,
    ports: Vec<OpenPort>,
    /// Pages of packet memory that were gone when it was looked last.
    pages_taken: u64,
    memory: Memory,
    host: HostOptions,
    exit_when_done: bool,
    /// The shortest calm after which a service has one instance fewer.
    scale_down_after: Duration,
    /// An instance is started or stopped by the manager's own choice; what comes meanwhile waits.
    scales_itself: bool,
    held: VecDeque<Request>,
    /// The number of the last message of an operator.
    last_message: u64,
    /// Somebody asked the manager to stop.
    stopping: bool,
    ingress_closed: bool,
    run_dir: Arc<RunDir>,
    _eal: Arc<Eal>,
    _claims: Claims,
}

/// One thing that the control thread reacts to.
#[derive(Debug)]
enum Input {
    Worker(WorkersEvent),
    Instance(u16, Report),
    Request(Request),
    /// A signal.
    Stop,
    /// Work was done aside; its waiter looks.
    Done,
    Tick,
}

impl Manager {
    /// Serves until stopped by a signal, a request, or the end of all captures; then stops everything and gives the
    /// final balance.
    pub async fn serve(mut self) -> Result<Summary, RunError> {
        self.state = wire::ManagerState::Running;
        while !self.stopping {
            match self.next().await {
                Input::Request(Request::Apply(request, reply)) => {
                    let outcome = self.apply(&request).await;
                    answer(reply, outcome);
                }
                Input::Request(Request::Scale(request, reply)) => {
                    let outcome = self.scale(&request).await;
                    answer(reply, outcome);
                }
                other => self.handle(other),
            }
            self.scale_by_load().await;
            if self.exit_when_done && self.all_done() {
                self.stopping = true;
            }
        }
        self.shut_down().await
    }

    /// Handles events until `done` holds or the deadline passes; says whether it holds.
    async fn pump(&mut self, deadline: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            match self.next().await {
                // Who asks did nothing to be sent away for.
                Input::Request(request @ (Request::Apply(..) | Request::Scale(..))) if self.scales_itself => {
                    self.held.push_back(request);
                }
                Input::Request(Request::Apply(_, reply)) => answer(reply, Err(busy())),
                Input::Request(Request::Scale(_, reply)) => answer(reply, Err(busy())),
                other => self.handle(other),
            }
        }
    }

    /// The next event of any kind. Ticks come in their time, however many other events there are.
    async fn next(&mut self) -> Input {
        if !self.scales_itself
            && let Some(request) = self.held.pop_front()
        {
            return Input::Request(request);
        }
        tokio::select! {
            biased;
            () = self.signals.stop() => Input::Stop,
            () = tokio::time::sleep_until(self.next_tick.into()) => Input::Tick,
            Some(event) = self.workers.event() => Input::Worker(event),
            Some((slot, report)) = self.reports.recv() => Input::Instance(slot, report),
            () = self.aside.done() => Input::Done,
            Some(request) = self.requests.recv() => Input::Request(request),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Worker(WorkersEvent::Detached { slot, recovered }) => self.fleet.detached(slot, recovered),
            Input::Worker(WorkersEvent::Drained { generation }) => self.history.drained(generation),
            Input::Worker(WorkersEvent::Faulty { slot, reason }) => self.fleet.kill(slot, reason),
            Input::Worker(WorkersEvent::IngressClosed) => self.ingress_closed = true,
            Input::Worker(WorkersEvent::Programmed { number }) => self.programmed(number),
            Input::Instance(slot, Report::Flows(asked)) => self.program(slot, asked),
            Input::Instance(slot, report) => {
                let ended = matches!(report, Report::Ended { .. });
                self.fleet.report(&self.workers, slot, report);
                if ended {
                    self.end_flows_of(slot);
                }
            }
            Input::Request(Request::Status(reply)) => answer(reply, Box::new(self.status())),
            Input::Request(Request::VerboseStatus(reply)) => answer(reply, Box::new(self.verbose_status())),
            Input::Request(Request::Metrics(reply)) => answer(reply, metrics::render(&self.status())),
            Input::Request(Request::Flows(request, reply)) => answer(reply, self.flows(&request)),
            Input::Request(Request::DeleteFlows(request, reply)) => self.delete_flows(&request, reply),
            Input::Request(Request::Send(request, reply)) => self.send(request, reply),
            Input::Request(Request::Logs(request, reply)) => answer(reply, self.logs(&request)),
            Input::Request(Request::Stop(reply)) => {
                self.stopping = true;
                answer(reply, ());
            }
            Input::Request(Request::Apply(_, reply)) => drop(reply),
            Input::Request(Request::Scale(_, reply)) => drop(reply),
            Input::Stop => self.stopping = true,
            Input::Done => {}
            Input::Tick => self.tick(),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        // Where this process did not run, the NFs may not have either: a snapshot of the machine, a frozen control group.
        let late = now.saturating_duration_since(self.next_tick);
        if late > LATE {
            self.fleet.grant(late);
        }
        self.next_tick = now + TICK;
        self.fleet.kill_hung(&self.workers, HANG_DEADLINE);
        self.fleet.end_retired(&self.workers);
        self.expire_flows();
        self.rates.sample(&self.workers);
        self.ports.iter_mut().for_each(OpenPort::log_failures);
        let taken = dpdk::pages_taken();
        if taken > self.pages_taken {
            tracing::error!(
                pages = taken - self.pages_taken,
                "pages of the packet memory were taken away by a process that has its file; the packets in them are lost"
            );
            self.pages_taken = taken;
        }
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            processes::sweep();
            self.ports.iter_mut().for_each(OpenPort::look_at_link);
        }
        if self.workers.any_ended() && !self.stopping {
            tracing::error!("a worker ended by a fault, so no more packets are moved");
            self.stopping = true;
        }
    }

    /// Every capture has been read, and every packet has left or been counted.
    fn all_done(&self) -> bool {
        let mut ports = self.ports.iter().enumerate();
        let finished = ports.all(|(id, p)| !p.finite || self.workers.is_done(id));
        finished && self.quiet()
    }

    /// Nothing is inside.
    fn quiet(&self) -> bool {
        self.workers.in_flight() == 0
    }
}

fn busy() -> wire::ApiError {
    wire::ApiError::new(
        wire::ApiError::BUSY,
        "Another apply is under way",
        "Wait for its end, look at the new state with `onvmc status`, then plan again.",
    )
}

/// Answers a request; a client that has gone needs no answer.
fn answer<T>(reply: tokio::sync::oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
