//! Looks for many literal patterns at once in each packet's payload, by the Aho-Corasick automaton (Aho, Corasick:
//! "Efficient string matching", 1975) of the `aho-corasick` crate: the cost does not grow with the number of patterns.
//!
//! Each packet stands for itself: a pattern that is split over two TCP segments or IP fragments is not found.

pub mod patterns;

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use nflib::{
    Burst, Counter, FileMistake, Nf, Params, Reconfigured, Setup, SetupError, Verdict, headers::Headers,
};
use serde::Deserialize;

use self::patterns::Pattern;
use crate::{
    Model,
    files::{parsed, refused},
};

/// Index in the manifest's outputs.
const MATCH: u16 = 0;
/// Patterns with a hit counter of their own, at most; the instance's region holds 4096 counters in all.
const MAX_PATTERN_COUNTERS: usize = 1024;
/// The shared counter's place in [`PayloadScan::hits`].
const OTHERS: usize = 0;

#[derive(Debug)]
pub struct PayloadScan {
    search: Search,
    hits: Vec<PatternCounter>,
    /// The counter in `hits` of each line of the patterns file that has one.
    by_line: BTreeMap<usize, usize>,
    /// Whether the first patterns had more lines than there are counters.
    overflow: bool,
    scanned: Counter,
    skipped: Counter,
    bytes: Counter,
    matched: Counter,
}

/// What parameters say.
#[derive(Debug)]
struct Search {
    patterns: Vec<Pattern>,
    any_case: bool,
    automaton: AhoCorasick,
    on_match: Verdict,
    /// Index in [`PayloadScan::hits`] for each pattern.
    counters: Vec<usize>,
    /// For each pattern, the number of the last packet that held it, so that it counts once for a packet.
    last_packet: Vec<u64>,
    packet: u64,
}

#[derive(Debug)]
struct PatternCounter {
    counter: Counter,
    /// The pattern that it counts; empty when there is none at present.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnMatch {
    Output,
    Drop,
}

impl Nf for PayloadScan {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let search = Search::new(&setup.params)?;
        let mut scan = Self {
            scanned: setup.counter("scanned")?,
            skipped: setup.counter("skipped")?,
            bytes: setup.counter("bytes")?,
            matched: setup.counter("matched")?,
            hits: vec![PatternCounter {
                counter: setup.counter("pattern_others")?,
                bytes: Vec::new(),
            }],
            by_line: BTreeMap::new(),
            overflow: false,
            search,
        };
        for pattern in scan.search.patterns.iter().take(MAX_PATTERN_COUNTERS) {
            match setup.counter(format!("pattern_{}", pattern.line)) {
                Ok(counter) => {
                    scan.by_line.insert(pattern.line, scan.hits.len());
                    scan.hits.push(PatternCounter {
                        counter,
                        bytes: pattern.bytes.clone(),
                    });
                }
                // The region is full: the remaining patterns share `pattern_others`.
                Err(SetupError::Counters(_)) => break,
                Err(e) => return Err(e),
            }
        }
        scan.overflow = scan.by_line.len() < scan.search.patterns.len();
        let counters = scan.counters_for(&scan.search.patterns);
        scan.search.counters = counters.into_iter().map(|c| c.unwrap_or(OTHERS)).collect();
        Ok(scan)
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let (mut scanned, mut skipped, mut bytes, mut matched) = (0, 0, 0, 0);
        for mut packet in burst.packets() {
            let data = packet.data();
            let headers = Headers::parse(data);
            if !headers.is_ip() {
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
        let counters = self.counters_for(&search.patterns);
        if counters.contains(&None) && !self.overflow {
            return Ok(Reconfigured::Unsupported);
        }
        search.counters = counters.into_iter().map(|c| c.unwrap_or(OTHERS)).collect();
        let new: BTreeMap<usize, &[u8]> = search
            .patterns
            .iter()
            .map(|p| (p.line, p.bytes.as_slice()))
            .collect();
        for (line, &index) in &self.by_line {
            let bytes = new.get(line).copied().unwrap_or_default();
            if let Some(hits) = self.hits.get_mut(index)
                && hits.bytes != bytes
            {
                hits.counter.set(0);
                hits.bytes = bytes.to_vec();
            }
        }
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
        found: search.on_match,
    })
}

impl PayloadScan {
    /// For each pattern the counter of its line, if that has one.
    fn counters_for(&self, patterns: &[Pattern]) -> Vec<Option<usize>> {
        patterns
            .iter()
            .map(|p| self.by_line.get(&p.line).copied())
            .collect()
    }
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
            OnMatch::Output => Verdict::Output(MATCH),
            OnMatch::Drop => Verdict::Drop,
        };
        let last_packet = vec![0; patterns.len()];
        Ok(Self {
            patterns,
            any_case: !case_sensitive,
            automaton,
            on_match,
            counters: Vec::new(),
            last_packet,
            packet: 0,
        })
    }

    /// Whether any pattern is in the payload; adds one to the counter of each that is.
    #[inline]
    fn find(&mut self, payload: &[u8], hits: &[PatternCounter]) -> bool {
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
                && let Some(hits) = self.counters.get(pattern).and_then(|&c| hits.get(c))
            {
                hits.counter.add(1);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
