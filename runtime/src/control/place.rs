//! The services of a bundle: found among those that run, or started, and undone.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use onvm_api::ApiError;
use onvm_bundle::{Bundle, ManagerConfig};

use super::{Manager, apply::UNCHANGED};
use crate::fleet::{InstanceSpec, NfMode, Placed};

/// For all added instances to become ready; longer than one instance's own deadline.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// More time for each, since containers are created one after the other.
const CREATE_DEADLINE: Duration = Duration::from_secs(1);

impl Manager {
    /// Finds or starts the bundle's services. Undoes itself on failure.
    pub(super) fn place_services(
        &mut self,
        bundle: &Bundle,
        mut specs: HashMap<String, Vec<InstanceSpec>>,
    ) -> Result<HashMap<String, Placed>, ApiError> {
        let mut placed = HashMap::new();
        self.fleet.bundle.clone_from(&bundle.dir);
        for host in bundle.manager.hosts() {
            let name = &host.service.name;
            let specs = specs.remove(name).unwrap_or_default();
            match self.fleet.place(&host, &bundle.instances, specs) {
                Ok(place) => drop(placed.insert(name.clone(), place)),
                Err(e) => {
                    self.undo_services(&placed);
                    return Err(ApiError::new(ApiError::NOT_READY, e.to_string(), UNCHANGED));
                }
            }
        }
        Ok(placed)
    }

    /// Waits until all new instances run, or one of them says why it does not.
    pub(super) async fn await_ready(&mut self, placed: &HashMap<String, Placed>) -> Result<(), ApiError> {
        let slots: Vec<u16> = placed.values().flat_map(|p| self.fleet.started(p)).collect();
        let settled = |m: &Self| {
            slots.iter().all(|&s| m.fleet.is_running(s))
                || slots.iter().any(|&s| m.fleet.trouble(s).is_some())
        };
        // NFs started from outside may take any time.
        let patience = match self.host.mode {
            NfMode::Process | NfMode::Compose => READY_DEADLINE + slots.len() as u32 * CREATE_DEADLINE,
            NfMode::External => Duration::from_secs(24 * 3600),
        };
        self.pump(Instant::now() + patience, |m| m.stopping || settled(m))
            .await;
        let trouble = slots.iter().find_map(|&s| self.fleet.trouble(s));
        if let Some((name, why)) = trouble {
            return Err(ApiError::new(
                ApiError::NOT_READY,
                format!("NF `{name}` did not start: {why}"),
                UNCHANGED,
            ));
        }
        match slots.iter().all(|&s| self.fleet.is_running(s)) {
            true => Ok(()),
            false if self.stopping => Err(ApiError::new(
                ApiError::NOT_READY,
                "Stopped before all NFs were ready",
                UNCHANGED,
            )),
            false => Err(ApiError::new(
                ApiError::NOT_READY,
                "Not all added NFs became ready in time",
                UNCHANGED,
            )),
        }
    }

    pub(super) fn undo_services(&mut self, placed: &HashMap<String, Placed>) {
        for placed in placed.values() {
            self.fleet.undo(&self.workers, placed);
        }
    }

    pub(super) fn leave_unused(&mut self, placed: &HashMap<String, Placed>) -> Vec<String> {
        let used: Vec<u16> = placed.values().map(Placed::slot).collect();
        let alive = self
            .fleet
            .services
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_some())
            .map(|(i, _)| i as u16);
        let unused: Vec<u16> = alive.filter(|slot| !used.contains(slot)).collect();
        unused
            .into_iter()
            .flat_map(|slot| self.fleet.leave(&self.workers, slot))
            .collect()
    }
}

/// Slot by service name: those that are fused have the same.
pub(super) fn slots_of(manager: &ManagerConfig, placed: &HashMap<String, Placed>) -> HashMap<String, u16> {
    let mut slots = HashMap::new();
    for host in manager.hosts() {
        if let Some(placed) = placed.get(&host.service.name) {
            let members = host.members.iter();
            slots.extend(members.map(|service| (service.name.clone(), placed.slot())));
        }
    }
    slots
}
