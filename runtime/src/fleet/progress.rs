//! Instances that hang: they have packets and hand nothing back.

use std::time::{Duration, Instant};

use onvm_api::InstanceState;

use super::Fleet;
use crate::worker::Workers;

/// When the instance was last seen to hand something back.
#[derive(Debug)]
pub(super) struct Progress {
    /// What it had been given and had not handed back when it became ready: lost with its former life.
    lost: u64,
    handed_back: u64,
    at: Instant,
}

impl Progress {
    /// Of an instance whose slot counts anew.
    pub(super) fn fresh() -> Self {
        Self {
            lost: 0,
            handed_back: 0,
            at: Instant::now(),
        }
    }

    /// Of an instance that was started again, and whose slot goes on counting.
    pub(super) fn again(workers: &Workers, slot: usize) -> Self {
        let (given, handed_back) = workers.exchanged(slot);
        Self {
            lost: given.saturating_sub(handed_back),
            handed_back,
            at: Instant::now(),
        }
    }
}

impl Fleet {
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
}
