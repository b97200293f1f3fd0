//! Flow entries: what an NF puts in front of a port's rules while it runs.
//!
//! An entry sends the packets that it matches into a chain, from the moment when they come in by the port. Where the program says
//! `allow NF to program PORT { FILTER -> CHAIN, … }`, the NF may make entries that lead to these chains, and an entry takes packets
//! of the filters that name its chain, and no others. Of several entries that take a packet the one with the highest priority
//! decides; of those with the same priority one for a flow goes before one by a filter, and else the older.
//!
//! An entry is known by its port, what it matches, and its priority: adding another one with the same changes it, and its
//! counters go on. Entries belong to the service: an instance that is started again, and its siblings, can change and remove them.
//!
//! Requests are carried out in order, by all workers. [`Nf::flow_news`](crate::Nf::flow_news) says when.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use onvm_filter::FlowMatch;
use serde::{Deserialize, Serialize};

/// Requests that may wait in an NF until the manager takes them.
pub const MOST_WAITING: usize = 8192;
/// Bytes of a filter's lowered text.
pub const LONGEST_FILTER: usize = 4096;
/// Bytes of the requests in one message.
const MESSAGE: usize = 48 << 10;

/// A chain that entries of a port may lead to; see [`Params::target`](crate::Params::target).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Target(pub(crate) u16);

impl Target {
    /// The place in the manager's list.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEntry {
    /// Of a chain, and thereby of a port.
    pub target: Target,
    /// A filter has at most [`LONGEST_FILTER`] bytes of text.
    pub matches: FlowMatch,
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u16,
    /// Milliseconds without a packet after which the entry ends; it takes up to a quarter longer. None: it does not end thereby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
    /// Milliseconds after which it ends, whatever comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_ms: Option<u32>,
    /// The NF's own mark on the entry; the manager shows it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cookie: u64,
    /// It stays when the last instance of the service has ended for good.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl FlowEntry {
    pub fn new(target: Target, matches: FlowMatch) -> Self {
        Self {
            target,
            matches,
            priority: 0,
            idle_ms: None,
            hard_ms: None,
            cookie: 0,
            keep: false,
        }
    }

    #[must_use]
    pub fn priority(mut self, priority: u16) -> Self {
        self.priority = priority;
        self
    }

    /// Of 1 ms to 49 days.
    #[must_use]
    pub fn idle(mut self, timeout: Duration) -> Self {
        self.idle_ms = Some(milliseconds(timeout));
        self
    }

    /// Of 1 ms to 49 days.
    #[must_use]
    pub fn hard(mut self, timeout: Duration) -> Self {
        self.hard_ms = Some(milliseconds(timeout));
        self
    }

    #[must_use]
    pub fn cookie(mut self, cookie: u64) -> Self {
        self.cookie = cookie;
        self
    }

    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }
}

fn milliseconds(time: Duration) -> u32 {
    time.as_millis().clamp(1, u128::from(u32::MAX)) as u32
}

/// What an NF asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowRequest {
    /// Adds an entry, or changes the one with the same port, match and priority.
    Put(FlowEntry),
    /// Removes an entry of the target's port, wherever it leads.
    Remove {
        target: Target,
        matches: FlowMatch,
        #[serde(default, skip_serializing_if = "is_default")]
        priority: u16,
    },
    /// Asks for the service's entries with ids after this one: [`FlowNews::listed`] has the first of them.
    List { after: u64 },
}

impl FlowRequest {
    /// About how many bytes it takes in a message, at most.
    fn bytes(&self) -> usize {
        let matches = match self {
            Self::Put(entry) => &entry.matches,
            Self::Remove { matches, .. } => matches,
            Self::List { .. } => return 64,
        };
        matches
            .filter()
            .map_or(330, |filter| 256 + filter.to_string().len())
    }
}

/// What has become of requests and entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowNews {
    /// Every worker obeys the requests with numbers below this one, except for those that were refused.
    pub done: u64,
    /// Numbers, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(u64, String)>,
    /// The service's entries that have ended, if this instance was the one that made or last changed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<FlowEnded>,
    /// The answer to [`Flows::list`], in the order of ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<FlowListed>,
    /// News that were left out, since the instance did not read those before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missed: u64,
}

/// An entry that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowEnded {
    pub entry: FlowEntry,
    pub why: FlowEnd,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why an entry has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    Idle,
    Hard,
    /// An instance of the service removed it, or an operator.
    Removed,
    /// The program does not permit it any more, or its chain is gone.
    NotPermitted,
    /// The service has ended.
    ServiceEnded,
}

/// An entry as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowListed {
    /// Rises with each new entry.
    pub id: u64,
    pub entry: FlowEntry,
    pub packets: u64,
    pub bytes: u64,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlowsError {
    #[error("{MOST_WAITING} requests about flow entries wait for the manager; ask again later")]
    Full,
    #[error("the filter of a flow entry has more than {LONGEST_FILTER} bytes")]
    TooLong,
}

