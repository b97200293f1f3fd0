//! Going over to another bundle while packets flow.
//!
//! 1. verify; refuse when the running generation is not the one that was planned against
//! 2. where one service's parameters are all that changes, its instances take them over; else make the packet memory of added domains,
//!    start added instances, wait until each is ready
//! 3. build the tables aside, publish them by one command to the worker
//! 4. wait until the old generation's last packet has left
//! 5. stop the instances that only the old generation had
//!
//! Up to 3 everything can be undone, and is, when something fails.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use onvm_api::{self as wire, ApiError};
use onvm_bundle::{Bundle, ManagerConfig};

use super::{Manager, place::slots_of, program::port_names, unsupported::refuse_unsupported};
use crate::{
    error::RunError,
    fleet::{InstanceSpec, Placed, spec},
    generation::Generation,
    rundir::Kept,
    worker::{Command, GENERATION_SLOTS},
};

/// For the old generation to drain; after it, the instances that still hold packets of it are ended.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// For the worker to free what they held.
const EXPIRE_DEADLINE: Duration = Duration::from_secs(1);
pub(super) const UNCHANGED: &str = "The running generation goes on unchanged.";

impl Manager {
    pub(super) async fn apply(&mut self, request: &wire::ApplyRequest) -> Result<wire::ApplyReply, ApiError> {
        let began = Instant::now();
        let previous = self.bundle.index.generation.clone();
        if request.base.as_ref().is_some_and(|base| *base != previous) {
            let message =
                format!("The running generation is {previous}, not the one that was planned against");
            return Err(ApiError::new(
                ApiError::BASE_MOVED,
                message,
                "Plan again with `onvmc plan`.",
            ));
        }
        if self.history.draining() + 2 > GENERATION_SLOTS {
            let message = "Too many older generations still have packets inside";
            return Err(ApiError::new(
                ApiError::BUSY,
                message,
                "Wait until they have drained: see `onvmc status`.",
            ));
        }
        self.state = wire::ManagerState::Applying;
        let outcome = self.go_over_to(request).await;
        self.state = wire::ManagerState::Running;
        let changes = outcome?;
        let generation = self.bundle.index.generation.clone();
        if generation == previous {
            return Ok(self.reply(generation, previous, began, changes));
        }
        tracing::info!(%generation, took_ms = began.elapsed().as_millis() as u64, "applied");
        Ok(self.reply(generation, previous, began, changes))
    }

    fn reply(
        &self,
        generation: String,
        previous: String,
        began: Instant,
        changes: Changes,
    ) -> wire::ApplyReply {
        let staying = self.fleet.instances.iter().flatten().filter(|i| !i.leaving());
        let mut kept: Vec<String> = staying.map(|i| i.name.clone()).collect();
        let changed = [&changes.started, &changes.draining, &changes.reconfigured];
        kept.retain(|name| !changed.iter().any(|names| names.contains(name)));
        kept.sort();
        wire::ApplyReply {
            version: wire::API_VERSION,
            generation,
            previous,
            started: changes.started,
            stopped: changes.stopped,
            draining: changes.draining,
            reconfigured: changes.reconfigured,
            kept,
            flow_entries_ended: changes.flow_entries_ended,
            took_ms: began.elapsed().as_secs_f64() * 1000.0,
        }
    }

    /// Nothing is changed, and nothing is left of it, where this fails.
    async fn go_over_to(&mut self, request: &wire::ApplyRequest) -> Result<Changes, ApiError> {
        match self.take_in(PathBuf::from(&request.bundle)).await? {
            Some(taken) => self.go_over(taken).await,
            None => Ok(Changes::default()),
        }
    }

    /// Verifies the bundle, refuses what cannot change while running, and keeps a copy. None: it runs already.
    async fn take_in(&mut self, path: PathBuf) -> Result<Option<Taken>, ApiError> {
        if !path.is_absolute() {
            return Err(ApiError::new(
                ApiError::BAD_REQUEST,
                format!("`{}` is not an absolute path", path.display()),
                "Name the bundle by its absolute path: this manager has a working directory of its own.",
            ));
        }
        let bad = |e: &dyn std::fmt::Display| ApiError::new(ApiError::BAD_BUNDLE, e.to_string(), UNCHANGED);
        let bundle = self
            .aside(move || Bundle::load(&path))
            .await?
            .map_err(|e| bad(&e))?;
        self.check_changeable(&bundle)?;
        refuse_unsupported(&bundle.manager).map_err(|e| bad(&e))?;
        if bundle.index.generation == self.bundle.index.generation {
            return Ok(None);
        }
        let refused = |e: RunError| match e {
            RunError::Bundle(e) => bad(&e),
            // The host's fault, not the bundle's.
            RunError::Io { .. } => ApiError::new(ApiError::INTERNAL, e.to_string(), UNCHANGED),
            e => ApiError::new(ApiError::NOT_READY, e.to_string(), UNCHANGED),
        };
        let keeper = self.run_dir.keeper().map_err(refused)?;
        let host = self.host.clone();
        let take = move || {
            let specs = spec::all(&bundle, &host)?;
            let bundle = keeper.keep(&bundle)?;
            Ok(Taken { bundle, specs })
        };
        let taken: Taken = self.aside(take).await?.map_err(refused)?;
        if taken.specs.values().flatten().any(InstanceSpec::is_contained) {
            self.find_engine().await?.map_err(refused)?;
        }
        Ok(Some(taken))
    }

