//! Choosing the instance of a service.

use super::affinity::{Affinity, Clock};

/// Buckets of the table that spreads hashes over instances, as a NIC's indirection table does.
const BUCKETS: usize = 256;

/// What the control thread says of a service's instances.
#[derive(Debug, Clone, Default)]
pub struct Instances {
    /// Those that new flows are given to.
    pub chosen: Vec<u16>,
    /// Those that keep their flows until these end, and get no others.
    pub leaving: Vec<u16>,
    /// There is none, and one is to come.
    pub awaited: bool,
    /// There may be several, and each flow keeps its own.
    pub by_flow: bool,
}

/// The live instances of one service.
#[derive(Debug, Default)]
pub(super) struct Selection {
    instances: Instances,
    /// Slot by bucket; empty unless there are two instances or more.
    table: Vec<u16>,
    /// None: there is but one instance, or flows need not keep theirs.
    kept: Option<Affinity>,
    /// The instance that the last packet went to where flows need not keep theirs.
    turn: usize,
}

impl Selection {
    /// Goes over to other instances. Those that are not among them any more have gone.
    pub(super) fn renew(&mut self, instances: Instances, clock: Clock) {
        let former = std::mem::replace(&mut self.instances, instances);
        let gone =
            |slot: &&u16| !self.instances.chosen.contains(slot) && !self.instances.leaving.contains(slot);
        if self.instances.by_flow || (self.kept.is_some() && !self.instances.leaving.is_empty()) {
            // What came while there was one instance has not been noted, as it could go to no other.
            let kept = self.kept.get_or_insert_with(|| match former.chosen.as_slice() {
                [only] if !former.by_flow => Affinity::all_of(*only, clock),
                _ => Affinity::new(),
            });
            for slot in former.chosen.iter().chain(&former.leaving).filter(gone) {
                kept.forget(*slot);
            }
        } else {
            self.kept = None;
        }
        self.spread();
    }

    /// Each bucket goes to the instance with the highest score for it (rendezvous hashing: D. Thaler and C. Ravishankar,
    /// "Using Name-Based Mappings to Increase Hit Rates", 1998), so that losing an instance moves its buckets alone.
    fn spread(&mut self) {
        let instances = &self.instances.chosen;
        let best = |bucket: usize| {
            let slots = instances.iter().copied();
            slots.max_by_key(|&slot| score(bucket as u64, slot))
        };
        self.table.clear();
        if instances.len() > 1 {
            self.table.extend((0..BUCKETS).filter_map(best));
        }
    }

    /// The instance, if all packets go to it.
    pub(super) fn only(&self) -> Option<u16> {
        match self.instances.chosen.as_slice() {
            [slot] if self.kept.is_none() => Some(*slot),
            _ => None,
        }
    }

    /// The instance that a packet goes to.
    #[inline(always)]
    pub(super) fn choose(&mut self, hash: u32, clock: Clock) -> Option<u16> {
        let Self {
            instances,
            table,
            kept,
            turn,
        } = self;
        let chosen = &instances.chosen;
        let spread = || match table.get((hash.wrapping_mul(0x9e37_79b1) >> 24) as usize) {
            Some(&slot) => Some(slot),
            None => chosen.first().copied(),
        };
        match kept {
            Some(kept) => kept.keep(hash, clock, spread),
            None => {
                *turn = if *turn + 1 < chosen.len() { *turn + 1 } else { 0 };
                chosen.get(*turn).copied()
            }
        }
    }

    /// Those that new flows are given to.
    pub(super) fn chosen(&self) -> &[u16] {
        &self.instances.chosen
    }

    /// There is no instance, and one is to come.
    pub(super) fn is_starved(&self) -> bool {
        self.instances.awaited && self.instances.chosen.is_empty()
    }

    pub(super) fn remove(&mut self, slot: u16) {
        let Instances { chosen, leaving, .. } = &mut self.instances;
        if chosen.contains(&slot) || leaving.contains(&slot) {
            chosen.retain(|&s| s != slot);
            leaving.retain(|&s| s != slot);
            if let Some(kept) = &mut self.kept {
                kept.forget(slot);
            }
            self.spread();
        }
    }

