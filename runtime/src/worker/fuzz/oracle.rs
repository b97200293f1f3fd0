//! What must hold whatever an NF does: each buffer has one owner, each packet is counted, and everything ends.

use std::{collections::HashSet, sync::atomic::Ordering};

use super::{
    super::{
        age::MOST_PERIODS,
        ledger::{Entry, Owner},
        share::Shares,
    },
    BLANKS, Command, Event, Instances, RING, SERVICES, SINKS, SLOTS, SOURCES, Tally, World, makes,
};
use crate::dpdk::{RxBurst, RxQueue};

/// Rounds after which all that waits at the sources has come in: more bursts than there are buffers.
const ROUNDS_TO_THE_END: usize = 300;

impl World<'_> {
    /// What the worker reported.
    pub(super) fn hear(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Faulty { slot, reason } => {
                    let slot = usize::from(slot);
                    assert!(!self.faulty[slot], "slot {slot} is reported once: {reason}");
                    assert!(reason.len() < 200, "{reason}");
                    *self.tally.faulty.entry(reason).or_default() += 1;
                    // It may have been detached since.
                    self.faulty[slot] = self.nfs[slot].is_some();
                }
                Event::Drained { generation, .. } => {
                    assert!(
                        !self.drained.contains(&generation),
                        "generation {generation} went twice"
                    );
                    assert!(
                        generation < self.generations.len() as u64,
                        "the current one stays"
                    );
                    self.drained.push(generation);
                }
                Event::Detached { .. } | Event::Programmed { .. } | Event::IngressClosed => {}
            }
        }
    }

    fn ledger(&self) -> &[Entry] {
        self.worker.packets.ledger.slice(0, usize::MAX)
    }

    pub(super) fn held_by(&self, slot: usize) -> usize {
        let owner = Owner::instance(slot as u16);
        self.ledger().iter().filter(|e| e.tag.owner() == owner).count()
    }

    /// After each step.
    pub(super) fn check(&mut self) {
        self.note_received();
        let held: Vec<Entry> = self
            .ledger()
            .iter()
            .filter(|e| e.tag.owner() != Owner::POOL && !e.tag.owner().is_blank())
            .copied()
            .collect();
        self.check_owners(&held);
        self.check_inside(&held);
        self.check_balance();
        self.check_shares();
    }

    /// What has been received is not on its way any more.
    pub(super) fn note_received(&mut self) {
        for (port, coming) in SOURCES.into_iter().zip(&mut self.coming) {
            let received = self.counters.ports[port].rx_packets.load(Ordering::Relaxed);
            let left = self.bench.sent[port] - received;
            while coming.len() as u64 > left {
                coming.pop_front();
            }
        }
    }

    /// Attached instances that make packets have blanks, as many as their rings hold at most. Gives how many.
    fn check_blanks(&self) -> usize {
        let mut all = 0;
        for slot in 0..SLOTS {
            let owner = Owner::blank(slot as u16);
            let blanks = self.ledger().iter().filter(|e| e.tag.owner() == owner).count();
            let most = match self.nfs[slot].is_some() && makes(slot) && !self.worker.exit {
                true => BLANKS as usize,
                false => 0,
            };
            assert!(blanks <= most, "slot {slot} has {blanks} blanks");
            all += blanks;
        }
        assert_eq!(
            self.ledger().iter().filter(|e| e.tag.owner().is_blank()).count(),
            all
        );
        let inside = self.worker.packets.generations.inside[SOURCES[1]];
        assert!(
            all + inside as usize <= RING as usize,
            "{inside} of the source that waits are inside, and {all} blank"
        );
        all
    }

    /// An instance holds packets and blanks of its own domain alone.
    fn check_domains(&self) {
        for (buffer, entry) in self.ledger().iter().enumerate() {
            let owner = entry.tag.owner();
            for slot in 0..SLOTS as u16 {
                if owner == Owner::instance(slot) || owner == Owner::blank(slot) {
                    let domain = self.worker.forward.domain_of(slot);
                    let of = self.worker.forward.domains.of(buffer as u32);
                    assert_eq!(of, domain, "slot {slot} has buffer {buffer} of another domain");
                }
            }
        }
    }

    fn check_owners(&self, held: &[Entry]) {
        self.check_domains();
        let blanks = self.check_blanks();
        for entry in held {
            let slot = entry.tag.owner().slot().map(usize::from);
            let attached = slot.is_some_and(|s| self.nfs[s].is_some());
            assert!(
                attached,
                "between rounds an attached instance holds it: {entry:?}"
            );
        }
        let coming: usize = self.coming.iter().map(|c| c.len()).sum();
        let waiting = self.sent() - self.read;
        assert_eq!(
            self.bench.in_use(),
            (held.len() + blanks + coming) as u64 + waiting,
            "buffers in use: {} held, {blanks} blank, {coming} coming, {waiting} sent",
            held.len()
        );
    }

    fn check_inside(&self, held: &[Entry]) {
        let generations = &self.worker.packets.generations;
        assert_eq!(generations.in_flight, held.len() as u64, "packets inside");
        for (slot, live) in generations.live.iter().enumerate() {
            let of_it = held
                .iter()
                .filter(|e| usize::from(e.tag.generation()) == slot)
                .count();
            let counted = live.as_ref().map_or(0, |l| l.in_flight);
            assert_eq!(counted, of_it as u64, "inside by generation, slot {slot}");
        }
        for port in SOURCES {
            let of_it = held.iter().filter(|e| usize::from(e.tag.port()) == port).count();
            assert_eq!(
                generations.inside[port] as usize, of_it,
                "inside by port, port {port}"
            );
        }
    }

    fn sent(&self) -> u64 {
        let ports = &self.counters.ports;
        SINKS
            .into_iter()
            .map(|p| ports[p].tx_packets.load(Ordering::Relaxed))
            .sum()
    }

    fn check_balance(&self) {
        let sum = |counters: &[std::sync::atomic::AtomicU64]| -> u64 {
            counters.iter().map(|c| c.load(Ordering::Relaxed)).sum()
        };
        let ports = &self.counters.ports;
        let received: u64 = ports.iter().map(|p| p.rx_packets.load(Ordering::Relaxed)).sum();
        let refused: u64 = ports.iter().map(|p| sum(&p.dropped)).sum();
        let hops = self
            .generations
            .iter()
            .flat_map(|g| &g.counters)
            .flat_map(|c| &c.dropped);
        let dropped: u64 = hops.map(|reasons| sum(reasons)).sum();
        let (sent, inside) = (self.sent(), self.worker.packets.generations.in_flight);
        let hits = self.generations.iter().flat_map(|g| &g.counters[0].hits);
        let by_rules: u64 = hits.map(|rules| sum(rules)).sum();
        // Those that are looked up again count for entries once more.
        let by_entries = self.entries.packets();
        assert!(
            by_rules <= received && by_rules + by_entries >= received,
            "{by_rules} by rules and {by_entries} by entries of {received}"
        );
        let generated = self.counters.generated.load(Ordering::Relaxed);
        assert_eq!(
            received + generated,
            sent + refused + dropped + inside,
            "{sent} sent, {refused} refused, {dropped} dropped, {inside} inside"
        );
    }

    /// An instance is thought to hold what it holds, or more to its own harm; shares are of what is thought.
    fn check_shares(&self) {
        let forward = &self.worker.forward;
        let links = |&slot: &u16| forward.links[usize::from(slot)].as_ref();
        for slot in &forward.active {
            let (thought, holds) = (
                links(slot).map_or(0, |l| l.held()),
                self.held_by(usize::from(*slot)),
            );
            // What is taken from one that is ended, and from all at the end, is not taken off the count.
            let ended = self.faulty[usize::from(*slot)] || self.worker.exit;
            let exact = thought as usize == holds || ended;
            assert!(
                exact && thought as usize >= holds,
                "slot {slot} holds {holds} and is thought to hold {thought}"
            );
        }
        let mut anew = Shares::new(self.bench.pools[0].count() / 2);
        let held = |slot| links(slot).map_or(0, |l| l.held());
        anew.divide(forward.active.iter().map(held));
        for slot in &forward.active {
            let held = held(slot);
            assert_eq!(
                forward.shares.room(held),
                anew.room(held),
                "the share of slot {slot}, which holds {held}"
            );
        }
    }

    /// An instance that has kept a packet too long is to be ended.
    pub(super) fn check_ages(&mut self) {
        self.hear();
        let period = self.worker.watch.period;
        for entry in self.ledger() {
            if let Some(slot) = entry.tag.owner().slot() {
                let overdue = period.wrapping_sub(entry.tag.given()) > MOST_PERIODS;
                assert!(!overdue || self.faulty[usize::from(slot)], "{entry:?}");
            }
        }
    }

    /// The other ends of the ports take what was sent to them.
    pub(super) fn read_sinks(&mut self) {
        let mut read = Vec::new();
        for queue in &mut self.deliver {
            // Those of other domains are copied, or lost where the port's has no free buffer.
            self.read += drain(queue, &mut read);
        }
        let different: HashSet<u32> = read.iter().copied().collect();
        assert_eq!(different.len(), read.len(), "a packet was sent twice");
        let entries = self.ledger();
        for &buffer in &read {
            assert_eq!(
                entries[buffer as usize].tag.owner(),
                Owner::POOL,
                "buffer {buffer} was sent and is held"
            );
        }
        self.read += read.len() as u64;
        self.bench.pools[0].free_burst(&read);
    }

    /// Everything is taken down, in one of the two ways in which that happens; nothing may be left.
    pub(super) fn end(mut self) -> Tally {
        match self.generations.len().is_multiple_of(2) {
            true => self.drain(),
            false => {
                self.commands.push(Command::Exit);
                self.worker.upkeep();
                assert!(self.worker.exit);
            }
        }
        self.hear();
        self.check();
        self.read_sinks();
        self.check();
        assert_eq!(self.worker.packets.generations.in_flight, 0);
        let tally = self.tally();
        // The worker gives its queues back.
        drop(self.worker);
        let mut left = Vec::new();
        for port in SOURCES {
            drain(&mut self.bench.ports[port].rx_queue(0).unwrap(), &mut left);
            self.bench.sent[port] = 0;
        }
        self.bench.pools[0].free_burst(&left);
        assert_eq!(self.bench.in_use(), 0, "buffers are back in the stock");
        tally
    }

    /// Before another instance counts in its place.
    pub(super) fn count_instance(&mut self, slot: usize) {
        let counters = &self.counters.instances[slot];
        self.tally.refused += counters.refused.swap(0, Ordering::Relaxed);
        self.tally.overruled += counters.overruled.swap(0, Ordering::Relaxed);
    }

    fn tally(&mut self) -> Tally {
        self.tally.programmed = self.entries.packets();
        (0..SLOTS).for_each(|slot| self.count_instance(slot));
        let mut tally = std::mem::take(&mut self.tally);
        let crossings = self.generations.iter().flat_map(|g| &g.counters[0].crossings);
        tally.crossings = crossings.map(|counter| counter.load(Ordering::Relaxed)).sum();
        tally.sent = self.sent();
        tally.generated = self.counters.generated.load(Ordering::Relaxed);
        let hops = self.generations.iter().flat_map(|g| &g.counters[0].dropped);
        for reasons in hops.chain(self.counters.ports.iter().map(|p| &p.dropped)) {
            for (sum, counter) in tally.dropped.iter_mut().zip(reasons) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        tally
    }

    /// Without instances, all that comes in leaves or is dropped.
    fn drain(&mut self) {
        for slot in 0..SLOTS {
            self.detach(slot);
        }
        for service in 0..SERVICES {
            self.commands.push(Command::Select {
                service,
                instances: Instances::default(),
            });
        }
        for _ in 0..ROUNDS_TO_THE_END {
            self.worker.upkeep();
            self.round();
            self.read_sinks();
            self.note_received();
            if self.coming.iter().all(|c| c.is_empty()) {
                break;
            }
        }
        self.worker.upkeep();
        assert!(self.coming.iter().all(|c| c.is_empty()), "packets never came in");
        self.hear();
        assert_eq!(
            self.drained.len() + 1,
            self.generations.len(),
            "old generations are gone"
        );
    }
}

/// Gives how many packets were lost by it.
fn drain(queue: &mut RxQueue, into: &mut Vec<u32>) -> u64 {
    let mut burst = RxBurst::new(32);
    loop {
        let lost = burst.foreign;
        if queue.rx_burst(&mut burst) == 0 && burst.foreign == lost {
            return lost;
        }
        into.extend(burst.packets().iter().map(|p| p.index));
    }
}
