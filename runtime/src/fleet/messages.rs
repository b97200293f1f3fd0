//! Messages to instances: of operators, who wait for an answer, and of other instances of the same service.
//!
//! So many wait for an instance, unanswered ones of operators included, and no more. An instance is told how many of its peers its
//! message is on its way to, before its next messages are read.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nflib::{
    messages::{Delivery, LONGEST, Sent},
    session::{self, MAX_MESSAGE, ToNf},
};
use onvm_api::InstanceState;
use onvm_bundle::{Host, InstanceConfig, MessageKind, Sender, kind_for};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::{
    Fleet, InstanceEntry, ServiceEntry,
    closing::NfSocket,
    log::quote::{LONGEST_REASON, is_fit, quote},
    supervise::Order,
};

/// Messages that may wait for an instance.
pub(super) const MOST_WAITING: usize = 64;
/// Messages of an instance of which it has not been told yet what has become, with which no further one is read.
const MOST_UNTOLD: u64 = 16;
/// What a message takes of the time of the control thread, at least, and each KiB of it.
const OF_A_MESSAGE: Duration = Duration::from_micros(200);
const OF_A_KIB: Duration = Duration::from_micros(100);
/// The same of each instance that gets it.
pub(super) const OF_A_RECEIVER: Duration = Duration::from_micros(50);

/// An instance's answer, or why there is none.
pub(crate) type Answer = Result<Value, String>;

/// What waits for an instance, and what it got: over all its lives.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: AtomicUsize,
    delivered: AtomicU64,
    missed: AtomicU64,
    refused: AtomicU64,
}

impl Inbox {
    /// Messages that it was given.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages for it that it was not given: too many waited, or it was lost.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Messages that it must not send.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Room for a message, until it is handled or lost.
#[derive(Debug)]
struct Place {
    inbox: Arc<Inbox>,
    delivered: bool,
}

impl Place {
    fn take(inbox: &Arc<Inbox>) -> Option<Self> {
        // Only the control thread takes places.
        if inbox.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            inbox.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        inbox.waiting.fetch_add(1, Ordering::Relaxed);
        let inbox = inbox.clone();
        let delivered = false;
        Some(Self { inbox, delivered })
    }

