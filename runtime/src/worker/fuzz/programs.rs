//! Flow entries of an input: some for flows that its frames are of, some by filter.

use std::sync::Arc;

use nflib::flows::FlowMatch;
use onvm_bundle::filter::{Expr, flow::flow_of};

use super::{
    Bytes,
    bench::{PORTS, SOURCES, frame},
};
use crate::{
    director::{Change, Changes, Counts, Entry, Grant, Program, Wilds},
    generation::NO_HOP,
};

/// Entries at once.
const MOST: usize = 8;

/// The entries that there are, by slot.
#[derive(Debug, Default)]
pub(super) struct Programs {
    entries: [Option<Arc<Entry>>; MOST],
    last: u64,
    /// Packets of those that are gone.
    former: u64,
}

impl Programs {
    /// Adds, changes or removes one.
    pub(super) fn change(&mut self, input: &mut Bytes<'_>) -> Changes {
        let (slot, how) = (input.below(MOST), input.u8());
        self.last += 1;
        let step = match (self.entries[slot].take(), how % 4) {
            (Some(entry), 0) => {
                self.former += entry.counts.total().0;
                Change::Remove(entry)
            }
            (former, _) => {
                let entry = Arc::new(self.entry(slot, how, input.u8(), former.as_deref()));
                self.entries[slot] = Some(entry.clone());
                Change::Put(entry)
            }
        };
        let port = |source: usize| (source as u16, self.wilds(source));
        Changes {
            number: self.last,
            steps: vec![step],
            wilds: SOURCES.map(port).into(),
        }
    }

    fn entry(&self, slot: usize, how: u8, seed: u8, former: Option<&Entry>) -> Entry {
        let filter: Expr = ["(all)", "(tcp-port dst 98)"][usize::from(seed & 1)]
            .parse()
            .unwrap();
        let key = || flow_of(&frame(seed)).key.unwrap();
        let grant = u16::from(how >> 2 & 3);
        if let Some(Entry {
            id,
            slot,
            port,
            matches,
            priority,
            counts,
            total,
            ..
        }) = former
        {
            return Entry {
                id: *id,
                slot: *slot,
                port: *port,
                matches: matches.clone(),
                priority: *priority,
                grant,
                counts: counts.clone(),
                total: total.clone(),
            };
        }
        Entry {
            id: self.last,
            slot: slot as u32,
            port: SOURCES[usize::from(how >> 4 & 1)] as u16,
            matches: match how >> 5 & 3 {
                0 => FlowMatch::Filter(filter),
                1 => FlowMatch::Flow(key()),
                _ => FlowMatch::BothWays(key()),
            },
            priority: u16::from(how >> 7),
            grant,
            counts: Arc::new(Counts::new(1)),
            total: Arc::new(Counts::new(1)),
        }
    }

    fn wilds(&self, port: usize) -> Arc<Wilds> {
        let entries = self.entries.iter().flatten();
        let of_port = entries.filter(|entry| usize::from(entry.port) == port);
        Arc::new(Wilds::new(of_port.cloned().collect()))
    }

    /// By port, for another generation.
    pub(super) fn programs(&self, how: u8) -> Vec<Program> {
        let grant = |hop, arm: &str| Grant {
            hop,
            arms: vec![arm.parse().unwrap()],
        };
        let grants = vec![
            grant(1, "(all)"),
            grant(if how & 1 == 0 { 4 } else { NO_HOP }, "(tcp)"),
            grant(5, "(tcp-port dst 97)"),
        ];
        let of_port = |port: usize| match SOURCES.contains(&port) {
            true => Program::new(grants.clone(), self.wilds(port)),
            false => Program::default(),
        };
        (0..PORTS).map(of_port).collect()
    }

    /// Packets that entries took.
    pub(super) fn packets(&self) -> u64 {
        let now = self.entries.iter().flatten().map(|entry| entry.counts.total().0);
        now.sum::<u64>() + self.former
    }
}
