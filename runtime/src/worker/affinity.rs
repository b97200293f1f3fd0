//! Which instance of a service each flow keeps while instances come and go.
//!
//! Flows are told apart by their hash, in groups of those whose hashes have the same upper bits. A group keeps the instance that it
//! was given as long as that is there and packets of the group come; only one whose packets have stayed away for the idle time is
//! given to an instance anew. So a flow moves when its instance is gone, and never because another one came.

/// The upper bits of a hash that make a group: with 100,000 live flows, two in three new ones have a group of their own.
const BITS: u32 = 18;
/// Not given to an instance.
const NOBODY: u16 = u16::MAX;

#[derive(Debug, Clone, Copy)]
struct Group {
    slot: u16,
    /// The second of its last packet.
    seen: u16,
}

/// The worker's clock: seconds in which it ran, modulo 65536, and how many of them a flow may be silent. A group that is silent for
/// the whole of that keeps its former instance, which does no harm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: u16,
    pub(super) idle: u16,
}

#[derive(Debug)]
pub(super) struct Affinity {
    groups: Box<[Group]>,
}

impl Affinity {
    /// All flows are new.
    pub(super) fn new() -> Self {
        Self::with(Group {
            slot: NOBODY,
            seen: 0,
        })
    }

    /// All flows have been this instance's until now.
    pub(super) fn all_of(slot: u16, clock: Clock) -> Self {
        Self::with(Group {
            slot,
            seen: clock.now,
        })
    }

    fn with(group: Group) -> Self {
        Self {
            groups: vec![group; 1 << BITS].into_boxed_slice(),
        }
    }

    /// The instance of a flow, of which a packet has come; `choose` gives one for a new flow.
    #[inline(always)]
    pub(super) fn keep(
        &mut self,
        hash: u32,
        clock: Clock,
        choose: impl FnOnce() -> Option<u16>,
    ) -> Option<u16> {
        // Other bits than those by which receivers choose a worker, which are the same for all packets here.
        let group = &mut self.groups[(hash.wrapping_mul(0xc2b2_ae35) >> (32 - BITS)) as usize];
        if !group.is_live(clock) {
            group.slot = choose()?;
        }
        group.seen = clock.now;
        Some(group.slot)
    }

    /// The instance is gone: its flows are to be given to others.
    pub(super) fn forget(&mut self, slot: u16) {
        for group in self.groups.iter_mut().filter(|g| g.slot == slot) {
            group.slot = NOBODY;
        }
    }

    /// Groups with live flows of an instance.
    pub(super) fn live(&self, slot: u16, clock: Clock) -> usize {
        let live = |group: &&Group| group.slot == slot && group.is_live(clock);
        self.groups.iter().filter(live).count()
    }
}

impl Group {
    #[inline(always)]
    fn is_live(&self, clock: Clock) -> bool {
        self.slot != NOBODY && clock.now.wrapping_sub(self.seen) <= clock.idle
    }
}
