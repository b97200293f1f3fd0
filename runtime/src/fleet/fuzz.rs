//! The conversation with an NF that says anything, for `cargo fuzz` and for tests.
//!
//! While it runs, it is offered other parameters, an operator asks it something, and a director takes what it asks about flow entries. The
//! bytes of an input are messages: right ones, right ones in the wrong order, damaged ones, too long ones, ones with
//! descriptors. They are all sent before the manager looks at the first, so that no input waits for time to pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "an input fails by a panic")]

use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, OnceLock},
};

use nflib::{
    FlowTarget,
    flows::{FlowEntry, FlowMatch, FlowRequest},
    layout::{ABI_VERSION, MAX_COUNTERS},
    memory::{self, Geometry},
    messages::Sent,
    session::{self, Configuration, FromNf, MAX_MESSAGE, ToNf},
};
use onvm_bundle::{Arm, CoreRequest, Program, Restart, SourceRef, filter::flow::FlowKey};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot::{self, error::TryRecvError},
};

use super::{
    Domains, InstanceSpec, PacketsOf, Shared, Supervisor,
    log::quote::{LONGEST_REASON, is_fit},
    messages::{Answer, Inbox, Letter},
    offer::Taken,
    register::{LONGEST_NAME, watch},
    running::Running,
    spec::Given,
    supervise::{End, Order, Report},
};
use crate::{
    director::{Client, Director},
    rundir::RunDir,
};

/// Messages of one input.
const MOST_MESSAGES: usize = 64;
/// What the manager says beside what it quotes.
const LONGEST_FRAME: usize = 200;
/// Its service, which may program this port for this chain.
const SERVICE: &str = "nf";
const AT: &str = "port";
const TO: &str = "chain";
/// Files of this name are counted.
const NAME: &str = "fuzzed-session";

struct Bench {
    supervisor: Supervisor,
    reports: UnboundedReceiver<(u16, Report)>,
    runtime: tokio::runtime::Runtime,
    /// What an NF passes.
    passed: OwnedFd,
}

/// What was sent: bytes, and how many descriptors with them.
type Message = (Vec<u8>, usize);

/// A conversation that came to `ready`.
#[derive(Debug)]
pub struct Heard {
    /// Their names.
    pub counters: Vec<String>,
    /// About flow entries.
    pub requests: u64,
}

/// How a conversation went, or why it failed.
pub type Outcome = Result<Heard, String>;

/// Runs one input.
pub fn run(input: &[u8]) -> Outcome {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let mut bench = BENCH.get_or_init(|| Mutex::new(Bench::new())).lock().unwrap();
    let before = open_files();
    let (manager, nf) = session::pair().unwrap();
    rustix::io::ioctl_fionbio(&nf, true).unwrap();
    let mut sent = Vec::new();
    for message in messages(input) {
        if send(&nf, &message, bench.passed.as_fd()) {
            sent.push(message);
        }
    }
    rustix::net::shutdown(&nf, Shutdown::Write).unwrap();
    let outcome = bench.talk(manager, &sent);
    let replies = replies(&nf);
    drop(nf);
    bench.runtime.block_on(bench.supervisor.closing.done());
    assert_eq!(open_files(), before, "descriptors were left open");
    match (&outcome, expected(&sent)) {
        (Ok(heard), Some(names)) => assert_eq!(heard.counters, names),
        (Err(why), None) => assert_bounded(why),
        (outcome, expected) => panic!("{outcome:?} in place of {expected:?}"),
    }
    for name in outcome.iter().flat_map(|heard| &heard.counters) {
        assert!(name.len() <= LONGEST_NAME && is_fit(name), "{name:?}");
    }
    assert_eq!(replies, expected_replies(&sent));
    outcome
}

