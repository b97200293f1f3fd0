//! Which sources are looked at in a round. One that is not keeps its packets: they wait in a capture, or in a device's queue.
//!
//! Sources that can wait do so where they have too much inside ([`Credit`]), where an output is behind, and where a service that
//! their packets may come to waits for an instance. Every source waits until its packets of an older generation have left, so
//! that no flow is reordered by an edit; a live one not for ever.

use super::{
    credit::{Credit, Inside},
    ingress::{Ingress, SourceKind},
    packets::Generations,
};

/// What one round lets in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission {
    credit: Credit,
}

impl Admission {
    /// `outputs`: packets that sources which can wait may have inside, for the outputs that are behind.
    #[inline(always)]
    pub(super) fn new(ingress: &Ingress, inside: &Inside, outputs: u32) -> Self {
        let (now, total) = (ingress.credit.min(outputs), ingress.credit);
        Self {
            credit: Credit::new(now, total, ingress.most_at_once(), &ingress.ports, inside),
        }
    }

    /// The port's kind of source if it may be looked at now.
    #[inline(always)]
    pub(super) fn admits(
        self,
        ingress: &Ingress,
        port: usize,
        generations: &Generations,
    ) -> Option<SourceKind> {
        let kind = self.wants(ingress, port, &generations.inside)?;
        (!generations.holds(port, kind)).then_some(kind)
    }

    #[inline(always)]
    fn wants(self, ingress: &Ingress, port: usize, inside: &Inside) -> Option<SourceKind> {
        let receiver = ingress.ports[port].as_ref()?;
        if ingress.closed && !receiver.source.is_handed() {
            return None;
        }
        let kind = receiver.source.kind;
        let wanted = match kind {
            SourceKind::Ended => false,
            SourceKind::Live => true,
            SourceKind::Endless | SourceKind::Finite => {
                !receiver.starved && self.credit.suffices(inside[port])
            }
        };
        wanted.then_some(kind)
    }

    /// So many packets came from a source of this kind.
    #[inline(always)]
    pub(super) fn took(&mut self, kind: SourceKind, packets: usize) {
        if kind != SourceKind::Live {
            self.credit.spend(packets);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use nflib::memory::{Geometry, Mapping, PacketFile, create_file};

    use super::*;
    use crate::worker::{Feed, Source};

    fn ingress(sources: &[SourceKind], credit: u32) -> Ingress {
        let geometry = Geometry {
            first: 0,
            buffers: 2,
            stride: 2048,
            headroom: 128,
        };
        let file = create_file("test", geometry.bytes(), false).unwrap();
        let packets = PacketFile::new(Mapping::new(&file, false).unwrap(), geometry).unwrap();
        let mut made = Ingress::new(Arc::new(packets), credit);
        for (port, &kind) in sources.iter().enumerate() {
            let feed = Feed::Queues(Vec::new());
            made.open(port as u16, Some(Source { feed, kind }));
        }
        made
    }

    const BURST: u32 = crate::worker::BURST as u32;

    /// One round of receiving where every source has a burst; the ports that were served.
    fn round(ingress: &mut Ingress, inside: &mut Inside) -> Vec<usize> {
        let mut served = Vec::new();
        let mut admission = Admission::new(ingress, inside, u32::MAX);
        for port in ingress.in_turn() {
            if let Some(kind) = admission.wants(ingress, port, inside) {
                inside[port] += BURST;
                admission.took(kind, crate::worker::BURST);
                served.push(port);
            }
        }
        served
    }

    #[test]
    fn a_source_whose_packets_are_kept_does_not_stop_the_others() {
        let mut ingress = ingress(&[SourceKind::Endless; 4], 2048);
        let mut inside: Inside = [0; 256];
        for _ in 0..100 {
            round(&mut ingress, &mut inside);
        }
        assert_eq!(inside[..5], [512, 512, 512, 512, 0]);
        // Only what came from the last one goes on.
        for _ in 0..100 {
            inside[3] -= BURST;
            assert_eq!(round(&mut ingress, &mut inside), [3]);
        }
    }

    /// Also where an output that is behind leaves room for less.
    #[test]
    fn sources_wait_for_outputs() {
        let mut ingress = ingress(&[SourceKind::Finite, SourceKind::Live], 2048);
        let mut inside: Inside = [0; 256];
        let mut taken = |ingress: &mut Ingress, outputs| {
            let mut rounds = 0;
            while Admission::new(ingress, &inside, outputs)
                .wants(ingress, 0, &inside)
                .is_some()
            {
                inside[0] += BURST;
                rounds += 1;
            }
            rounds
        };
        assert_eq!(taken(&mut ingress, 0), 0);
        assert_eq!(taken(&mut ingress, 3 * BURST + 4), 3, "and no more than fit");
        assert_eq!(taken(&mut ingress, u32::MAX), 2048 / BURST - 3);
    }

    #[test]
    fn the_parts_are_of_those_that_have_packets_left() {
        let kinds = [
            SourceKind::Endless,
            SourceKind::Ended,
            SourceKind::Finite,
            SourceKind::Live,
        ];
        let ingress = ingress(&kinds, 1024);
        let mut inside: Inside = [0; 256];
        (inside[0], inside[3]) = (512, 5000);
        let admission = Admission::new(&ingress, &inside, u32::MAX);
        let wanted = |port| admission.wants(&ingress, port, &inside);
        assert_eq!(
            [0, 1, 2, 3].map(wanted),
            [None, None, Some(kinds[2]), Some(SourceKind::Live)]
        );
    }

    /// Credit for two bursts, and three sources behind a function that hands back one burst at a time.
    #[test]
    fn sources_share_credit_that_is_too_small_for_all() {
        let mut ingress = ingress(&[SourceKind::Endless; 3], 2 * BURST);
        let (mut inside, mut ring, mut served): (Inside, _, _) = ([0; 256], VecDeque::new(), [0; 3]);
        for _ in 0..300 {
            for port in round(&mut ingress, &mut inside) {
                ring.push_back(port);
                served[port] += 1;
            }
            assert!(inside.iter().sum::<u32>() <= 2 * BURST);
            if let Some(port) = ring.pop_front() {
                inside[port] -= BURST;
            }
        }
        assert!(served.iter().all(|&n| (90..=110).contains(&n)), "{served:?}");
    }
}
