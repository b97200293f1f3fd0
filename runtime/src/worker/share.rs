//! How many packets each instance may hold.
//!
//! Instances together may hold a part of the buffers; the rest stays with the ports, so that packets can always come in and
//! leave. Half of the part is divided evenly: an instance's own share, which no other can take from it. The other half is
//! common, and an instance may take of it no more than it leaves there. This is the dynamic threshold of A. Choudhury and
//! E. Hahne ("Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998) over reserved shares: one busy
//! instance gets nearly a ring full, and any number of instances that keep their packets cannot take another's own
//! share.
//!
//! Packets whose source waits for room are exempt, since the wait is there to prevent drops: see
//! [`Credit`](super::credit::Credit) for theirs.

#[derive(Debug)]
pub(super) struct Shares {
    /// Packets that all instances may hold together.
    total: u32,
    /// What each instance may hold whatever the others do.
    own: u32,
    common: u32,
    /// Packets held beyond own shares.
    taken: u32,
}

impl Shares {
    pub(super) fn new(total: u32) -> Self {
        Self {
            total,
            own: total / 2,
            common: total - total / 2,
            taken: 0,
        }
    }

    /// Divides anew among instances that hold so much.
    pub(super) fn divide(&mut self, held: impl ExactSizeIterator<Item = u32>) {
        let instances = held.len().max(1) as u32;
        self.own = (self.total / 2 / instances).max(1);
        self.taken = held.map(|held| held.saturating_sub(self.own)).sum();
    }

    /// Buffers that may be lent to all instances for packets that they make.
    pub(super) fn lendable(&self) -> u32 {
        self.total / 4
    }

    /// Free buffers of which none is lent. Packets made in the names of those that are exempt from shares are so, too: only this keeps
    /// them from taking the buffers that ports receive and send by.
    pub(super) fn kept_free(&self) -> u32 {
        self.total / 2
    }

    /// Packets that an instance which holds so many may be given.
    #[inline(always)]
    pub(super) fn room(&self, held: u32) -> u32 {
        let taken = held.saturating_sub(self.own);
        // As much again as it takes is to be left.
        let common = self.common.saturating_sub(self.taken).saturating_sub(taken) / 2;
        self.own.saturating_sub(held) + common
    }

    /// An instance that held `before` holds `after`.
    #[inline(always)]
    pub(super) fn changed(&mut self, before: u32, after: u32) {
        let beyond = |held: u32| held.saturating_sub(self.own);
        self.taken = (self.taken + beyond(after)).saturating_sub(beyond(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16384 buffers, half of them for instances; a ring holds 4096 descriptors.
    const TOTAL: u32 = 8192;
    const RING: u32 = 4096;

    /// Each instance in turn is given what it may get, in bursts, and hands nothing back.
    fn hoard(shares: &mut Shares, held: &mut [u32]) {
        loop {
            let mut given = 0;
            for held in &mut *held {
                let more = shares.room(*held).min(32).min(RING - *held);
                shares.changed(*held, *held + more);
                *held += more;
                given += more;
            }
            if given == 0 {
                return;
            }
        }
    }

    fn among(instances: usize) -> (Shares, Vec<u32>) {
        let mut shares = Shares::new(TOTAL);
        let held = vec![0; instances];
        shares.divide(held.iter().copied());
        (shares, held)
    }

    #[test]
    fn one_instance_that_is_busy_fills_its_ring() {
        for instances in [1, 2] {
            let (mut shares, mut held) = among(instances);
            hoard(&mut shares, &mut held[..1]);
            assert_eq!(held[0], RING, "of {instances}");
        }
        // In a chain of five, of which one is slower than the others.
        let (mut shares, mut held) = among(5);
        hoard(&mut shares, &mut held[..1]);
        assert!(held[0] > RING / 2, "{held:?}");
    }

    #[test]
    fn whatever_others_keep_an_instance_has_its_own_share() {
        for instances in [2, 5, 20, 100, 1000] {
            let (mut shares, mut held) = among(instances);
            // One after the other, which is worse than all at once.
            for i in 1..instances {
                hoard(&mut shares, &mut held[i..=i]);
            }
            let own = TOTAL / 2 / instances as u32;
            assert!(shares.room(held[0]) >= own.max(1), "{instances}: {held:?}");
            hoard(&mut shares, &mut held[..1]);
            assert!(held.iter().sum::<u32>() <= TOTAL, "{instances}: {held:?}");
        }
    }

    #[test]
    fn what_is_handed_back_is_there_for_others() {
        let (mut shares, mut held) = among(3);
        hoard(&mut shares, &mut held[1..]);
        let before = shares.room(0);
        for held in &mut held[1..] {
            shares.changed(*held, 0);
            *held = 0;
        }
        assert!(shares.room(0) > before);
        assert_eq!(shares.taken, 0);
        // An instance more, or one fewer, changes what each may hold, not what is held.
        held[1] = 3000;
        shares.divide(held.iter().copied());
        assert_eq!(shares.taken, 3000 - TOTAL / 2 / 3);
        shares.divide([3000].into_iter());
        assert_eq!(shares.taken, 0);
    }
}
