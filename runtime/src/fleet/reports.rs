//! What supervisors and workers tell of the instances.

use std::time::{Duration, Instant};

use nflib::Region;
use onvm_api::InstanceState;

use super::{
    Fleet, InstanceEntry, Role,
    progress::Progress,
    register::OwnCounter,
    supervise::{Order, Report},
};
use crate::worker::{Command, Workers};

/// For an instance that pauses longer before its restart, sources that can wait do not: it keeps failing, and their other chains
/// are to go on.
const LONGEST_AWAITED: Duration = Duration::from_secs(1);

impl Fleet {
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
                entry.starts_at = None;
            }
            Report::Ready {
                region,
                pid,
                container,
                counters,
            } => {
                if entry.leaving() {
                    // It became ready as it was told to stop.
                    return;
                }
                tracing::info!(instance = %entry.name, pid, "running");
                let fresh = entry.counters.is_none();
                entry.progress = match fresh {
                    true => Progress::fresh(),
                    false => Progress::again(workers, usize::from(slot)),
                };
                entry.container = container;
                entry.ready(&region, pid, counters);
                workers.attach(slot, &region, entry.writes, entry.domain, fresh);
            }
            // The control thread's own.
            Report::Flows(_) => return,
            Report::Reconfigured(taken) => {
                if let Some(offered) = &mut entry.offered {
                    offered.taken = Some(taken);
                }
                return;
            }
            Report::Said(said) => return self.pass_on(slot, said),
            Report::Lost { why } => {
                tracing::warn!(instance = %entry.name, "lost: {why}");
                entry.lost(why);
                // Its flows have gone to others, so that there is nothing to come back for.
                let retiring = matches!(entry.role, Role::Retiring(_));
                workers.send_all(|| Command::Detach { slot });
                if retiring {
                    self.remove(slot);
                }
            }
            Report::NotReady { why } => {
                tracing::warn!(instance = %entry.name, "did not start: {why}");
                entry.lost(why);
            }
            Report::Pausing(pause) => {
                entry.restarts += 1;
                entry.away = pause > LONGEST_AWAITED;
                entry.starts_at = Instant::now().checked_add(pause);
                tracing::info!(instance = %entry.name, pause_ms = pause.as_millis() as u64, "restarting");
            }
            Report::Ended { why } => {
                entry.pid = None;
                entry.starts_at = None;
                entry.state = match why {
                    Some(why) => {
                        tracing::warn!(instance = %entry.name, "not restarted: {why}");
                        InstanceState::Failed
                    }
                    None => InstanceState::Stopped,
                };
                if entry.leaving() && !self.closing {
                    self.instances[usize::from(slot)] = None;
                    self.assign_cores();
                }
            }
        }
        self.select(workers, service);
    }

    /// The worker has recovered what a lost instance held, or has let go of one that is to stop.
    pub(crate) fn detached(&mut self, slot: u16, recovered: usize) {
        let Some(entry) = self.instance(slot) else { return };
        if recovered > 0 {
            tracing::warn!(instance = %entry.name, recovered, "recovered the buffers of a lost instance");
        }
        // A supervisor that has ended needs no order.
        if entry.leaving() {
            let _ = entry.orders.send(Order::Stop);
        }
        let _ = entry.orders.send(Order::Recovered);
    }
}

impl InstanceEntry {
    fn lost(&mut self, why: String) {
        (self.state, self.pid) = (InstanceState::Lost, None);
        self.last_loss = Some(why.clone());
        self.trouble = Some(why);
    }

    fn ready(&mut self, region: &Region, pid: u32, own: Vec<OwnCounter>) {
        self.state = InstanceState::Running;
        self.pid = Some(pid);
        self.trouble = None;
        self.own_counters = own;
        self.counters = Some(region.counters());
    }
}
