//! Decides on each new flow by rules, and has the manager send the rest of the flow past itself: into the chain `trusted`, into
//! `watched`, or to `drop`. What no rule takes is not decided, and goes on coming here.

use std::time::Duration;

use nflib::{
    Burst, Counter, Gauge, Nf, Setup, SetupError, Time,
    filter::FlowRules,
    flows::{FlowEntry, FlowMatch, FlowNews, Flows, Target},
    state::FlowTable,
};

const VERDICTS: [&str; 3] = ["trust", "watch", "block"];
const BLOCK: usize = 2;
/// Where the packets of a flow go that got the verdict, and the counter of these flows.
const WAYS: [(&str, &str); 3] = [
    ("trusted", "trusted"),
    ("watched", "watched"),
    ("drop", "blocked"),
];
/// The manifest's `memory` has room for so many.
const MOST_FLOWS: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Decide {
    rules: FlowRules,
    flows: Flows,
    /// By verdict.
    ways: Vec<(Target, Counter)>,
    idle: Duration,
    /// Flows that were asked about: some packets of theirs come until the entry is in force.
    asked: FlowTable<()>,
    seen: Counter,
    in_force: Gauge,
    later: Counter,
    refused: Counter,
    ended: Counter,
}

impl Nf for Decide {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let mut ways = Vec::new();
        for (chain, counter) in WAYS {
            ways.push((setup.params.target("wan", chain)?, setup.counter(counter)?));
        }
        let idle = setup.params.duration("idle")?;
        Ok(Self {
            rules: FlowRules::new(setup.params.rules("rules", &VERDICTS)?),
            flows: setup.flows(),
            ways,
            idle,
            asked: FlowTable::new(MOST_FLOWS, idle),
            seen: setup.counter("seen")?,
            in_force: setup.gauge("in_force")?,
            later: setup.counter("later")?,
            refused: setup.counter("refused")?,
            ended: setup.counter("ended")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let now = burst.now();
        for mut packet in burst.packets() {
            self.seen.add(1);
            let (Some(key), Some(number)) = (packet.flow(), packet.first(&mut self.rules)) else {
                continue;
            };
            let verdict = self.rules.rules().get(number).map(|rule| rule.verdict);
            let Some((verdict, (target, decided))) = verdict.and_then(|v| Some((v, self.ways.get(v)?)))
            else {
                continue;
            };
            if verdict == BLOCK {
                packet.drop();
            }
            if !self.asked.entry(&key, now, || ()).0.is_new {
                continue;
            }
            let entry = FlowEntry::new(*target, FlowMatch::BothWays(key)).idle(self.idle);
            match self.flows.put(entry) {
                Ok(_) => decided.add(1),
                // Too many wait for the manager: asked again with the flow's next packet.
                Err(_) => {
                    self.asked.remove(&key, now);
                    self.later.add(1);
                }
            }
        }
    }

    fn flow_news(&mut self, news: &FlowNews) {
        self.in_force.set(news.done);
        self.refused.add(news.refused.len() as u64);
        for ended in &news.ended {
            self.ended.add(1);
            // If it comes again, it is decided again.
            if let FlowMatch::BothWays(key) = &ended.entry.matches {
                self.asked.remove(key, Time::default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nflib::{
        FlowTarget, Params, Verdict,
        flows::{FlowEnd, FlowEnded, FlowRequest},
    };
    use nflib_testing::{bench, packet};

    use super::*;

    const MANIFEST: &str = include_str!("../decide.nf.toml");

    fn params() -> Params {
        let to = |chain: &str| FlowTarget {
            port: "wan".into(),
            chain: chain.into(),
        };
        Params::default()
            .with("idle", 30_000_000_000_u64)
            .with_rules("rules", "trust a (tcp-port dst 443)\nblock b (tcp-port dst 23)\n")
            .with_targets(["drop", "trusted", "watched"].map(to))
    }

    #[test]
    fn a_flow_is_asked_about_once_and_again_when_its_entry_has_ended() {
        let mut bench = bench::<Decide>(MANIFEST, params()).unwrap();
        let web = packet::tcp("198.51.100.7:40000", "203.0.113.9:443").build();
        let telnet = packet::tcp("198.51.100.7:40000", "203.0.113.9:23").build();
        let dns = packet::udp("198.51.100.7:40000", "203.0.113.9:53").build();
        let arp = packet::arp_request("10.0.0.1", "10.0.0.2").build();
        let handled = bench.send(&[&web, &web, &telnet, &dns, &arp]);
        let verdicts: Vec<Verdict> = handled.iter().map(|h| h.verdict).collect();
        let next = Verdict::Next;
        assert_eq!(verdicts, [next, next, Verdict::Drop, next, next]);
        let asked = bench.flow_requests();
        let chains: Vec<usize> = asked
            .iter()
            .map(|request| match request {
                FlowRequest::Put(entry) => entry.target.index(),
                other => unreachable!("{other:?}"),
            })
            .collect();
        assert_eq!(chains, [1, 0]);

        let FlowRequest::Put(entry) = asked[0].clone() else {
            unreachable!()
        };
        let ended = FlowEnded {
            entry,
            why: FlowEnd::Removed,
            packets: 1,
            bytes: 60,
        };
        let news = FlowNews {
            done: 2,
            ended: vec![ended],
            ..FlowNews::default()
        };
        bench.nf.flow_news(&news);
        bench.send(&[&web, &telnet]);
        assert_eq!(bench.flow_requests().len(), 1);
        assert_eq!((bench.nf.seen.get(), bench.nf.ways[0].1.get()), (7, 2));
    }

    #[test]
    fn it_does_not_start_without_its_permission() {
        let error = bench::<Decide>(MANIFEST, params().with_targets([])).unwrap_err();
        assert!(error.to_string().contains("trusted"), "{error}");
    }
}
