//! Which rule or flow entry takes a packet of a port: asked for packets that come in, and for those that an NF has looked up again.

#[cfg(test)]
mod tests;

use std::{
    hash::BuildHasher,
    sync::{Arc, atomic::AtomicU64},
};

use hashbrown::{DefaultHashBuilder, HashTable};
use nflib::memory::{prefer_huge_pages, prefetch};
use onvm_bundle::filter::{
    FlowCache,
    flow::{self, Flow, FlowKey, flow_of},
};

use crate::{
    director::{Change, Changes, Entry, Grant, Program, Wilds},
    generation::{Generation, HopIndex, NO_HOP, PortTable, add},
};

/// What decides about a packet: the index of a rule (of `else`, the number of rules), or from [`PROGRAMMED`] on the slot of a flow
/// entry.
pub(super) type Decision = u32;
const PROGRAMMED: Decision = 1 << 30;

/// Flows that a port's cache has room for.
const FLOWS: usize = 1 << 21;

/// The flows of all ports.
#[derive(Debug, Default)]
pub(super) struct Flows {
    entries: Entries,
    /// By port id.
    ports: Vec<PortFlows>,
}

/// Flow entries by slot.
#[derive(Debug, Default)]
struct Entries(Vec<Option<Arc<Entry>>>);

#[derive(Debug, Default)]
struct PortFlows {
    cache: FlowCache,
    /// Slots of the entries for flows, by the flow without its direction.
    exact: HashTable<u32>,
    hasher: DefaultHashBuilder,
    wilds: Arc<Wilds>,
    /// There is any entry.
    programmed: bool,
    /// The decision is the same for all packets of a flow.
    by_flow: bool,
    /// Bytes that are looked at.
    reach: u16,
}

/// What was read of a packet before its turn came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foreseen {
    flow: Flow,
    /// The hash of its key in the cache of flows.
    at: u64,
}

impl Foreseen {
    pub(super) const NOTHING: Self = Self {
        flow: Flow { key: None, hash: 0 },
        at: 0,
    };
}

/// A port's flows together with the tables of one generation.
#[derive(Debug)]
pub(super) struct View<'a> {
    entries: &'a Entries,
    port: &'a mut PortFlows,
    table: &'a PortTable,
    grants: &'a [Grant],
}

impl Entries {
    fn get(&self, slot: u32) -> Option<&Arc<Entry>> {
        self.0.get(slot as usize)?.as_ref()
    }

    fn set(&mut self, slot: u32, entry: Option<Arc<Entry>>) -> Option<Arc<Entry>> {
        let at = slot as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        std::mem::replace(&mut self.0[at], entry)
    }
}

impl Flows {
    /// The flows of a port whose packets these tables classify.
    #[inline(always)]
    pub(super) fn of<'a>(&'a mut self, port: usize, tables: &'a Generation) -> View<'a> {
        View {
            entries: &self.entries,
            port: &mut self.ports[port],
            table: &tables.tables[port],
            grants: &tables.programs[port].grants,
        }
    }

    /// Goes over to other tables.
    pub(super) fn renew(&mut self, tables: &Generation) {
        self.ports.resize_with(tables.tables.len(), PortFlows::default);
        for ((port, table), program) in self.ports.iter_mut().zip(&tables.tables).zip(&tables.programs) {
            port.wilds = program.wilds.clone();
            port.cache.forget();
            port.settle(table, program);
        }
    }

    pub(super) fn change(&mut self, changes: &Changes, tables: &Generation) {
        for change in &changes.steps {
            match change {
                Change::Put(entry) => self.put(entry),
                Change::Remove(entry) => self.remove(entry),
            }
        }
        for (port, wilds) in &changes.wilds {
            if let Some(port) = self.ports.get_mut(usize::from(*port)) {
                port.wilds = wilds.clone();
                port.cache.forget();
            }
        }
        for ((port, table), program) in self.ports.iter_mut().zip(&tables.tables).zip(&tables.programs) {
            port.settle(table, program);
        }
    }

    fn put(&mut self, entry: &Arc<Entry>) {
        let former = self.entries.set(entry.slot, Some(entry.clone()));
        let Some(port) = self.ports.get_mut(usize::from(entry.port)) else {
            return;
        };
        let Some(key) = entry.matches.key() else {
            return;
        };
        port.forget(key);
        if former.is_none() {
            let PortFlows { exact, hasher, .. } = port;
            let entries = &self.entries;
            exact.insert_unique(hash(hasher, key), entry.slot, |slot| {
                rehash(hasher, entries, *slot)
            });
        }
    }

