//! The services and instances of all generations that are alive, and their slots in the workers' tables.

mod asking;
mod closing;
mod contained;
mod cores;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod launch;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod messages;
mod offer;
mod packets;
mod patience;
pub(crate) mod processes;
mod progress;
mod register;
mod reports;
mod running;
pub(crate) mod scale;
pub(crate) mod spec;
mod supervise;
#[cfg(test)]
mod tests;
mod users;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use nflib::{CounterSet, FlowTarget};
use onvm_api::{InstanceState, Isolation};
use onvm_bundle::{CoreRequest, CoreShare, MadeFrom};
use tokio::sync::mpsc::UnboundedSender;

pub use self::spec::{HostOptions, NfMode};
pub(crate) use self::{
    cores::{Assignment, CorePlan, assigned, has_moved},
    offer::{Back, Taken},
    packets::{Domains, PacketsOf},
    register::OwnCounter,
    scale::{Placed, Scale},
    spec::Given,
    spec::{InstanceSpec, Launch},
    supervise::{Report, Shared},
};
pub(crate) use self::{launch::Needs, users::User};
use self::{
    load::Load,
    log::journal::Journal,
    messages::{Inbox, Member},
    offer::Offered,
    progress::Progress,
    supervise::{Order, Supervisor},
};
use crate::{container::Engine, director, error::RunError};

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) services: Vec<Option<ServiceEntry>>,
    pub(crate) instances: Vec<Option<InstanceEntry>>,
    shared: Arc<Shared>,
    reports: UnboundedSender<(u16, Report)>,
    plan: CorePlan,
    /// The directory of the bundle that instances are started from.
    pub(crate) bundle: PathBuf,
    /// The manager ends: instances that end stay in the table, for the last look at their counters.
    closing: bool,
}

/// One service as one generation or several have it.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) name: String,
    /// What it was made from; one that is made from the same is the same.
    made_from: MadeFrom,
    pub(crate) scale: Scale,
    pub(crate) load: Load,
    /// The NFs in each of its processes, by place: one, or those that are fused.
    pub(crate) members: Vec<Member>,
    /// Instance slots by name.
    pub(crate) instances: HashMap<String, u16>,
}

#[derive(Debug)]
pub(crate) struct InstanceEntry {
    pub(crate) name: String,
    /// Slot of its service.
    service: u16,
    pub(crate) state: InstanceState,
    pub(crate) pid: Option<u32>,
    /// The id of its container, if it runs in one.
    pub(crate) container: Option<String>,
    pub(crate) restarts: u32,
    pub(crate) own_counters: Vec<OwnCounter>,
    pub(crate) counters: Option<CounterSet>,
    /// Why it did not start or was lost, last.
    pub(crate) trouble: Option<String>,
    /// The same, also once it runs again.
    pub(crate) last_loss: Option<String>,
    /// The end of the pause before its next start.
    pub(crate) starts_at: Option<Instant>,
    writes: bool,
    /// The number of its security domain.
    domain: u8,
    role: Role,
    /// In a pause before its restart that nobody waits for.
    away: bool,
    orders: UnboundedSender<Order>,
    progress: Progress,
    /// What its flow entries may lead to, as it knows it.
    targets: Arc<[FlowTarget]>,
    /// Its parameters, as it gets them at its next start.
    given: Arc<Mutex<Given>>,
    /// Other parameters that it was asked to take.
    offered: Option<Offered>,
    request: CoreRequest,
    /// The directory of the bundle that its next container is of.
    bundle: Arc<Mutex<PathBuf>>,
    assignment: Arc<Mutex<Assignment>>,
    /// By this manager, which so chooses its cores.
    launched: bool,
    pub(crate) inbox: Arc<Inbox>,
}

/// An instance that asks about flow entries.
pub(crate) struct FlowClient<'a> {
    pub(crate) client: director::Client<'a>,
    /// The slot of its service.
    pub(crate) service: u16,
}

/// What an instance is to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Started for an edit that is under way: gets no packets yet.
    Joining,
    Member,
    /// Gets no new flows, and is stopped when those that it has have ended, or too much time has passed since then.
    Retiring(Instant),
    /// Being stopped for good, so not to be chosen any more.
    Leaving,
}

impl Fleet {
    pub(crate) fn new(
        slots: usize,
        shared: Arc<Shared>,
        reports: UnboundedSender<(u16, Report)>,
        plan: CorePlan,
    ) -> Self {
        Self {
            services: std::iter::repeat_with(|| None).take(slots).collect(),
            instances: std::iter::repeat_with(|| None).take(slots).collect(),
            shared,
            reports,
            plan,
            bundle: PathBuf::new(),
            closing: false,
        }
    }

