//! A worker's end of the rings to one instance.

use nflib::{
    Region,
    bell::Bell,
    ring::{Consumer, Corrupt, Producer},
};

use super::{BURST, blanks::Blanks, pressure};

/// Bursts pushed before the NF's bell is looked at, while the worker has more to do: a look costs a full fence. A worker
/// without work looks at once.
const BURSTS_PER_BELL: u32 = 4;

/// The region type keeps the mapping; each end is taken once, by the worker that holds this value.
#[derive(Debug)]
pub struct Link {
    outgoing: Producer<nflib::ShmRing>,
    incoming: Consumer<nflib::ShmRing>,
    nf_bell: Bell,
    pub(super) worker_bell: Bell,
    /// As words, since a struct that is written by its fields and read whole stalls the processor.
    staged: [[u64; 2]; BURST],
    count: usize,
    /// Bursts pushed since the NF's bell was last looked at.
    unannounced: u32,
    /// Packets that the instance was given and has not handed back. It is given none above what a ring holds, so that what it hands
    /// back finds room, and that one which hands nothing back does not take all buffers. Below 0 while packets are in the burst
    /// under way that it has handed back already, by a guess: with these the sum is right at any time.
    held: i32,
    /// From so many held on the instance is under pressure.
    high: u32,
    /// Descriptors that are not of packets that it held, in the burst that was taken from it last: those refused, and packets that
    /// it made.
    pub(super) not_held: u64,
    /// Of an instance that makes packets. Apart, since others need not carry it through the cache.
    pub(super) blanks: Option<Box<Blanks>>,
    /// The number of the security domain whose packets it is given.
    pub(super) domain: u8,
    /// The instance may change packets, so the place and length that it hands back count.
    pub(super) writes: bool,
    /// The instance broke the protocol and is not served any more.
    pub(super) faulty: bool,
}

impl Link {
    pub fn new(region: &Region, worker: u32, writes: bool, domain: u8) -> Self {
        let outgoing = region.to_nf_producer(worker);
        Self {
            high: pressure::high(outgoing.capacity()),
            outgoing,
            incoming: region.from_nf_consumer(worker),
            nf_bell: region.nf_bell(),
            worker_bell: region.worker_bell(worker),
            staged: [[0; 2]; BURST],
            count: 0,
            unannounced: 0,
            held: 0,
            not_held: 0,
            blanks: Blanks::new(region, worker),
            domain,
            writes,
            faulty: false,
        }
    }

    /// Adds a packet to the burst under way; true when the burst is full and must be pushed.
    #[inline(always)]
    pub(super) fn stage(&mut self, descriptor: [u64; 2]) -> bool {
        self.staged[self.count] = descriptor;
        self.count += 1;
        self.count == BURST
    }