    fn remove(&mut self, entry: &Arc<Entry>) {
        if self.entries.set(entry.slot, None).is_none() {
            return;
        }
        let Some(port) = self.ports.get_mut(usize::from(entry.port)) else {
            return;
        };
        let Some(key) = entry.matches.key() else {
            return;
        };
        port.forget(key);
        let hash = hash(&port.hasher, key);
        if let Ok(found) = port.exact.find_entry(hash, |slot| *slot == entry.slot) {
            found.remove();
        }
    }
}

impl PortFlows {
    /// Works out what is looked at.
    fn settle(&mut self, table: &PortTable, program: &Program) {
        self.programmed = !self.exact.is_empty() || !self.wilds.is_empty();
        (self.by_flow, self.reach) = (table.by_flow, table.reach);
        if self.programmed {
            self.by_flow &= program.by_flow && (self.wilds.by_flow || self.wilds.is_empty());
            self.reach = self.reach.max(program.reach).max(self.wilds.reach);
        }
        self.reach = self.reach.max(flow::REACH);
        if self.by_flow
            && (self.programmed || !table.rules.is_empty())
            && let Some(memory) = self.cache.reserve(FLOWS)
        {
            prefer_huge_pages(memory);
        }
    }

    /// The decision on a flow may be another one now.
    fn forget(&mut self, key: &FlowKey) {
        self.cache.forget_flow(key);
        self.cache.forget_flow(&key.reversed());
    }
}

impl View<'_> {
    /// Whether anything depends on what is in a packet.
    pub(super) fn look(&self) -> bool {
        self.port.programmed || !self.table.rules.is_empty()
    }

    /// Whether what is kept of flows is worth asking for ahead.
    #[inline(always)]
    pub(super) fn keeps(&self) -> bool {
        self.port.by_flow && self.look()
    }

    /// Reads a packet's flow, and asks for what is kept of it: it lies anywhere in more memory than the processor's cache covers, so
    /// that a whole burst is asked for before the first is looked at.
    #[inline(always)]
    pub(super) fn foresee<'b>(&self, read: impl FnOnce(u16) -> &'b [u8]) -> Foreseen {
        let flow = flow_of(read(flow::REACH));
        let Some(key) = &flow.key else {
            return Foreseen { flow, at: 0 };
        };
        let at = self.port.cache.hash(key);
        for place in self.port.cache.likely(at).into_iter().flatten() {
            prefetch(place);
        }
        Foreseen { flow, at }
    }

    /// The hash of a packet whose bytes decide nothing.
    #[inline(always)]
    pub(super) fn hash<'b>(&self, read: impl FnOnce(u16) -> &'b [u8]) -> u32 {
        flow_of(read(flow::REACH)).hash
    }

    /// The packet's hash and what decides about it, if that is kept.
    #[inline(always)]
    pub(super) fn known(&mut self, foreseen: &Foreseen, given_hash: Option<u32>) -> Option<(u32, Decision)> {
        let key = foreseen.flow.key.as_ref()?;
        let decision = self.port.cache.known(foreseen.at, key)?;
        Some((given_hash.unwrap_or(foreseen.flow.hash), decision))
    }

    /// The packet's hash and what decides about it. `read` is asked once for at most so many of its bytes, which nobody else may
    /// write: an NF that changes the packet meanwhile must not have one key looked at and another packet's rule kept for it.
    #[inline(always)]
    pub(super) fn classify<'b>(
        &mut self,
        length: u16,
        given_hash: Option<u32>,
        read: impl FnOnce(u16) -> &'b [u8],
    ) -> (u32, Decision) {
        let head = read(self.port.reach);
        let flow = flow_of(head);
        let hash = given_hash.unwrap_or(flow.hash);
        let Self {
            entries,
            port:
                PortFlows {
                    cache,
                    exact,
                    hasher,
                    wilds,
                    programmed,
                    by_flow,
                    ..
                },
            table,
            grants,
        } = self;
        let asked = Asked {
            entries,
            exact,
            hasher,
            wilds,
            grants,
            table,
            programmed: *programmed,
        };
        let decide = || asked.decide(flow.key.as_ref(), head, length.into());
        let decision = match flow.key {
            Some(key) if *by_flow => cache.get(&key, decide),
            _ => decide(),
        };
        (hash, decision)
    }

    /// What decides about a packet that is looked up again. Of it, so many bytes are read.
    pub(super) fn again<'b>(&mut self, length: u16, read: impl FnOnce(u16) -> &'b [u8]) -> Decision {
        let head = read(self.port.reach.max(self.table.reach));
        let PortFlows {
            exact,
            hasher,
            wilds,
            programmed,
            ..
        } = &*self.port;
        let asked = Asked {
            entries: self.entries,
            exact,
            hasher,
            wilds,
            grants: self.grants,
            table: self.table,
            programmed: *programmed,
        };
        asked.decide(flow_of(head).key.as_ref(), head, length.into())
    }

    /// The first hop that a decision leads to.
    #[inline(always)]
    pub(super) fn hop(&self, decision: Decision) -> HopIndex {
        match decision.checked_sub(PROGRAMMED) {
            None => self.table.target(decision as usize),
            Some(slot) => self.programmed_hop(slot),
        }
    }

    #[cold]
    fn programmed_hop(&self, slot: u32) -> HopIndex {
        let grant = self
            .entries
            .get(slot)
            .and_then(|entry| self.grants.get(usize::from(entry.grant)));
        grant.map_or(NO_HOP, |grant| grant.hop)
    }

    /// Counts packets that follow each other; `rules` has the worker's counter of each rule.
    #[inline(always)]
    pub(super) fn count(&self, worker: usize, hits: Hits, rules: &[AtomicU64]) {
        match hits.decision.checked_sub(PROGRAMMED) {
            None if hits.packets > 0 => add(&rules[hits.decision as usize], hits.packets),
            None => {}
            Some(slot) => self.count_entry(slot, worker, hits.packets, hits.bytes),
        }
    }

    /// Counts a packet that was looked up again, if an entry takes it: its rules count what comes in.
    pub(super) fn count_again(&self, decision: Decision, worker: usize, length: u16) {
        if let Some(slot) = decision.checked_sub(PROGRAMMED) {
            self.count_entry(slot, worker, 1, length.into());
        }
    }

    fn count_entry(&self, slot: u32, worker: usize, packets: u64, bytes: u64) {
        if let Some(entry) = self.entries.get(slot) {
            entry.count(worker, packets, bytes);
        }
    }
}

