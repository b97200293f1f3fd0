//! The services and instances of all generations that are alive, and their slots in the workers' tables.

mod closing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod launch;
mod log;
mod patience;
pub(crate) mod processes;
mod register;
pub(crate) mod spec;
mod supervise;
#[cfg(test)]
mod tests;
mod users;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use nflib::{CounterSet, Region};
use onvm_bundle::{
    InstanceConfig, Service,
    api::{InstanceState, Isolation},
};
use tokio::sync::mpsc::UnboundedSender;

pub use self::spec::{HostOptions, NfMode};
pub(crate) use self::{
    spec::InstanceSpec,
    supervise::{Report, Shared},
};
use self::{
    supervise::{Order, Supervisor},
    users::User,
};
use crate::{
    error::RunError,
    worker::{Command, Workers},
};

/// For an instance that pauses longer before its restart, sources that can wait do not: it keeps failing, and their other chains
/// are to go on.
const LONGEST_AWAITED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) services: Vec<Option<ServiceEntry>>,
    pub(crate) instances: Vec<Option<InstanceEntry>>,
    shared: Arc<Shared>,
    reports: UnboundedSender<(u16, Report)>,
    /// Cores that NFs run on.
    cores: Vec<usize>,
    /// The manager ends: instances that end stay in the table, for the last look at their counters.
    closing: bool,
}

/// One service as one generation or several have it.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) name: String,
    /// What it was made from; one that is made from the same is the same.
    made_from: MadeFrom,
    /// Instance slots by name.
    pub(crate) instances: HashMap<String, u16>,
}

#[derive(Debug, Clone, PartialEq)]
struct MadeFrom {
    service: Service,
    configs: Vec<InstanceConfig>,
}

#[derive(Debug)]
pub(crate) struct InstanceEntry {
    pub(crate) name: String,
    /// Slot of its service.
    service: u16,
    pub(crate) state: InstanceState,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
    pub(crate) counter_names: Vec<String>,
    pub(crate) counters: Option<CounterSet>,
    /// Why it did not start or was lost, last.
    pub(crate) trouble: Option<String>,
    writes: bool,
    /// Being stopped for good, so not to be chosen any more.
    leaving: bool,
    /// In a pause before its restart that nobody waits for.
    away: bool,
    orders: UnboundedSender<Order>,
    progress: Progress,
}

/// When the instance was last seen to hand something back.
#[derive(Debug)]
struct Progress {
    /// What it had been given and had not handed back when it became ready: lost with its former life.
    lost: u64,
    handed_back: u64,
    at: Instant,
}

impl Progress {
    /// Of an instance whose slot counts anew.
    fn fresh() -> Self {
        Self {
            lost: 0,
            handed_back: 0,
            at: Instant::now(),
        }
    }

    /// Of an instance that was started again, and whose slot goes on counting.
    fn again(workers: &Workers, slot: usize) -> Self {
        let (given, handed_back) = workers.exchanged(slot);
        Self {
            lost: given.saturating_sub(handed_back),
            handed_back,
            at: Instant::now(),
        }
    }
}

/// What became of a service in an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    Kept(u16),
    New(u16),
}

impl Fleet {
    pub(crate) fn new(
        slots: usize,
        shared: Arc<Shared>,
        reports: UnboundedSender<(u16, Report)>,
        cores: Vec<usize>,
    ) -> Self {
        Self {
            services: std::iter::repeat_with(|| None).take(slots).collect(),
            instances: std::iter::repeat_with(|| None).take(slots).collect(),
            shared,
            reports,
            cores,
            closing: false,
        }
    }

    /// Finds the running service that is the same as this one, or starts a new one with all its instances.
    pub(crate) fn place(
        &mut self,
        service: &Service,
        configs: Vec<InstanceConfig>,
        specs: Vec<InstanceSpec>,
    ) -> Result<Placed, RunError> {
        let made_from = MadeFrom {
            service: comparable(service),
            configs,
        };
        let same = |e: &Option<ServiceEntry>| e.as_ref().is_some_and(|e| e.made_from == made_from);
        if let Some(slot) = self.services.iter().position(same) {
            return Ok(Placed::Kept(slot as u16));
        }
        let slot = free_slot(&self.services)?;
        if self.instances.iter().filter(|i| i.is_none()).count() < specs.len() {
            return Err(full(&self.instances));
        }
        let mut entry = ServiceEntry {
            name: service.name.clone(),
            made_from,
            instances: HashMap::new(),
        };
        for spec in specs {
            let name = spec.name.clone();
            entry.instances.insert(name, self.start(slot, spec)?);
        }
        self.services[usize::from(slot)] = Some(entry);
        Ok(Placed::New(slot))
    }

