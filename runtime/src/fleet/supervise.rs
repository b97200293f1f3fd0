//! One instance's life: started, registered, running, stopped, or lost and started again. A task per instance.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nflib::{Region, messages::Sent};
use onvm_bundle::Restart;
use tokio::{
    io::unix::AsyncFd,
    sync::{
        OnceCell,
        mpsc::{UnboundedReceiver, UnboundedSender, error::TryRecvError},
    },
};

use super::{
    closing::{Closing, NfSocket},
    contained::Home,
    cores::{Assignment, assigned, has_moved},
    launch::Program,
    log::{self, journal::Journal, limit::Limit},
    messages::{Letter, Said},
    offer::Taken,
    packets::Domains,
    processes,
    register::{OwnCounter, watch},
    running::{Hosted, Running},
    spec::{Given, InstanceSpec, Launch},
};
use crate::{
    container::Engine,
    director::{FlowRequests, News},
    jail::{Jail, NfProcess},
    rundir::{InstanceDir, RunDir},
};

/// Pauses before restarts: none before the first, then doubling. A run of at least the longest pause starts over.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Complaints about peers at an instance's socket that are logged in one window.
const COMPLAINTS_PER_WINDOW: u32 = 10;

/// What the memory of all instances has in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub run_dir: Arc<RunDir>,
    pub domains: Arc<Domains>,
    pub workers: u32,
    pub ring: u32,
    /// The NUMA node of the ports, for rings of instances that ask for none.
    pub node: Option<u16>,
    /// None: no NF is a process of this manager's.
    pub jail: Option<Jail>,
    pub journal: Arc<Journal>,
    /// Empty until an NF runs in a container.
    pub engine: OnceCell<Arc<Engine>>,
}

/// Reports of a supervisor.
#[derive(Debug)]
pub(crate) enum Report {
    Starting,
    /// The instance has registered and may be given packets.
    Ready {
        region: Region,
        pid: u32,
        /// Its container's id, if it runs in one.
        container: Option<String>,
        counters: Vec<OwnCounter>,
    },
    /// The instance asks about flow entries; the supervisor reads no further before [`Order::Flows`] answers.
    Flows(FlowRequests),
    /// It has answered an [`Order::Reconfigure`].
    Reconfigured(Taken),
    /// The instance has a message for the others of its service; [`Order::Sent`] says what has become of it.
    Said(Said),
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
    /// It will not be started again, for this reason; none: it stopped as requested.
    Ended {
        why: Option<String>,
    },
}

/// Commands to a supervisor.
#[derive(Debug)]
pub(super) enum Order {
    /// Stop the instance; it holds no packets any more.
    Stop,
    /// End the instance at once, since it misbehaves.
    Kill(String),
    /// The packets of the lost instance have been recovered.
    Recovered,
    /// News of flow entries for the instance.
    Flows(Box<News>),
    /// Offer it other parameters, if it runs.
    Reconfigure(Box<Given>),
    /// Its cores are others now.
    Move,
    /// A message for it, which is lost where it does not run.
    Letter(Box<Letter>),
    /// What has become of a message that it sent in that life.
    Sent(u32, Sent),
}

/// A supervisor's end.
pub(super) enum End {
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
    pub closing: Closing,
    pub complaints: RefCell<Limit>,
    /// How often the instance has been started before.
    pub life: Cell<u32>,
    /// Its parameters, as it gets them at its next start.
    pub given: Arc<Mutex<Given>>,
    pub assignment: Arc<Mutex<Assignment>>,
    /// The id of the container that it runs in, if it does.
    pub container: RefCell<Option<String>>,
}

impl Supervisor {
    pub(super) fn new(
        slot: u16,
        spec: InstanceSpec,
        shared: Arc<Shared>,
        reports: UnboundedSender<(u16, Report)>,
    ) -> Self {
        Self {
            slot,
            given: Arc::new(Mutex::new(spec.given.clone())),
            spec,
            shared,
            reports,
            closing: Closing::new(),
            complaints: RefCell::new(Limit::new(COMPLAINTS_PER_WINDOW)),
            life: Cell::new(0),
            assignment: Assignment::none(),
            container: RefCell::default(),
        }
    }

    /// Supervises until the instance is stopped or not to be restarted.
    pub(super) async fn run(self, mut orders: UnboundedReceiver<Order>) {
        let mut home = None;
        let why = self.lives(&mut home, &mut orders).await;
        if let Some(home) = home {
            home.leave().await;
        }
        self.report(Report::Ended { why });
    }

