//! Other parameters for the running instances of one service, in place of new instances.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use onvm_api::ApiError;
use onvm_bundle::{Bundle, Host, reconfigured};

use super::{Manager, apply::UNCHANGED};
use crate::fleet::{Given, InstanceSpec, Taken};

/// For an instance to answer. It hands no packets back meanwhile.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

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
        match self.offer(&others).await {
            Taken::Done => Ok(self
                .fleet
                .keep_others(service, others, &Host::alone(next), &bundle.instances)),
            other => {
                self.take_back(others).await;
                match other {
                    Taken::Refused(why) => Err(ApiError::new(ApiError::NOT_READY, why, UNCHANGED)),
                    _ => Ok(Vec::new()),
                }
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
    /// starts again with the former ones.
    async fn take_back(&mut self, others: Vec<(u16, Given)>) {
        if self.stopping {
            return;
        }
        let mut former = Vec::new();
        for (slot, _) in others {
            match (self.fleet.taken(slot), self.fleet.given(slot)) {
                (Some(Taken::Done), Some(given)) => former.push((slot, given)),
                (None, _) => self
                    .fleet
                    .kill(slot, "it did not answer to new parameters".to_owned()),
                _ => {}
            }
        }
        if former.is_empty() || self.offer(&former).await == Taken::Done {
            return;
        }
        for (slot, _) in former {
            if self.fleet.taken(slot) != Some(Taken::Done) && self.fleet.is_running(slot) {
                self.fleet
                    .kill(slot, "it did not take its former parameters back".to_owned());
            }
        }
    }
}