    /// Where more packets of the burst under way go. It is full when there is no room left, and must be pushed.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [[u64; 2]] {
        &mut self.staged[self.count..]
    }

    /// So many have been put where there was room.
    #[inline(always)]
    pub(super) fn staged_more(&mut self, packets: usize) {
        self.count = (self.count + packets).min(BURST);
    }

    /// Packets in the burst under way.
    #[inline(always)]
    pub(super) fn staged(&self) -> usize {
        self.count
    }

    /// Packets that the instance was given and has not handed back.
    #[inline(always)]
    pub(super) fn held(&self) -> u32 {
        self.held.max(0) as u32
    }

    #[inline(always)]
    pub(super) fn high(&self) -> u32 {
        self.high
    }

    /// Takes packets that are not to be kept out of the burst under way; gives their buffers and how many these are.
    pub(super) fn sort_out(&mut self, mut keep: impl FnMut(u32) -> bool) -> ([u32; BURST], usize) {
        let (mut out, mut n, mut kept) = ([0; BURST], 0, 0);
        for i in 0..self.count {
            let buffer = self.staged[i][0] as u32;
            if keep(buffer) {
                self.staged[kept] = self.staged[i];
                kept += 1;
            } else {
                out[n] = buffer;
                n += 1;
            }
        }
        self.count = kept;
        (out, n)
    }

    /// Packets that a ring holds.
    pub(super) fn capacity(&self) -> usize {
        self.outgoing.capacity() as usize
    }

    /// The instance does not hold so many packets any more.
    #[inline(always)]
    pub(super) fn let_go(&mut self, packets: u32) {
        self.held -= packets as i32;
    }

    /// The instance handed back a packet that it had not been given and will not be.
    #[cold]
    pub(super) fn never_held(&mut self) {
        // Also above what a ring holds: one that guesses while its ring is full was given one more in its place, and would be given
        // another each time.
        self.held += 1;
    }

    /// Pushes the burst under way; returns how many packets went, how many the instance holds then, and those that found no room.
    #[inline(always)]
    pub(super) fn push(&mut self) -> (usize, u32, &[[u64; 2]], Result<(), Corrupt>) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return (0, self.held(), &[], Ok(()));
        }
        let room = self.outgoing.capacity().saturating_sub(self.held());
        let (pushed, outcome) = match self.outgoing.push_words(&self.staged[..count.min(room as usize)]) {
            Ok(pushed) => (pushed, Ok(())),
            Err(corrupt) => (0, Err(corrupt)),
        };
        if pushed > 0 {
            self.held += pushed as i32;
            self.unannounced += 1;
            if self.unannounced >= BURSTS_PER_BELL {
                self.announce();
            }
        }
        (pushed, self.held(), &self.staged[pushed..count], outcome)
    }

    /// Wakes the NF if it sleeps and there is something for it.
    #[inline(always)]
    pub(super) fn announce(&mut self) {
        if self.unannounced > 0 {
            self.unannounced = 0;
            self.nf_bell.ring();
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self, into: &mut [[u64; 2]; BURST]) -> Result<usize, Corrupt> {
        self.incoming.pop_words(into)
    }

    /// Asks for what the instance's core wrote ahead of use: first for how much it is, then for the burst that [`Self::pop`] takes.
    #[inline(always)]
    pub(super) fn ask(&self) {
        self.incoming.ask();
    }

    #[inline(always)]
    pub(super) fn ask_for_burst(&mut self) {
        self.incoming.ask_for_slots(BURST as u32);
    }

    /// Whether something waits to be taken back; a damaged ring counts as something, so that it is looked at.
    pub(super) fn has_returns(&mut self) -> bool {
        self.incoming.available() != Ok(0)
    }

    /// Descriptors waiting in the ring to the instance.
    pub(super) fn backlog(&mut self) -> Result<u32, Corrupt> {
        self.outgoing.used()
    }
}

#[cfg(test)]
mod tests {
    use nflib::layout::Layout;

    use super::*;

    /// One that hands back what is still on its way to it, with its ring full, is not given more and more.
    #[test]
    fn an_instance_that_guesses_holds_no_more_than_a_ring() {
        const RING: u32 = 64;
        let (_fd, region) = Region::create("guesses", Layout::of_instance(1, RING)).unwrap();
        let (mut link, mut nf) = (Link::new(&region, 0, false, 0), region.to_nf_consumer(0));
        let mut given = 0;
        let mut push = |link: &mut Link, packets: usize| {
            for _ in 0..packets {
                link.stage([0; 2]);
            }
            let (pushed, _, _, outcome) = link.push();
            outcome.unwrap();
            given += pushed;
            // It takes all from its ring, and keeps it.
            let mut taken = [[0; 2]; BURST];
            while nf.pop_words(&mut taken).unwrap() > 0 {}
            given
        };
        assert_eq!(
            (push(&mut link, 31), push(&mut link, 31), push(&mut link, 2)),
            (31, 62, 64)
        );
        for _ in 0..100 {
            // A guess of the second of two, which is then left over.
            link.let_go(1);
            let given = push(&mut link, 2);
            link.never_held();
            assert!(
                given <= RING as usize + 1 && link.held() as usize >= given,
                "{given}"
            );
        }
    }
}
