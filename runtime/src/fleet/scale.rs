//! How many instances a service has, and which: those that are added are started beside those that stay, and those that are to go
//! keep their flows until these end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nflib::FlowTarget;
use onvm_api::InstanceState;
use onvm_bundle::{Host, InstanceConfig, MadeFrom, Replicas};

use super::{
    Fleet, InstanceEntry, Role, ServiceEntry, free_slot, full, load::Load, messages::Member,
    spec::InstanceSpec, supervise::Order,
};
use crate::{
    error::RunError,
    worker::{Command, Instances, Workers},
};

/// For the flows of an instance that is to go; what still lives then moves to the others.
pub(super) const RETIRE_DEADLINE: Duration = Duration::from_secs(600);

/// How many instances a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) range: Replicas,
    /// Within the range.
    pub(crate) replicas: u16,
    /// The manager chooses, and not the operator.
    pub(crate) automatic: bool,
}

impl Scale {
    /// Of a service that was not there before, or of one that had another scale.
    fn next(range: Replicas, former: Option<Self>) -> Self {
        Self {
            range,
            replicas: range.clamp(former.map_or(0, |scale| scale.replicas)),
            automatic: former.is_none_or(|scale| scale.automatic),
        }
    }
}

/// What the instances of a service are made from.
pub(super) fn made_from(
    host: &Host<'_>,
    targets: &[FlowTarget],
    config: impl Fn(&str) -> Option<InstanceConfig>,
) -> MadeFrom {
    let targets = targets.iter().map(|t| (t.port.clone(), t.chain.clone()));
    MadeFrom::new(host, targets.collect(), config)
}

/// What became of a service in an edit.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It runs already; these instances were started in addition.
    Kept {
        slot: u16,
        next: Box<MadeFrom>,
        scale: Scale,
        started: Vec<u16>,
        /// The names of all that it is to have.
        members: BTreeSet<String>,
    },
    New(u16),
}

/// What has changed at a service that runs on: instance names.
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
    /// Finds the running service that goes on as this one, and starts what it lacks, or starts a new one. It gets as many instances as
    /// it has or its predecessor had, as far as its range allows.
    pub(crate) fn place(
        &mut self,
        host: &Host<'_>,
        configs: &BTreeMap<String, InstanceConfig>,
        specs: Vec<InstanceSpec>,
    ) -> Result<Placed, RunError> {
        let service = &host.service;
        let scale = Scale::next(service.replicas(), self.scale_of(&service.name));
        self.place_as(host, configs, specs, scale)
    }

    /// The scale of a service by its name.
    pub(crate) fn scale_of(&self, service: &str) -> Option<Scale> {
        let named = self.services.iter().flatten().filter(|e| e.name == service);
        named.map(|e| e.scale).next_back()
    }

    /// The same with a given scale.
    pub(crate) fn place_as(
        &mut self,
        host: &Host<'_>,
        configs: &BTreeMap<String, InstanceConfig>,
        specs: Vec<InstanceSpec>,
        scale: Scale,
    ) -> Result<Placed, RunError> {
        let service = &host.service;
        let targets = specs
            .first()
            .map_or(&[][..], |spec| &spec.given.configuration.targets);
        let next = made_from(host, targets, |instance| configs.get(instance).cloned());
        let members: BTreeSet<String> = service.first(scale.replicas).map(|i| i.name.clone()).collect();
        let goes_on = |e: &Option<ServiceEntry>| e.as_ref().is_some_and(|e| e.made_from.goes_on_as(&next));
        let running = self.services.iter().position(goes_on);
        let has = |instance: &str| {
            let entry = running.and_then(|slot| self.services[slot].as_ref());
            entry.is_some_and(|e| e.instances.contains_key(instance))
        };
        let specs = specs.into_iter().filter(|s| members.contains(&s.name));
        let missing: Vec<InstanceSpec> = specs.filter(|s| !has(&s.name)).collect();
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
                    next: Box::new(next),
                    scale,
                    started: slots,
                    members,
                })
            }
            free => {
                *free = Some(ServiceEntry {
                    name: service.name.clone(),
                    made_from: next,
                    scale,
                    load: Load::new(Instant::now()),
                    members: Member::all(host, configs),
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
        let Placed::Kept {
            slot,
            next,
            scale,
            members,
            ..
        } = placed
        else {
            return scaled;
        };
        let Some(entry) = &mut self.services[usize::from(*slot)] else {
            return scaled;
        };
        entry.made_from.go_on_as(next);
        entry.scale = *scale;
        let mut gone = Vec::new();
        for (name, &instance) in &entry.instances {
            let Some(instance_entry) = &mut self.instances[usize::from(instance)] else {
                continue;
            };
            let runs = instance_entry.state == InstanceState::Running;
            match (members.contains(name), instance_entry.role) {
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
        // Of one that may have siblings at any time flows are noted beforehand, so that new ones can go to these at once.
        let entry = self.services[usize::from(service)].as_ref();
        let by_flow = entry.is_some_and(|e| e.made_from.by_flow());
        let several = members.len() > 1 || entry.is_some_and(|e| e.scale.range.scales());
        let instances = Instances {
            awaited: chosen.is_empty() && members.iter().any(|i| to_come(&i)),
            by_flow: by_flow && several,
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
        if let Some(engine) = self.shared.engine.get() {
            engine.forget(service);
        }
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
            self.assign_cores();
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
