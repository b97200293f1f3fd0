//! The flow director: the entries that NFs put in front of ports' rules while packets flow.
//!
//! The control thread has the one list of them. It takes requests from instances in order, checks each against what the program
//! permits, and sends the changes to all workers, which decide by them from then on. When the last worker has said so, the
//! instance is told. Workers count the packets of each entry; whether one has been idle is seen by its count.

mod clients;
mod entry;
mod expiry;
mod grants;
mod list;
mod news;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    hash::BuildHasher,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::{DefaultHashBuilder, HashTable};
use nflib::flows::{FlowEnd, FlowEntry, FlowMatch, FlowNews, FlowRequest, FlowsError, LONGEST_FILTER};
use onvm_api as wire;
use tokio::sync::oneshot;

pub(crate) use self::news::News;
pub use self::{
    clients::Client,
    entry::{Change, Changes, Counts, Entry, Grant, Program, Wilds},
};
use self::{clients::Clients, grants::Grants};
use crate::generation::HopIndex;

/// Entries of all NFs together.
pub const MOST_ENTRIES: usize = 1 << 20;
/// Entries by filter of one port: each that is added or ends has the port's index made anew.
pub const MOST_WILDS: usize = 1024;
/// Entries that one answer to an instance lists, whose text fits a message.
const LISTED: usize = 100;
/// Of the control thread's time, one part in so many is for the indexes over entries by filter of one NF, or of those that end.
pub(crate) const PARTS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Director {
    workers: usize,
    grants: Grants,
    clients: Clients,
    /// By slot.
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    by_id: BTreeMap<u64, u32>,
    /// The same of each NF.
    of_nf: HashMap<Arc<str>, BTreeMap<u64, u32>>,
    /// Slots of the entries by filter, by port, and the index over them.
    wild: BTreeMap<u16, (BTreeSet<u32>, Arc<Wilds>)>,
    /// Before that, no entry by filter ends by itself: making the last index has taken that much time.
    index_from: Instant,
    /// Slots by port, match and priority.
    known: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// When to look at which entry.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// What workers have not all carried out yet.
    batches: VecDeque<Batch>,
    last_id: u64,
    last_number: u64,
}

#[derive(Debug)]
struct Record {
    entry: Arc<Entry>,
    asked: FlowEntry,
    nf: Arc<str>,
    /// Slot of the instance that made or last changed it.
    owner: u16,
    began: Instant,
    /// Packets when they were last seen to have changed, and when.
    seen: (u64, Instant),
    /// When to look at it; what is due at another time is of the past.
    check: Option<Instant>,
}

/// Changes under way, and who is to be told when they are in force.
#[derive(Debug, Default)]
struct Batch {
    number: u64,
    /// An instance that asked for them.
    asked: Option<Asked>,
    ended: Vec<(Record, FlowEnd)>,
    reply: Option<oneshot::Sender<u64>>,
}

/// Requests of an instance, and what has become of them.
#[derive(Debug)]
struct Asked {
    instance: u16,
    nf: Arc<str>,
    life: u32,
    news: FlowNews,
    /// What the index over entries by filter has taken.
    index: Duration,
}

/// What an instance asks for.
#[derive(Debug)]
pub(crate) struct FlowRequests {
    /// How often the instance had been started before.
    pub life: u32,
    /// The number of the first.
    pub first: u64,
    pub requests: Vec<FlowRequest>,
}

/// Changes that are being put together.
#[derive(Debug, Default)]
struct Draft {
    steps: Vec<Change>,
    /// Ports whose entries by filter change.
    wild: BTreeSet<u16>,
    ended: Vec<(Record, FlowEnd)>,
}

