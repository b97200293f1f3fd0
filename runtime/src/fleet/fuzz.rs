//! The conversation with an NF that says anything, for `cargo fuzz` and for tests.
//!
//! While it runs, it is offered other parameters, and an operator asks it something. The bytes of an input are messages: right ones, right ones in the wrong order, damaged ones, too long ones, ones with
//! descriptors. They are all sent before the manager looks at the first, so that no input waits for time to pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "an input fails by a panic")]

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, OnceLock},
};

use nflib::{
    layout::{ABI_VERSION, MAX_COUNTERS},
    memory::{self, Geometry},
    messages::Sent,
    session::{self, Configuration, FromNf, IdlePolicy, MAX_MESSAGE, ToNf},
};
use onvm_bundle::Restart;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown};
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot::error::TryRecvError,
};

use super::{
    InstanceSpec, Shared, Supervisor,
    log::quote::{LONGEST_REASON, is_fit},
    messages::{Inbox, Letter},
    offer::Taken,
    register::{LONGEST_NAME, watch},
    spec::Given,
    supervise::{End, Order, Report, Running},
};
use crate::rundir::RunDir;

/// Messages of one input.
const MOST_MESSAGES: usize = 64;
/// What the manager says beside what it quotes.
const LONGEST_FRAME: usize = 200;
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

/// How a conversation went: the names of the counters, or why it failed.
pub type Outcome = Result<Vec<String>, String>;

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
    let outcome = bench.runtime.block_on(bench.talk(manager));
    bench.check_reports();
    let replies = replies(&nf);
    drop(nf);
    bench.runtime.block_on(bench.supervisor.closing.done());
    assert_eq!(open_files(), before, "descriptors were left open");
    match (&outcome, expected(&sent)) {
        (Ok(counters), Some(names)) => assert_eq!(*counters, names),
        (Err(why), None) => assert_bounded(why),
        (outcome, expected) => panic!("{outcome:?} in place of {expected:?}"),
    }
    for name in outcome.iter().flatten() {
        assert!(name.len() <= LONGEST_NAME && is_fit(name), "{name:?}");
    }
    assert_eq!(replies, expected_replies(&sent));
    outcome
}

