//! Packets that go from one security domain to another.
//!
//! NFs of different domains share no packet file, so that such a packet is copied: its bytes, and nothing else of its buffer, go into a
//! buffer of the domain that it goes to, whose ledger entry takes over all that the former one said, and the former buffer is freed.
//! What a buffer holds besides its packet was left there by packets of the same domain. There are never more copies in a round than
//! packets taken in it. Ports send from any domain: nobody but the device reads what is sent.

use std::sync::Arc;

use onvm_api::Reason;

use super::{
    BURST, Worker,
    forward::Forward,
    ledger::{Entry, Owner, Tag, place},
    packets::Packets,
    route::{Route, arrived},
};
use crate::{
    dpdk::{PacketPool, RxDesc, TxDesc},
    generation::add,
};

/// The packet pools of all domains.
#[derive(Debug)]
pub(super) struct Domains {
    /// That of the first domain, which sends and frees the buffers of all.
    any: Arc<PacketPool>,
    /// By number.
    pools: Vec<Arc<PacketPool>>,
    /// There are several.
    pub(super) several: bool,
}

impl Domains {
    pub(super) fn new(pools: Vec<Arc<PacketPool>>) -> Self {
        Self {
            any: pools[0].clone(),
            several: pools.len() > 1,
            pools,
        }
    }

    #[inline(always)]
    pub(super) fn any(&self) -> &PacketPool {
        &self.any
    }

    /// The number of the domain that a buffer belongs to.
    #[inline(always)]
    pub(super) fn of(&self, buffer: u32) -> u8 {
        self.any.number_of(buffer) as u8
    }

    pub(super) fn pool(&self, domain: u8) -> Option<&PacketPool> {
        self.pools.get(usize::from(domain)).map(Arc::as_ref)
    }

    /// Entries that a ledger has for them.
    pub(super) fn indices(&self) -> u32 {
        let ends = self.pools.iter().map(|pool| pool.first() + pool.count());
        ends.max().unwrap_or(0)
    }
}

impl Worker {
    /// Knows another domain from now on.
    pub(super) fn add_domain(&mut self, pool: Arc<PacketPool>) {
        let domains = &mut self.forward.domains;
        domains.pools.push(pool);
        domains.several = domains.pools.len() > 1;
        let indices = domains.indices();
        self.packets.ledger.grow(indices);
        self.watch.grow(indices as usize);
    }
}

impl Forward {
    /// The domain of the packets that an instance is given.
    #[inline(always)]
    pub(super) fn domain_of(&self, instance: u16) -> u8 {
        let link = self.links[usize::from(instance)].as_ref();
        link.map_or(0, |link| link.domain)
    }

    /// Brings a packet that the worker holds into an instance's domain; gives its buffer there, or none if there is no free one: then
    /// the packet has been dropped.
    #[cold]
    pub(super) fn bring(&mut self, packets: &mut Packets, buffer: u32, instance: u16) -> Option<u32> {
        let entry = *packets.ledger.entry(buffer);
        let (off, len) = entry.extent();
        let from = [TxDesc {
            index: buffer,
            off,
            len,
        }];
        let mut to = [RxDesc::default()];
        let domain = self.domain_of(instance);
        if self.copy(domain, &from, &mut to) == 0 {
            self.discard(packets, buffer, Reason::BufferExhausted);
            return None;
        }
        let [RxDesc { index, off, len, .. }] = to;
        *packets.ledger.entry(index) = Entry {
            place: place(off, len),
            ..entry
        };
        self.leave_behind(packets, entry.tag, buffer, index);
        self.count_crossings(packets, entry.tag, 1);
        Some(index)
    }

    /// Copies packets into a domain, as far as it has free buffers; gives how many.
    fn copy(&self, domain: u8, from: &[TxDesc], to: &mut [RxDesc]) -> usize {
        self.domains
            .pool(domain)
            .map_or(0, |pool| pool.copy_burst(from, to))
    }

    /// Frees the buffer of a packet, which is in another one now.
    fn leave_behind(&mut self, packets: &mut Packets, tag: Tag, from: u32, to: u32) {
        if self.stamped[usize::from(tag.port())] {
            let stamp = self.stamps.get(from);
            self.stamps.set(to, stamp);
        }
        packets.ledger.give(from, Owner::POOL);
        self.release(from);
    }

