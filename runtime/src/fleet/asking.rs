//! What an instance asks about flow entries, and what it is told: so many requests at a time, no more in a second than workers can
//! carry out beside their work, and no more news than it reads.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nflib::{
    flows::{FlowMatch, FlowNews, FlowRequest},
    session::{self, MAX_MESSAGE, ToNf},
};

use super::closing::NfSocket;
use crate::director::{News, PARTS};

/// What a request takes of the time of workers and of the control thread, at least.
const OF_A_FLOW: Duration = Duration::from_micros(2);
/// A port's entries by filter get another index, which takes more time besides the more there are.
const OF_A_FILTER: Duration = Duration::from_millis(2);
const OF_A_LIST: Duration = Duration::from_micros(200);
/// So much may be asked at once.
const BURST: Duration = Duration::from_millis(50);
/// Requests that are not answered yet, with which no further message is read.
const MOST_UNANSWERED: u64 = 4096;
/// Messages that may wait for an instance which does not read; of what is to be told beyond, only the number is.
const MOST_WAITING: usize = 64;

/// The requests and news of one life of an instance.
#[derive(Debug)]
pub(super) struct Asking {
    /// How often the instance had been started before.
    pub(super) life: u32,
    /// The number of its next request.
    next: u64,
    /// The requests below this number are answered.
    answered: u64,
    /// When it may ask again.
    pub(super) from: Instant,
    /// Of the last news.
    done: u64,
    waiting: VecDeque<FlowNews>,
    missed: u64,
}

impl Asking {
    pub(super) fn new(life: u32) -> Self {
        let now = Instant::now();
        Self {
            life,
            next: 0,
            answered: 0,
            from: now.checked_sub(BURST).unwrap_or(now),
            done: 0,
            waiting: VecDeque::new(),
            missed: 0,
        }
    }

    /// Whether its next message may be read: most of what it asked has been answered, and it has read that.
    pub(super) fn may_ask(&self) -> bool {
        self.next.saturating_sub(self.answered) < MOST_UNANSWERED && self.waiting.is_empty()
    }

    /// It asks; the reason where it must not.
    pub(super) fn ask(&mut self, first: u64, requests: &[FlowRequest]) -> Result<(), String> {
        if first != self.next || requests.is_empty() {
            return Err(format!(
                "it sent {} requests about flow entries from number {first} on, where {} was next",
                requests.len(),
                self.next
            ));
        }
        self.next = first
            .checked_add(requests.len() as u64)
            .ok_or("its requests have come to an end")?;
        self.charge(requests.iter().map(takes).sum());
        Ok(())
    }

    /// What it asked or said takes so much time, which it does not ask anything in.
    pub(super) fn charge(&mut self, takes: Duration) {
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(self.from);
        self.from = self.from.max(earliest) + takes;
    }

    /// There are news for it.
    pub(super) fn hear(
        &mut self,
        News {
            life, index, news, ..
        }: News,
    ) {
        if life.is_some_and(|life| life != self.life) {
            return;
        }
        let answers = life.is_some();
        if answers {
            self.answered = self.answered.max(news.done);
            self.from = self.from.max(Instant::now() + index * PARTS);
        } else if self.waiting.len() >= MOST_WAITING {
            self.missed += news.ended.len() as u64;
            return;
        }
        let before = self.done;
        self.done = before.max(news.done);
        for (last, mut part) in parts(news) {
            part.done = if last { self.done } else { before };
            part.missed = std::mem::take(&mut self.missed);
            self.waiting.push_back(part);
        }
    }

    /// Whether something waits to be sent.
    pub(super) fn has_news(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what there is room for; says whether anything was sent.
    pub(super) fn send(&mut self, socket: &NfSocket) -> std::io::Result<bool> {
        let mut sent = false;
        while let Some(news) = self.waiting.front() {
            if !session::try_send(socket, &session::encode(&ToNf::Flows(news.clone()))?)? {
                break;
            }
            self.waiting.pop_front();
            sent = true;
        }
        Ok(sent)
    }
}

fn takes(request: &FlowRequest) -> Duration {
    let matches = match request {
        FlowRequest::Put(entry) => &entry.matches,
        FlowRequest::Remove { matches, .. } => matches,
        FlowRequest::List { .. } => return OF_A_LIST,
    };
    match matches {
        FlowMatch::Filter(_) => OF_A_FILTER,
        FlowMatch::Flow(_) | FlowMatch::BothWays(_) => OF_A_FLOW,
    }
}

/// News in parts that fit messages, and which of them is the last.
fn parts(news: FlowNews) -> Vec<(bool, FlowNews)> {
    let mut parts = Vec::new();
    split(news, &mut parts);
    let count = parts.len();
    (1..).map(|n| n == count).zip(parts).collect()
}

fn split(mut news: FlowNews, parts: &mut Vec<FlowNews>) {
    let message = ToNf::Flows(news.clone());
    let fits = serde_json::to_vec(&message).is_ok_and(|text| text.len() <= MAX_MESSAGE);
    let longest = news.refused.len().max(news.ended.len()).max(news.listed.len());
    if fits || longest < 2 {
        parts.push(news);
        return;
    }
    fn half<T>(list: &mut Vec<T>) -> Vec<T> {
        list.split_off(list.len() / 2)
    }
    let second = FlowNews {
        done: news.done,
        refused: half(&mut news.refused),
        ended: half(&mut news.ended),
        listed: half(&mut news.listed),
        missed: 0,
    };
    split(news, parts);
    split(second, parts);
}

#[cfg(test)]
mod tests {
    use nflib::flows::{FlowEnd, FlowEnded, FlowEntry, FlowListed, Target};