    fn is_delivered(&mut self) {
        self.delivered = true;
        self.inbox.delivered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inbox.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.delivered {
            self.inbox.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A message on its way to an instance.
#[derive(Debug)]
pub(super) struct Letter {
    text: Vec<u8>,
    place: Place,
    /// Of an operator's: its number, and who waits.
    asked: Option<(u64, oneshot::Sender<Answer>)>,
}

#[cfg(any(test, fuzzing))]
impl Letter {
    /// An operator's message of this number; none: there is no room.
    pub(super) fn asking(inbox: &Arc<Inbox>, number: u64) -> Option<(Self, oneshot::Receiver<Answer>)> {
        let delivery = Delivery {
            number,
            peer: None,
            member: 0,
            kind: "asked".to_owned(),
            fields: Map::new(),
        };
        let (reply, answer) = oneshot::channel();
        let letter = Self {
            text: session::encode(&ToNf::Message(delivery)).ok()?,
            place: Place::take(inbox)?,
            asked: Some((number, reply)),
        };
        Some((letter, answer))
    }
}

/// An operator's message that an instance has not answered.
#[derive(Debug)]
struct Open {
    number: u64,
    reply: oneshot::Sender<Answer>,
    _place: Place,
}

/// A message that an instance sends to its peers.
#[derive(Debug)]
pub(crate) struct Said {
    /// How often the instance had been started before.
    pub(super) life: u32,
    pub(super) number: u64,
    pub(super) member: u16,
    pub(super) kind: String,
    pub(super) fields: Map<String, Value>,
}

/// The messages of one life of an instance.
#[derive(Debug, Default)]
pub(super) struct Mail {
    letters: VecDeque<Letter>,
    open: VecDeque<Open>,
    /// The number of the next that it sends.
    next: u64,
    /// Of how many it has not been told what has become.
    untold: u64,
    notices: VecDeque<Sent>,
}

impl Mail {
    pub(super) fn take(&mut self, letter: Letter) {
        self.letters.push_back(letter);
    }

    /// It sends a message to its peers; the reason where it must not, otherwise what that takes of the manager's time.
    pub(super) fn say(&mut self, said: &Said) -> Result<Duration, String> {
        if said.number != self.next {
            return Err(format!(
                "it sent message {} where {} was next",
                said.number, self.next
            ));
        }
        let bytes = serde_json::to_vec(&said.fields).map_or(usize::MAX, |text| text.len());
        if bytes.saturating_add(said.kind.len()) > LONGEST {
            return Err(format!("it sent a message of more than {LONGEST} bytes"));
        }
        self.next += 1;
        self.untold += 1;
        Ok(OF_A_MESSAGE + OF_A_KIB * (bytes / 1024) as u32)
    }

    /// What has become of a message that it sent.
    pub(super) fn tell(&mut self, sent: Sent) {
        self.notices.push_back(sent);
    }

    /// Whether more of it may be read: it has been told of most that it sent.
    pub(super) fn may_say(&self) -> bool {
        self.untold < MOST_UNTOLD
    }

    /// Whether something waits to be sent to it.
    pub(super) fn has_some(&self) -> bool {
        !self.letters.is_empty() || !self.notices.is_empty()
    }

    /// Sends what there is room for; says whether anything was sent.
    pub(super) fn send(&mut self, socket: &NfSocket) -> io::Result<bool> {
        let mut sent = false;
        while let Some(notice) = self.notices.front() {
            if !session::try_send(socket, &session::encode(&ToNf::Sent(notice.clone()))?)? {
                return Ok(sent);
            }
            self.notices.pop_front();
            self.untold = self.untold.saturating_sub(1);
            sent = true;
        }
        while let Some(letter) = self.letters.front() {
            if !session::try_send(socket, &letter.text)? {
                break;
            }
            sent = true;
            let Some(Letter { mut place, asked, .. }) = self.letters.pop_front() else {
                break;
            };
            place.is_delivered();
            self.open.extend(asked.map(|(number, reply)| Open {
                number,
                reply,
                _place: place,
            }));
        }
        Ok(sent)
    }

    /// It answers an operator; the reason where it was not asked that, or not as the next.
    pub(super) fn answered(
        &mut self,
        number: u64,
        answer: Option<Value>,
        error: Option<String>,
    ) -> Result<(), String> {
        let Some(open) = self.open.pop_front().filter(|open| open.number == number) else {
            return Err(format!("it answered message {number}, which was not the next"));
        };
        let answer = match (answer, error) {
            (_, Some(error)) => Err(quote(error, LONGEST_REASON)),
            (Some(answer), None) => Ok(fit(answer)),
            // An answer of `null` comes as none.
            (None, None) => Ok(Value::Null),
        };
        // Who asked may have gone.
        let _ = open.reply.send(answer);
        Ok(())
    }
}

/// A value all of whose text can be shown. No deeper than messages can be.
fn fit(value: Value) -> Value {
    let text = |text: String| match is_fit(&text) {
        true => text,
        false => quote(text, MAX_MESSAGE),
    };
    match value {
        Value::String(s) => Value::String(text(s)),
        Value::Array(items) => items.into_iter().map(fit).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (text(k), fit(v))).collect(),
        other => other,
    }
}

/// An NF of a service, one of several where these are fused, and the messages that it takes.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kinds: Vec<MessageKind>,
}

impl Member {
    /// Those of a process, by place.
    pub(super) fn all(
        host: &Host<'_>,
        configs: &std::collections::BTreeMap<String, InstanceConfig>,
    ) -> Vec<Self> {
        let member = |service: &&onvm_bundle::Service| {
            let config = service.instances.first().and_then(|i| configs.get(&i.name));
            Self {
                name: service.name.clone(),
                kinds: config.map_or_else(Vec::new, |config| config.manifest.messages.clone()),
            }
        };
        host.members.iter().map(member).collect()
    }
}

impl Fleet {
    /// The service of an instance, if it is still one of its instances: the slot may be another service's by now.
    fn service_of(&self, slot: u16) -> Option<(&InstanceEntry, &ServiceEntry)> {
        let entry = self.instance(slot)?;
        let service = self.services.get(usize::from(entry.service))?.as_ref()?;
        (service.instances.get(&entry.name) == Some(&slot)).then_some((entry, service))
    }

