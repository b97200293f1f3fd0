//! What an NF's manifest declares, and whether the NF keeps to it.

use super::{
    Handled,
    fields::{Fields, PAYLOAD},
};
use crate::Verdict;

/// The headers whose fields are found in a packet; manifests may name others, such as `gtp`.
const HEADERS: [&str; 7] = ["ether", "vlan", "ip", "tcp", "udp", "sctp", "icmp"];

/// The part of an NF's manifest that shows when it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// `effects.writes`: header fields as `ip.src`, and headers as `ip`, which stand for all their fields.
    pub writes: Vec<String>,
    /// `effects.payload` is `write`.
    pub writes_payload: bool,
    /// `effects.generates`.
    pub generates: bool,
    /// Names of the `outputs`, in order.
    pub outputs: Vec<String>,
}

impl Declared {
    /// Whether the NF gets its packets mapped writable.
    pub fn is_writable(&self) -> bool {
        !self.writes.is_empty() || self.writes_payload || self.generates
    }

    /// Whether the NF may do this with the frame `before`. The error says what it may not, and names the remedy.
    pub(super) fn check(&self, before: &[u8], handled: &Handled) -> Result<(), String> {
        self.check_verdict(handled.verdict)?;
        self.check_writes(before, &handled.data)
    }

    pub(super) fn check_verdict(&self, verdict: Verdict) -> Result<(), String> {
        match verdict {
            Verdict::Output(index) if usize::from(index) >= self.outputs.len() => Err(format!(
                "the NF chose output {index}, which its manifest does not declare: expected the index of one of its {} `outputs`, \
                 which `Params::output` finds by name",
                self.outputs.len()
            )),
            _ => Ok(()),
        }
    }

    fn check_writes(&self, before: &[u8], after: &[u8]) -> Result<(), String> {
        if before == after {
            return Ok(());
        }
        let mut changed = match before.len() == after.len() {
            true => Fields::of(before).changed(before, after),
            false => {
                self.check_resized(before.len(), after.len())?;
                Fields::resized(before, after)
            }
        };
        changed.retain(|(field, _)| !self.covers(field));
        let Some(&(_, first)) = changed.first() else {
            return Ok(());
        };
        let (payload, fields): (Vec<&str>, Vec<&str>) = changed
            .iter()
            .map(|(field, _)| *field)
            .partition(|field| *field == PAYLOAD);
        let quoted = |quote: char| {
            fields
                .iter()
                .map(|f| format!("{quote}{f}{quote}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut what = Vec::new();
        let mut remedy = Vec::new();
        if !fields.is_empty() {
            what.push(quoted('`'));
            remedy.push(format!("{} to `writes`", quoted('"')));
        }
        if !payload.is_empty() {
            what.push("the payload".to_owned());
            remedy.push("`payload = \"write\"`".to_owned());
        }
        Err(format!(
            "the NF changed {} (from byte {first}), which its manifest does not declare: add {} in `[effects]`, or leave \
             the packet as it is",
            what.join(" and "),
            remedy.join(" and ")
        ))
    }

    /// Proofs take an NF that writes payloads for one that may change every byte and the length, and no other for it.
    fn check_resized(&self, before: usize, after: usize) -> Result<(), String> {
        match self.writes_payload {
            true => Ok(()),
            false => Err(format!(
                "the NF changed the packet's length from {before} to {after}, which its manifest does not declare: add \
                 `payload = \"write\"` in `[effects]`, or leave the packet as it is"
            )),
        }
    }

    fn covers(&self, field: &str) -> bool {
        let names = |written: &str| {
            let rest = field.strip_prefix(written);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let header = |written: &String| written.split('.').next().unwrap_or_default().to_owned();
        let mut headers = self.writes.iter().map(header);
        match field {
            // A header that is not known here is payload.
            PAYLOAD => self.writes_payload || headers.any(|header| !HEADERS.contains(&header.as_str())),
            // Need not be named by an NF that writes anything that they cover.
            _ if field.ends_with(".checksum") && (self.writes_payload || headers.any(|h| h != "ether")) => {
                true
            }
            _ => self.writes.iter().any(|written| names(written)),
        }
    }
}