    /// One life after the other. Why it is not started again; none: it was stopped.
    async fn lives(&self, home: &mut Option<Home>, orders: &mut UnboundedReceiver<Order>) -> Option<String> {
        let mut pause = Duration::ZERO;
        loop {
            let began = Instant::now();
            self.report(Report::Starting);
            let (why, clean_exit) = match self.live(home, orders).await {
                End::Stopped => return None,
                End::NotReady(why) => {
                    self.report(Report::NotReady { why: why.clone() });
                    (why, false)
                }
                End::Lost { why, clean_exit } => {
                    self.report(Report::Lost { why: why.clone() });
                    let clean_exit = match home {
                        Some(home) => home.settle(&self.spec.name).await,
                        None => clean_exit,
                    };
                    if !recovered(orders).await {
                        return None;
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
                return Some(why);
            }
            if began.elapsed() >= LONGEST_PAUSE {
                pause = Duration::ZERO;
            }
            self.life.set(self.life.get().wrapping_add(1));
            self.report(Report::Pausing(pause));
            if !wait(orders, pause).await {
                return None;
            }
            pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
    }

    pub(super) fn report(&self, report: Report) {
        // The manager outlives its supervisors; when it is gone, nobody needs the report.
        let _ = self.reports.send((self.slot, report));
    }

    pub(super) fn cores(&self) -> Vec<u16> {
        assigned(&self.assignment)
    }

    /// One life of the instance.
    async fn live(&self, home: &mut Option<Home>, orders: &mut UnboundedReceiver<Order>) -> End {
        match &self.spec.launch {
            Some(Launch::Process(program)) => self.live_inside(program, orders).await,
            Some(Launch::Container(contained)) => self.live_contained(contained, home, orders).await,
            None => self.live_outside(orders).await,
        }
    }

    /// One life of a process that this manager starts.
    async fn live_inside(&self, program: &Program, orders: &mut UnboundedReceiver<Order>) -> End {
        let (mut process, connection) = match self.start(program).await {
            Ok(started) => started,
            Err(why) => return End::NotReady(why),
        };
        let end = self.inside(&mut process, connection, orders).await;
        processes::end(&mut process).await;
        end
    }

    async fn inside(
        &self,
        process: &mut NfProcess,
        connection: AsyncFd<NfSocket>,
        orders: &mut UnboundedReceiver<Order>,
    ) -> End {
        let started = tokio::select! {
            started = self.register(&connection, process) => started,
            stop = wait_for_stop(orders) => return ended_early(stop),
        };
        let region = match started {
            Ok(region) => region,
            Err(why) => return End::NotReady(why),
        };
        let mut running = Running {
            connection,
            region,
            hosted: Some(Hosted::Process(process)),
        };
        running.watch(self, orders).await
    }

    /// One life of a program that somebody else starts.
    async fn live_outside(&self, orders: &mut UnboundedReceiver<Order>) -> End {
        // The directory, which holds the socket, lives as long as the instance.
        let (_dir, listener) = match self.socket_for(None) {
            Ok(socket) => socket,
            Err(why) => return End::NotReady(why),
        };
        let started = tokio::select! {
            started = self.await_registration(&listener) => started,
            stop = wait_for_stop(orders) => return ended_early(stop),
        };
        let (connection, region) = match started {
            Ok(started) => started,
            Err(why) => return End::NotReady(why),
        };
        let mut running = Running {
            connection,
            region,
            hosted: None,
        };
        running.watch(self, orders).await
    }

    /// The instance's own socket, which this user may connect to; none: the manager's.
    pub(super) fn socket_for(&self, user: Option<u32>) -> Result<(InstanceDir, AsyncFd<NfSocket>), String> {
        let dir = self
            .shared
            .run_dir
            .instance(&self.spec.name)
            .map_err(|e| e.to_string())?;
        let listener = dir.listen(user).map_err(|e| e.to_string())?;
        let listener =
            watch(listener, &self.closing).map_err(|e| format!("its socket cannot be watched: {e}"))?;
        Ok((dir, listener))
    }

    async fn start(&self, program: &Program) -> Result<(NfProcess, AsyncFd<NfSocket>), String> {
        let Some(jail) = &self.shared.jail else {
            return Err("onvm-run was asked not to start NFs, but this one must be started".to_owned());
        };
        self.closing.done().await;
        let failed = |e: &dyn std::fmt::Display| format!("{} cannot be started: {e}", program.path.display());
        let cores = self.cores();
        has_moved(&self.assignment, cores.clone());
        let started = program.start(jail, &cores).await.map_err(|e| failed(&e))?;
        for stream in [started.output, started.error] {
            log::forward(&self.spec.name, &self.shared.journal, stream).map_err(|e| failed(&e))?;
        }
        let connection = watch(started.socket, &self.closing).map_err(|e| failed(&e))?;
        Ok((started.process, connection))
    }
}

pub(super) fn ended_early(stop: bool) -> End {
    match stop {
        true => End::Stopped,
        false => End::NotReady("it was ended before it was ready".to_owned()),
    }
}

/// Waits until the lost instance's packets are recovered; false when it is to stop for good.
async fn recovered(orders: &mut UnboundedReceiver<Order>) -> bool {
    let mut stop = false;
    loop {
        match orders.recv().await {
            Some(Order::Recovered) => return !stop,
            Some(Order::Stop) => stop = true,
            Some(_) => {}
            None => return false,
        }
    }
}

/// Waits before a restart; false when it is to stop for good.
async fn wait(orders: &mut UnboundedReceiver<Order>, pause: Duration) -> bool {
    // A timer would take a millisecond or two for no time at all. What has been reported is heard meanwhile.
    if pause.is_zero() {
        tokio::task::yield_now().await;
        return !is_to_stop(orders);
    }
    let until = tokio::time::Instant::now() + pause;
    loop {
        match tokio::time::timeout_at(until, orders.recv()).await {
            Err(_) => return true,
            Ok(Some(Order::Stop) | None) => return false,
            Ok(Some(_)) => {}
        }
    }
}

/// Whether it has been asked meanwhile to stop for good.
fn is_to_stop(orders: &mut UnboundedReceiver<Order>) -> bool {
    loop {
        match orders.try_recv() {
            Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return true,
            Ok(_) => {}
            Err(TryRecvError::Empty) => return false,
        }
    }
}

/// Reads orders until one ends the instance: true for a stop, false for a kill.
pub(super) async fn wait_for_stop(orders: &mut UnboundedReceiver<Order>) -> bool {
    loop {
        match orders.recv().await {
            Some(Order::Stop) | None => return true,
            Some(Order::Kill(_)) => return false,
            Some(_) => {}
        }
    }
}
