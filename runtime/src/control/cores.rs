//! Which cores the workers and the NFs run on, and how they idle there.

use nflib::session::IdlePolicy;
use onvm_bundle::{Idle, ManagerConfig, share_cores};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::error::RunError;

/// The assignment of cores.
pub(super) struct Cores {
    /// One for each worker; none: all share all.
    pub workers: Vec<usize>,
    /// One for each receiver.
    pub receivers: Vec<usize>,
    pub nfs: Vec<usize>,
}

impl Cores {
    /// A missing core that was asked for would silently change what runs where.
    pub(super) fn refuse_missing(manager: &ManagerConfig) -> Result<(), RunError> {
        let allowed = Allowed::get();
        let missing = |core: &&u16| !allowed.may(usize::from(**core));
        let Some(core) = manager.workers.cores.iter().find(missing) else {
            return Ok(());
        };
        let text = format!(
            "core {core} of `manager` does not exist, or onvm-run may not use it (`nproc` and `taskset -p $$` show which it \
             may). Name other `cores`, or leave them out."
        );
        Err(RunError::Unsupported(text))
    }

    /// Each worker and each receiver gets a core, the first that the manager may use, and the NFs the others; where there are too few, all share all.
    pub(super) fn of_host(manager: &ManagerConfig) -> Self {
        let allowed = Allowed::get();
        let named = manager.named_cores();
        let cores: Vec<usize> = match named.as_slice() {
            [] if allowed.0.is_none() => Vec::new(),
            [] => (0..CpuSet::MAX_CPU).filter(|&c| allowed.may(c)).collect(),
            named => named.iter().map(|&c| usize::from(c)).collect(),
        };
        let (mut workers, nfs) = share_cores(cores, manager.workers.count + manager.workers.receivers);
        let receivers = workers.split_off(workers.len().min(usize::from(manager.workers.count)));
        Self {
            workers,
            receivers,
            nfs,
        }
    }

    fn shared(&self) -> bool {
        self.workers.is_empty()
    }

    pub(super) fn worker_idle(&self, manager: &ManagerConfig) -> IdlePolicy {
        let spins = if self.shared() { 0 } else { 2000 };
        IdlePolicy {
            spins,
            yields: 64,
            sleeps: manager.idle == Idle::Adaptive,
        }
    }

    /// NFs that share a core must give it up at once, so that the others find their packets.
    pub(super) fn nf_idle(&self, manager: &ManagerConfig) -> IdlePolicy {
        let instances: usize = manager
            .hosts()
            .iter()
            .map(|host| host.service.instances.len())
            .sum();
        let own_core = !self.shared() && instances <= self.nfs.len();
        IdlePolicy {
            spins: if own_core { 2000 } else { 0 },
            yields: 16,
            sleeps: manager.idle == Idle::Adaptive,
        }
    }
}

/// The cores that this process may use, where the kernel says it.
struct Allowed(Option<CpuSet>);

impl Allowed {
    fn get() -> Self {
        Self(sched_getaffinity(None).ok())
    }

    fn may(&self, core: usize) -> bool {
        core < CpuSet::MAX_CPU && self.0.as_ref().is_none_or(|set| set.is_set(core))
    }
}