    use super::*;

    fn entry(bytes: usize) -> FlowEntry {
        let filter = format!("(or{})", " (tcp-port dst 65535)".repeat((bytes / 21).max(2)));
        let target: Target = serde_json::from_str("3").unwrap();
        FlowEntry::new(target, FlowMatch::Filter(filter.parse().unwrap()))
    }

    #[test]
    fn news_are_told_in_order_and_in_messages_that_fit() {
        let mut asking = Asking::new(2);
        let list = vec![FlowRequest::List { after: 0 }; MOST_UNANSWERED as usize];
        asking.ask(0, &list[1..]).unwrap();
        assert!(asking.may_ask());
        asking.ask(MOST_UNANSWERED - 1, &list[..1]).unwrap();
        assert!(!asking.may_ask());
        let (packets, bytes) = (1, 2);
        let ended = |_| FlowEnded {
            entry: entry(4000),
            why: FlowEnd::Idle,
            packets,
            bytes,
        };
        let listed = |id| FlowListed {
            id,
            entry: entry(4000),
            packets,
            bytes,
        };
        let news = |life, done| News {
            instance: 0,
            life,
            nf: "sdn".into(),
            index: Duration::from_millis(20),
            news: FlowNews {
                done,
                refused: (0..3000).map(|n| (n, "x".repeat(100))).collect(),
                ended: (0..100).map(ended).collect(),
                listed: (0..100).map(listed).collect(),
                missed: 0,
            },
        };
        // What a former life asked is nobody's.
        asking.hear(news(Some(1), 1));
        assert!(!asking.may_ask() && !asking.has_news());
        let before = Instant::now();
        asking.hear(news(Some(2), 1));
        assert!(asking.waiting.len() > 10);
        let waits = asking.from.saturating_duration_since(before);
        assert!(waits >= Duration::from_millis(200), "for the index: {waits:?}");
        let told = std::mem::take(&mut asking.waiting);
        assert!(asking.may_ask());
        for part in &told {
            let text = serde_json::to_vec(&ToNf::Flows(part.clone())).unwrap();
            assert!(text.len() <= MAX_MESSAGE, "{}", text.len());
        }
        let all = |f: fn(&FlowNews) -> usize| told.iter().map(f).sum::<usize>();
        assert_eq!(
            [
                all(|n| n.refused.len()),
                all(|n| n.ended.len()),
                all(|n| n.listed.len())
            ],
            [3000, 100, 100]
        );
        let refused: Vec<u64> = told.iter().flat_map(|n| &n.refused).map(|(n, _)| *n).collect();
        assert!(refused.is_sorted());
        let done: Vec<u64> = told.iter().map(|news| news.done).collect();
        assert!(done.iter().rev().skip(1).all(|done| *done == 0));
        assert_eq!(done.last(), Some(&1));
    }

    #[test]
    fn one_that_does_not_read_misses_what_it_did_not_ask_for() {
        let mut asking = Asking::new(0);
        let ended = FlowEnded {
            entry: entry(40),
            why: FlowEnd::Hard,
            packets: 0,
            bytes: 0,
        };
        for _ in 0..100 {
            let news = FlowNews {
                ended: vec![ended.clone(); 2],
                ..FlowNews::default()
            };
            asking.hear(News {
                instance: 0,
                life: None,
                nf: "sdn".into(),
                index: Duration::ZERO,
                news,
            });
        }
        assert_eq!((asking.waiting.len(), asking.missed), (64, 72));
    }

    #[test]
    fn requests_come_in_order_and_take_their_time() {
        let mut asking = Asking::new(0);
        let flow = FlowRequest::Remove {
            target: serde_json::from_str("0").unwrap(),
            matches: FlowMatch::Flow(nflib::state::FlowKey([0; 6])),
            priority: 0,
        };
        let began = Instant::now();
        asking.ask(0, &vec![flow.clone(); 400]).unwrap();
        assert!(asking.from <= Instant::now(), "a few need not wait");
        asking.ask(401, std::slice::from_ref(&flow)).unwrap_err();
        asking.ask(400, &[]).unwrap_err();
        for n in 1..1000 {
            asking.ask(400 * n, &vec![flow.clone(); 400]).unwrap();
        }
        let ahead = asking.from.saturating_duration_since(began);
        // What is done meanwhile is not asked for in advance.
        let most = Duration::from_millis(900) + began.elapsed();
        assert!(
            ahead >= Duration::from_millis(600) && ahead < most,
            "{ahead:?} for 400,000 requests"
        );
    }
}
