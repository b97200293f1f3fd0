//! Other parameters for the running instances of one service, in place of new instances.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use onvm_api::ApiError;
use onvm_bundle::{Bundle, Host, reconfigured};

use super::{Manager, apply::UNCHANGED};
use crate::fleet::{Back, Given, InstanceSpec, Taken};

/// For an instance to answer. It hands no packets back meanwhile.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// For an instance that was ended to be there again: as long as its start may take.
const BACK_DEADLINE: Duration = Duration::from_secs(10);

impl Manager {
    /// Has the running instances of a service take over new parameters, where these are all that changes; gives their names. If there are
    /// none, the service is to be replaced. All of them keep the new parameters, or none does.
    pub(super) async fn reconfigure(
        &mut self,
        bundle: &Bundle,
        specs: &HashMap<String, Vec<InstanceSpec>>,
    ) -> Result<Vec<String>, ApiError> {
        let name = reconfigured((&**self.bundle).into(), bundle.into());
        let next = name.and_then(|name| bundle.manager.services.iter().find(|s| s.name == name));
        let service = next.and_then(|next| self.fleet.serving(&self.serving, &next.name));
        let (Some(next), Some(service)) = (next, service) else {
            return Ok(Vec::new());
        };
        let specs = specs.get(&next.name).map_or(&[][..], Vec::as_slice);
        let others = self.fleet.others_for(service, specs);
        // Packets of older generations would meet the new parameters too, on chains that may be others.
        let Some(others) = others.filter(|_| self.history.draining() == 0) else {
            return Ok(Vec::new());
        };
        let lives: Vec<(u16, u32)> = others
            .iter()
            .filter_map(|(slot, _)| Some((*slot, self.fleet.instance(*slot)?.restarts)))
            .collect();
        match self.offer(&others).await {
            Taken::Done => Ok(self
                .fleet
                .keep_others(service, others, &Host::alone(next), &bundle.instances)),
            other => {
                let ended = self.take_back(others).await;
                let Taken::Refused(why) = other else {
                    return Ok(Vec::new());
                };
                let became = self.await_back(&lives, &ended).await;
                Err(ApiError::new(ApiError::NOT_READY, why + &became, UNCHANGED))
            }
        }
    }

    /// Offers parameters to instances, and waits until each has answered. The first answer that is a refusal comes with the instance's
    /// name, and goes before one that is not supported.
    async fn offer(&mut self, others: &[(u16, Given)]) -> Taken {
        for (slot, given) in others {
            self.fleet.offer(*slot, given.clone());
        }
        let answered = |m: &Self| others.iter().all(|(slot, _)| m.fleet.taken(*slot).is_some());
        self.pump(Instant::now() + ANSWER_DEADLINE, |m| m.stopping || answered(m))
            .await;
        if self.stopping {
            return Taken::Refused("Stopped before all instances had taken their new parameters".to_owned());
        }
        let mut unsupported = false;
        for (slot, _) in others {
            let name = self.fleet.instance(*slot).map_or("", |entry| &entry.name);
            match self.fleet.taken(*slot) {
                Some(Taken::Done) => {}
                Some(Taken::Unsupported) => unsupported = true,
                Some(Taken::Refused(why)) => {
                    return Taken::Refused(format!("NF `{name}` did not take its new parameters: {why}"));
                }
                None => {
                    let seconds = ANSWER_DEADLINE.as_secs();
                    return Taken::Refused(format!(
                        "NF `{name}` did not take its new parameters within {seconds} s, and was ended"
                    ));
                }
            }
        }
        match unsupported {
            true => Taken::Unsupported,
            false => Taken::Done,
        }
    }

    /// Gives the former parameters back to instances that took others. One that does not take them, or has not answered before, is ended: it
    /// starts again with the former ones. Gives those that were ended.
    async fn take_back(&mut self, others: Vec<(u16, Given)>) -> Vec<u16> {
        let (mut former, mut ended) = (Vec::new(), Vec::new());
        if self.stopping {
            return ended;
        }
        for (slot, _) in others {
            match (self.fleet.taken(slot), self.fleet.given(slot)) {
                (Some(Taken::Done), Some(given)) => former.push((slot, given)),
                (None, _) => {
                    self.fleet
                        .kill(slot, "it did not answer to new parameters".to_owned());
                    ended.push(slot);
                }
                _ => {}
            }
        }
        if former.is_empty() || self.offer(&former).await == Taken::Done {
            return ended;
        }
        for (slot, _) in former {
            if self.fleet.taken(slot) != Some(Taken::Done) && self.fleet.is_running(slot) {
                self.fleet
                    .kill(slot, "it did not take its former parameters back".to_owned());
                ended.push(slot);
            }
        }
        ended
    }

    /// Waits until instances that were ended, or ended themselves, since they had these numbers of restarts are there again, so that an
    /// edit which is refused leaves what was there. Says what has become of them.
    async fn await_back(&mut self, lives: &[(u16, u32)], ended: &[u16]) -> String {
        let gone: Vec<(u16, u32)> = lives
            .iter()
            .filter(|(slot, _)| ended.contains(slot) || !self.fleet.is_running(*slot))
            .copied()
            .collect();
        let over = |m: &Self| {
            let mut all = gone.iter();
            m.stopping || all.all(|&(slot, life)| m.fleet.is_back(slot, life) != Back::NotYet)
        };
        self.pump(Instant::now() + BACK_DEADLINE, over).await;
        let became = gone.iter().filter_map(|&(slot, life)| {
            let name = &self.fleet.instance(slot)?.name;
            Some(match self.fleet.is_back(slot, life) {
                Back::Running => format!("; `{name}` runs again with the former ones"),
                Back::NotYet => format!("; `{name}` has not started again yet"),
                Back::Never => format!("; `{name}` is not started again, as its `restart` says"),
            })
        });
        became.collect()
    }
}