    /// Passes a message of an instance on to the others of its service that run, and tells it of that.
    pub(super) fn pass_on(&self, slot: u16, said: Said) {
        let Some(entry) = self.instance(slot) else { return };
        let mut sent = Sent {
            number: said.number,
            member: said.member,
            ..Sent::default()
        };
        let life = said.life;
        match self.letters_of(slot, said) {
            Ok((peers, text)) => {
                for peer in peers {
                    match Place::take(&peer.inbox) {
                        Some(place) => {
                            sent.reached += 1;
                            let text = text.clone();
                            let asked = None;
                            let letter = Letter { text, place, asked };
                            let _ = peer.orders.send(Order::Letter(Box::new(letter)));
                        }
                        None => sent.missed += 1,
                    }
                }
            }
            Err(why) => {
                entry.inbox.refused.fetch_add(1, Ordering::Relaxed);
                sent.refused = Some(quote(why, LONGEST_REASON));
            }
        }
        let _ = entry.orders.send(Order::Sent(life, sent));
    }

    /// Who gets a message of an instance, and as which text; the reason where nobody may.
    fn letters_of(&self, slot: u16, said: Said) -> Result<(Vec<&InstanceEntry>, Vec<u8>), String> {
        let (entry, service) = self.service_of(slot).ok_or("the service is being stopped")?;
        let member = service.members.get(usize::from(said.member));
        let member = member.ok_or("there is no such NF in this process")?;
        let fields = kind_for(&member.kinds, &said.kind, Sender::Peers)?.read(said.fields)?;
        let text = session::encode(&ToNf::Message(Delivery {
            number: said.number,
            peer: Some(match service.members.len() {
                1 => entry.name.clone(),
                _ => renamed(&entry.name, &member.name),
            }),
            member: said.member,
            kind: said.kind,
            fields,
        }));
        let others = service.instances.values().filter(|other| **other != slot);
        let running = others.filter_map(|other| self.instance(*other));
        let running = running.filter(|other| other.state == InstanceState::Running);
        Ok((running.collect(), text.map_err(|e| e.to_string())?))
    }

    /// The NFs of a service, by place.
    pub(crate) fn members(&self, service: u16) -> &[Member] {
        let entry = self.services.get(usize::from(service)).and_then(Option::as_ref);
        entry.map_or(&[], |entry| &entry.members)
    }

    /// Instances of a service, in the order of their numbers.
    pub(crate) fn numbered(&self, service: u16) -> Vec<(u16, u16)> {
        let slots = self.instances_of(service).into_iter();
        let number = |slot: u16| Some((number_of(&self.instance(slot)?.name)?, slot));
        let mut numbered: Vec<_> = slots.filter_map(number).collect();
        numbered.sort_unstable();
        numbered
    }

