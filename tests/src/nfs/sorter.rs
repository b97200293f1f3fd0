//! Sorts flows: of each one that it has not seen, it has the manager send the packets to `fast` from then on, or to `drop` where the
//! destination port is odd. Once it asks for a list of its entries.

use std::{collections::HashSet, time::Duration};

use nflib::{
    Burst, Counter, Gauge, Nf, Setup, SetupError,
    flows::{FlowEntry, FlowMatch, FlowNews, Flows, Target},
    state::FlowKey,
};

#[derive(Debug)]
pub(crate) struct Sorter {
    flows: Flows,
    fast: Target,
    drop: Target,
    idle: Option<Duration>,
    hard: Option<Duration>,
    /// Flows that it has asked about.
    asked: HashSet<FlowKey>,
    seen: Counter,
    requests: Counter,
    done: Gauge,
    refused: Counter,
    ended: Counter,
    ended_packets: Counter,
    listed: Counter,
    full: Counter,
}

impl Nf for Sorter {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let (fast, drop) = (
            setup.params.target("wan", "fast")?,
            setup.params.target("wan", "drop")?,
        );
        Ok(Self {
            flows: setup.flows(),
            fast,
            drop,
            idle: setup.params.optional("idle")?.map(Duration::from_nanos),
            hard: setup.params.optional("hard")?.map(Duration::from_nanos),
            asked: HashSet::new(),
            seen: setup.counter("seen")?,
            requests: setup.counter("requests")?,
            done: setup.gauge("done")?,
            refused: setup.counter("refused")?,
            ended: setup.counter("ended")?,
            ended_packets: setup.counter("ended_packets")?,
            listed: setup.counter("listed")?,
            full: setup.counter("full")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for packet in burst.packets() {
            self.seen.add(1);
            let Some(key) = packet.flow() else { continue };
            if self.asked.contains(&key) {
                continue;
            }
            let target = match key.ports().1 % 2 {
                1 => self.drop,
                _ => self.fast,
            };
            let mut entry = FlowEntry::new(target, FlowMatch::BothWays(key)).cookie(7);
            if let Some(idle) = self.idle {
                entry = entry.idle(idle);
            }
            if let Some(hard) = self.hard {
                entry = entry.hard(hard);
            }
            match self.flows.put(entry) {
                Ok(number) => {
                    self.asked.insert(key);
                    self.requests.add(1);
                    if number == 99 && self.flows.list(0).is_ok() {
                        self.requests.add(1);
                    }
                }
                Err(_) => self.full.add(1),
            }
        }
    }

    fn flow_news(&mut self, news: &FlowNews) {
        self.done.set(news.done);
        self.refused.add(news.refused.len() as u64);
        self.listed.add(news.listed.len() as u64);
        for ended in &news.ended {
            self.ended.add(1);
            self.ended_packets.add(ended.packets);
            // If it comes again, it is to be sorted again.
            if let FlowMatch::BothWays(key) = &ended.entry.matches {
                self.asked.remove(key);
            }
        }
    }
}