    fn start(&mut self, service: u16, mut spec: InstanceSpec) -> Result<u16, RunError> {
        let slot = free_slot(&self.instances)?;
        if let Some(launch) = &mut spec.launch {
            launch.user = User::reserve()?.map(Arc::new);
            launch.cores = self.cores.clone();
        }
        let (name, writes) = (spec.name.clone(), spec.writes);
        let orders = spawn(slot, spec, &self.shared, &self.reports);
        self.instances[usize::from(slot)] = Some(InstanceEntry {
            name,
            service,
            state: InstanceState::Starting,
            pid: None,
            restarts: 0,
            counter_names: Vec::new(),
            counters: None,
            trouble: None,
            writes,
            leaving: false,
            away: false,
            orders,
            progress: Progress::fresh(),
        });
        Ok(slot)
    }

    /// What holds the NFs.
    pub(crate) fn isolation(&self) -> Isolation {
        let jail = self.shared.jail.as_ref();
        jail.map(|jail| jail.means().report()).unwrap_or_default()
    }

    /// Slots of the instances of a service.
    pub(crate) fn instances_of(&self, service: u16) -> Vec<u16> {
        let entry = self.services[usize::from(service)].as_ref();
        entry
            .map(|e| e.instances.values().copied().collect())
            .unwrap_or_default()
    }

    pub(crate) fn is_running(&self, slot: u16) -> bool {
        self.instance(slot)
            .is_some_and(|i| i.state == InstanceState::Running)
    }

    /// Why the instance does not come up, once it has failed to.
    pub(crate) fn trouble(&self, slot: u16) -> Option<(String, String)> {
        let entry = self.instance(slot)?;
        Some((entry.name.clone(), entry.trouble.clone()?))
    }

    pub(crate) fn instance(&self, slot: u16) -> Option<&InstanceEntry> {
        self.instances.get(usize::from(slot))?.as_ref()
    }

    /// A supervisor's report.
    pub(crate) fn report(&mut self, workers: &Workers, slot: u16, report: Report) {
        let Some(entry) = self.instances.get_mut(usize::from(slot)).and_then(Option::as_mut) else {
            return;
        };
        let service = entry.service;
        match report {
            Report::Starting => {
                entry.state = InstanceState::Starting;
                entry.away = false;
            }
            Report::Ready {
                region,
                pid,
                counters,
            } => {
                if entry.leaving {
                    // It became ready as it was told to stop.
                    return;
                }
                tracing::info!(instance = %entry.name, pid, "running");
                let fresh = entry.counters.is_none();
                entry.progress = match fresh {
                    true => Progress::fresh(),
                    false => Progress::again(workers, usize::from(slot)),
                };
                entry.ready(&region, pid, counters);
                workers.attach(slot, &region, entry.writes, fresh);
            }
            Report::Lost { why } => {
                tracing::warn!(instance = %entry.name, "lost: {why}");
                (entry.state, entry.pid) = (InstanceState::Lost, None);
                entry.trouble = Some(why);
                workers.send_all(|| Command::Detach { slot });
            }
            Report::NotReady { why } => {
                tracing::warn!(instance = %entry.name, "did not start: {why}");
                (entry.state, entry.pid) = (InstanceState::Lost, None);
                entry.trouble = Some(why);
            }
            Report::Pausing(pause) => {
                entry.restarts += 1;
                entry.away = pause > LONGEST_AWAITED;
                tracing::info!(instance = %entry.name, pause_ms = pause.as_millis() as u64, "restarting");
            }
            Report::Ended { why } => {
                entry.pid = None;
                entry.state = match why {
                    Some(why) => {
                        tracing::warn!(instance = %entry.name, "not restarted: {why}");
                        InstanceState::Failed
                    }
                    None => InstanceState::Stopped,
                };
                if entry.leaving && !self.closing {
                    self.instances[usize::from(slot)] = None;
                }
            }
        }
        self.select(workers, service);
    }

    /// Tells the workers which instances of a service are there.
    pub(crate) fn select(&self, workers: &Workers, service: u16) {
        let slots = self.instances_of(service);
        let live: Vec<u16> = slots.iter().copied().filter(|&s| self.is_running(s)).collect();
        let given_up = |s: &u16| {
            self.instance(*s)
                .is_none_or(|i| i.state == InstanceState::Failed || i.leaving || i.away)
        };
        let awaited = live.is_empty() && !slots.iter().all(given_up);
        workers.send_all(|| Command::Select {
            service,
            instances: live.clone(),
            awaited,
        });
    }

    /// The worker has recovered what a lost instance held, or has let go of one that is to stop.
    pub(crate) fn detached(&mut self, slot: u16, recovered: usize) {
        let Some(entry) = self.instance(slot) else { return };
        if recovered > 0 {
            tracing::warn!(instance = %entry.name, recovered, "recovered the buffers of a lost instance");
        }
        // A supervisor that has ended needs no order.
        if entry.leaving {
            let _ = entry.orders.send(Order::Stop);
        }
        let _ = entry.orders.send(Order::Recovered);
    }

