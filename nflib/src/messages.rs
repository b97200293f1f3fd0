//! Messages to an NF while it runs: of operators (`onvmc send`), who get an answer, and between the instances of one service.
//!
//! The manifest declares the kinds (`[[messages]]`), who may send each, and their fields. The manager delivers no message that is not as
//! declared there, and none to an instance of another service. [`Nf::message`](crate::Nf::message) takes it; [`Peers`] sends one to the
//! other instances.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Map;
pub use serde_json::{Value, json};

use crate::{Params, session::FromNf};

/// Messages that may wait in an NF until the manager takes them.
pub const MOST_WAITING: usize = 256;
/// Bytes of a message's fields, as JSON.
pub const LONGEST: usize = 16 << 10;

/// A message to an NF.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// One that the manifest declares, from such a sender.
    pub kind: String,
    pub from: Origin,
    /// Its fields, read as parameters are.
    pub fields: Params,
    /// For which of the NFs that are fused in the process, by place.
    pub(crate) member: u16,
}

/// Who has sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Operator,
    /// Another instance of the service, by its name.
    Peer(String),
}

impl Message {
    /// One from an operator; for tests of an NF.
    pub fn new(kind: &str, fields: Params) -> Self {
        Self {
            kind: kind.to_owned(),
            from: Origin::Operator,
            fields,
            member: 0,
        }
    }

    /// The same from another instance.
    #[must_use]
    pub fn from_peer(self, instance: &str) -> Self {
        Self {
            from: Origin::Peer(instance.to_owned()),
            ..self
        }
    }

    /// The answer of an NF that does not know the kind, though its manifest declares it.
    pub fn unknown(&self) -> String {
        format!("this NF takes no message `{}`", self.kind)
    }
}

/// A message as the manager hands it over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// For the answer.
    pub number: u64,
    /// The instance that sent it; none: an operator, who waits for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// For which of the NFs that are fused in the process.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub member: u16,
    pub kind: String,
    #[serde(default)]
    pub fields: Map<String, Value>,
}

impl From<Delivery> for Message {
    fn from(delivery: Delivery) -> Self {
        Self {
            kind: delivery.kind,
            from: delivery.peer.map_or(Origin::Operator, Origin::Peer),
            fields: Params::new(
                delivery.fields.into_iter().collect(),
                std::collections::BTreeMap::new(),
            ),
            member: delivery.member,
        }
    }
}

/// What has become of a message to the other instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// As [`Peers::send`] gave it.
    pub number: u64,
    /// Instances for which it is on its way.
    #[serde(default)]
    pub reached: u16,
    /// Instances that do not get it, since too many wait for them already.
    #[serde(default)]
    pub missed: u16,
    /// Why nobody gets it: the manifest does not declare such a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub member: u16,
}

fn is_zero(n: &u16) -> bool {
    *n == 0
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("{MOST_WAITING} messages wait for the manager; send again later")]
    Full,
    #[error("the fields of a message are an object of at most {LONGEST} bytes")]
    Fields,
}

/// The way to the other instances of the service; see [`Setup::peers`](crate::Setup::peers). A copy is the same.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    queue: Arc<Mutex<Queue>>,
    member: u16,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<FromNf>,
    /// The number of the next that is sent.
    next: u64,
}

impl Peers {
    /// Sends a message to all other instances of the service that run. Gives its number, from 0 on;
    /// [`Nf::sent`](crate::Nf::sent) says what has become of it. `fields` is an object, `json!({ "address": "192.0.2.1" })`, in
    /// the units of parameters.
    pub fn send(&self, kind: &str, fields: Value) -> Result<u64, SendError> {
        let Value::Object(fields) = fields else {
            return Err(SendError::Fields);
        };
        let length = serde_json::to_string(&fields).map_or(usize::MAX, |text| text.len());
        if length + kind.len() > LONGEST {
            return Err(SendError::Fields);
        }
        let mut queue = self.queue();
        if queue.waiting.len() >= MOST_WAITING {
            return Err(SendError::Full);
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back(FromNf::Message {
            number,
            member: self.member,
            kind: kind.to_owned(),
            fields,
        });
        Ok(number)
    }

    /// Messages that the manager has not taken yet.
    pub fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    /// The same way for one of several fused NFs.
    pub(crate) fn of(&self, member: u16) -> Self {
        Self {
            queue: self.queue.clone(),
            member,
        }
    }

    /// The next that waits.
    pub(crate) fn take(&self) -> Option<FromNf> {
        self.queue().waiting.pop_front()
    }

    /// Nobody panics while holding it; if somebody did, the queue would still be one.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer to an operator. One that is too long for a message is an error.
pub(crate) fn answer(number: u64, answer: Result<Value, String>) -> std::io::Result<Vec<u8>> {
    use crate::session::encode;
    let (answer, error) = match answer {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error)),
    };
    encode(&FromNf::Answer {
        number,
        answer,
        error,
    })
    .or_else(|_| {
        encode(&FromNf::Answer {
            number,
            answer: None,
            error: Some("its answer is longer than a message can be".to_owned()),
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::session::MAX_MESSAGE;

    #[test]
    fn messages_keep_their_order_and_are_bounded() {
        let peers = Peers::default();
        let second = peers.of(1);
        assert_eq!(peers.send("seen", json!({ "n": 0 })), Ok(0));
        assert_eq!(second.send("seen", json!({})), Ok(1));
        assert_eq!(peers.send("seen", json!([])), Err(SendError::Fields));
        let long = json!({ "text": "x".repeat(LONGEST) });
        assert_eq!(peers.send("seen", long), Err(SendError::Fields));
        for n in 2..MOST_WAITING as u64 {
            assert_eq!(peers.send("seen", json!({})), Ok(n));
        }
        assert_eq!(second.send("seen", json!({})), Err(SendError::Full));
        assert_eq!(peers.waiting(), MOST_WAITING);
        for n in 0..MOST_WAITING as u64 {
            let FromNf::Message { number, member, .. } = peers.take().unwrap() else {
                unreachable!()
            };
            assert_eq!((number, member), (n, u16::from(n == 1)));
        }
        assert!(peers.take().is_none());
    }

    #[test]
    fn an_answer_fits_a_message_or_is_an_error() {
        let text = |answer_| String::from_utf8(answer(7, answer_).unwrap()).unwrap();
        assert_eq!(
            text(Ok(json!({ "a": 1 }))),
            r#"{"type":"answer","number":7,"answer":{"a":1}}"#
        );
        assert_eq!(
            text(Err("no".into())),
            r#"{"type":"answer","number":7,"error":"no"}"#
        );
        let long = text(Ok("x".repeat(MAX_MESSAGE).into()));
        assert!(long.contains("longer than a message"), "{long}");
        assert!(text(Err("x".repeat(MAX_MESSAGE))).contains("longer"));
    }
}
