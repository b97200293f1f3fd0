//! The language server: the protocol's requests, answered from checked programs.
//!
//! One thread takes messages in order. It takes all that have arrived before it checks anything, so that a burst of
//! keystrokes costs one check and no check is begun for a text that is already old; positions in a request are those of the
//! text that it was made for. The transport is the caller's, see [`transport`].

mod actions;
mod analysis;
mod client;
mod completion;
mod context;
mod definition;
mod diagnostics;
mod documents;
mod edits;
mod format;
mod hover;
mod importers;
mod marks;
mod position;
mod programs;
mod reach;
mod references;
mod server;
mod symbols;
mod tables;
mod traffic;
pub mod transport;
mod uri;
mod view;
mod ways;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};

use crate::source::host::Host;
use client::Fault;
use server::Server;

/// How the client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By `shutdown`, then `exit` or the end of the connection.
    Orderly,
    /// Without `shutdown`.
    Abrupt,
}

/// Serves one client until it goes.
pub fn serve(connection: &Connection, disk: &dyn Host) -> Ended {
    let mut session = Session {
        connection,
        server: Server::new(disk),
        phase: Phase::New,
        queue: VecDeque::new(),
    };
    let ended = session.run();
    if session.phase == Phase::ShutDown {
        Ended::Orderly
    } else {
        ended
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before `initialize`.
    New,
    Running,
    ShutDown,
}

struct Session<'s> {
    connection: &'s Connection,
    server: Server<'s>,
    phase: Phase,
    queue: VecDeque<Message>,
}

impl Session<'_> {
    fn run(&mut self) -> Ended {
        loop {
            self.take_arrived();
            if self.queue.is_empty() {
                self.settle();
                match self.connection.receiver.recv() {
                    Ok(message) => self.queue.push_back(message),
                    Err(_) => return Ended::Abrupt,
                }
                self.take_arrived();
            }
            match self.queue.pop_front() {
                Some(Message::Request(request)) => self.request(request),
                Some(Message::Notification(n)) if n.method == "exit" => return Ended::Abrupt,
                Some(Message::Notification(notification)) => self.notification(notification),
                Some(Message::Response(_)) | None => {}
            }
        }
    }

    fn take_arrived(&mut self) {
        while let Ok(message) = self.connection.receiver.try_recv() {
            match message {
                Message::Notification(n) if n.method == "$/cancelRequest" => self.cancel(&n),
                other => self.queue.push_back(other),
            }
        }
    }

    /// Takes a request that has not been begun out of the queue.
    fn cancel(&mut self, notification: &Notification) {
        let is_meant = |m: &Message| match m {
            Message::Request(r) => notification.params.get("id") == serde_json::to_value(&r.id).ok().as_ref(),
            _ => false,
        };
        if let Some(at) = self.queue.iter().position(is_meant)
            && let Some(Message::Request(request)) = self.queue.remove(at)
        {
            self.answer(request, Err(Fault::new(ErrorCode::RequestCanceled, "cancelled")));
        }
    }

    fn request(&mut self, request: Request) {
        let answer = match (self.phase, request.method.as_str()) {
            (Phase::ShutDown, _) => Err(Fault::new(ErrorCode::InvalidRequest, "the server is shut down")),
            (Phase::New, "initialize") => {
                self.phase = Phase::Running;
                guarded(|| self.server.initialize(&request.params))
            }
            (Phase::New, _) => Err(Fault::new(
                ErrorCode::ServerNotInitialized,
                "`initialize` comes first",
            )),
            (Phase::Running, "initialize") => {
                Err(Fault::new(ErrorCode::InvalidRequest, "it is initialised already"))
            }
            (Phase::Running, "shutdown") => {
                self.phase = Phase::ShutDown;
                Ok(serde_json::Value::Null)
            }
            (Phase::Running, method) => {
                let (method, params) = (method.to_owned(), request.params.clone());
                guarded(|| self.server.request(&method, params))
            }
        };
        if matches!(&answer, Err(fault) if fault.panicked) {
            self.server.recover();
        }
        self.answer(request, answer);
    }

    fn answer(&self, request: Request, answer: Result<serde_json::Value, Fault>) {
        let response = match answer {
            Ok(value) => Response::new_ok(request.id, value),
            Err(fault) => Response::new_err(request.id, fault.code as i32, fault.message),
        };
        self.send(Message::Response(response));
    }

    fn notification(&mut self, notification: Notification) {
        if self.phase != Phase::Running {
            return;
        }
        let done = guarded(|| {
            self.server
                .notification(&notification.method, notification.params)
        });
        self.log(done);
    }

    /// Brings what the client is shown up to date. Called when nothing more has arrived.
    fn settle(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        match guarded(|| Ok(self.server.settle())) {
            Ok(messages) => messages.into_iter().for_each(|m| self.send(m)),
            Err(fault) => self.log(Err(fault)),
        }
    }

    fn log(&mut self, done: Result<(), Fault>) {
        let Err(fault) = done else { return };
        if fault.panicked {
            self.server.recover();
        }
        self.send(Message::Notification(transport::log_message(&fault.message)));
    }

    fn send(&self, message: Message) {
        // A client that no longer listens shows in the next `recv`.
        let _ = self.connection.sender.send(message);
    }
}

/// Keeps a defect in one answer from ending the server.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let text = "the language server met a defect of its own here; its log has the details";
        Err(Fault {
            panicked: true,
            ..Fault::new(ErrorCode::InternalError, text)
        })
    })
}
