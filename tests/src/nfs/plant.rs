//! Makes flow entries at its start, those of a file, and passes packets on.

use nflib::{
    Burst, Gauge, Nf, Setup, SetupError,
    flows::{FlowEntry, FlowMatch, FlowNews},
};
use serde::Deserialize;

/// At the port `wan`.
#[derive(Debug, Deserialize)]
struct Entry {
    chain: String,
    matches: FlowMatch,
    priority: u16,
}

#[derive(Debug)]
pub(crate) struct Plant {
    done: Gauge,
    refused: Gauge,
}

impl Nf for Plant {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let entries: Vec<Entry> = serde_json::from_slice(setup.params.file("entries")?)
            .map_err(|e| SetupError::Other(format!("the entries: {e}")))?;
        let flows = setup.flows();
        for entry in entries {
            let target = setup.params.target("wan", &entry.chain)?;
            let entry = FlowEntry::new(target, entry.matches).priority(entry.priority);
            flows.put(entry).map_err(|e| SetupError::Other(e.to_string()))?;
        }
        Ok(Self {
            done: setup.gauge("done")?,
            refused: setup.gauge("refused")?,
        })
    }

    fn process(&mut self, _: &mut Burst<'_>) {}

    fn flow_news(&mut self, news: &FlowNews) {
        self.done.set(news.done);
        self.refused.set(self.refused.get() + news.refused.len() as u64);
    }
}