    /// Ends an instance that misbehaves; its supervisor reports it as lost.
    pub(crate) fn kill(&self, slot: u16, reason: String) {
        if let Some(entry) = self.instance(slot) {
            tracing::error!(instance = %entry.name, "ended: {reason}");
            let _ = entry.orders.send(Order::Kill(reason));
        }
    }

    /// Gives all instances so much more time to make progress.
    pub(crate) fn grant(&mut self, time: Duration) {
        for entry in self.instances.iter_mut().flatten() {
            entry.progress.at += time;
        }
    }

    /// Ends instances that have packets waiting and hand nothing back for the deadline.
    pub(crate) fn kill_hung(&mut self, workers: &Workers, deadline: Duration) {
        let mut hung = Vec::new();
        for (slot, entry) in self.instances.iter_mut().enumerate() {
            let Some(entry) = entry.as_mut().filter(|e| e.state == InstanceState::Running) else {
                continue;
            };
            let (given, handed_back) = workers.exchanged(slot);
            let progress = &mut entry.progress;
            let holds = given.saturating_sub(handed_back) > progress.lost;
            if !holds || handed_back != progress.handed_back {
                (progress.handed_back, progress.at) = (handed_back, Instant::now());
            } else if entry.progress.at.elapsed() >= deadline {
                entry.progress.at = Instant::now();
                hung.push(slot as u16);
            }
        }
        for slot in hung {
            self.kill(
                slot,
                format!("it has packets and handed none back for {} s", deadline.as_secs()),
            );
        }
    }

    /// Lets go of a service that no generation uses any more: its instances hold nothing and are stopped.
    pub(crate) fn leave(&mut self, workers: &Workers, service: u16) -> Vec<String> {
        let Some(entry) = self.services[usize::from(service)].take() else {
            return Vec::new();
        };
        for &slot in entry.instances.values() {
            let Some(instance) = self.instances[usize::from(slot)].as_mut() else {
                continue;
            };
            instance.leaving = true;
            if instance.state == InstanceState::Running {
                instance.state = InstanceState::Draining;
                workers.send_all(|| Command::Detach { slot });
            } else if matches!(instance.state, InstanceState::Failed | InstanceState::Stopped) {
                self.instances[usize::from(slot)] = None;
            } else {
                let _ = instance.orders.send(Order::Stop);
            }
        }
        workers.send_all(|| Command::Select {
            service,
            instances: Vec::new(),
            awaited: false,
        });
        entry.instances.into_keys().collect()
    }

    pub(crate) fn stop_all(&mut self) {
        self.closing = true;
        for entry in self.instances.iter_mut().flatten() {
            entry.leaving = true;
            let _ = entry.orders.send(Order::Stop);
        }
    }

    pub(crate) fn all_ended(&self) -> bool {
        let ended = |e: &InstanceEntry| matches!(e.state, InstanceState::Failed | InstanceState::Stopped);
        self.instances.iter().flatten().all(ended)
    }
}

impl InstanceEntry {
    /// It is being stopped for good.
    pub(crate) fn leaving(&self) -> bool {
        self.leaving
    }

    fn ready(&mut self, region: &Region, pid: u32, names: Vec<String>) {
        self.state = InstanceState::Running;
        self.pid = Some(pid);
        self.trouble = None;
        self.counter_names = names;
        self.counters = Some(region.counters());
    }
}

/// The service without what may change while its instances stay as they are.
fn comparable(service: &Service) -> Service {
    Service {
        id: 0,
        source: onvm_bundle::SourceRef(String::new()),
        ..service.clone()
    }
}

/// Starts an instance's supervisor, and gives the way to order it about.
fn spawn(
    slot: u16,
    spec: InstanceSpec,
    shared: &Arc<Shared>,
    reports: &UnboundedSender<(u16, Report)>,
) -> UnboundedSender<Order> {
    let (orders, receiver) = tokio::sync::mpsc::unbounded_channel();
    let supervisor = Supervisor::new(slot, spec, shared.clone(), reports.clone());
    tokio::task::spawn_local(supervisor.run(receiver));
    orders
}

fn free_slot<T>(slots: &[Option<T>]) -> Result<u16, RunError> {
    slots
        .iter()
        .position(Option::is_none)
        .map(|i| i as u16)
        .ok_or_else(|| full(slots))
}

fn full<T>(slots: &[Option<T>]) -> RunError {
    RunError::Unsupported(format!(
        "all {} slots for services or instances are taken. Remove some first, or wait until former ones have stopped.",
        slots.len()
    ))
}
