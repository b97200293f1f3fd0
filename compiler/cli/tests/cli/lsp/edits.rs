//! Random edits and questions: the server's text stays the client's, and no question finds a defect.

use lsp_server::{Connection, Message, Notification, Request};
use onvmc::{host::MemoryHost, lsp::serve};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::client::repository;

/// Replace some characters, from a place on; both as parts of the whole, so that they suit any length.
type Edit = (f64, usize, &'static str);

const PIECES: [&str; 16] = [
    "",
    "a",
    "fw",
    "->",
    "{",
    "}",
    "\n",
    "\r\n",
    "\r",
    "\"",
    "😀",
    "$trusted",
    "// ",
    "chain x = fw -> ",
    "port ",
    "ä",
];

const QUESTIONS: [&str; 6] = [
    "textDocument/hover",
    "textDocument/definition",
    "textDocument/completion",
    "textDocument/documentHighlight",
    "textDocument/prepareRename",
    "textDocument/documentSymbol",
];

/// The server in a thread of the test.
struct Server {
    client: Connection,
    next_id: i32,
}

impl Server {
    fn start() -> Self {
        let (server, client) = Connection::memory();
        std::thread::spawn(move || serve(&server, &MemoryHost::default()));
        let mut server = Self { client, next_id: 0 };
        server.ask("initialize", json!({})).unwrap();
        server
    }

    fn tell(&self, method: &str, params: Value) {
        let notification = Notification::new(method.to_owned(), params);
        self.client
            .sender
            .send(Message::Notification(notification))
            .unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value, i32> {
        self.next_id += 1;
        let request = Request::new(self.next_id.into(), method.to_owned(), params);
        self.client.sender.send(Message::Request(request)).unwrap();
        loop {
            if let Message::Response(response) = self.client.receiver.recv().unwrap() {
                return response.response_result.map_err(|e| e.code);
            }
        }
    }

    fn open(&self, uri: &str, text: &str) {
        let document = json!({ "uri": uri, "languageId": "chain", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// The diagnostics of that version.
    fn diagnostics(&self, uri: &str, version: i64) -> Value {
        loop {
            if let Message::Notification(n) = self.client.receiver.recv().unwrap()
                && n.params["uri"] == uri
                && n.params["version"] == version
            {
                return n.params["diagnostics"].clone();
            }
        }
    }
}

/// The position of a character boundary, as a client counts.
fn position(text: &str, at: usize) -> Value {
    let before = text[..at].replace("\r\n", "\n").replace('\r', "\n");
    let (line, start) = (
        before.matches('\n').count(),
        before.rfind('\n').map_or(0, |n| n + 1),
    );
    json!({ "line": line, "character": before[start..].encode_utf16().count() })
}

/// The boundary nearest to a part of the text, never between `\r` and `\n`.
fn boundary(text: &str, part: f64) -> usize {
    let mut at = ((text.len() as f64 * part) as usize).min(text.len());
    while !text.is_char_boundary(at) || (text[..at].ends_with('\r') && text[at..].starts_with('\n')) {
        at += 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn edits_and_questions(
        edits in prop::collection::vec((0.0..=1.0, 0_usize..12, prop::sample::select(PIECES.to_vec())), 1..12),
        places in prop::collection::vec(0.0..=1.0, 6),
    ) {
        let edits: Vec<Edit> = edits;
        let mut text = repository("chains/edge.chain");
        let mut server = Server::start();
        server.open("file:///a.chain", &text);
        let mut version = 1;
        for (part, length, new) in edits {
            let start = boundary(&text, part);
            let end = boundary(&text, (start + length) as f64 / text.len().max(1) as f64).clamp(start, text.len());
            let range = json!({ "start": position(&text, start), "end": position(&text, end) });
            version += 1;
            let document = json!({ "uri": "file:///a.chain", "version": version });
            let changes = json!([{ "range": range, "text": new }]);
            server.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
            text.replace_range(start..end, new);
        }
        let found = server.diagnostics("file:///a.chain", version);

        // The same text, opened whole.
        let fresh = Server::start();
        fresh.open("file:///a.chain", &text);
        prop_assert_eq!(found, fresh.diagnostics("file:///a.chain", 1), "{:?}", text);

        for (method, part) in QUESTIONS.iter().zip(places) {
            let at = position(&text, boundary(&text, part));
            let params = json!({ "textDocument": { "uri": "file:///a.chain" }, "position": at });
            prop_assert!(server.ask(method, params).is_ok(), "{} at {} of {:?}", method, part, text);
        }
    }
}