/// Packets that follow each other with the same decision, counted once for all.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub(super) decision: Decision,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Hits {
    /// Begins with another decision, and gives what was counted of the last one.
    #[inline(always)]
    pub(super) fn next(&mut self, decision: Decision) -> Self {
        let next = Self {
            decision,
            ..Self::default()
        };
        std::mem::replace(self, next)
    }
}

/// Entries and rules of a port.
struct Asked<'a> {
    entries: &'a Entries,
    exact: &'a HashTable<u32>,
    hasher: &'a DefaultHashBuilder,
    wilds: &'a Wilds,
    grants: &'a [Grant],
    table: &'a PortTable,
    programmed: bool,
}

impl Asked<'_> {
    #[inline(always)]
    fn decide(&self, key: Option<&FlowKey>, frame: &[u8], wire_length: u32) -> Decision {
        let entry = match self.programmed {
            true => self.entry(key, frame, wire_length),
            false => None,
        };
        match entry {
            Some(slot) => PROGRAMMED | slot,
            None => self.table.entry(frame, wire_length) as Decision,
        }
    }

    /// The slot of the entry that takes a frame.
    fn entry(&self, key: Option<&FlowKey>, frame: &[u8], wire_length: u32) -> Option<u32> {
        let best = |frame: &[u8], length| self.best(key, frame, length);
        self.table.seen(frame, wire_length, best)
    }

    fn best(&self, key: Option<&FlowKey>, frame: &[u8], wire_length: u32) -> Option<u32> {
        let admits = |entry: &Arc<Entry>| {
            let grant = self.grants.get(usize::from(entry.grant));
            grant.is_some_and(|grant| grant.admits(frame, wire_length))
        };
        let wild = self.wilds.first(frame, wire_length, admits);
        let exact = key.and_then(|key| {
            let slots = self.exact.iter_hash(hash(self.hasher, key));
            let entries = slots.filter_map(|slot| self.entries.get(*slot));
            let takes =
                |entry: &&Arc<Entry>| entry.matches.takes(Some(key), frame, wire_length) && admits(entry);
            entries.filter(takes).min_by_key(|entry| entry.precedence())
        });
        let best = exact
            .into_iter()
            .chain(wild)
            .min_by_key(|entry| entry.precedence());
        best.map(|entry| entry.slot)
    }
}

fn hash(hasher: &DefaultHashBuilder, key: &FlowKey) -> u64 {
    hasher.hash_one(key.undirected().0)
}

fn rehash(hasher: &DefaultHashBuilder, entries: &Entries, slot: u32) -> u64 {
    let entry = entries.get(slot);
    entry
        .and_then(|entry| entry.matches.key())
        .map_or(0, |key| hash(hasher, key))
}
