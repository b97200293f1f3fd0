//! A receiver's handing over under loom: every interleaving and every reordering that the memory model allows.

use std::sync::atomic::Ordering;

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
    thread,
};
use nflib::ring::{Consumer, Producer, RingWords, Word};

use super::handoff::{Giver, HandoffWords, Taker};
use crate::{
    capture::{Stamp, Stamps},
    dpdk::{RxBurst, RxDesc},
};

/// For one packet.
const SLOTS: usize = 2;
/// Packets that are given.
const ALL: u32 = 2;

#[derive(Debug)]
struct Index(AtomicU32);
#[derive(Debug)]
struct Half(AtomicU64);

impl Word<u32> for Index {
    fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }
    fn store(&self, value: u32, order: Ordering) {
        self.0.store(value, order);
    }
}

impl Word<u64> for Half {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }
}

#[derive(Debug)]
struct Memory {
    head: Index,
    tail: Index,
    slots: Vec<[Half; 2]>,
    ended: Index,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Memory>);

impl RingWords for Shared {
    type Index = Index;
    type Half = Half;
    fn head(&self) -> &Index {
        &self.0.head
    }
    fn tail(&self) -> &Index {
        &self.0.tail
    }
    fn slots(&self) -> &[[Half; 2]] {
        &self.0.slots
    }
}

impl HandoffWords for Shared {
    fn ended(&self) -> &Index {
        &self.0.ended
    }
}

fn handoff() -> (Giver<Shared>, Taker<Shared>) {
    let index = || Index(AtomicU32::new(0));
    let half = || Half(AtomicU64::new(0));
    let shared = Shared(Arc::new(Memory {
        head: index(),
        tail: index(),
        slots: (0..SLOTS).map(|_| [half(), half()]).collect(),
        ended: index(),
    }));
    (Giver(Producer::new(shared.clone())), Taker(Consumer::new(shared)))
}

fn packet(index: u32) -> (RxDesc, Stamp) {
    let stamp = Stamp {
        time: Some(u64::from(index) + 1),
        cut: index,
    };
    (RxDesc::hashed(index, 128, 60, !index), stamp)
}

/// Gives all and ends; what finds no room is offered again `patiently`, or refused.
fn give(mut giver: Giver<Shared>, patiently: bool) -> Vec<u32> {
    let mut given = Vec::new();
    for index in 0..ALL {
        loop {
            match giver.give(&[packet(index)]) {
                1 => given.push(index),
                _ if patiently => {
                    thread::yield_now();
                    continue;
                }
                _ => {}
            }
            break;
        }
    }
    given
}

/// Takes until nothing comes any more.
fn take(mut taker: Taker<Shared>) -> Vec<u32> {
    let (mut burst, mut stamps, mut taken) = (RxBurst::new(32), Stamps::default(), Vec::new());
    while !taker.has_ended() {
        burst.clear();
        if taker.take(&mut burst, Some(&mut stamps)) == 0 {
            thread::yield_now();
        }
        for desc in burst.packets() {
            assert_eq!((*desc, stamps.get(desc.index)), packet(desc.index), "whole");
            taken.push(desc.index);
        }
    }
    taken
}

/// The end is never seen before the last packet, and a full ring takes no part of one.
#[test]
fn what_is_given_is_taken_whole_once_and_in_order_before_the_end() {
    for patiently in [true, false] {
        let mut model = loom::model::Builder::new();
        // Of all orders, those in which no thread is interrupted more often: the others take minutes.
        model.preemption_bound = Some(3);
        model.check(move || {
            let (giver, taker) = handoff();
            let receiver = thread::spawn(move || give(giver, patiently));
            let taken = take(taker);
            assert_eq!(taken, receiver.join().unwrap());
            assert!(!patiently || taken == [0, 1]);
        });
    }
}