    /// Sends an operator's message to an instance; gives where its answer comes, or why it cannot be sent. The sender of the answer goes
    /// without one when the instance is lost.
    pub(crate) fn ask(&self, slot: u16, delivery: Delivery) -> Result<oneshot::Receiver<Answer>, String> {
        let entry = self.instance(slot).ok_or("it is gone")?;
        let state = match entry.shown_state() {
            InstanceState::Running => None,
            InstanceState::Starting => Some("it is not ready yet"),
            InstanceState::Draining => Some("it is draining, and is stopped once its flows have ended"),
            InstanceState::Stopped => Some("it has been stopped"),
            InstanceState::Lost => Some("it is lost, and is to be started again"),
            InstanceState::Failed => Some("it has failed, and is not started again"),
        };
        if let Some(state) = state {
            return Err(state.to_owned());
        }
        let number = delivery.number;
        let text = session::encode(&ToNf::Message(delivery)).map_err(|e| e.to_string())?;
        let place = Place::take(&entry.inbox)
            .ok_or_else(|| format!("{MOST_WAITING} messages wait for it, which it does not take"))?;
        let (reply, answer) = oneshot::channel();
        let asked = Some((number, reply));
        let _ = entry
            .orders
            .send(Order::Letter(Box::new(Letter { text, place, asked })));
        Ok(answer)
    }
}

/// The `N` of `service-N`.
pub(crate) fn number_of(instance: &str) -> Option<u16> {
    instance.rsplit_once('-')?.1.parse().ok()
}

/// The instance of a process as that of one of the NFs in it.
pub(crate) fn renamed(instance: &str, member: &str) -> String {
    match instance.rsplit_once('-') {
        Some((_, number)) => format!("{member}-{number}"),
        None => member.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn so_many_wait_and_no_more_and_what_is_not_delivered_is_counted() {
        let inbox = Arc::<Inbox>::default();
        let mut mail = Mail::default();
        let answers: Vec<_> = (0..MOST_WAITING as u64)
            .map(|n| {
                let (letter, answer) = Letter::asking(&inbox, n).unwrap();
                mail.take(letter);
                answer
            })
            .collect();
        assert!(Place::take(&inbox).is_none());
        assert_eq!((inbox.delivered(), inbox.missed()), (0, 1));
        drop(mail);
        assert_eq!((inbox.delivered(), inbox.missed()), (0, 1 + MOST_WAITING as u64));
        assert!(Place::take(&inbox).is_some());
        for mut answer in answers {
            assert_eq!(
                answer.try_recv().unwrap_err(),
                oneshot::error::TryRecvError::Closed,
                "it was lost"
            );
        }
    }

    #[test]
    fn answers_come_in_order_and_can_be_shown() {
        let (manager, nf) = session::pair().unwrap();
        let socket = NfSocket::new(manager, super::super::closing::Closing::new());
        let inbox = Arc::<Inbox>::default();
        let mut mail = Mail::default();
        let mut answers = Vec::new();
        for n in [5, 6, 7] {
            let (letter, answer) = Letter::asking(&inbox, n).unwrap();
            mail.take(letter);
            answers.push(answer);
        }
        mail.answered(5, None, None).expect_err("it has not been sent");
        assert!(mail.send(&socket).unwrap());
        assert!(!mail.has_some());
        assert_eq!(inbox.delivered(), 3);
        let strange = json!({ "a\u{202e}": ["x\n", { "b": "\u{7}" }, 1.5, null], "ü": true });
        mail.answered(5, Some(strange), None).unwrap();
        let shown = json!({ "a\\u{202e}": ["x\\n", { "b": "\\u{7}" }, 1.5, null], "ü": true });
        assert_eq!(answers[0].try_recv(), Ok(Ok(shown)));
        mail.answered(6, None, Some("no\r".to_owned())).unwrap();
        assert_eq!(answers[1].try_recv(), Ok(Err("no\\r".to_owned())));
        mail.answered(8, None, None).expect_err("7 was next");
        drop(nf);
    }

    #[test]
    fn an_instance_sends_in_order_and_is_told_before_it_sends_more() {
        let (manager, nf) = session::pair().unwrap();
        let socket = NfSocket::new(manager, super::super::closing::Closing::new());
        let said = |number, text: &str| Said {
            life: 0,
            number,
            member: 0,
            kind: "seen".to_owned(),
            fields: Map::from_iter([("text".to_owned(), text.into())]),
        };
        let mut mail = Mail::default();
        mail.say(&said(1, "")).expect_err("0 is the first");
        mail.say(&said(0, &"x".repeat(LONGEST)))
            .expect_err("it is too long");
        for number in 0..MOST_UNTOLD {
            assert!(mail.may_say());
            let takes = mail.say(&said(number, &"x".repeat(2000))).unwrap();
            assert_eq!(takes, OF_A_MESSAGE + OF_A_KIB);
        }
        assert!(!mail.may_say());
        mail.tell(Sent::default());
        assert!(!mail.may_say() && mail.has_some());
        assert!(mail.send(&socket).unwrap());
        assert!(mail.may_say() && !mail.has_some());
        let (told, _) = session::receive::<ToNf>(&nf).unwrap().unwrap();
        assert_eq!(told, ToNf::Sent(Sent::default()));
    }
}
