//! Choosing the instance of a service by flow hash.

/// Buckets of the table that spreads hashes over instances, as a NIC's indirection table does.
const BUCKETS: usize = 256;

/// The live instances of one service.
#[derive(Debug, Default)]
pub(super) struct Selection {
    instances: Vec<u16>,
    /// Slot by bucket; empty unless there are two instances or more.
    table: Vec<u16>,
    awaited: bool,
}

impl Selection {
    /// Each bucket goes to the instance with the highest score for it (rendezvous hashing: D. Thaler and C. Ravishankar,
    /// "Using Name-Based Mappings to Increase Hit Rates", 1998), so that losing an instance moves its buckets alone.
    pub(super) fn new(instances: Vec<u16>, awaited: bool) -> Self {
        let best = |bucket: usize| {
            instances
                .iter()
                .copied()
                .max_by_key(|&slot| score(bucket as u64, slot))
        };
        let table = if instances.len() > 1 {
            (0..BUCKETS).filter_map(best).collect()
        } else {
            Vec::new()
        };
        Self {
            instances,
            table,
            awaited,
        }
    }

    /// The instance, if there is just one.
    pub(super) fn only(&self) -> Option<u16> {
        match self.instances.as_slice() {
            [slot] => Some(*slot),
            _ => None,
        }
    }

    #[inline(always)]
    pub(super) fn choose(&self, hash: u32) -> Option<u16> {
        match self.table.get((hash.wrapping_mul(0x9e37_79b1) >> 24) as usize) {
            Some(&slot) => Some(slot),
            None => self.instances.first().copied(),
        }
    }

    /// There is no instance, and one is to come.
    pub(super) fn is_starved(&self) -> bool {
        self.awaited && self.instances.is_empty()
    }

    pub(super) fn remove(&mut self, slot: u16) {
        if self.instances.contains(&slot) {
            let rest = self.instances.iter().copied().filter(|&s| s != slot).collect();
            *self = Self::new(rest, self.awaited);
        }
    }
}

/// The finaliser of MurmurHash3 (A. Appleby) over bucket and slot.
fn score(bucket: u64, slot: u16) -> u64 {
    let mut h = bucket << 16 | u64::from(slot);
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(selection: &Selection) -> Vec<Option<u16>> {
        (0..10_000u32)
            .map(|h| selection.choose(h.wrapping_mul(0x0101_6b5d)))
            .collect()
    }

    #[test]
    fn a_lost_instance_moves_its_own_flows_alone() {
        let mut selection = Selection::new(vec![3, 7, 9], false);
        let before = choices(&selection);
        selection.remove(7);
        for (was, is) in before.iter().zip(choices(&selection)) {
            assert!(*was == is || *was == Some(7));
            assert_ne!(is, Some(7));
        }
    }

    #[test]
    fn flows_spread_over_all_instances() {
        let all = choices(&Selection::new(vec![0, 1, 2, 3], false));
        for slot in 0..4 {
            let share = all.iter().filter(|c| **c == Some(slot)).count();
            assert!(
                (1500..3500).contains(&share),
                "instance {slot} got {share} of 10000"
            );
        }
    }

    #[test]
    fn without_an_instance_there_is_no_choice() {
        assert_eq!(Selection::new(Vec::new(), false).choose(5), None);
        assert_eq!(Selection::new(vec![4], false).choose(5), Some(4));
    }
}
