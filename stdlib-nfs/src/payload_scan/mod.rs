//! Looks for many literal patterns at once in each packet's payload, by the Aho-Corasick automaton (Aho, Corasick:
//! "Efficient string matching", 1975) of the `aho-corasick` crate: the cost does not grow with the number of patterns.
//!
//! Each packet stands for itself: a pattern that is split over two TCP segments or IP fragments is not found.

pub mod patterns;

use aho_corasick::AhoCorasick;
use nflib::{
    Burst, Counter, FileMistake, Nf, Params, Reconfigured, Setup, SetupError, Verdict, filter::Expr,
    headers::Headers,
};
use serde::Deserialize;

use self::patterns::Pattern;
use crate::{
    Model,
    common::{
        counters::{Counters, Places},
        files::{parsed, refused},
        is_of,
    },
};

#[derive(Debug)]
pub struct PayloadScan {
    search: Search,
    /// By the patterns' bytes.
    hits: Counters<Vec<u8>>,
    scanned: Counter,
    skipped: Counter,
    bytes: Counter,
    matched: Counter,
}

/// The parameters, read.
#[derive(Debug)]
struct Search {
    patterns: Vec<Pattern>,
    any_case: bool,
    /// The packets that are searched; none: all.
    only: Option<Expr>,
    automaton: AhoCorasick,
    on_match: Verdict,
    /// For each pattern the place of its counter.
    places: Places,
    /// For each pattern, the number of the last packet that held it, so that it counts once for a packet.
    last_packet: Vec<u64>,
    packet: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnMatch {
    Output,
    Drop,
}

impl Nf for PayloadScan {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let mut search = Search::new(&setup.params)?;
        let counted = search.counted();
        let hits = Counters::new(setup, "pattern_others", &counted)?;
        search.places = hits.places(&counted).unwrap_or_default();
        Ok(Self {
            scanned: setup.counter("scanned")?,
            skipped: setup.counter("skipped")?,
            bytes: setup.counter("bytes")?,
            matched: setup.counter("matched")?,
            hits,
            search,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let (mut scanned, mut skipped, mut bytes, mut matched) = (0, 0, 0, 0);
        for mut packet in burst.packets() {
            let data = packet.data();
            let headers = Headers::parse(data);
            if !headers.is_ip() || !is_of(&self.search.only, &packet) {
                skipped += 1;
                continue;
            }
            let payload = headers.payload(data);
            scanned += 1;
            bytes += payload.len() as u64;
            if self.search.find(payload, &self.hits) {
                matched += 1;
                packet.set_verdict(self.search.on_match);
            }
        }
        self.scanned.add(scanned);
        self.skipped.add(skipped);
        self.bytes.add(bytes);
        self.matched.add(matched);
    }

    /// New patterns take effect between bursts, all at once. The counter of a line goes on when the line's pattern is
    /// the same, and starts from zero when it is another. A pattern on a line that had none needs a counter that this
    /// instance does not have, and so a new instance.
    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let mut search = Search::new(params)?;
        let counted = search.counted();
        let Some(places) = self.hits.places(&counted) else {
            return Ok(Reconfigured::Unsupported);
        };
        self.hits.now_count(&counted);
        search.places = places;
        self.search = search;
        Ok(Reconfigured::Done)
    }
}

/// Reads the parameters as the NF does when it starts.
pub fn check(params: &Params) -> Result<(), SetupError> {
    Search::new(params).map(drop)
}

pub fn model(params: &Params) -> Result<Model, SetupError> {
    let search = Search::new(params)?;
    Ok(Model::Payload {
        patterns: search.patterns.into_iter().map(|p| p.bytes).collect(),
        any_case: search.any_case,
        only: search.only,
        found: search.on_match,
    })
}

impl Search {
    fn new(params: &Params) -> Result<Self, SetupError> {
        let patterns = parsed(params, "patterns", patterns::parse)?;
        let case_sensitive = params.optional("case_sensitive")?.unwrap_or(true);
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(!case_sensitive)
            .build(patterns.iter().map(|p| &p.bytes))
            .map_err(|e| refused(params, "patterns", vec![FileMistake::whole(e.to_string())]))?;
        let on_match = match params.optional("on_match")?.unwrap_or(OnMatch::Output) {
            OnMatch::Output => params.output("match")?.into(),
            OnMatch::Drop => Verdict::Drop,
        };
        let last_packet = vec![0; patterns.len()];
        Ok(Self {
            patterns,
            any_case: !case_sensitive,
            only: params.optional_filter("only")?,
            automaton,
            on_match,
            places: Vec::new(),
            last_packet,
            packet: 0,
        })
    }

    fn counted(&self) -> Vec<(String, Vec<u8>)> {
        let patterns = self.patterns.iter();
        patterns
            .map(|p| (format!("pattern_{}", p.line), p.bytes.clone()))
            .collect()
    }

    /// Whether any pattern is in the payload; adds one to the counter of each that is.
    #[inline]
    fn find(&mut self, payload: &[u8], hits: &Counters<Vec<u8>>) -> bool {
        // Most packets hold none: the first search ends there, and can skip ahead as the other cannot.
        let Some(first) = self.automaton.find(payload) else {
            return false;
        };
        self.packet += 1;
        // A pattern may lie inside another or overlap it, and may have begun before the first that ended.
        let from = first.end().saturating_sub(self.automaton.max_pattern_len());
        for found in self
            .automaton
            .find_overlapping_iter(payload.get(from..).unwrap_or_default())
        {
            let pattern = found.pattern().as_usize();
            let last = std::mem::replace(&mut self.last_packet[pattern], self.packet);
            if last != self.packet
                && let Some(place) = self.places.get(pattern)
            {
                hits.hit(*place);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
