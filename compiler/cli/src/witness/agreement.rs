//! The interpreter's expectation of a run, compared with the run.

use std::collections::{BTreeMap, HashMap};

use onvm_captures::{Capture, CaptureError};
use onvmc::{
    interpret::{Exit, Interpreter},
    traffic::Way,
};

use crate::replay::Seen;

/// More disagreements are only counted.
const MAX_SHOWN: usize = 20;

/// The fate of some packets.
#[derive(Debug, Default)]
pub(super) struct Expected<'w> {
    /// What leaves by each port, in the order of the ways.
    leaving: BTreeMap<&'w str, Vec<&'w [u8]>>,
    /// Packets that arrive at each hop, by chain and number.
    hops: BTreeMap<(String, usize), u64>,
    /// Packets that are dropped, by reason.
    drops: BTreeMap<&'static str, u64>,
}

impl<'w> Expected<'w> {
    pub(super) fn new(interpreter: &Interpreter<'_>, ways: &[&'w Way]) -> Self {
        let mut expected = Self::default();
        for way in ways {
            for step in &way.path.steps {
                if let Some((chain, hop)) = interpreter.place(step) {
                    *expected.hops.entry((chain.name.clone(), hop)).or_default() += 1;
                }
            }
            match (way.path.exit, &way.story.exit.port) {
                (Exit::Port(_), Some(port)) => expected.leaving.entry(port).or_default().push(&way.leaves),
                (Exit::Dropped(reason), _) => *expected.drops.entry(reason.name()).or_default() += 1,
                (Exit::Port(_), None) => {}
            }
        }
        expected
    }

    pub(super) fn leaving(&self, port: &str) -> &[&'w [u8]] {
        self.leaving.get(port).map(Vec::as_slice).unwrap_or_default()
    }

    /// In which points the run was another, for people.
    ///
    /// # Errors
    /// A capture of the run that cannot be read.
    pub(super) fn compare(&self, seen: &Seen) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        if !seen.summary.balanced {
            lines.push("packets were lost without being counted".to_owned());
        }
        self.compare_hops(seen, &mut lines);
        self.compare_drops(seen, &mut lines);
        for port in &seen.summary.ports {
            lines.extend(self.compare_output(&port.name, seen)?);
        }
        if lines.len() > MAX_SHOWN {
            let left = lines.len() - MAX_SHOWN;
            lines.truncate(MAX_SHOWN);
            lines.push(format!("and in {left} more points"));
        }
        Ok(lines)
    }

    fn compare_hops(&self, seen: &Seen, lines: &mut Vec<String>) {
        for chain in &seen.summary.chains {
            for (n, hop) in chain.hops.iter().enumerate() {
                let wanted = self.hops.get(&(chain.name.clone(), n)).copied().unwrap_or(0);
                if hop.packets != wanted {
                    lines.push(format!(
                        "hop {n} of `{}` (`{}`): expected {wanted} packets, got {}",
                        chain.name, hop.at, hop.packets
                    ));
                }
            }
        }
    }

    fn compare_drops(&self, seen: &Seen, lines: &mut Vec<String>) {
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for drop in &seen.summary.drops {
            *found.entry(&drop.reason).or_default() += drop.packets;
        }
        let reasons = self.drops.keys().copied().chain(found.keys().copied());
        let reasons: std::collections::BTreeSet<&str> = reasons.collect();
        for reason in reasons {
            let wanted = self.drops.get(reason).copied().unwrap_or(0);
            let were = found.get(reason).copied().unwrap_or(0);
            if wanted != were {
                lines.push(format!(
                    "drops by reason `{reason}`: expected {wanted} packets, got {were}"
                ));
            }
        }
    }

    /// In any order, since NFs run beside each other.
    fn compare_output(&self, port: &str, seen: &Seen) -> Result<Vec<String>, String> {
        let wanted = self.leaving(port);
        let mut missing: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (n, frame) in wanted.iter().enumerate() {
            missing.entry(frame).or_default().push(n + 1);
        }
        let mut lines = Vec::new();
        let unread = |e: CaptureError| e.to_string();
        let read = Capture::open(&seen.output(port))
            .map_err(unread)?
            .for_each(|packet| {
                let known = missing.get_mut(packet.data).and_then(Vec::pop);
                if known.is_none() {
                    lines.push(format!(
                        "packet {} that leaves by `{port}` is not expected there",
                        packet.number
                    ));
                }
            });
        read.map_err(unread)?;
        let mut missing: Vec<usize> = missing.into_values().flatten().collect();
        missing.sort_unstable();
        lines.extend(
            missing.iter().map(|n| {
                format!("packet {n} that is expected to leave by `{port}` (out-{port}.pcap) did not")
            }),
        );
        Ok(lines)
    }
}