    /// Counts them at the hop that they go to.
    fn count_crossings(&self, packets: &Packets, tag: Tag, crossings: u64) {
        if let Some(live) = &packets.generations.live[usize::from(tag.generation())] {
            let counted = &live.tables.counters[self.worker].crossings;
            add(&counted[usize::from(tag.hop())], crossings);
        }
    }

    /// Hands packets that go on together, of which the instance that had them handed back `taken`, on to one of another domain, as far
    /// as they fit into the burst under way and into the domain.
    #[inline(never)]
    pub(super) fn hand_across<const WRITES: bool>(
        &mut self,
        packets: &mut Packets,
        to: u16,
        taken: &[[u64; 2]],
    ) -> usize {
        let Some(link) = self.links[usize::from(to)].as_mut().filter(|l| !l.faulty) else {
            return 0;
        };
        let (domain, most) = (link.domain, link.room().len().min(taken.len()));
        let (look, onward, run) = (
            self.batch.look(&self.file),
            self.batch.onward,
            self.batch.route.run,
        );
        let (mut from, mut entries, mut n) = ([TxDesc::default(); BURST], [Entry::FREE; BURST], 0);
        for words in &taken[..most] {
            let Some((index, entry)) = look.at::<WRITES>(packets.ledger.all(), *words) else {
                break;
            };
            // Its holder has it no more: one that is named twice is taken once.
            entry.tag = onward.with_owner(Owner::WORKER);
            let (off, len) = entry.extent();
            (from[n], entries[n]) = (TxDesc { index, off, len }, *entry);
            n += 1;
        }
        let mut copies = [RxDesc::default(); BURST];
        let copied = self.copy(domain, &from[..n], &mut copies);
        for packet in &from[copied..n] {
            // Each of them is looked at by itself, and dropped there.
            packets.ledger.entry(packet.index).tag = look.tag;
        }
        for ((entry, from), copy) in entries.iter().zip(&from).zip(&copies).take(copied) {
            let entry = Entry {
                tag: onward,
                hash: entry.hash,
                place: place(copy.off, copy.len),
            };
            self.put_across(packets, entry, to, [from.index, copy.index], run);
        }
        self.count_crossings(packets, onward, copied as u64);
        copied
    }

    /// The same with packets that have just come in.
    #[inline(never)]
    pub(super) fn start_across(
        &mut self,
        packets: &mut Packets,
        route: &Route,
        tag: Tag,
        to: u16,
        burst: &[RxDesc],
    ) -> usize {
        let Some(link) = self.links[usize::from(to)].as_mut().filter(|l| !l.faulty) else {
            return 0;
        };
        let (domain, most) = (link.domain, link.room().len().min(burst.len()));
        let onward = self.started(tag, to);
        let mut from = [TxDesc::default(); BURST];
        for (from, packet) in from.iter_mut().zip(&burst[..most]) {
            let RxDesc { index, off, len, .. } = *packet;
            *from = TxDesc { index, off, len };
        }
        let mut copies = [RxDesc::default(); BURST];
        let copied = self.copy(domain, &from[..most], &mut copies);
        for (packet, copy) in burst.iter().zip(&copies).take(copied) {
            let entry = Entry {
                place: place(copy.off, copy.len),
                ..arrived(packet, onward)
            };
            self.put_across(packets, entry, to, [packet.index, copy.index], route.run);
        }
        self.count_crossings(packets, onward, copied as u64);
        copied
    }

    /// Adds a packet that has been copied, from one buffer to another, to the burst under way.
    fn put_across(&mut self, packets: &mut Packets, entry: Entry, to: u16, [from, copy]: [u32; 2], run: u64) {
        *packets.ledger.entry(copy) = entry;
        self.leave_behind(packets, entry.tag, from, copy);
        let flags = self.flags[usize::from(entry.tag.port())];
        if let Some(link) = self.links[usize::from(to)].as_mut()
            && link.stage(entry.descriptor(copy, flags, run))
        {
            self.push(packets, to);
        }
    }
}
