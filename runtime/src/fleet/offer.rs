//! Other parameters for instances that run: offered to each, taken or refused, and kept by all of them or by none.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::AsFd,
};

use nflib::session::{self, ToNf};
use onvm_api::InstanceState;
use onvm_bundle::{Host, InstanceConfig};

use super::{
    Fleet, InstanceEntry, InstanceSpec,
    closing::NfSocket,
    log::quote::{LONGEST_REASON, quote},
    scale::made_from,
    spec::{Given, lock},
    supervise::Order,
};

/// How an instance took other parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    Done,
    /// It cannot take these while it runs, and goes on with those it has.
    Unsupported,
    /// Its own words, or why it could not be asked.
    Refused(String),
}

/// What has become of an instance that was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    Running,
    NotYet,
    Never,
}

impl Taken {
    pub(super) fn new(supported: bool, error: Option<String>) -> Self {
        match error {
            Some(error) => Self::Refused(quote(error, LONGEST_REASON)),
            None if supported => Self::Done,
            None => Self::Unsupported,
        }
    }
}

/// Parameters on their way to an instance.
#[derive(Debug)]
pub(super) struct Offer {
    given: Given,
    pub(super) sent: bool,
}

impl Offer {
    pub(super) fn new(given: Given) -> Self {
        Self { given, sent: false }
    }

    /// Sends them unless there is no room yet; says whether it did.
    pub(super) fn send(&mut self, socket: &NfSocket) -> io::Result<bool> {
        if self.sent {
            return Ok(false);
        }
        let contents = self.given.descriptors()?;
        let fds: Vec<_> = contents.iter().map(AsFd::as_fd).collect();
        match session::send(socket, &ToNf::Reconfigure, &fds) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            other => other.map(|()| {
                self.sent = true;
                true
            }),
        }
    }
}

/// An offer as the control thread knows it.
#[derive(Debug)]
pub(super) struct Offered {
    /// To which of the instance's lives.
    restarts: u32,
    pub(super) taken: Option<Taken>,
}

impl Fleet {
    /// The slot of a service of the present generation.
    pub(crate) fn serving(&self, slots: &HashSet<u16>, name: &str) -> Option<u16> {
        let named = |slot: &&u16| {
            let entry = self.services.get(usize::from(**slot)).and_then(Option::as_ref);
            entry.is_some_and(|entry| entry.name == name)
        };
        slots.iter().find(named).copied()
    }

    /// The instances of a service, each with other parameters for it; none where one does not run, or is not known.
    pub(crate) fn others_for(&self, service: u16, specs: &[InstanceSpec]) -> Option<Vec<(u16, Given)>> {
        let slots = self.instances_of(service).into_iter();
        let given = slots.map(|slot| {
            let entry = self
                .instance(slot)
                .filter(|e| e.state == InstanceState::Running)?;
            let spec = specs.iter().find(|spec| spec.name == entry.name)?;
            Some((slot, spec.given.clone()))
        });
        given.collect()
    }

    pub(crate) fn offer(&mut self, slot: u16, given: Given) {
        if let Some(Some(entry)) = self.instances.get_mut(usize::from(slot)) {
            entry.offered = Some(Offered {
                restarts: entry.restarts,
                taken: None,
            });
            let _ = entry.orders.send(Order::Reconfigure(Box::new(given)));
        }
    }

    /// What it answered; none: nothing yet.
    pub(crate) fn taken(&self, slot: u16) -> Option<Taken> {
        let lost = |entry: Option<&InstanceEntry>| {
            let why = entry.and_then(|entry| entry.trouble.clone());
            Some(Taken::Refused(why.unwrap_or_else(|| "it was lost".to_owned())))
        };
        let entry = self.instance(slot);
        let Some((entry, offered)) = entry.and_then(|e| Some((e, e.offered.as_ref()?))) else {
            return lost(entry);
        };
        match entry.state == InstanceState::Running && entry.restarts == offered.restarts {
            true => offered.taken.clone(),
            false => lost(Some(entry)),
        }
    }

    /// Whether an instance that was ended in the life after so many restarts is there again.
    pub(crate) fn is_back(&self, slot: u16, life: u32) -> Back {
        match self.instance(slot) {
            Some(entry) if entry.state == InstanceState::Running && entry.restarts > life => Back::Running,
            Some(entry) if entry.state != InstanceState::Failed => Back::NotYet,
            _ => Back::Never,
        }
    }

    /// What the instance was given at its start.
    pub(crate) fn given(&self, slot: u16) -> Option<Given> {
        Some(lock(&self.instance(slot)?.given).clone())
    }

    /// All have taken what they were offered, and are started with it from now on.
    pub(crate) fn keep_others(
        &mut self,
        service: u16,
        others: Vec<(u16, Given)>,
        next: &Host<'_>,
        configs: &BTreeMap<String, InstanceConfig>,
    ) -> Vec<String> {
        let targets = others
            .first()
            .map_or(&[][..], |(_, given)| &given.configuration.targets);
        let next = made_from(next, targets, |instance| configs.get(instance).cloned());
        if let Some(Some(service)) = self.services.get_mut(usize::from(service)) {
            service.made_from.go_on_as(&next);
        }
        let mut names = Vec::new();
        for (slot, given) in others {
            if let Some(entry) = self.instance(slot) {
                names.push(entry.name.clone());
                *lock(&entry.given) = given;
            }
        }
        names.sort();
        names
    }
}