impl Bench {
    fn new() -> Self {
        let geometry = Geometry {
            first: 0,
            buffers: 16,
            stride: 512,
            headroom: 128,
        };
        let base = std::env::temp_dir().join(format!("{NAME}-{}", std::process::id()));
        let run_dir = Arc::new(RunDir::lock(&base, "fuzz").unwrap());
        // Nothing listens in it, and nobody ends this process in order.
        std::fs::remove_dir_all(base).unwrap();
        let packets = memory::create_file(NAME, geometry.bytes(), false).unwrap();
        let domains = Domains::default();
        let read_only = memory::reopen_read_only(packets.as_fd()).unwrap();
        let packets = PacketsOf {
            writable: packets,
            read_only,
            geometry,
        };
        domains.add(None, packets);
        let shared = Shared {
            run_dir,
            domains: Arc::new(domains),
            workers: 1,
            ring: 64,
            node: None,
            jail: None,
            journal: Arc::default(),
            engine: Default::default(),
        };
        let spec = InstanceSpec {
            name: NAME.to_owned(),
            restart: Restart::Never,
            read_only: true,
            domain: None,
            given: Given {
                configuration: Configuration::default(),
                files: vec![Arc::from(&b"a file"[..])],
            },
            launch: None,
            writes: false,
            request: CoreRequest::default(),
            generates: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (reporter, reports) = unbounded_channel();
        Self {
            supervisor: Supervisor::new(0, spec, Arc::new(shared), reporter),
            reports,
            runtime: runtime.unwrap(),
            passed: memory::create_file(NAME, 4096, false).unwrap(),
        }
    }

    fn talk(&mut self, socket: OwnedFd, sent: &[Message]) -> Outcome {
        let Self {
            supervisor,
            reports,
            runtime,
            ..
        } = self;
        let (orders, receiver) = unbounded_channel();
        let mut control = Control::new(orders, supervisor.spec.given.clone());
        let outcome = runtime.block_on(async {
            let conversation = conversation(supervisor, socket, receiver);
            let mut conversation = std::pin::pin!(conversation);
            loop {
                tokio::select! {
                    outcome = &mut conversation => return outcome,
                    Some((_, report)) = reports.recv() => control.hear(report),
                }
            }
        });
        while let Ok((_, report)) = reports.try_recv() {
            control.hear(report);
        }
        let requests = control.check(sent);
        outcome.map(|counters| Heard { counters, requests })
    }
}

/// From hello to ready, and on to what ends it.
async fn conversation(
    supervisor: &Supervisor,
    socket: OwnedFd,
    mut orders: UnboundedReceiver<Order>,
) -> Result<Vec<String>, String> {
    let connection = watch(socket, &supervisor.closing).unwrap();
    let (region, counters) = supervisor.greet(&connection).await?;
    let mut running = Running {
        connection,
        region,
        hosted: None,
    };
    match running.watch(supervisor, &mut orders).await {
        End::Lost { why, .. } => assert_bounded(&why),
        End::Stopped | End::NotReady(_) => panic!("it hung up or said what it must not"),
    }
    Ok(counters.into_iter().map(|own| own.name).collect())
}

/// What the control thread does meanwhile.
struct Control {
    orders: UnboundedSender<Order>,
    director: Director,
    targets: Vec<FlowTarget>,
    answers: usize,
    /// Where what the operator asked waits, and its answer comes.
    inbox: Arc<Inbox>,
    answer: oneshot::Receiver<Answer>,
    /// Requests about flow entries that came to it.
    asked: u64,
}

impl Control {
    fn new(orders: UnboundedSender<Order>, given: Given) -> Self {
        let mut director = Director::new(1);
        let nowhere = || SourceRef(String::new());
        let arm = Arm {
            text: "all".to_owned(),
            filter: "(all)".parse().unwrap(),
            targets: vec![TO.to_owned()],
            source: nowhere(),
        };
        let program = Program {
            nf: SERVICE.to_owned(),
            port: AT.to_owned(),
            arms: vec![arm],
            source: nowhere(),
        };
        director.renew(&[AT], &[program], &HashMap::from([(TO, 0)]));
        orders.send(Order::Reconfigure(Box::new(given))).unwrap();
        let inbox = Arc::<Inbox>::default();
        let (letter, answer) = Letter::asking(&inbox, 1).unwrap();
        orders.send(Order::Letter(Box::new(letter))).unwrap();
        // News of what it says are there before it says it.
        for number in 0..MOST_MESSAGES as u64 {
            let sent = Sent {
                number,
                ..Sent::default()
            };
            orders.send(Order::Sent(0, sent)).unwrap();
        }
        Self {
            orders,
            inbox,
            answer,
            director,
            targets: vec![FlowTarget {
                port: AT.to_owned(),
                chain: TO.to_owned(),
            }],
            answers: 0,
            asked: 0,
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Reconfigured(taken) => {
                self.answers += 1;
                if let Taken::Refused(why) = taken {
                    assert_bounded(&why);
                }
            }
            Report::Flows(asked) => {
                assert_eq!(asked.first, self.asked, "one after the other");
                self.asked += asked.requests.len() as u64;
                let client = Client {
                    instance: 0,
                    life: 0,
                    nf: SERVICE,
                    targets: &self.targets,
                };
                let now = std::time::Instant::now();
                let changes = self.director.take(&client, asked.first, asked.requests, now);
                // The workers obey at once. One that has hung up hears nothing.
                for news in self.director.carried_out(changes.number) {
                    assert!(news.news.done <= self.asked);
                    let _ = self.orders.send(Order::Flows(Box::new(news)));
                }
            }
            _ => {}
        }
    }

