//! `onvmc lsp`.

use std::{
    io::{stdin, stdout},
    thread,
};

use lsp_server::Connection;
use onvmc::lsp::{Ended, serve, transport};

use super::{Outcome, disk::DiskHost, output::Output};

pub(super) fn run(out: &Output) -> Outcome {
    let (server, client) = Connection::memory();
    let Connection { sender, receiver } = client;
    // Not joined: it ends with stdin, which a client may leave open behind `exit`.
    thread::spawn(move || transport::read(&mut stdin().lock(), |message| sender.send(message).is_ok()));
    let writer = thread::spawn(move || transport::write(&mut stdout().lock(), receiver.iter()));
    let ended = serve(&server, &DiskHost);
    drop(server);
    match (ended, writer.join()) {
        (Ended::Orderly, Ok(Ok(()))) => Outcome::Done,
        (Ended::Orderly, Ok(Err(e))) => {
            out.error("lsp", &format!("the client does not take its messages: {e}"));
            Outcome::Refused
        }
        _ => Outcome::Refused,
    }
}