/// The way to program flows; see [`Setup::flows`](crate::Setup::flows). A copy is the same.
#[derive(Debug, Clone, Default)]
pub struct Flows(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: std::collections::VecDeque<FlowRequest>,
    /// The number of the first that waits.
    first: u64,
}

impl Flows {
    /// Adds an entry, or changes the one with the same port, match and priority. Gives the request's number, from 0 on.
    pub fn put(&self, entry: FlowEntry) -> Result<u64, FlowsError> {
        self.ask(FlowRequest::Put(entry))
    }

    /// Removes an entry of the port of `target`, whichever target it has.
    pub fn remove(&self, target: Target, matches: FlowMatch, priority: u16) -> Result<u64, FlowsError> {
        self.ask(FlowRequest::Remove {
            target,
            matches,
            priority,
        })
    }

    /// Asks for the service's entries with ids after this one. The answer has some of the first; where it has none, there
    /// are none.
    pub fn list(&self, after: u64) -> Result<u64, FlowsError> {
        self.ask(FlowRequest::List { after })
    }

    /// Requests that the manager has not taken yet.
    pub fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    fn ask(&self, request: FlowRequest) -> Result<u64, FlowsError> {
        let mut queue = self.queue();
        if request.bytes() > LONGEST_FILTER + 256 {
            return Err(FlowsError::TooLong);
        }
        if queue.waiting.len() >= MOST_WAITING {
            return Err(FlowsError::Full);
        }
        queue.waiting.push_back(request);
        Ok(queue.first + queue.waiting.len() as u64 - 1)
    }

    /// As many as one message has room for, and the number of the first; none where none waits.
    pub(crate) fn take(&self) -> Option<(u64, Vec<FlowRequest>)> {
        let mut queue = self.queue();
        let first = queue.first;
        let (mut taken, mut room) = (Vec::new(), MESSAGE);
        while let Some(request) = queue.waiting.front() {
            match room.checked_sub(request.bytes()) {
                Some(left) => room = left,
                None => break,
            }
            taken.extend(queue.waiting.pop_front());
        }
        queue.first += taken.len() as u64;
        (!taken.is_empty()).then_some((first, taken))
    }

    /// Nobody panics while holding it; if somebody did, the queue would still be one.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use onvm_filter::{Expr, flow::FlowKey};

    use super::*;
    use crate::session::{FromNf, MAX_MESSAGE};

    fn key(n: u64) -> FlowKey {
        FlowKey([n | !0 << 32, !0, !0, !0, !0, !0])
    }

    fn entry(n: u64) -> FlowEntry {
        FlowEntry::new(Target(u16::MAX), FlowMatch::BothWays(key(n)))
            .priority(u16::MAX)
            .idle(Duration::MAX)
            .hard(Duration::MAX)
            .cookie(u64::MAX)
            .keep()
    }

    #[test]
    fn requests_keep_their_order_and_numbers_and_fit_messages() {
        let flows = Flows::default();
        let filter = format!("(or{})", " (tcp-port dst 65535)".repeat(190));
        let filter: Expr = filter.parse().unwrap();
        let request = |n: u64| match n % 3 {
            0 => FlowRequest::Put(entry(n)),
            1 => FlowRequest::List { after: n },
            _ => FlowRequest::Remove {
                target: Target(3),
                matches: FlowMatch::Filter(filter.clone()),
                priority: 7,
            },
        };
        for n in 0..1000 {
            assert_eq!(flows.ask(request(n)), Ok(n));
        }
        let mut next = 0;
        while let Some((first, requests)) = flows.take() {
            assert_eq!(first, next);
            next += requests.len() as u64;
            for (n, request_) in (first..).zip(&requests) {
                assert_eq!(*request_, request(n));
            }
            let text = serde_json::to_vec(&FromNf::Flows { first, requests }).unwrap();
            assert!(text.len() <= MAX_MESSAGE, "{}", text.len());
            let FromNf::Flows { requests, .. } = serde_json::from_slice(&text).unwrap() else {
                unreachable!()
            };
            assert_eq!(requests[0], request(first));
        }
        assert_eq!((next, flows.waiting()), (1000, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let flows = Flows::default();
        let filter = format!("(or{})", " (tcp-port dst 65535)".repeat(1000));
        let long = FlowEntry::new(Target(0), FlowMatch::Filter(filter.parse().unwrap()));
        assert_eq!(flows.put(long), Err(FlowsError::TooLong));
        for n in 0..MOST_WAITING as u64 {
            assert_eq!(flows.put(entry(n)), Ok(n));
        }
        assert_eq!(flows.put(entry(0)), Err(FlowsError::Full));
        assert!(flows.take().is_some());
        assert_eq!(flows.put(entry(0)), Ok(MOST_WAITING as u64));
    }
}
