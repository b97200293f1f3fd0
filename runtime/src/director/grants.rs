//! Which NF may make entries of which port that lead to which chain, over all edits.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use nflib::flows::FlowMatch;
use onvm_bundle::{Program, entries::permitted};

use super::{Counts, Entry, Grant};
use crate::generation::HopIndex;

#[derive(Debug, Default)]
pub(super) struct Grants {
    /// By port id.
    ports: Vec<PortGrants>,
    /// NFs with permission to program.
    nfs: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct PortGrants {
    name: String,
    /// Those that ever were: an entry's index stays true.
    names: Vec<Named>,
    /// By index.
    grants: Vec<Grant>,
}

#[derive(Debug)]
struct Named {
    nf: Arc<str>,
    chain: String,
    /// Made when the first entry is.
    total: Option<Arc<Counts>>,
    /// Entries, and those of them by filter.
    entries: usize,
    wilds: usize,
}

/// One grant, and what has come of it.
pub(crate) struct GrantUse<'a> {
    pub port: &'a str,
    pub nf: &'a str,
    pub chain: &'a str,
    pub permitted: bool,
    pub entries: usize,
    /// Packets and bytes, also of former entries.
    pub total: (u64, u64),
}

impl Grants {
    /// Goes over to another program, whose chains begin at these hops.
    pub(super) fn renew(&mut self, ports: &[&str], programs: &[Program], firsts: &HashMap<&str, HopIndex>) {
        self.nfs = programs
            .iter()
            .map(|program| Arc::from(program.nf.as_str()))
            .collect();
        self.ports.resize_with(ports.len(), PortGrants::default);
        for (port, name) in self.ports.iter_mut().zip(ports) {
            (*name).clone_into(&mut port.name);
            port.grants.iter_mut().for_each(|grant| *grant = Grant::NONE);
            for (nf, chain, filter) in permitted(programs, name) {
                let Some(&hop) = firsts.get(chain) else {
                    continue;
                };
                if let Some(grant) = port.grant(nf, chain) {
                    grant.hop = hop;
                    grant.arms.push(filter.clone());
                }
            }
        }
    }

    /// The grants of a port.
    pub(super) fn of(&self, port: u16) -> &[Grant] {
        self.ports.get(usize::from(port)).map_or(&[], |port| &port.grants)
    }

    /// The port's id and the grant, if it is permitted now.
    pub(super) fn find(&self, port: &str, nf: &str, chain: &str) -> Option<(u16, u16)> {
        let id = self.ports.iter().position(|known| known.name == port)?;
        let port = &self.ports[id];
        let grant = port
            .names
            .iter()
            .position(|known| *known.nf == *nf && known.chain == chain)?;
        let permitted = port.grants.get(grant).is_some_and(Grant::is_permitted);
        permitted.then_some((id as u16, grant as u16))
    }

    pub(super) fn is_permitted(&self, entry: &Entry) -> bool {
        self.of(entry.port)
            .get(usize::from(entry.grant))
            .is_some_and(Grant::is_permitted)
    }

    /// The one copy of an NF's name.
    pub(super) fn nf(&self, name: &str) -> Arc<str> {
        self.nfs.get(name).cloned().unwrap_or_else(|| Arc::from(name))
    }

    /// NFs with permission to program.
    pub(super) fn nfs(&self) -> usize {
        self.nfs.len()
    }

    /// Those that may program a port.
    pub(super) fn nfs_of(&self, port: u16) -> usize {
        let Some(port) = self.ports.get(usize::from(port)) else {
            return 0;
        };
        let permitted = port
            .names
            .iter()
            .zip(&port.grants)
            .filter(|(_, grant)| grant.is_permitted());
        permitted
            .map(|(named, _)| &named.nf)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Entries of an NF.
    pub(super) fn entries(&self, nf: &str) -> usize {
        let names = self.ports.iter().flat_map(|port| &port.names);
        names
            .filter(|named| *named.nf == *nf)
            .map(|named| named.entries)
            .sum()
    }

    /// Entries by filter of an NF at a port.
    pub(super) fn wilds(&self, port: u16, nf: &str) -> usize {
        let names = self
            .ports
            .get(usize::from(port))
            .map_or(&[][..], |port| &port.names);
        names
            .iter()
            .filter(|named| *named.nf == *nf)
            .map(|named| named.wilds)
            .sum()
    }

    /// The counts of all entries of a grant.
    pub(super) fn counts(&mut self, port: u16, grant: u16, workers: usize) -> Arc<Counts> {
        let make = || Arc::new(Counts::new(workers));
        match self.named(port, grant) {
            Some(named) => named.total.get_or_insert_with(make).clone(),
            None => make(),
        }
    }

    pub(super) fn entered(&mut self, entry: &Entry) {
        let wild = usize::from(matches!(entry.matches, FlowMatch::Filter(_)));
        if let Some(named) = self.named(entry.port, entry.grant) {
            named.entries += 1;
            named.wilds += wild;
        }
    }

    pub(super) fn left(&mut self, entry: &Entry) {
        let wild = usize::from(matches!(entry.matches, FlowMatch::Filter(_)));
        if let Some(named) = self.named(entry.port, entry.grant) {
            named.entries -= 1;
            named.wilds -= wild;
        }
    }

    /// An entry leads elsewhere.
    pub(super) fn moved(&mut self, from: &Entry, to: &Entry) {
        if from.grant != to.grant {
            self.left(from);
            self.entered(to);
        }
    }

    pub(super) fn used(&self) -> impl Iterator<Item = GrantUse<'_>> {
        self.ports.iter().flat_map(|port| {
            port.names
                .iter()
                .zip(&port.grants)
                .map(|(named, grant)| GrantUse {
                    port: &port.name,
                    nf: &named.nf,
                    chain: &named.chain,
                    permitted: grant.is_permitted(),
                    entries: named.entries,
                    total: named.total.as_ref().map_or((0, 0), |total| total.total()),
                })
        })
    }

    /// Port and chain that an entry is of.
    pub(super) fn names(&self, entry: &Entry) -> (&str, &str) {
        let port = self.ports.get(usize::from(entry.port));
        let named = port.and_then(|port| port.names.get(usize::from(entry.grant)));
        (
            port.map_or("", |port| &port.name),
            named.map_or("", |named| &named.chain),
        )
    }

    fn named(&mut self, port: u16, grant: u16) -> Option<&mut Named> {
        self.ports
            .get_mut(usize::from(port))?
            .names
            .get_mut(usize::from(grant))
    }
}

impl PortGrants {
    /// The grant of an NF and a chain, a new one if there was none. None: there have been too many.
    fn grant(&mut self, nf: &str, chain: &str) -> Option<&mut Grant> {
        let known = self
            .names
            .iter()
            .position(|named| *named.nf == *nf && named.chain == chain);
        let index = match known {
            Some(index) => index,
            None if self.names.len() < usize::from(u16::MAX) => {
                self.names.push(Named {
                    nf: Arc::from(nf),
                    chain: chain.to_owned(),
                    total: None,
                    entries: 0,
                    wilds: 0,
                });
                self.grants.push(Grant::NONE);
                self.names.len() - 1
            }
            None => return None,
        };
        self.grants.get_mut(index)
    }
}
