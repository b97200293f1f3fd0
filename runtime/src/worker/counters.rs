//! A worker's counters: written by it alone, read by the control thread at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use onvm_api::Reason;

use crate::generation::add;

#[derive(Debug, Default)]
pub struct PortCounters {
    pub rx_packets: AtomicU64,
    pub rx_bytes: AtomicU64,
    pub tx_packets: AtomicU64,
    pub tx_bytes: AtomicU64,
    /// Packets dropped before they were on a chain, by reason.
    pub dropped: [AtomicU64; Reason::COUNT],
    /// The source has been read to its end.
    pub done: AtomicBool,
}

#[derive(Debug, Default)]
pub struct InstanceCounters {
    /// Handed to the instance.
    pub rx_packets: AtomicU64,
    /// Handed back by it; not those that were refused.
    pub tx_packets: AtomicU64,
    /// Its verdicts `drop`, and what was lost by its ring or with it.
    pub dropped: AtomicU64,
    /// Of these, the packets that its ring or its share had no room for.
    pub turned_away: AtomicU64,
    /// Verdicts that the bundle does not permit; the packet followed the chain.
    pub overruled: AtomicU64,
    /// Packets that it made.
    pub generated: AtomicU64,
    /// Descriptors of buffers that the instance did not hold.
    pub refused: AtomicU64,
    /// Descriptors that waited in the ring to the instance when last looked at.
    pub ring_used: AtomicU64,
    /// Of one that is to go: groups of live flows that it still has, and 1; 0 as long as that is not known.
    pub left: AtomicU64,
}

impl PortCounters {
    /// Counts packets that the port dropped at receipt, from [`RxBurst::gone`](crate::dpdk::RxBurst::gone) before and now; gives how many.
    pub(crate) fn count_gone(&self, before: [u64; 3], now: [u64; 3]) -> u64 {
        // One by one: as a whole they would be compared by wider loads than the stores just made, which stall the processor.
        if before[0] == now[0] && before[1] == now[1] && before[2] == now[2] {
            return 0;
        }
        let reasons = [Reason::TooLong, Reason::BufferExhausted, Reason::Malformed];
        let mut all = 0;
        for ((reason, before), now) in reasons.into_iter().zip(before).zip(now) {
            add(&self.dropped[reason as usize], now - before);
            all += now - before;
        }
        add(&self.rx_packets, all);
        all
    }
}

impl InstanceCounters {
    /// For a slot that goes to another instance.
    pub(super) fn reset(&self) {
        let Self {
            rx_packets,
            tx_packets,
            dropped,
            turned_away,
            overruled,
            generated,
            refused,
            ring_used,
            left,
        } = self;
        for counter in [
            rx_packets,
            tx_packets,
            dropped,
            turned_away,
            overruled,
            generated,
            refused,
            ring_used,
            left,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
pub struct WorkerCounters {
    /// By port id.
    pub ports: Vec<PortCounters>,
    /// By instance slot.
    pub instances: Vec<InstanceCounters>,
    pub in_flight: AtomicU64,
    /// Packets that instances made, also those that are gone.
    pub generated: AtomicU64,
}

impl WorkerCounters {
    pub fn new(ports: usize, instances: usize) -> Self {
        Self {
            ports: std::iter::repeat_with(PortCounters::default)
                .take(ports)
                .collect(),
            instances: std::iter::repeat_with(InstanceCounters::default)
                .take(instances)
                .collect(),
            in_flight: AtomicU64::new(0),
            generated: AtomicU64::new(0),
        }
    }
}