    /// One answer at most to what it was offered; no more requests and entries than were sent; nothing stays. Gives the requests.
    fn check(mut self, sent: &[Message]) -> u64 {
        assert!(self.answers <= 1, "{} answers", self.answers);
        // It has answered the operator in bounds, or is known to be gone.
        match self.answer.try_recv() {
            Ok(Ok(answer)) => assert!(is_shown(&answer), "{answer}"),
            Ok(Err(why)) => assert_bounded(&why),
            Err(e) => assert_eq!(e, TryRecvError::Closed),
        }
        let inbox = &self.inbox;
        assert_eq!((inbox.waiting(), inbox.delivered() + inbox.missed()), (0, 1));
        let requests = sent.iter().filter_map(understood).map(|message| match message {
            FromNf::Flows { requests, .. } => requests.len() as u64,
            _ => 0,
        });
        assert!(self.asked <= requests.sum());
        assert!(self.director.len() as u64 <= self.asked);
        self.director.end_service(SERVICE);
        assert_eq!(self.director.len(), 0);
        self.asked
    }
}

/// All text in it stands for itself.
fn is_shown(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => is_fit(text),
        serde_json::Value::Array(items) => items.iter().all(is_shown),
        serde_json::Value::Object(fields) => {
            fields.iter().all(|(name, value)| is_fit(name) && is_shown(value))
        }
        _ => true,
    }
}

fn assert_bounded(text: &str) {
    assert!(
        text.len() <= LONGEST_REASON + LONGEST_FRAME,
        "{} bytes",
        text.len()
    );
    assert!(is_fit(text), "{text:?}");
}

/// Descriptors of this process; among other tests only those of this one can be counted.
fn open_files() -> usize {
    let named = |file: &std::fs::DirEntry| {
        let to = std::fs::read_link(file.path()).unwrap_or_default();
        to.to_string_lossy().contains(NAME)
    };
    let ours = |file: &std::fs::DirEntry| cfg!(fuzzing) || named(file);
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    files.flatten().filter(ours).count()
}

/// Sends a message; false where the kernel takes no more, or no descriptors.
fn send(socket: &OwnedFd, (bytes, fds): &Message, passed: BorrowedFd<'_>) -> bool {
    let fds = vec![passed; *fds];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    }
    let parts = [std::io::IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL).is_ok()
}

