//! Handing packets from a receiver to a worker: `nflib`'s ring between two threads of this process, which trust each other.
//!
//! Like the ring's, the words are generic, so that the same code runs on loom's atomics (`model`).

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use nflib::ring::{Consumer, Producer, RingWords, Word};

use crate::{
    capture::{Stamp, Stamps},
    dpdk::{MAX_BURST, RxBurst, RxDesc},
};

/// Packets that one ring holds.
const CAPACITY: u32 = 256;
/// Slots of the ring for a packet: where it is, and what its capture says of it.
const SLOTS: usize = 2;

/// An index on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU32);

#[derive(Debug)]
struct Shared {
    head: Line,
    tail: Line,
    slots: Box<[[AtomicU64; 2]]>,
    /// Not zero: nothing is added any more.
    ended: AtomicU32,
}

/// The words that both ends share.
pub trait HandoffWords: RingWords {
    /// Not zero: nothing is added any more.
    fn ended(&self) -> &Self::Index;
}

/// Those in the memory of this process.
#[derive(Debug)]
pub struct Words(Arc<Shared>);

impl RingWords for Words {
    type Index = AtomicU32;
    type Half = AtomicU64;

    fn head(&self) -> &AtomicU32 {
        &self.0.head.0
    }

    fn tail(&self) -> &AtomicU32 {
        &self.0.tail.0
    }

    fn slots(&self) -> &[[AtomicU64; 2]] {
        &self.0.slots
    }
}

impl HandoffWords for Words {
    fn ended(&self) -> &AtomicU32 {
        &self.0.ended
    }
}

/// The receiver's end.
#[derive(Debug)]
pub struct Giver<W: HandoffWords = Words>(pub(super) Producer<W>);

/// The worker's end.
#[derive(Debug)]
pub struct Taker<W: HandoffWords = Words>(pub(super) Consumer<W>);

/// A ring from a receiver to a worker.
pub fn handoff() -> (Giver, Taker) {
    let slots = CAPACITY as usize * SLOTS;
    let shared = Arc::new(Shared {
        head: Line::default(),
        tail: Line::default(),
        slots: (0..slots).map(|_| Default::default()).collect(),
        ended: AtomicU32::new(0),
    });
    (
        Giver(Producer::new(Words(shared.clone()))),
        Taker(Consumer::new(Words(shared))),
    )
}

impl<W: HandoffWords> Giver<W> {
    /// Packets that it has room for.
    pub fn room(&mut self) -> usize {
        // Both ends are this process's, so that the indices are sound.
        let slots = self.0.room(self.0.capacity()).unwrap_or(0);
        slots as usize / SLOTS
    }

    /// It has taken all that it was given.
    pub fn is_idle(&mut self) -> bool {
        self.room() == self.0.capacity() as usize / SLOTS
    }

    /// Hands on as many as there is room for; gives how many.
    pub fn give(&mut self, packets: &[(RxDesc, Stamp)]) -> usize {
        let mut words = [[0; 2]; SLOTS * MAX_BURST];
        let mut given = 0;
        for part in packets.chunks(MAX_BURST) {
            let fits = part.len().min(self.room());
            for (words, packet) in words.chunks_exact_mut(SLOTS).zip(&part[..fits]) {
                words.copy_from_slice(&packed(packet));
            }
            given += self.0.push_words(&words[..SLOTS * fits]).unwrap_or(0) / SLOTS;
            if fits < part.len() {
                break;
            }
        }
        given
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        // Release: a reader that sees it sees everything given before.
        self.0.words().ended().store(1, Ordering::Release);
    }
}

/// One that is gone, as its receiver ended or failed, gives nothing more.
impl<W: HandoffWords> Drop for Giver<W> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<W: HandoffWords> Taker<W> {
    /// Takes what has been handed on, a burst at most; gives how many packets.
    pub fn take(&mut self, burst: &mut RxBurst, mut stamps: Option<&mut Stamps>) -> usize {
        let mut words = [[0; 2]; SLOTS * MAX_BURST];
        let most = SLOTS * burst.left();
        let n = self.0.pop_words(&mut words[..most]).unwrap_or(0);
        for words in words[..n].chunks_exact(SLOTS) {
            let (packet, stamp) = unpacked([words[0], words[1]]);
            burst.push_desc(packet);
            if let Some(stamps) = &mut stamps {
                stamps.set(packet.index, stamp);
            }
        }
        n / SLOTS
    }

    /// All has been taken, and nothing comes any more.
    pub fn has_ended(&mut self) -> bool {
        // In this order: what was given before the end is seen by the second look.
        self.0.words().ended().load(Ordering::Acquire) != 0 && self.0.available() == Ok(0)
    }
}

fn packed((packet, stamp): &(RxDesc, Stamp)) -> [[u64; 2]; SLOTS] {
    // A time of zero is that of the sending, as none is; no capture was taken in that nanosecond.
    [packet.to_words(), [stamp.time.unwrap_or(0), u64::from(stamp.cut)]]
}

fn unpacked([packet, [time, cut]]: [[u64; 2]; SLOTS]) -> (RxDesc, Stamp) {
    let stamp = Stamp {
        time: (time != 0).then_some(time),
        cut: cut as u32,
    };
    (RxDesc::from_words(packet), stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(index: u32) -> (RxDesc, Stamp) {
        let stamp = Stamp {
            time: Some(u64::from(index) + 1),
            cut: index % 7,
        };
        (RxDesc::hashed(index, 128, 60, index.wrapping_mul(77)), stamp)
    }

    #[test]
    fn what_is_given_is_taken_in_order_and_the_end_is_seen_after_the_last() {
        const ALL: u32 = 100_000;
        let (mut giver, mut taker) = handoff();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut next = 0;
                while next < ALL {
                    let burst: Vec<_> = (next..ALL.min(next + 50)).map(packet).collect();
                    next += giver.give(&burst) as u32;
                }
            });
            let (mut burst, mut stamps, mut next) = (RxBurst::new(32), Stamps::default(), 0);
            while !taker.has_ended() {
                burst.clear();
                taker.take(&mut burst, Some(&mut stamps));
                for taken in burst.packets() {
                    assert_eq!((*taken, stamps.get(taken.index)), packet(next));
                    next += 1;
                }
            }
            assert_eq!(next, ALL);
        });
    }

    #[test]
    fn a_full_ring_takes_no_part_of_a_packet() {
        let (mut giver, mut taker) = handoff();
        let all: Vec<_> = (0..CAPACITY + 10).map(packet).collect();
        assert_eq!(
            (giver.room(), giver.give(&all), giver.room()),
            (CAPACITY as usize, CAPACITY as usize, 0)
        );
        let mut burst = RxBurst::new(5);
        assert_eq!((taker.take(&mut burst, None), giver.room()), (5, 5));
    }
}
