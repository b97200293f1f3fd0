//! When entries end by themselves: after a time, and after a time without packets.
//!
//! Workers only count. An entry is looked at after each quarter of its idle timeout: where its count is what it was for so long, it
//! ends. So it ends at most a quarter too late, and no packet costs a look at a clock.

use std::{
    cmp::Reverse,
    sync::Arc,
    time::{Duration, Instant},
};

use nflib::flows::FlowEnd;

use super::{Changes, Director, Draft, Record};

/// The shortest time between looks at one entry.
const SHORTEST_CHECK: Duration = Duration::from_millis(20);
/// Times that are noted and of the past, beside twice as many as there are entries.
const MOST_PAST: usize = 1024;
/// Entries that are looked at in one tick.
const MOST_CHECKS: usize = 50_000;

impl Director {
    /// Times that are noted.
    #[cfg(test)]
    pub(crate) fn noted(&self) -> usize {
        self.due.len()
    }

    /// Works out when to look at an entry next.
    pub(super) fn schedule(&mut self, slot: u32, now: Instant) {
        let Some(Some(record)) = self.records.get_mut(slot as usize) else {
            return;
        };
        let after = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
        let hard = after(record.asked.hard_ms).map(|hard| record.began + hard);
        let idle = after(record.asked.idle_ms).map(|idle| {
            let next = now + (idle / 4).max(SHORTEST_CHECK);
            next.min((record.seen.1 + idle).max(now + SHORTEST_CHECK))
        });
        self.look_at(slot, hard.into_iter().chain(idle).min());
    }

    /// Notes when to look at an entry. What was noted before stays until then, or until there is more of that than of entries: an NF
    /// that changes entries without end must not fill the manager's memory.
    fn look_at(&mut self, slot: u32, at: Option<Instant>) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            record.check = at;
            self.due.extend(at.map(|at| Reverse((at, record.entry.id))));
        }
        if self.due.len() > 2 * self.by_id.len() + MOST_PAST {
            let records = self.records.iter().flatten();
            let due = records.filter_map(|record| Some(Reverse((record.check?, record.entry.id))));
            self.due = due.collect();
        }
    }

    /// Ends the entries whose time is over; what is to be sent to the workers, if anything.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Arc<Changes>> {
        let mut draft = Draft::default();
        for _ in 0..MOST_CHECKS {
            let Some(&Reverse((at, id))) = self.due.peek().filter(|Reverse((at, _))| *at <= now) else {
                break;
            };
            self.due.pop();
            let Some(&slot) = self.by_id.get(&id) else {
                continue;
            };
            match self.records.get_mut(slot as usize) {
                Some(Some(record)) if record.check != Some(at) => {}
                Some(Some(record)) if record.entry.matches.filter().is_some() && now < self.index_from => {
                    let at = self.index_from;
                    self.look_at(slot, Some(at));
                }
                Some(Some(record)) => match record.over(now) {
                    Some(why) => self.end(&mut draft, slot, why),
                    None => self.schedule(slot, now),
                },
                _ => {}
            }
        }
        (!draft.steps.is_empty()).then(|| self.finish_draft(draft, None, None))
    }
}

impl Record {
    /// Why its time is over, if it is.
    fn over(&mut self, now: Instant) -> Option<FlowEnd> {
        let after = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
        if after(self.asked.hard_ms).is_some_and(|hard| self.began + hard <= now) {
            return Some(FlowEnd::Hard);
        }
        let idle = after(self.asked.idle_ms)?;
        let (packets, _) = self.entry.counts.total();
        if packets != self.seen.0 {
            self.seen = (packets, now);
        }
        (self.seen.1 + idle <= now).then_some(FlowEnd::Idle)
    }
}