impl Director {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            grants: Grants::default(),
            clients: Clients::default(),
            records: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            of_nf: HashMap::new(),
            wild: BTreeMap::new(),
            index_from: Instant::now(),
            known: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            due: BinaryHeap::new(),
            batches: VecDeque::new(),
            last_id: 0,
            last_number: 0,
        }
    }

    /// Goes over to another program, whose chains begin at these hops: what NFs may make of each port's table. Entries that it
    /// does not permit take nothing any more; they are still to be ended.
    pub(crate) fn renew(
        &mut self,
        ports: &[&str],
        programs: &[onvm_bundle::Program],
        firsts: &HashMap<&str, HopIndex>,
    ) -> Vec<Program> {
        self.grants.renew(ports, programs, firsts);
        self.clients.renew();
        let ports = 0..ports.len() as u16;
        ports
            .map(|port| {
                let wilds = self.wild.get(&port).map(|(_, wilds)| wilds.clone());
                Program::new(self.grants.of(port).to_vec(), wilds.unwrap_or_default())
            })
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Takes requests of an instance, in order.
    pub(crate) fn take(
        &mut self,
        client: &Client<'_>,
        first: u64,
        requests: Vec<FlowRequest>,
        now: Instant,
    ) -> Arc<Changes> {
        let mut draft = Draft::default();
        let mut news = FlowNews {
            done: first.saturating_add(requests.len() as u64),
            ..FlowNews::default()
        };
        for (n, request) in (first..).zip(requests) {
            let outcome = match request {
                FlowRequest::Put(entry) => self.put(&mut draft, client, entry, now),
                FlowRequest::Remove {
                    target,
                    matches,
                    priority,
                } => self.remove(&mut draft, client, target.index(), &matches, priority),
                FlowRequest::List { .. } if !news.listed.is_empty() => {
                    Err("ask for one list at a time".to_owned())
                }
                FlowRequest::List { after } => {
                    news.listed = self.listed(client.nf, after, LISTED);
                    Ok(())
                }
            };
            if let Err(why) = outcome {
                news.refused.push((n, why));
            }
        }
        let asked = Asked {
            instance: client.instance,
            nf: self.grants.nf(client.nf),
            life: client.life,
            news,
            index: Duration::ZERO,
        };
        self.finish_draft(draft, Some(asked), None)
    }

    fn put(
        &mut self,
        draft: &mut Draft,
        client: &Client<'_>,
        asked: FlowEntry,
        now: Instant,
    ) -> Result<(), String> {
        let (port, grant) = self.clients.resolve(client, &self.grants, asked.target.index())?;
        refuse_long(&asked.matches)?;
        let known = self.find(port, &asked.matches, asked.priority);
        let (id, slot, counts) = match known.and_then(|slot| self.record(slot)) {
            Some(record) if *record.nf != *client.nf => {
                return Err(format!("`{}` has made that entry", record.nf));
            }
            Some(record) => {
                let Entry { id, slot, counts, .. } = &*record.entry;
                (*id, *slot, counts.clone())
            }
            None => {
                self.refuse_full(client, port, &asked.matches)?;
                self.last_id += 1;
                let slot = self.free.pop().unwrap_or(self.records.len() as u32);
                (self.last_id, slot, Arc::new(Counts::new(self.workers)))
            }
        };
        let seen = counts.total().0;
        let entry = Arc::new(Entry {
            id,
            slot,
            port,
            matches: asked.matches.clone(),
            priority: asked.priority,
            grant,
            counts,
            total: self.grants.counts(port, grant, self.workers),
        });
        if let FlowMatch::Filter(_) = entry.matches {
            draft.wild.insert(port);
        }
        draft.steps.push(Change::Put(entry.clone()));
        let record = Record {
            entry,
            asked,
            nf: self.grants.nf(client.nf),
            owner: client.instance,
            began: now,
            seen: (seen, now),
            check: None,
        };
        self.insert(record, known.is_none());
        self.schedule(slot, now);
        Ok(())
    }

    fn remove(
        &mut self,
        draft: &mut Draft,
        client: &Client<'_>,
        target: usize,
        matches: &FlowMatch,
        priority: u16,
    ) -> Result<(), String> {
        let (port, _) = self.clients.resolve(client, &self.grants, target)?;
        let slot = self
            .find(port, matches, priority)
            .ok_or("there is no such entry")?;
        match self.record(slot) {
            Some(record) if *record.nf != *client.nf => Err(format!("`{}` has made that entry", record.nf)),
            _ => {
                self.end(draft, slot, FlowEnd::Removed);
                Ok(())
            }
        }
    }

    /// Says why there is no room for another entry, if there is none. No NF can take what is the others' part.
    fn refuse_full(&self, client: &Client<'_>, port: u16, matches: &FlowMatch) -> Result<(), String> {
        let most = MOST_ENTRIES / self.grants.nfs().max(1);
        if self.grants.entries(client.nf) >= most {
            return Err(format!("the NF has {most} entries, as many as it may have"));
        }
        if matches!(matches, FlowMatch::Filter(_)) {
            let most = MOST_WILDS / self.grants.nfs_of(port).max(1);
            if self.grants.wilds(port, client.nf) >= most {
                return Err(format!(
                    "the NF has {most} entries by filter at the port, as many as it may have"
                ));
            }
        }
        Ok(())
    }

    fn insert(&mut self, record: Record, new: bool) {
        let Entry {
            id,
            slot,
            port,
            priority,
            ref matches,
            ..
        } = *record.entry;
        if new {
            let hash = self.hash(port, matches, priority);
            let (records, hasher) = (&self.records, &self.hasher);
            let rehash = |slot: &u32| match records.get(*slot as usize) {
                Some(Some(record)) => hash_of(
                    hasher,
                    record.entry.port,
                    &record.entry.matches,
                    record.entry.priority,
                ),
                _ => 0,
            };
            self.known.insert_unique(hash, slot, rehash);
            self.by_id.insert(id, slot);
            self.of_nf.entry(record.nf.clone()).or_default().insert(id, slot);
            if let FlowMatch::Filter(_) = matches {
                self.wild.entry(port).or_default().0.insert(slot);
            }
            self.grants.entered(&record.entry);
        }
        let at = slot as usize;
        if self.records.len() <= at {
            self.records.resize_with(at + 1, || None);
        }
        if let Some(former) = self.records[at].replace(record)
            && let Some(Some(record)) = self.records.get(at)
        {
            self.grants.moved(&former.entry, &record.entry);
        }
    }

    /// Takes an entry out.
    fn end(&mut self, draft: &mut Draft, slot: u32, why: FlowEnd) {
        let Some(record) = self.records.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        let Entry {
            id,
            port,
            priority,
            ref matches,
            ..
        } = *record.entry;
        let hash = self.hash(port, matches, priority);
        if let Ok(found) = self.known.find_entry(hash, |known| *known == slot) {
            found.remove();
        }
        self.by_id.remove(&id);
        if let Some(ids) = self.of_nf.get_mut(&record.nf) {
            ids.remove(&id);
        }
        self.free.push(slot);
        self.grants.left(&record.entry);
        if let FlowMatch::Filter(_) = matches {
            draft.wild.insert(port);
            self.wild.entry(port).or_default().0.remove(&slot);
        }
        draft.steps.push(Change::Remove(record.entry.clone()));
        draft.ended.push((record, why));
    }

    /// Ends the entries that the present program does not permit. Gives how many, and what is to be sent to the workers.
    pub(crate) fn end_unpermitted(&mut self) -> Option<(usize, Arc<Changes>)> {
        let over = self.slots(|record| !self.grants.is_permitted(&record.entry));
        (!over.is_empty()).then(|| (over.len(), self.end_all(over, FlowEnd::NotPermitted, None)))
    }

    /// Ends the entries of a service that has no instance left, except for those that are to be kept.
    pub(crate) fn end_service(&mut self, nf: &str) -> Option<Arc<Changes>> {
        let over = self.slots(|record| *record.nf == *nf && !record.asked.keep);
        (!over.is_empty()).then(|| self.end_all(over, FlowEnd::ServiceEnded, None))
    }

    /// Ends entries for an operator, who is told when that is done.
    pub(crate) fn delete(&mut self, which: &wire::WhichFlows, reply: oneshot::Sender<u64>) -> Arc<Changes> {
        let over = self.slots(|record| self.is_of(record, which));
        self.end_all(over, FlowEnd::Removed, Some(reply))
    }

    fn slots(&self, of: impl Fn(&Record) -> bool) -> Vec<u32> {
        let slots = self.by_id.values().copied();
        slots.filter(|&slot| self.record(slot).is_some_and(&of)).collect()
    }

    fn end_all(
        &mut self,
        slots: Vec<u32>,
        why: FlowEnd,
        reply: Option<oneshot::Sender<u64>>,
    ) -> Arc<Changes> {
        let mut draft = Draft::default();
        for slot in slots {
            self.end(&mut draft, slot, why);
        }
        self.finish_draft(draft, None, reply)
    }

    fn finish_draft(
        &mut self,
        draft: Draft,
        asked: Option<Asked>,
        reply: Option<oneshot::Sender<u64>>,
    ) -> Arc<Changes> {
        self.last_number += 1;
        let number = self.last_number;
        let began = Instant::now();
        let wilds: Vec<_> = draft.wild.iter().map(|&port| (port, self.index(port))).collect();
        let took = began.elapsed();
        self.index_from = self.index_from.max(Instant::now() + took * PARTS);
        let asked = asked.map(|asked| Asked { index: took, ..asked });
        self.batches.push_back(Batch {
            number,
            asked,
            ended: draft.ended,
            reply,
        });
        Arc::new(Changes {
            number,
            steps: draft.steps,
            wilds,
        })
    }

    /// Makes the index over a port's entries by filter anew.
    fn index(&mut self, port: u16) -> Arc<Wilds> {
        let slots = self.wild.get(&port).into_iter().flat_map(|(slots, _)| slots);
        let records = slots.filter_map(|&slot| self.record(slot));
        let wilds = Arc::new(Wilds::new(records.map(|record| record.entry.clone()).collect()));
        self.wild.entry(port).or_default().1 = wilds.clone();
        wilds
    }

    fn record(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)?.as_ref()
    }

    fn find(&self, port: u16, matches: &FlowMatch, priority: u16) -> Option<u32> {
        let is_it = |slot: &u32| {
            self.record(*slot).is_some_and(|record| {
                let entry = &record.entry;
                (entry.port, entry.priority) == (port, priority) && entry.matches == *matches
            })
        };
        self.known
            .find(self.hash(port, matches, priority), is_it)
            .copied()
    }

    fn hash(&self, port: u16, matches: &FlowMatch, priority: u16) -> u64 {
        hash_of(&self.hasher, port, matches, priority)
    }
}

/// An instance may send what `nflib` does not.
fn refuse_long(matches: &FlowMatch) -> Result<(), String> {
    match matches {
        FlowMatch::Filter(filter) if filter.to_string().len() > LONGEST_FILTER => {
            Err(FlowsError::TooLong.to_string())
        }
        _ => Ok(()),
    }
}

fn hash_of(hasher: &DefaultHashBuilder, port: u16, matches: &FlowMatch, priority: u16) -> u64 {
    hasher.hash_one((port, matches, priority))
}
