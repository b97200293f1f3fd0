//! Looks for words in payloads. A packet that has one leaves by the output `suspect`, and the rest of its flow is sent into the
//! chain `suspects` by a flow entry, whatever others have decided on it.

use std::time::Duration;

use nflib::{
    Burst, Counter, Gauge, Nf, Output, Setup, SetupError,
    flows::{FlowEntry, FlowMatch, FlowNews, Flows, Target},
};

/// Above that of entries that say nothing of it.
const PRIORITY: u16 = 10;

#[derive(Debug)]
pub(crate) struct Watch {
    words: Vec<String>,
    look: Duration,
    ban: Duration,
    flows: Flows,
    suspect: Output,
    suspects: Target,
    seen: Counter,
    found: Counter,
    later: Counter,
    in_force: Gauge,
}

impl Nf for Watch {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let words: Vec<String> = setup.params.get("words")?;
        if words.iter().any(String::is_empty) {
            return Err(SetupError::Other(
                "one of `words` is empty: remove it, every packet has it".into(),
            ));
        }
        Ok(Self {
            words,
            look: setup.params.duration("look")?,
            ban: setup.params.duration("ban")?,
            flows: setup.flows(),
            suspect: setup.params.output("suspect")?,
            suspects: setup.params.target("wan", "suspects")?,
            seen: setup.counter("seen")?,
            found: setup.counter("found")?,
            later: setup.counter("later")?,
            in_force: setup.gauge("in_force")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            self.seen.add(1);
            // It stands for a thorough look. One that computes would need a core for each replica to be of use.
            if !self.look.is_zero() {
                std::thread::sleep(self.look);
            }
            let headers = packet.headers();
            let payload = headers.payload(packet.data());
            let has = |word: &String| payload.windows(word.len()).any(|part| part == word.as_bytes());
            if !self.words.iter().any(has) {
                continue;
            }
            self.found.add(1);
            packet.output(self.suspect);
            let Some(key) = packet.flow() else { continue };
            let entry = FlowEntry::new(self.suspects, FlowMatch::BothWays(key))
                .priority(PRIORITY)
                .hard(self.ban);
            if self.flows.put(entry).is_err() {
                self.later.add(1);
            }
        }
    }

    fn flow_news(&mut self, news: &FlowNews) {
        self.in_force.set(news.done);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nflib::{FlowTarget, Params, Verdict, flows::FlowRequest};
    use nflib_testing::{bench, packet};

    use super::*;

    const MANIFEST: &str = include_str!("../watch.nf.toml");

    fn params(words: &[&str]) -> Params {
        let suspects = FlowTarget {
            port: "wan".into(),
            chain: "suspects".into(),
        };
        Params::default()
            .with("words", words.to_vec())
            .with("look", 0)
            .with("ban", 1_000_000_000)
            .with_targets([suspects])
    }

    #[test]
    fn a_word_has_the_flow_sent_elsewhere() {
        let mut bench = bench::<Watch>(MANIFEST, params(&["passwd"])).unwrap();
        let with = |payload: &[u8]| {
            packet::tcp("198.51.100.7:40000", "203.0.113.9:80")
                .payload(payload)
                .build()
        };
        let handled = bench.send(&[with(b"GET /etc/passwd"), with(b"GET /"), with(b"")]);
        let verdicts: Vec<Verdict> = handled.iter().map(|h| h.verdict).collect();
        assert_eq!(verdicts, [Verdict::Output(0), Verdict::Next, Verdict::Next]);
        let asked = bench.flow_requests();
        assert!(
            matches!(&asked[..], [FlowRequest::Put(e)] if e.priority == PRIORITY && e.hard_ms == Some(1000)),
            "{asked:?}"
        );
    }

    #[test]
    fn an_empty_word_is_refused() {
        let error = bench::<Watch>(MANIFEST, params(&["a", ""])).unwrap_err();
        assert!(error.to_string().contains("`words`"), "{error}");
    }
}