/// The messages that an input stands for.
fn messages(mut input: &[u8]) -> Vec<Message> {
    let mut made = Vec::new();
    let (mut known, mut said, mut asked) = (0, 0, 0);
    while let (Some((&what, rest)), true) = (input.split_first(), made.len() < MOST_MESSAGES) {
        let (text, rest) = text(rest);
        input = rest;
        let number = text
            .iter()
            .fold(0, |n: u32, b| n.wrapping_mul(31).wrapping_add((*b).into()));
        let words = String::from_utf8_lossy(text);
        let names: Vec<String> = words.split(',').map(str::to_owned).collect();
        let right = match what % 12 {
            0 | 1 => FromNf::Hello {
                abi: ABI_VERSION,
                pid: number,
            },
            2 => {
                let first = known;
                known += names.len();
                // Mostly none; sometimes one that is not there.
                let gauges = (number % 4 == 0).then_some(number as usize / 4 % (names.len() + 1));
                FromNf::Counters {
                    first,
                    names,
                    gauges: gauges.into_iter().collect(),
                }
            }
            3 => FromNf::Ready,
            4 => FromNf::Failed {
                reason: words.into_owned(),
            },
            5 => FromNf::Reconfigured {
                supported: number & 1 != 0,
                error: Some(words.into_owned()),
            },
            6 => FromNf::Hello { abi: number, pid: 0 },
            7 => {
                let right = (number % 8 != 0).then_some(said);
                said += 1;
                FromNf::Message {
                    number: right.unwrap_or(number.into()),
                    member: (number % 3) as u16,
                    kind: names.concat(),
                    fields: names.iter().map(|name| (name.clone(), number.into())).collect(),
                }
            }
            8 => FromNf::Answer {
                // The operator's message mostly.
                number: u64::from(number % 4 == 0) + 1,
                answer: (number & 1 != 0).then(|| serde_json::json!({ words.clone(): [names, number] })),
                error: (number & 2 != 0).then(|| words.into_owned()),
            },
            9 | 10 => {
                let requests: Vec<_> = text.chunks(2).map(|bytes| request(bytes, number)).collect();
                // Mostly the number that is next.
                let first = asked + u64::from(number % 16 == 1);
                asked += requests.len() as u64;
                FromNf::Flows { first, requests }
            }
            _ => FromNf::Counters {
                first: known + (number as usize & 1),
                names: vec!["n".to_owned(); number as usize % (MAX_COUNTERS + 2)],
                gauges: Vec::new(),
            },
        };
        let mut bytes = serde_json::to_vec(&right).unwrap();
        let (mut fds, at) = (0, number as usize % bytes.len());
        match what / 12 {
            // As it is, mostly.
            0..13 => {}
            13 | 14 => bytes.truncate(at),
            15 | 16 => bytes[at] ^= (number >> 24) as u8 | 1,
            17 => bytes = text.to_vec(),
            18 => fds = 1 + at % 3,
            19 => bytes.resize(MAX_MESSAGE + at, b' '),
            20 => bytes.resize(MAX_MESSAGE, b' '),
            _ => bytes.extend(text),
        }
        made.push((bytes, fds));
    }
    made
}

/// Of a few flows and filters, so that entries are met again; to a target that exists or not.
fn request(bytes: &[u8], number: u32) -> FlowRequest {
    let (how, which) = (bytes[0], bytes.get(1).copied().unwrap_or_default());
    let key = FlowKey([u64::from(which % 5), 0, 7, 0, 0, 0]);
    let matches = match how >> 2 & 3 {
        0 => FlowMatch::Flow(key),
        1 | 2 => FlowMatch::BothWays(key),
        _ => FlowMatch::Filter(
            ["(all)", "(tcp)", "(udp)"][usize::from(which) % 3]
                .parse()
                .unwrap(),
        ),
    };
    let target = serde_json::from_value((how >> 4 & 1).into()).unwrap();
    let priority = u16::from(how >> 5);
    match how & 3 {
        0 => FlowRequest::List { after: number.into() },
        1 => FlowRequest::Remove {
            target,
            matches,
            priority,
        },
        _ => FlowRequest::Put(FlowEntry::new(target, matches).priority(priority)),
    }
}

