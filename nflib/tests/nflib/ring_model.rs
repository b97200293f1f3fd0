//! The ring and the doorbell under loom: every interleaving and every reordering that the memory model allows.

use std::sync::atomic::Ordering;

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, fence},
    },
    thread,
};
use nflib::{
    Descriptor,
    ring::{Consumer, Corrupt, Producer, RingWords, Word},
};

const CAPACITY: usize = 2;

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
}

#[derive(Debug, Clone)]
struct Shared(Arc<Memory>);

impl Shared {
    /// A ring whose indices start at `at`, so that their wrap is met as well.
    fn new(at: u32) -> Self {
        let slots = (0..CAPACITY)
            .map(|_| [Half(AtomicU64::new(0)), Half(AtomicU64::new(0))])
            .collect();
        Self(Arc::new(Memory {
            head: Index(AtomicU32::new(at)),
            tail: Index(AtomicU32::new(at)),
            slots,
        }))
    }
}

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

fn descriptor(n: u32) -> Descriptor {
    Descriptor {
        buffer: n,
        hash: !n,
        length: n as u16,
        ..Descriptor::default()
    }
}

/// Nothing is lost, doubled, torn or reordered, over a full ring and a wrap of the indices.
#[test]
fn descriptors_arrive_once_whole_and_in_order() {
    loom::model(|| {
        let shared = Shared::new(u32::MAX - 1);
        let mut producer = Producer::new(shared.clone());
        let mut consumer = Consumer::new(shared);
        let sender = thread::spawn(move || {
            let burst = [descriptor(1), descriptor(2), descriptor(3)];
            let mut sent = 0;
            while sent < burst.len() {
                let n = producer.push(&burst[sent..]).unwrap();
                sent += n;
                if n == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut received = Vec::new();
        while received.len() < 3 {
            let mut into = [Descriptor::default(); 2];
            let n = consumer.pop(&mut into).unwrap();
            received.extend_from_slice(&into[..n]);
            if n == 0 {
                thread::yield_now();
            }
        }
        sender.join().unwrap();
        assert_eq!(received, [descriptor(1), descriptor(2), descriptor(3)]);
    });
}

/// A peer that writes any index while the ring is in use is found out or harmless: what is popped never exceeds the
/// capacity, and no index makes either side read outside the slots.
#[test]
fn a_hostile_index_is_reported_not_followed() {
    for hostile in [0, 1, 2, 3, 4, 0x8000_0000, u32::MAX] {
        loom::model(move || {
            let shared = Shared::new(0);
            let mut producer = Producer::new(shared.clone());
            let mut consumer = Consumer::new(shared.clone());
            let vandal = thread::spawn(move || {
                shared.0.head.0.store(hostile, Ordering::Relaxed);
                shared.0.tail.0.store(hostile, Ordering::Relaxed);
            });
            for n in 0..2 {
                match producer.push(&[descriptor(n)]) {
                    Ok(pushed) => assert!(pushed <= 1),
                    Err(Corrupt { found, .. }) => assert_eq!(found, hostile),
                }
                let mut into = [Descriptor::default(); 4];
                match consumer.pop(&mut into) {
                    Ok(popped) => assert!(popped <= CAPACITY),
                    Err(Corrupt { found, .. }) => assert_eq!(found, hostile),
                }
            }
            vandal.join().unwrap();
        });
    }
}

/// The pattern of `nflib::bell`: with both fences, a burst and a sleep never miss each other. (Loom has no futex, so the
/// model checks the decision to sleep: a consumer that sleeps after a push must have been seen by the producer.)
#[test]
fn a_push_and_a_sleep_never_miss_each_other() {
    loom::model(|| {
        let shared = Shared::new(0);
        let asleep = Arc::new(AtomicU32::new(0));
        let mut producer = Producer::new(shared.clone());
        let mut consumer = Consumer::new(shared);
        let bell = asleep.clone();
        let sender = thread::spawn(move || {
            assert_eq!(producer.push(&[descriptor(7)]), Ok(1));
            fence(Ordering::SeqCst);
            bell.load(Ordering::Relaxed) == 1
        });
        asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let sleeps = consumer.available() == Ok(0);
        let woken = sender.join().unwrap();
        assert!(!sleeps || woken, "the consumer sleeps and nobody will wake it");
    });
}