    fn check_changeable(&self, bundle: &Bundle) -> Result<(), ApiError> {
        let fixed = onvm_bundle::fixed_while_running(&self.bundle.manager, &bundle.manager);
        if fixed.is_empty() {
            return Ok(());
        }
        Err(ApiError::not_changeable(&fixed))
    }

    async fn go_over(&mut self, Taken { bundle, specs }: Taken) -> Result<Changes, ApiError> {
        let reconfigured = self.reconfigure(&bundle, &specs).await?;
        self.add_domains(&bundle.manager)?;
        let placed = self.place_services(&bundle, specs)?;
        if let Err(error) = self.await_ready(&placed).await {
            self.undo_services(&placed);
            self.forget_early();
            return Err(error);
        }
        let mut changes = Changes {
            reconfigured,
            ..Changes::default()
        };
        let started = placed.values().flat_map(|p| self.fleet.started(p));
        changes.started = started
            .filter_map(|s| Some(self.fleet.instance(s)?.name.clone()))
            .collect();
        changes.started.sort();

        let old = self.generation.number;
        self.publish(bundle, &placed);
        changes.flow_entries_ended = self.go_on_programming() as u64;
        for placed in placed.values() {
            let scaled = self.fleet.settle(&self.workers, placed);
            changes.draining.extend(scaled.retired);
            changes.stopped.extend(scaled.stopped);
        }
        changes.draining.sort();
        self.pump(Instant::now() + DRAIN_DEADLINE, |m| {
            m.stopping || m.history.is_drained(old)
        })
        .await;
        if self.stopping {
            // The stop has a drain of its own, and then stops all instances.
            return Ok(changes);
        }
        if !self.history.is_drained(old) {
            tracing::warn!(
                "the old generation did not drain in time; instances that hold packets of it are ended"
            );
            let seconds = DRAIN_DEADLINE.as_secs();
            self.workers.send_all(|| Command::Expire {
                generation: old,
                reason: format!("it still held packets of a generation that was replaced {seconds} s ago"),
            });
            self.pump(Instant::now() + EXPIRE_DEADLINE, |m| m.history.is_drained(old))
                .await;
        }
        changes.stopped.extend(self.leave_unused(&placed));
        changes.stopped.sort();
        Ok(changes)
    }

    /// Makes the domains that are not there yet. They stay, whatever becomes of the bundle: for the next that has them.
    fn add_domains(&mut self, manager: &ManagerConfig) -> Result<(), ApiError> {
        for domain in manager.domains() {
            if self.memory.pool(domain).is_ok() {
                continue;
            }
            let pool = self.memory.add(domain);
            let pool = pool.map_err(|e| ApiError::new(ApiError::NOT_READY, e.to_string(), UNCHANGED))?;
            self.workers.send_all(|| Command::AddDomain(pool.clone()));
        }
        Ok(())
    }

    /// The one swap.
    fn publish(&mut self, bundle: Kept, placed: &HashMap<String, Placed>) {
        let slots = slots_of(&bundle.manager, placed);
        let number = self.history.next_number(self.generation.number);
        let programs = |firsts: &HashMap<&str, _>| {
            self.director
                .renew(&port_names(&bundle), &bundle.flows.programs, firsts)
        };
        let tables = Generation::new(number, &bundle, &slots, self.workers.count(), programs);
        let tables = Arc::new(tables);
        self.serving = slots.into_values().collect();
        self.history
            .retire(std::mem::replace(&mut self.generation, tables.clone()));
        self.fleet.go_over(&bundle.dir);
        self.bundle = Arc::new(bundle);
        self.workers.send_all(|| Command::Publish(tables.clone()));
    }
}

/// A bundle that may be gone over to.
struct Taken {
    bundle: Kept,
    specs: HashMap<String, Vec<InstanceSpec>>,
}

#[derive(Debug, Default)]
struct Changes {
    started: Vec<String>,
    stopped: Vec<String>,
    draining: Vec<String>,
    reconfigured: Vec<String>,
    flow_entries_ended: u64,
}
