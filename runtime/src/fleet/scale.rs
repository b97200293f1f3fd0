//! How many instances a service has, and which: those of a new bundle are started beside those that stay, and those that it has not
//! any more keep their flows until these end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use onvm_api::InstanceState;
use onvm_bundle::{InstanceConfig, MadeFrom, Service};

use super::{
    Fleet, InstanceEntry, Role, ServiceEntry, free_slot, full, spec::InstanceSpec, supervise::Order,
};
use crate::{
    error::RunError,
    worker::{Command, Instances, Workers},
};

/// For the flows of an instance that is to go; what still lives then moves to the others.
pub(super) const RETIRE_DEADLINE: Duration = Duration::from_secs(600);

/// What became of a service in an edit.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It runs already; these instances were started in addition.
    Kept {
        slot: u16,
        next: MadeFrom,
        started: Vec<u16>,
    },
    New(u16),
}

/// What an edit has changed at a service that runs on: instance names.
#[derive(Debug, Default)]
pub(crate) struct Scaled {
    /// They go once their flows have ended.
    pub(crate) retired: Vec<String>,
    /// They have gone at once.
    pub(crate) stopped: Vec<String>,
}

impl Placed {
    pub(crate) fn slot(&self) -> u16 {
        match self {
            Self::Kept { slot, .. } | Self::New(slot) => *slot,
        }
    }
}

impl Fleet {
    /// Finds the running service that goes on as this one, and starts what it lacks, or starts a new one with all its instances.
    pub(crate) fn place(
        &mut self,
        service: &Service,
        configs: &BTreeMap<String, InstanceConfig>,
        specs: Vec<InstanceSpec>,
    ) -> Result<Placed, RunError> {
        let next = MadeFrom::new(service, |instance| configs.get(instance).cloned());
        let goes_on = |e: &Option<ServiceEntry>| e.as_ref().is_some_and(|e| e.made_from.goes_on_as(&next));
        let running = self.services.iter().position(goes_on);
        let has = |instance: &str| {
            let entry = running.and_then(|slot| self.services[slot].as_ref());
            entry.is_some_and(|e| e.instances.contains_key(instance))
        };
        let missing: Vec<InstanceSpec> = specs.into_iter().filter(|s| !has(&s.name)).collect();
        if self.instances.iter().filter(|i| i.is_none()).count() < missing.len() {
            return Err(full(&self.instances));
        }
        let (slot, role) = match running {
            Some(slot) => (slot as u16, Role::Joining),
            None => (free_slot(&self.services)?, Role::Member),
        };
        let mut started = HashMap::new();
        for spec in missing {
            let name = spec.name.clone();
            match self.start(slot, role, spec) {
                Ok(instance) => drop(started.insert(name, instance)),
                Err(e) => {
                    started.values().for_each(|&instance| self.give_up(instance));
                    return Err(e);
                }
            }
        }
        match &mut self.services[usize::from(slot)] {
            Some(entry) => {
                let slots = started.values().copied().collect();
                entry.instances.extend(started);
                Ok(Placed::Kept {
                    slot,
                    next,
                    started: slots,
                })
            }
            free => {
                *free = Some(ServiceEntry {
                    name: service.name.clone(),
                    made_from: next,
                    instances: started,
                });
                Ok(Placed::New(slot))
            }
        }
    }

    /// Instances that were started for an edit.
    pub(crate) fn started(&self, placed: &Placed) -> Vec<u16> {
        match placed {
            Placed::Kept { started, .. } => started.clone(),
            Placed::New(slot) => self.instances_of(*slot),
        }
    }

    /// The edit does not take place.
    pub(crate) fn undo(&mut self, workers: &Workers, placed: &Placed) {
        match placed {
            Placed::Kept { started, .. } => started.iter().for_each(|&slot| self.dismiss(workers, slot)),
            Placed::New(slot) => drop(self.leave(workers, *slot)),
        }
    }

    /// The edit takes place: those that were started get packets, and those that the service has not any more get no new flows.
    pub(crate) fn settle(&mut self, workers: &Workers, placed: &Placed) -> Scaled {
        let mut scaled = Scaled::default();
        let Placed::Kept { slot, next, .. } = placed else {
            return scaled;
        };
        let Some(entry) = &mut self.services[usize::from(*slot)] else {
            return scaled;
        };
        entry.made_from.go_on_as(next);
        let mut gone = Vec::new();
        for (name, &instance) in &entry.instances {
            let Some(instance_entry) = &mut self.instances[usize::from(instance)] else {
                continue;
            };
            let runs = instance_entry.state == InstanceState::Running;
            match (next.has(name), instance_entry.role) {
                (true, _) => instance_entry.role = Role::Member,
                (false, Role::Retiring(_)) => {}
                (false, _) if runs => {
                    instance_entry.role = Role::Retiring(Instant::now());
                    scaled.retired.push(name.clone());
                }
                (false, _) => {
                    gone.push(instance);
                    scaled.stopped.push(name.clone());
                }
            }
        }
        gone.into_iter().for_each(|slot| self.dismiss(workers, slot));
        self.select(workers, *slot);
        scaled
    }

