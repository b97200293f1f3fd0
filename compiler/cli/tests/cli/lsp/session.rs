//! The life of a session: what is published when, and what must not end it.

use lsp_server::{Connection, Message, Notification, Request};
use onvmc::{
    host::Host,
    lsp::{Ended, serve},
};
use serde_json::{Value, json};

use super::client::Editor;

const PORTS: &str = "port wan = null {}\nport lan = null {}\n";

fn source(rest: &str) -> String {
    format!("{PORTS}{rest}")
}

#[test]
fn a_whole_session() {
    let mut editor = Editor::with(&[]);
    let capabilities = &editor.initialized["capabilities"];
    assert_eq!(capabilities["positionEncoding"], "utf-16");
    assert_eq!(capabilities["textDocumentSync"]["change"], 2, "incremental");

    editor.open(
        "edge.chain",
        &source("steer wan { else -> lan }\nsteer lan { else -> wann }\n"),
    );
    let published = editor.published("edge.chain");
    assert_eq!(published["version"], 1);
    let found = &published["diagnostics"][0];
    assert_eq!(found["code"], "C0101");
    assert_eq!(found["source"], "onvmc");
    assert_eq!(found["severity"], 1);
    let text = "unknown name `wann`\nan NF, a port or a chain is expected here\nhelp: did you mean `wan`?";
    assert_eq!(found["message"], text);
    assert_eq!(
        found["range"],
        json!({ "start": { "line": 3, "character": 20 }, "end": { "line": 3, "character": 24 } })
    );

    let range = json!({ "start": { "line": 3, "character": 23 }, "end": { "line": 3, "character": 24 } });
    editor.changes("edge.chain", 2, json!([{ "range": range, "text": "" }]));
    let published = editor.published("edge.chain");
    assert_eq!(
        (&published["version"], &published["diagnostics"]),
        (&json!(2), &json!([]))
    );

    let uri = editor.uri("edge.chain");
    editor.notify("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.published("edge.chain")["version"], Value::Null);
    assert_eq!(editor.quit().code(), Some(0));
}

#[test]
fn several_changes_of_one_message_follow_each_other() {
    let mut editor = Editor::with(&[]);
    editor.open("a.chain", "");
    assert_eq!(
        editor.diagnostics("a.chain"),
        ["0:0-0:0 C0110 this file declares nothing"]
    );
    let at = |line: u32, character: u32| json!({ "line": line, "character": character });
    editor.changes(
        "a.chain",
        2,
        json!([
            { "text": "/// 😀\nport wan = tap\n" },
            { "range": { "start": at(0, 6), "end": at(0, 6) }, "text": "!" },
            { "range": { "start": at(1, 11), "end": at(1, 14) }, "text": "tape" },
        ]),
    );
    assert_eq!(
        editor.diagnostics("a.chain"),
        [
            "1:5-1:8 C0104 `wan` is never used",
            "1:11-1:15 C0107 unknown port kind `tape`"
        ]
    );
    // Before the second change the comment would end within the emoji.
    let hover = editor.ask("textDocument/hover", "a.chain", at(1, 6)).unwrap();
    assert!(
        hover["contents"]["value"].as_str().unwrap().contains("😀!"),
        "{hover}"
    );
}

#[test]
fn a_file_is_seen_as_its_buffer_has_it_in_every_program() {
    let files = [("lib.chain", "class web = tcp\n")];
    let mut editor = Editor::with(&files);
    let main =
        source("use \"lib.chain\"\nsteer wan { web -> lan else -> drop }\nsteer lan { else -> wan }\n");
    editor.open("edge.chain", &main);
    assert_eq!(editor.diagnostics("edge.chain"), [""; 0]);

    editor.open("lib.chain", "class web = tcp and prot 80\n");
    let library = editor.diagnostics("lib.chain");
    assert!(
        library[0].starts_with("0:25-0:27 C0020"),
        "the unsaved text counts: {library:?}"
    );
    editor.change("lib.chain", 2, "class wob = tcp\n");
    assert_eq!(
        editor.diagnostics("edge.chain"),
        ["3:12-3:15 C0101 unknown name `web`"]
    );
    assert_eq!(
        editor.diagnostics("lib.chain"),
        [""; 0],
        "what is mended is cleared"
    );

    // With the buffer gone the disk counts again.
    let uri = editor.uri("lib.chain");
    editor.notify("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.diagnostics("edge.chain"), [""; 0]);
}

#[test]
fn a_library_alone_is_checked_as_part_of_the_programs_that_import_it() {
    let main =
        source("use \"lib/web.chain\"\nsteer wan { web -> lan else -> drop }\nsteer lan { else -> wan }\n");
    let mut editor = Editor::with(&[("lib/web.chain", "class web = tcp\n"), ("edge.chain", &main)]);
    editor.open("lib/web.chain", "class web = tcp\n");
    assert_eq!(editor.diagnostics("lib/web.chain"), [""; 0], "`web` is used");
    editor.change("lib/web.chain", 2, "class www = tcp\n");
    assert_eq!(
        editor.diagnostics("edge.chain"),
        ["3:12-3:15 C0101 unknown name `web`"]
    );
}

#[test]
fn files_that_come_and_go() {
    let mut editor = Editor::with(&[]);
    editor.open("edge.chain", "use \"lib.chain\"\n");
    assert!(
        editor.diagnostics("edge.chain")[0].contains("there is no such file") || !editor.dir.path().exists()
    );
    std::fs::write(editor.path("lib.chain"), "").unwrap();
    let changed = json!({ "changes": [{ "uri": editor.uri("lib.chain"), "type": 1 }] });
    editor.notify("workspace/didChangeWatchedFiles", changed);
    assert_eq!(editor.diagnostics("edge.chain"), [""; 0]);
    std::fs::remove_file(editor.path("lib.chain")).unwrap();
    let changed = json!({ "changes": [{ "uri": editor.uri("lib.chain"), "type": 3 }] });
    editor.notify("workspace/didChangeWatchedFiles", changed);
    assert_eq!(editor.diagnostics("edge.chain").len(), 1);
}

#[test]
fn files_are_watched_where_the_client_can() {
    let capabilities = json!({ "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } } });
    let mut editor = Editor::with_client(&[], capabilities, json!({}));
    let asked = editor.notification("client/registerCapability");
    assert_eq!(
        asked["registrations"][0]["method"],
        "workspace/didChangeWatchedFiles"
    );
}

#[test]
fn what_the_client_sets() {
    let text = "param uplink: string\nport wan = tap { name = $uplink }\nsteer wan { else -> drop }\n";
    let mut editor = Editor::with(&[]);
    editor.open("a.chain", text);
    let published = editor.published("a.chain");
    assert_eq!(
        published["diagnostics"][0]["severity"], 3,
        "an input without a default is no mistake: {published}"
    );
    let mut editor = Editor::with_client(&[], json!({}), json!({ "set": { "uplink": "wan0" } }));
    editor.open("a.chain", text);
    assert_eq!(editor.diagnostics("a.chain"), [""; 0]);
    let rules =
        "port wan = null\nsteer wan { udp -> wan src net 10.0.0.0/8 -> drop tcp -> wan else -> drop }\n";
    for (overlaps, told) in [(true, 2), (false, 0)] {
        let mut editor = Editor::with_client(&[], json!({}), json!({ "overlaps": overlaps }));
        editor.open("a.chain", rules);
        let published = editor.published("a.chain");
        let found = published["diagnostics"].as_array().unwrap();
        assert_eq!(found.len(), told, "{published}");
        assert!(
            found.iter().all(|d| d["severity"] == 3 && d["code"] == "C0507"),
            "{published}"
        );
    }
}

#[test]
fn columns_are_bytes_where_the_client_can() {
    let capabilities = json!({ "general": { "positionEncodings": ["utf-32", "utf-8"] } });
    let text = "use \"ä😀.chain\" as b\n";
    for (capabilities, place) in [(capabilities, "0:4-0:18"), (json!({}), "0:4-0:15")] {
        let mut editor = Editor::with_client(&[], capabilities, json!({}));
        editor.open("a.chain", text);
        let found = editor.diagnostics("a.chain");
        assert!(found.iter().any(|d| d.starts_with(place)), "{found:?}");
    }
}

#[test]
fn what_is_no_request_ends_nothing() {
    let mut editor = Editor::with(&[]);
    editor.bytes(b"Content-Length: 9\r\n\r\n{ no json");
    let logged = editor.notification("window/logMessage");
    assert!(
        logged["message"].as_str().unwrap().contains("unreadable"),
        "{logged}"
    );
    editor.bytes(b"what is this\r\n\r\nContent-Length: -1\r\n\r\n");
    assert_eq!(editor.request("no/such/method", json!({})).unwrap_err().0, -32601);
    assert_eq!(
        editor
            .request("textDocument/hover", json!({ "position": 7 }))
            .unwrap_err()
            .0,
        -32602
    );
    editor.notify("no/such/notification", json!([1]));
    editor.notify("textDocument/didChange", json!({ "textDocument": 1 }));
    assert!(editor.notification("window/logMessage")["message"].is_string());
    let nowhere = json!({ "line": 0, "character": 0 });
    assert_eq!(
        editor.ask("textDocument/hover", "never opened.chain", nowhere),
        Ok(Value::Null)
    );
    assert_eq!(editor.request("initialize", json!({})).unwrap_err().0, -32600);
    assert_eq!(editor.quit().code(), Some(0));
}

#[test]
fn requests_before_initialize_and_behind_shutdown_are_refused() {
    let mut editor = Editor::raw(&[]);
    assert_eq!(
        editor.request("textDocument/hover", json!({})).unwrap_err().0,
        -32002
    );
    assert!(
        editor
            .request("initialize", json!({ "capabilities": {} }))
            .is_ok()
    );
    assert_eq!(editor.request("shutdown", Value::Null), Ok(Value::Null));
    assert_eq!(
        editor.request("textDocument/hover", json!({})).unwrap_err().0,
        -32600
    );
    editor.notify("exit", Value::Null);
    assert_eq!(editor.ended().code(), Some(0));
}

#[test]
fn ends_without_shutdown() {
    assert_eq!(Editor::with(&[]).hang_up().code(), Some(1));
    let mut editor = Editor::with(&[]);
    editor.notify("exit", Value::Null);
    assert_eq!(editor.ended().code(), Some(1));
    let mut editor = Editor::with(&[]);
    assert_eq!(editor.request("shutdown", Value::Null), Ok(Value::Null));
    assert_eq!(editor.hang_up().code(), Some(0));
}

#[test]
fn a_line_of_a_megabyte() {
    let mut editor = Editor::with(&[]);
    let long = format!("let a = [{}1]\n", "😀, ".repeat(200_000));
    editor.open("a.chain", &long);
    assert!(!editor.diagnostics("a.chain").is_empty());
    let at = json!({ "line": 0, "character": 700_000 });
    assert!(editor.ask("textDocument/hover", "a.chain", at.clone()).is_ok());
    editor.changes(
        "a.chain",
        2,
        json!([{ "range": { "start": at, "end": at }, "text": "x" }]),
    );
    editor.published("a.chain");
    assert_eq!(editor.quit().code(), Some(0));
}

/// A client that types faster than the server checks gets the last text's diagnostics, with its version.
#[test]
fn a_burst_of_keystrokes() {
    let mut editor = Editor::with(&[]);
    editor.open("a.chain", "");
    for version in 2..200 {
        editor.change("a.chain", version, &format!("port p{version} = null\n"));
    }
    loop {
        let published = editor.published("a.chain");
        if published["version"] == 199 {
            let text = published["diagnostics"][0]["message"].as_str().unwrap();
            assert!(text.contains("`p199`"), "{text}");
            break;
        }
    }
}

#[test]
fn a_cancelled_request_is_answered_so_or_was_too_fast() {
    let mut editor = Editor::with(&[]);
    editor.open("a.chain", &"port p = null\n".repeat(500));
    let ask = json!({ "textDocument": { "uri": editor.uri("a.chain") }, "position": { "line": 0, "character": 5 } });
    let id = editor.begin("textDocument/hover", ask);
    editor.notify("$/cancelRequest", json!({ "id": id }));
    match editor.answer(id) {
        Ok(hover) => assert!(hover["contents"].is_object()),
        Err((code, _)) => assert_eq!(code, -32800),
    }
}

/// A disk on which one file finds a defect in the server.
struct Trap;

impl Host for Trap {
    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        assert!(!path.ends_with("trap.chain"), "the trap is sprung");
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[test]
fn a_defect_in_one_answer_does_not_end_the_server() {
    let (server, client) = Connection::memory();
    let serving = std::thread::spawn(move || serve(&server, &Trap));
    let ask = |id: i32, method: &str, params: Value| {
        let request = Request::new(id.into(), method.to_owned(), params);
        client.sender.send(Message::Request(request)).unwrap();
        loop {
            if let Message::Response(response) = client.receiver.recv().unwrap() {
                return response.response_result;
            }
        }
    };
    let tell = |method: &str, params: Value| {
        let notification = Notification::new(method.to_owned(), params);
        client.sender.send(Message::Notification(notification)).unwrap();
    };
    let document = json!({ "uri": "file:///a.chain", "languageId": "chain", "version": 1, "text": "use \"trap.chain\"" });
    let hover = json!({ "textDocument": document, "position": { "line": 0, "character": 5 } });
    assert!(ask(1, "initialize", json!({})).is_ok());
    tell("textDocument/didOpen", json!({ "textDocument": document }));
    assert_eq!(
        ask(2, "textDocument/hover", hover.clone()).unwrap_err().code,
        -32603
    );
    let document = json!({ "uri": "file:///a.chain", "version": 2 });
    tell(
        "textDocument/didChange",
        json!({ "textDocument": document, "contentChanges": [{ "text": "port p = null" }] }),
    );
    assert!(ask(3, "textDocument/hover", hover).unwrap().is_object());
    assert!(ask(4, "shutdown", Value::Null).is_ok());
    tell("exit", Value::Null);
    assert_eq!(serving.join().unwrap(), Ended::Orderly);
}