    fn start(&mut self, service: u16, role: Role, mut spec: InstanceSpec) -> Result<u16, RunError> {
        let slot = free_slot(&self.instances)?;
        let bundle = Arc::new(Mutex::new(self.bundle.clone()));
        match &mut spec.launch {
            Some(Launch::Process(program)) => program.user = User::reserve()?.map(Arc::new),
            Some(Launch::Container(contained)) => {
                contained.service = service;
                contained.bundle = bundle.clone();
            }
            None => {}
        }
        let (name, writes) = (spec.name.clone(), spec.writes);
        let domain = spec.domain.as_deref();
        let (domain, _) = self.shared.domains.of(domain).ok_or_else(|| {
            let domain = onvm_bundle::domain_name(domain);
            RunError::Unsupported(format!("NF `{name}`: the domain `{domain}` has no packet memory"))
        })?;
        let targets = spec.given.configuration.targets.clone().into();
        let (request, launched) = (spec.request.clone(), spec.launch.is_some());
        let Spawned {
            orders,
            given,
            assignment,
        } = spawn(slot, spec, &self.shared, &self.reports);
        self.instances[usize::from(slot)] = Some(InstanceEntry {
            name,
            service,
            state: InstanceState::Starting,
            pid: None,
            container: None,
            restarts: 0,
            own_counters: Vec::new(),
            counters: None,
            trouble: None,
            last_loss: None,
            starts_at: None,
            writes,
            domain,
            role,
            away: false,
            orders,
            progress: Progress::fresh(),
            targets,
            given,
            offered: None,
            request,
            bundle,
            assignment,
            launched,
            inbox: Arc::default(),
        });
        self.assign_cores();
        Ok(slot)
    }

    /// The bundle in this directory runs, and no former one has to be there any more.
    pub(crate) fn go_over(&mut self, bundle: &Path) {
        for entry in self.instances.iter().flatten() {
            bundle.clone_into(&mut entry.bundle.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What the instances have printed.
    pub(crate) fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Finds the container engine, if no NF has needed it so far.
    pub(crate) fn find_engine(&self) -> impl Future<Output = Result<(), RunError>> + use<> {
        let shared = self.shared.clone();
        async move {
            let Shared { engine, run_dir, .. } = &*shared;
            // Packets flow, and are not to wait for Compose.
            let find = || Engine::find(run_dir, false);
            engine.get_or_try_init(find).await.map(drop)
        }
    }

    /// Removes what was created ahead on the container engine.
    pub(crate) async fn close_engine(&self) {
        if let Some(engine) = self.shared.engine.get() {
            engine.close().await;
        }
    }

    /// The jail of the NFs.
    pub(crate) fn isolation(&self) -> Isolation {
        let jail = self.shared.jail.as_ref();
        Isolation {
            containers: self.shared.engine.get().map(|engine| engine.name.clone()),
            ..jail.map(|jail| jail.means().report()).unwrap_or_default()
        }
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

    /// An instance that asks about flow entries.
    pub(crate) fn client(&self, instance: u16, life: u32) -> Option<FlowClient<'_>> {
        let entry = self.instance(instance)?;
        let service = self.services.get(usize::from(entry.service))?.as_ref()?;
        Some(FlowClient {
            client: director::Client {
                instance,
                life,
                nf: &service.name,
                targets: &entry.targets,
            },
            service: entry.service,
        })
    }

    /// Tells an instance what has become of flow entries.
    pub(crate) fn tell(&self, news: director::News) {
        let Some(entry) = self.instance(news.instance) else {
            return;
        };
        let service = self
            .services
            .get(usize::from(entry.service))
            .and_then(Option::as_ref);
        if service.is_some_and(|service| *service.name == *news.nf) {
            let _ = entry.orders.send(Order::Flows(Box::new(news)));
        }
    }

    /// The name of an instance's service, if no instance of it is there any more or will be.
    pub(crate) fn has_ended(&self, instance: u16) -> Option<String> {
        let service = self
            .services
            .get(usize::from(self.instance(instance)?.service))?
            .as_ref()?;
        let ended = |slot: &u16| {
            let state = self.instance(*slot).map(|entry| entry.state);
            state.is_none_or(|state| matches!(state, InstanceState::Failed | InstanceState::Stopped))
        };
        service
            .instances
            .values()
            .all(ended)
            .then(|| service.name.clone())
    }

    /// Ends an instance that misbehaves; its supervisor reports it as lost.
    pub(crate) fn kill(&self, slot: u16, reason: String) {
        if let Some(entry) = self.instance(slot) {
            tracing::error!(instance = %entry.name, "ended: {reason}");
            let _ = entry.orders.send(Order::Kill(reason));
        }
    }

    pub(crate) fn stop_all(&mut self) {
        self.closing = true;
        for entry in self.instances.iter_mut().flatten() {
            entry.role = Role::Leaving;
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
        self.role == Role::Leaving
    }

    /// The cores that it may run on, where this manager chooses them.
    pub(crate) fn cores(&self) -> CoreShare {
        match self.launched {
            true => cores::lock(&self.assignment).share.clone(),
            false => CoreShare::default(),
        }
    }

    pub(crate) fn shown_state(&self) -> InstanceState {
        match (self.role, self.state) {
            (Role::Retiring(_), InstanceState::Running) => InstanceState::Draining,
            (_, state) => state,
        }
    }
}

/// What the control thread and a supervisor have in common.
struct Spawned {
    orders: UnboundedSender<Order>,
    given: Arc<Mutex<Given>>,
    assignment: Arc<Mutex<Assignment>>,
}

/// Starts an instance's supervisor.
fn spawn(
    slot: u16,
    spec: InstanceSpec,
    shared: &Arc<Shared>,
    reports: &UnboundedSender<(u16, Report)>,
) -> Spawned {
    let (orders, receiver) = tokio::sync::mpsc::unbounded_channel();
    let supervisor = Supervisor::new(slot, spec, shared.clone(), reports.clone());
    let (given, assignment) = (supervisor.given.clone(), supervisor.assignment.clone());
    tokio::task::spawn_local(supervisor.run(receiver));
    Spawned {
        orders,
        given,
        assignment,
    }
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