    /// Ends instances that were to go and whose flows have ended.
    pub(crate) fn end_retired(&mut self, workers: &Workers) {
        let slots = 0..self.instances.len() as u16;
        for slot in slots {
            let Some(Role::Retiring(since)) = self.instance(slot).map(|i| i.role) else {
                continue;
            };
            let vacant = workers
                .all(|counters| counters.instances[usize::from(slot)].left.load(Ordering::Acquire) == 1);
            if vacant || since.elapsed() >= RETIRE_DEADLINE {
                if let Some(entry) = self.instance(slot) {
                    tracing::info!(instance = %entry.name, vacant, "its flows have ended or move to the others: stopping");
                }
                self.dismiss(workers, slot);
            }
        }
    }

    /// Instances that were to go and still have flows.
    pub(crate) fn retiring(&self, service: &str) -> impl Iterator<Item = (u16, &InstanceEntry)> {
        let entries = self.services.iter().flatten().filter(move |e| e.name == service);
        let instances = entries.flat_map(|e| e.instances.values());
        let instances = instances.filter_map(|&slot| Some((slot, self.instance(slot)?)));
        instances.filter(|(_, entry)| matches!(entry.role, Role::Retiring(_)))
    }

    /// Tells the workers which instances of a service are there.
    pub(crate) fn select(&self, workers: &Workers, service: u16) {
        let slots = self.instances_of(service);
        let running = |role: fn(Role) -> bool| -> Vec<u16> {
            let is_one = |slot: &u16| {
                self.instance(*slot)
                    .is_some_and(|i| i.state == InstanceState::Running && role(i.role))
            };
            slots.iter().copied().filter(is_one).collect()
        };
        let chosen = running(|role| role == Role::Member);
        let leaving = running(|role| matches!(role, Role::Retiring(_)));
        let members = slots.iter().filter_map(|&s| self.instance(s));
        let members: Vec<_> = members.filter(|i| i.role == Role::Member).collect();
        let to_come = |i: &&&InstanceEntry| i.state != InstanceState::Failed && !i.away;
        let by_flow = self.services[usize::from(service)]
            .as_ref()
            .is_some_and(|e| e.made_from.by_flow());
        let instances = Instances {
            awaited: chosen.is_empty() && members.iter().any(|i| to_come(&i)),
            by_flow: by_flow && members.len() > 1,
            chosen,
            leaving,
        };
        workers.send_all(|| Command::Select {
            service,
            instances: instances.clone(),
        });
    }

    /// Lets go of a service that no generation uses any more: its instances hold nothing and are stopped.
    pub(crate) fn leave(&mut self, workers: &Workers, service: u16) -> Vec<String> {
        let Some(entry) = self.services[usize::from(service)].take() else {
            return Vec::new();
        };
        workers.send_all(|| Command::Select {
            service,
            instances: Instances::default(),
        });
        entry
            .instances
            .values()
            .for_each(|&slot| self.dismiss(workers, slot));
        entry.instances.into_keys().collect()
    }

    /// Stops an instance once it holds nothing: it gets no packets any more.
    fn dismiss(&mut self, workers: &Workers, slot: u16) {
        let service = self.remove(slot);
        let Some(instance) = self.instances[usize::from(slot)].as_mut() else {
            return;
        };
        if instance.state == InstanceState::Running {
            instance.state = InstanceState::Draining;
            if let Some(service) = service {
                self.select(workers, service);
            }
            workers.send_all(|| Command::Release { slot });
        } else if matches!(instance.state, InstanceState::Failed | InstanceState::Stopped) {
            self.instances[usize::from(slot)] = None;
        } else {
            let _ = instance.orders.send(Order::Stop);
        }
    }

    /// The instance is no longer its service's; gives the service if it is still there.
    pub(super) fn remove(&mut self, slot: u16) -> Option<u16> {
        let instance = self.instances[usize::from(slot)].as_mut()?;
        instance.role = Role::Leaving;
        let entry = self.services[usize::from(instance.service)].as_mut()?;
        if entry.instances.get(&instance.name) == Some(&slot) {
            entry.instances.remove(&instance.name);
            entry.made_from.forget(&instance.name);
        }
        Some(instance.service)
    }

    /// It was started for something that does not come about, and no worker knows of it.
    fn give_up(&mut self, slot: u16) {
        if let Some(instance) = self.instances[usize::from(slot)].as_mut() {
            instance.role = Role::Leaving;
            let _ = instance.orders.send(Order::Stop);
        }
    }
}
