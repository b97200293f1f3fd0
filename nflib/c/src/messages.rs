//! Messages of operators, and between the instances of a service.

use std::ffi::{CString, c_char};

use nflib::{
    Message, Origin, Peers, Sent,
    messages::{SendError, Value},
};

use crate::{
    checked,
    error::{Error, onvm_status, status},
    params::onvm_params,
};

/// A message to the NF, of a kind and with fields that its manifest declares. Over when `message` returns.
#[derive(Debug)]
pub struct onvm_message {
    kind: CString,
    peer: Option<CString>,
    fields: onvm_params,
}

/// The answer to a message. Over when `message` returns.
#[derive(Debug, Default)]
pub struct onvm_answer {
    pub(crate) value: Value,
}

/// The way to the other instances of the service.
#[derive(Debug)]
pub struct onvm_peers(pub(crate) Peers);

/// What has become of a message to the other instances. Over when `sent` returns.
#[repr(C)]
#[derive(Debug)]
pub struct onvm_sent {
    /// As `onvm_peers_send` gave it.
    pub number: u64,
    /// Instances for which it is on its way.
    pub reached: u16,
    /// Instances that do not get it, since too many wait for them already.
    pub missed: u16,
    /// Why nobody gets it, e.g. that the manifest does not declare it; null where some may.
    pub refused: *const c_char,
}

impl onvm_message {
    pub(crate) fn new(message: &Message) -> Self {
        let peer = match &message.from {
            Origin::Operator => None,
            Origin::Peer(name) => Some(CString::new(name.as_str()).unwrap_or_default()),
        };
        Self {
            kind: CString::new(message.kind.as_str()).unwrap_or_default(),
            fields: onvm_params::new(message.fields.clone()),
            peer,
        }
    }
}

impl onvm_sent {
    pub(crate) fn with(sent: &Sent, with: impl FnOnce(&Self)) {
        let refused = sent.refused.as_deref();
        let refused = refused.map(|why| CString::new(why).unwrap_or_default());
        with(&Self {
            number: sent.number,
            reached: sent.reached,
            missed: sent.missed,
            refused: refused.as_ref().map_or(std::ptr::null(), |why| why.as_ptr()),
        });
    }
}

/// The kind of a message. Null of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_message_kind(message: *const onvm_message) -> *const c_char {
    // SAFETY: the caller gives null or the message of the callback under way.
    unsafe { checked::reference(message, "message") }.map_or(std::ptr::null(), |m| m.kind.as_ptr())
}

/// The instance that sent it; null: an operator, who waits 2 s for the answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_message_peer(message: *const onvm_message) -> *const c_char {
    // SAFETY: the caller gives null or the message of the callback under way.
    let message = unsafe { checked::reference(message, "message") };
    let peer = message.ok().and_then(|message| message.peer.as_ref());
    peer.map_or(std::ptr::null(), |peer| peer.as_ptr())
}

/// The fields, read as parameters are. Null of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_message_fields(message: *const onvm_message) -> *const onvm_params {
    // SAFETY: the caller gives null or the message of the callback under way.
    unsafe { checked::reference(message, "message") }.map_or(std::ptr::null(), |m| &raw const m.fields)
}

/// Sets the answer: any JSON of at most 64 KiB. Without it the answer is `null`, which says that it is done. An answer to another
/// instance goes nowhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_answer_json(answer: *mut onvm_answer, json: *const c_char) -> onvm_status {
    // SAFETY: the caller gives null or the answer of the callback under way, and null or a text.
    let both = unsafe {
        checked::exclusive(answer, "answer").and_then(|answer| Ok((answer, checked::text(json, "json")?)))
    };
    status(both.and_then(|(answer, text)| {
        answer.value = value(text)?;
        Ok(())
    }))
}

/// Sends a message to all other instances of the service that run, and leaves its number, from 0 on, in `number`, which may be
/// null; `sent` says what has become of it. `fields` is a JSON object in the units of parameters, of at most 16 KiB. 256 messages
/// may wait for the manager (`ONVM_NO_ROOM`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_peers_send(
    peers: *const onvm_peers,
    kind: *const c_char,
    fields: *const c_char,
    number: *mut u64,
) -> onvm_status {
    let send = || {
        // SAFETY: the caller gives null or peers of an NF that has not stopped, and null or texts.
        let (peers, kind, fields) = unsafe {
            let peers = checked::reference(peers, "peers")?;
            (
                peers,
                checked::text(kind, "kind")?,
                checked::text(fields, "fields")?,
            )
        };
        let sent = peers.0.send(kind, value(fields)?).map_err(|e| match e {
            SendError::Full => Error::new(onvm_status::ONVM_NO_ROOM, e),
            SendError::Fields => Error::argument(e),
        })?;
        if !number.is_null() {
            // SAFETY: the caller gives null or a place for a number.
            unsafe { number.write(sent) };
        }
        Ok(())
    };
    status(send())
}

fn value(json: &str) -> crate::error::Result<Value> {
    serde_json::from_str(json).map_err(|e| Error::argument(format_args!("expected JSON: {e}")))
}