/// A byte of length, and so many bytes.
fn text(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((&length, rest)) = input.split_first() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(length).min(rest.len()))
}

/// What the manager must make of what was sent: the names of the counters once all is said as it should be.
fn expected(sent: &[Message]) -> Option<Vec<String>> {
    let mut sent = sent.iter().map(understood);
    let Some(FromNf::Hello { abi: ABI_VERSION, .. }) = sent.next()? else {
        return None;
    };
    let mut known = Vec::new();
    loop {
        match sent.next()?? {
            FromNf::Ready => return Some(known),
            FromNf::Counters { first, names, gauges } if first == known.len() && !names.is_empty() => {
                if gauges.len() > names.len() || gauges.iter().any(|place| *place >= names.len()) {
                    return None;
                }
                known.extend(names);
            }
            _ => return None,
        }
        if known.len() > MAX_COUNTERS || !known.iter().all(|n| n.len() <= LONGEST_NAME && is_fit(n)) {
            return None;
        }
    }
}

fn understood((bytes, fds): &Message) -> Option<FromNf> {
    let whole = *fds == 0 && bytes.len() <= MAX_MESSAGE;
    whole.then(|| serde_json::from_slice(bytes).ok()).flatten()
}

/// Descriptors that come with the manager's one reply; none: a refusal.
fn expected_replies(sent: &[Message]) -> Vec<Option<usize>> {
    match sent.first().and_then(understood) {
        // Region, packets, configuration, the file.
        Some(FromNf::Hello { abi: ABI_VERSION, .. }) => vec![Some(4)],
        Some(FromNf::Hello { .. }) => vec![None],
        _ => Vec::new(),
    }
}

fn replies(nf: &OwnedFd) -> Vec<Option<usize>> {
    let mut heard = Vec::new();
    loop {
        match session::receive::<ToNf>(nf) {
            Ok(Some((ToNf::Welcome { .. }, fds))) => heard.push(Some(fds.len())),
            Ok(Some((ToNf::Refused { .. }, _))) => heard.push(None),
            // Configuration and file.
            Ok(Some((ToNf::Reconfigure, fds))) => assert_eq!(fds.len(), 2),
            Ok(Some((ToNf::Flows(_) | ToNf::Message(_) | ToNf::Sent(_), fds))) => assert!(fds.is_empty()),
            Ok(Some(other)) => panic!("{other:?}"),
            // Once, before what is there, where the manager left messages unread.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
            Ok(None) | Err(_) => break,
        }
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same conversations every time; `cargo fuzz` finds others.
    #[test]
    fn whatever_an_nf_says_it_is_ready_or_refused_in_bounds() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 24
        };
        let (mut ready, mut requests, mut why) = (0, 0, std::collections::BTreeSet::new());
        for _ in 0..2000 {
            // A hello first, mostly; else little else is heard.
            let mut input = vec![(random() % 8 / 7 * 8) as u8, 0];
            for _ in 0..random() % 8 {
                let length = [0, 1, 3, 40, 200][random() as usize % 5];
                let mask = [7, 15, 0xff][random() as usize % 3];
                input.extend([random() as u8 & mask, length]);
                input.extend((0..length).map(|_| random() as u8 & [0x7f, 0xff][usize::from(length > 40)]));
            }
            match run(&input) {
                Ok(heard) => {
                    ready += 1;
                    requests += heard.requests;
                }
                Err(text) => drop(why.insert(text.chars().take(20).collect::<String>())),
            }
        }
        assert!(ready > 50, "{ready} of them were ready: {why:?}");
        assert!(requests > 100, "{requests} requests about flow entries");
        for said in [
            "it hung up",
            "it named more than",
            "it sent a malformed",
            "the name of one",
            "it sent Hello",
        ] {
            assert!(why.iter().any(|w| w.starts_with(said)), "{said}: {why:?}");
        }
    }
}
