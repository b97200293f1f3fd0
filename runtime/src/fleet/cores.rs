//! The cores of the instances: assigned anew whenever one comes or has gone, and passed on to those that run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nflib::session::IdlePolicy;
use onvm_bundle::{CoreRequest, CoreShare, Cores, Idle, ManagerConfig};

use super::{Fleet, supervise::Order};

/// What there is to share.
#[derive(Debug, Default)]
pub(crate) struct CorePlan {
    pub(super) cores: Cores,
    /// Instances that share cores, if the first bundle has as many as it may have.
    sharing: usize,
    sleeps: bool,
}

impl CorePlan {
    pub(crate) fn new(cores: Cores, manager: &ManagerConfig) -> Self {
        let hosts = manager.hosts();
        let instances = hosts.iter().flat_map(|host| &host.service.instances);
        Self {
            cores,
            sharing: instances.filter(|i| i.cores.is_none()).count(),
            sleeps: manager.idle == Idle::Adaptive,
        }
    }

    /// Instances that share a core must give it up at once, so that the others find their packets.
    fn idle(&self, share: &CoreShare, sharing: usize) -> IdlePolicy {
        let alone = share.own || !self.cores.crowded() && sharing <= share.cores.len();
        IdlePolicy {
            spins: if alone { 2000 } else { 0 },
            yields: 16,
            sleeps: self.sleeps,
        }
    }
}

/// The cores that an instance is to run on.
pub(crate) fn assigned(assignment: &Mutex<Assignment>) -> Vec<u16> {
    lock(assignment).share.cores.clone()
}

/// Where an instance runs, which its supervisor and the control thread share.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) share: CoreShare,
    pub(super) idle: IdlePolicy,
    /// The cores that its process is on, as far as is known.
    on: Vec<u16>,
}

impl Assignment {
    pub(super) fn none() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            share: CoreShare::default(),
            idle: IdlePolicy {
                spins: 0,
                yields: 16,
                sleeps: true,
            },
            on: Vec::new(),
        }))
    }
}

/// Whether it is on these cores already.
pub(super) fn is_on(assignment: &Mutex<Assignment>, cores: &[u16]) -> bool {
    lock(assignment).on == cores
}

pub(crate) fn has_moved(assignment: &Mutex<Assignment>, cores: Vec<u16>) {
    lock(assignment).on = cores;
}

/// Nobody panics while holding it.
pub(super) fn lock(assignment: &Mutex<Assignment>) -> MutexGuard<'_, Assignment> {
    assignment.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// An instance has come or gone. Those whose cores change are moved.
    pub(super) fn assign_cores(&mut self) {
        let entries: Vec<_> = self.instances.iter().flatten().collect();
        let requests = entries.iter().map(|entry| {
            let share = &lock(&entry.assignment).share;
            CoreRequest {
                held: if share.own {
                    share.cores.clone()
                } else {
                    Vec::new()
                },
                ..entry.request.clone()
            }
        });
        let shares = self.plan.cores.assign(&requests.collect::<Vec<_>>());
        let sharing = shares.iter().filter(|share| !share.own).count();
        let sharing = sharing.max(self.plan.sharing);
        for (entry, share) in entries.into_iter().zip(shares) {
            let mut assignment = lock(&entry.assignment);
            assignment.idle = self.plan.idle(&share, sharing);
            if assignment.share == share {
                continue;
            }
            if let Some(asked) = entry.request.own.filter(|_| !share.own) {
                tracing::warn!(
                    instance = %entry.name,
                    asked,
                    cores = ?share.cores,
                    "there are too few cores for it to have its own: it shares these"
                );
            }
            assignment.share = share;
            // A supervisor that has ended needs no order.
            let _ = entry.orders.send(Order::Move);
        }
    }
}