    /// Instances that are to go, and how many groups of live flows each still has.
    pub(super) fn leaving(&self, clock: Clock) -> impl Iterator<Item = (u16, usize)> {
        let live = move |slot| self.kept.as_ref().map_or(0, |kept| kept.live(slot, clock));
        self.instances.leaving.iter().map(move |&slot| (slot, live(slot)))
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
    use std::collections::BTreeSet;

    use super::*;

    const FLOWS: u32 = 10_000;
    const IDLE: u16 = 60;

    fn at(now: u16) -> Clock {
        Clock { now, idle: IDLE }
    }

    fn instances(chosen: &[u16], leaving: &[u16]) -> Instances {
        Instances {
            chosen: chosen.to_vec(),
            leaving: leaving.to_vec(),
            awaited: false,
            by_flow: chosen.len() > 1,
        }
    }

    fn of(chosen: &[u16]) -> Selection {
        let mut selection = Selection::default();
        selection.renew(instances(chosen, &[]), at(0));
        selection
    }

    /// A packet of each flow of a range.
    fn packets(selection: &mut Selection, flows: std::ops::Range<u32>, now: u16) -> Vec<Option<u16>> {
        // As well mixed as that of real flows.
        let hash = |flow: u32| score(flow.into(), 0) as u32;
        flows.map(|flow| selection.choose(hash(flow), at(now))).collect()
    }

    fn met(choices: &[Option<u16>]) -> BTreeSet<u16> {
        choices.iter().copied().flatten().collect()
    }

    #[test]
    fn a_lost_instance_moves_its_own_flows_alone_and_once() {
        let mut selection = of(&[3, 7, 9]);
        let before = packets(&mut selection, 0..FLOWS, 1);
        selection.remove(7);
        let after = packets(&mut selection, 0..FLOWS, 2);
        for (was, is) in before.iter().zip(&after) {
            assert!(was == is || *was == Some(7));
            assert_ne!(*is, Some(7));
        }
        selection.renew(instances(&[3, 7, 9], &[]), at(3));
        assert_eq!(packets(&mut selection, 0..FLOWS, 4), after, "it is there again");
        assert!(met(&packets(&mut selection, FLOWS..2 * FLOWS, 4)).contains(&7));
    }

    #[test]
    fn no_live_flow_moves_when_an_instance_is_added() {
        let mut selection = of(&[3, 7]);
        let before = packets(&mut selection, 0..FLOWS, 1);
        selection.renew(instances(&[3, 7, 9], &[]), at(2));
        for now in [3, 60, 120, 180] {
            assert_eq!(packets(&mut selection, 0..FLOWS, now), before);
        }
        let new = packets(&mut selection, FLOWS..3 * FLOWS, 180);
        let share = new.iter().filter(|c| **c == Some(9)).count();
        assert!((4000..9000).contains(&share), "{share} of 20000 new flows");
        // Flows that have been silent are new ones.
        assert!(met(&packets(&mut selection, 0..FLOWS, 300)).contains(&9));
    }

    /// While there was one, nothing was noted of its flows.
    #[test]
    fn no_live_flow_moves_from_the_only_instance() {
        let mut selection = of(&[4]);
        assert_eq!(selection.only(), Some(4));
        selection.renew(instances(&[4, 5], &[]), at(9));
        assert_eq!(selection.only(), None);
        let half = 0..FLOWS / 2;
        for now in [10, 60, 100] {
            assert_eq!(met(&packets(&mut selection, half.clone(), now)), [4].into());
        }
        assert_eq!(
            met(&packets(&mut selection, FLOWS..2 * FLOWS, 100)),
            [4, 5].into()
        );
        assert_eq!(met(&packets(&mut selection, half, 100)), [4].into());
    }

    #[test]
    fn one_that_is_to_go_keeps_its_flows_and_gets_no_others() {
        let mut selection = of(&[1, 2, 3]);
        let before = packets(&mut selection, 0..FLOWS, 1);
        selection.renew(instances(&[1], &[2, 3]), at(1));
        assert_eq!(packets(&mut selection, 0..FLOWS, 30), before);
        let fresh: Vec<Option<u16>> = packets(&mut selection, 1_000_000..1_000_100, 31);
        let others = fresh.iter().filter(|c| **c != Some(1)).count();
        assert!(
            others < 12,
            "{others} of 100 new flows are of a group that was live"
        );
        let left = |selection: &Selection, now| -> Vec<(u16, usize)> { selection.leaving(at(now)).collect() };
        assert!(left(&selection, 31).iter().all(|(_, live)| *live > 1000));
        assert_eq!(left(&selection, 92), [(2, 0), (3, 0)]);
        // Back again before it went.
        selection.renew(instances(&[1, 2], &[3]), at(32));
        assert_eq!(packets(&mut selection, 0..FLOWS, 33), before);
        selection.renew(instances(&[1], &[]), at(34));
        assert_eq!(selection.only(), Some(1));
        assert_eq!(met(&packets(&mut selection, 0..FLOWS, 35)), [1].into());
    }

    #[test]
    fn flows_spread_over_all_instances() {
        let all = packets(&mut of(&[0, 1, 2, 3]), 0..FLOWS, 0);
        for slot in 0..4 {
            let share = all.iter().filter(|c| **c == Some(slot)).count();
            assert!(
                (1500..3500).contains(&share),
                "instance {slot} got {share} of 10000"
            );
        }
    }

    /// Which hashes are one worker's says nothing of their instances.
    #[test]
    fn the_flows_of_one_worker_spread_over_all_instances() {
        let mut selection = of(&[0, 1]);
        let one_workers = (0..u32::MAX)
            .step_by(40_000)
            .filter(|hash| hash.wrapping_mul(0x85eb_ca6b) >> 31 == 0);
        let (mut first, mut all) = (0, 0);
        for hash in one_workers {
            first += u32::from(selection.choose(hash, at(0)) == Some(0));
            all += 1;
        }
        assert!((all / 3..all * 2 / 3).contains(&first), "{first} of {all}");
    }

    #[test]
    fn without_affinity_packets_go_to_each_in_turn() {
        let mut selection = Selection::default();
        let instances = Instances {
            by_flow: false,
            ..instances(&[5, 6], &[])
        };
        selection.renew(instances, at(0));
        let choices = [0; 4].map(|hash| selection.choose(hash, at(0)));
        assert_eq!(choices, [Some(6), Some(5), Some(6), Some(5)]);
    }

    #[test]
    fn without_an_instance_there_is_no_choice() {
        let mut selection = of(&[]);
        assert_eq!(selection.choose(5, at(0)), None);
        selection.renew(
            Instances {
                by_flow: true,
                ..Instances::default()
            },
            at(0),
        );
        assert_eq!(selection.choose(5, at(0)), None);
        assert_eq!(of(&[4]).choose(5, at(0)), Some(4));
    }
}
