//! What instances are handed of the packets' memory: the file of their security domain, and no other.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use nflib::memory::Geometry;

/// The packet file of one domain.
#[derive(Debug)]
pub(crate) struct PacketsOf {
    pub(crate) writable: OwnedFd,
    pub(crate) read_only: OwnedFd,
    pub(crate) geometry: Geometry,
}

/// The packet files of all domains, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Domains(Mutex<Vec<(Option<String>, Arc<PacketsOf>)>>);

impl Domains {
    /// Adds one that is not there yet.
    pub(crate) fn add(&self, domain: Option<&str>, packets: PacketsOf) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((domain.map(str::to_owned), Arc::new(packets)));
    }

    /// The number of a domain and its file.
    pub(crate) fn of(&self, domain: Option<&str>) -> Option<(u8, Arc<PacketsOf>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(name, _)| name.as_deref() == domain)?;
        Some((at as u8, all[at].1.clone()))
    }

    /// The names of all.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, _)| name.clone()).collect()
    }
}
