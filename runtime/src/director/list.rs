//! Entries as instances and operators see them.

use std::time::Instant;

use nflib::flows::{FlowListed, FlowMatch};
use onvm_api as wire;

use super::{Director, Record, grants::GrantUse};

impl Director {
    /// Entries of a service with ids after this one.
    pub(super) fn listed(&self, nf: &str, after: u64, most: usize) -> Vec<FlowListed> {
        let ids = self.of_nf.get(nf).into_iter();
        let slots = ids.flat_map(|ids| ids.range(after.saturating_add(1)..).map(|(_, slot)| *slot));
        let records = slots.filter_map(|slot| self.record(slot));
        let listed = records.take(most).map(|record| {
            let (packets, bytes) = record.entry.counts.total();
            FlowListed {
                id: record.entry.id,
                entry: record.asked.clone(),
                packets,
                bytes,
            }
        });
        listed.collect()
    }

    /// A page of the entries that an operator asks for.
    pub(crate) fn page(&self, request: &wire::FlowsRequest, now: Instant) -> wire::FlowsReply {
        let limit = request.limit.min(wire::MOST_FLOWS);
        let chosen = self
            .after(request.after)
            .filter(|record| self.is_of(record, &request.which));
        let mut entries: Vec<wire::FlowEntry> = chosen
            .take(limit + 1)
            .map(|record| self.shown(record, now))
            .collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        wire::FlowsReply {
            version: wire::API_VERSION,
            total: self.len() as u64,
            entries,
            more,
        }
    }

    pub(super) fn is_of(&self, record: &Record, which: &wire::WhichFlows) -> bool {
        let (port, _) = self.grants.names(&record.entry);
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        is(&which.port, port)
            && is(&which.nf, &record.nf)
            && which.cookie.is_none_or(|cookie| cookie == record.asked.cookie)
            && (which.ids.is_empty() || which.ids.contains(&record.entry.id))
    }

    fn after(&self, id: u64) -> impl Iterator<Item = &Record> {
        let slots = self.by_id.range(id.saturating_add(1)..).map(|(_, slot)| *slot);
        slots.filter_map(|slot| self.record(slot))
    }

    fn shown(&self, record: &Record, now: Instant) -> wire::FlowEntry {
        let (port, chain) = self.grants.names(&record.entry);
        let (packets, bytes) = record.entry.counts.total();
        let asked = &record.asked;
        wire::FlowEntry {
            id: record.entry.id,
            nf: record.nf.to_string(),
            port: port.to_owned(),
            flow: match &asked.matches {
                FlowMatch::Flow(key) | FlowMatch::BothWays(key) => Some(key.to_string()),
                FlowMatch::Filter(_) => None,
            },
            both_ways: matches!(asked.matches, FlowMatch::BothWays(_)),
            filter: match &asked.matches {
                FlowMatch::Filter(filter) => Some(filter.to_string()),
                FlowMatch::Flow(_) | FlowMatch::BothWays(_) => None,
            },
            chain: chain.to_owned(),
            priority: asked.priority,
            cookie: asked.cookie,
            idle_ms: asked.idle_ms,
            hard_ms: asked.hard_ms,
            keep: asked.keep,
            age_ms: now.saturating_duration_since(record.began).as_millis() as u64,
            packets,
            bytes,
        }
    }

    /// What has come of each permission.
    pub(crate) fn used(&self) -> impl Iterator<Item = GrantUse<'_>> {
        self.grants.used()
    }
}