impl Bench {
    fn new() -> Self {
        let geometry = Geometry {
            buffers: 16,
            stride: 512,
            headroom: 128,
        };
        let base = std::env::temp_dir().join(format!("{NAME}-{}", std::process::id()));
        let run_dir = Arc::new(RunDir::lock(&base, "fuzz").unwrap());
        // Nothing listens in it, and nobody ends this process in order.
        std::fs::remove_dir_all(base).unwrap();
        let packets = memory::create_file(NAME, geometry.bytes(), false).unwrap();
        let shared = Shared {
            run_dir,
            packets_read_only: memory::reopen_read_only(packets.as_fd()).unwrap(),
            packets,
            geometry,
            workers: 1,
            ring: 64,
            idle: IdlePolicy {
                spins: 0,
                yields: 0,
                sleeps: true,
            },
            jail: None,
        };
        let spec = InstanceSpec {
            name: NAME.to_owned(),
            restart: Restart::Never,
            read_only: true,
            given: Given {
                configuration: Configuration::default(),
                files: vec![Arc::from(&b"a file"[..])],
            },
            launch: None,
            writes: false,
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

    /// From hello to ready, and on to what ends it.
    async fn talk(&self, socket: OwnedFd) -> Outcome {
        let connection = watch(socket, &self.supervisor.closing).unwrap();
        let (region, counters) = self.supervisor.greet(&connection).await?;
        let mut running = Running {
            connection,
            region,
            process: None,
        };
        let (orders, mut receiver) = unbounded_channel();
        let given = self.supervisor.spec.given.clone();
        orders.send(Order::Reconfigure(Box::new(given))).unwrap();
        let inbox = Arc::<Inbox>::default();
        let (letter, mut answer) = Letter::asking(&inbox, 1).unwrap();
        orders.send(Order::Letter(Box::new(letter))).unwrap();
        // News of what it says are there before it says it.
        for number in 0..MOST_MESSAGES as u64 {
            let sent = Sent {
                number,
                ..Sent::default()
            };
            orders.send(Order::Sent(0, sent)).unwrap();
        }
        match running.watch(&self.supervisor, &mut receiver).await {
            End::Lost { why, .. } => assert_bounded(&why),
            End::Stopped | End::NotReady(_) => panic!("it hung up or said what it must not"),
        }
        drop(receiver);
        // It has answered in bounds, or is known to be gone.
        match answer.try_recv() {
            Ok(Ok(answer)) => assert!(is_shown(&answer), "{answer}"),
            Ok(Err(why)) => assert_bounded(&why),
            Err(e) => assert_eq!(e, TryRecvError::Closed),
        }
        assert_eq!((inbox.waiting(), inbox.delivered() + inbox.missed()), (0, 1));
        Ok(counters.into_iter().map(|own| own.name).collect())
    }

    /// It answers what it is offered once, in bounds.
    fn check_reports(&mut self) {
        let mut answers = 0;
        while let Ok((_, report)) = self.reports.try_recv() {
            if let Report::Reconfigured(taken) = report {
                answers += 1;
                if let Taken::Refused(why) = taken {
                    assert_bounded(&why);
                }
            }
        }
        assert!(answers <= 1, "{answers} answers");
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
    let (mut known, mut said) = (0, 0);
    while let (Some((&what, rest)), true) = (input.split_first(), made.len() < MOST_MESSAGES) {
        let (text, rest) = text(rest);
        input = rest;
        let number = text
            .iter()
            .fold(0, |n: u32, b| n.wrapping_mul(31).wrapping_add((*b).into()));
        let words = String::from_utf8_lossy(text);
        let names: Vec<String> = words.split(',').map(str::to_owned).collect();
        let right = match what % 11 {
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
            9 => FromNf::Flows {
                first: u64::from(number % 4 == 0),
                requests: vec![nflib::flows::FlowRequest::List { after: 0 }; number as usize % 3],
            },
            _ => FromNf::Counters {
                first: known + (number as usize & 1),
                names: vec!["n".to_owned(); number as usize % (MAX_COUNTERS + 2)],
                gauges: Vec::new(),
            },
        };
        let mut bytes = serde_json::to_vec(&right).unwrap();
        let (mut fds, at) = (0, number as usize % bytes.len());
        match what / 11 {
            // As it is, mostly.
            0..14 => {}
            14..16 => bytes.truncate(at),
            16..18 => bytes[at] ^= (number >> 24) as u8 | 1,
            18 => bytes = text.to_vec(),
            19 => fds = 1 + at % 3,
            20 => bytes.resize(MAX_MESSAGE + at, b' '),
            21 => bytes.resize(MAX_MESSAGE, b' '),
            _ => bytes.extend(text),
        }
        made.push((bytes, fds));
    }
    made
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
            Ok(Some((ToNf::Message(_) | ToNf::Sent(_), fds))) => assert!(fds.is_empty()),
            // Configuration and file.
            Ok(Some((ToNf::Reconfigure, fds))) => assert_eq!(fds.len(), 2),
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
        let (mut ready, mut why) = (0, std::collections::BTreeSet::new());
        for _ in 0..2000 {
            // A hello first, mostly; else little else is heard.
            let mut input = vec![(random() % 8 / 7 * 8) as u8, 0];
            for _ in 0..random() % 8 {
                let length = [0, 1, 3, 40, 200][random() as usize % 5];
                let mask = [7, 7, 0xff][random() as usize % 3];
                input.extend([random() as u8 & mask, length]);
                input.extend((0..length).map(|_| random() as u8 & [0x7f, 0xff][usize::from(length > 40)]));
            }
            match run(&input) {
                Ok(_) => ready += 1,
                Err(text) => drop(why.insert(text.chars().take(20).collect::<String>())),
            }
        }
        assert!(ready > 50, "{ready} of them were ready: {why:?}");
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
