//! An editor as a test plays it: a real `onvmc lsp` and the protocol over its pipes.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Editor {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Value>,
    pub(crate) dir: tempfile::TempDir,
    next_id: i64,
    /// Notifications that arrived while something else was waited for.
    notifications: Vec<Value>,
    pub(crate) initialized: Value,
}

impl Editor {
    /// Starts a server for a workspace with these files, and initialises it.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        Self::with_client(files, json!({}), json!({}))
    }

    pub(crate) fn with_client(files: &[(&str, &str)], capabilities: Value, options: Value) -> Self {
        let mut editor = Self::raw(files);
        let root = editor.uri("");
        let params = json!({
            "processId": null, "rootUri": root, "capabilities": capabilities, "initializationOptions": options,
            "workspaceFolders": [{ "uri": root, "name": "w" }],
        });
        editor.initialized = editor.request("initialize", params).unwrap();
        editor.notify("initialized", json!({}));
        editor
    }

    /// A server that has been sent nothing.
    pub(crate) fn raw(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_onvmc"))
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            while let Some(message) = read(&mut stdout) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            messages,
            dir,
            next_id: 1,
            notifications: Vec::new(),
            initialized: Value::Null,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    /// Sends bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.bytes(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and waits for its answer: the result, or the error's code and message.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Result<Value, (i64, String)> {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// Sends a request; returns its id.
    pub(crate) fn begin(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub(crate) fn answer(&mut self, id: i64) -> Result<Value, (i64, String)> {
        loop {
            let message = self.receive().expect("the server answers before it ends");
            if message["id"] == id && message.get("method").is_none() {
                return match message.get("error") {
                    Some(e) => Err((
                        e["code"].as_i64().unwrap(),
                        e["message"].as_str().unwrap().to_owned(),
                    )),
                    None => Ok(message["result"].clone()),
                };
            }
            self.notifications.push(message);
        }
    }

    /// None: the server has closed its side.
    fn receive(&self) -> Option<Value> {
        match self.messages.recv_timeout(PATIENCE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the server does not answer"),
        }
    }

    /// Waits for the next notification of that method.
    pub(crate) fn notification(&mut self, method: &str) -> Value {
        loop {
            if let Some(at) = self.notifications.iter().position(|m| m["method"] == method) {
                return self.notifications.remove(at)["params"].clone();
            }
            let message = self.receive().expect("the server speaks before it ends");
            self.notifications.push(message);
        }
    }

    pub(crate) fn open(&mut self, name: &str, text: &str) {
        let uri = self.uri(name);
        let item = json!({ "uri": uri, "languageId": "chain", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": item }));
    }

    /// Replaces the whole text.
    pub(crate) fn change(&mut self, name: &str, version: i64, text: &str) {
        self.changes(name, version, json!([{ "text": text }]));
    }

    pub(crate) fn changes(&mut self, name: &str, version: i64, changes: Value) {
        let document = json!({ "uri": self.uri(name), "version": version });
        let params = json!({ "textDocument": document, "contentChanges": changes });
        self.notify("textDocument/didChange", params);
    }

    /// Waits until the diagnostics of a file are published; each as `line:column-line:column code message`, the place from 0.
    pub(crate) fn diagnostics(&mut self, name: &str) -> Vec<String> {
        self.published(name)["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .map(shown)
            .collect()
    }

    /// The next publication for a file.
    pub(crate) fn published(&mut self, name: &str) -> Value {
        let uri = self.uri(name);
        let mut passed = Vec::new();
        loop {
            let params = self.notification("textDocument/publishDiagnostics");
            if params["uri"] == uri {
                self.notifications.extend(
                    passed
                        .into_iter()
                        .map(|p: Value| json!({ "method": "textDocument/publishDiagnostics", "params": p })),
                );
                return params;
            }
            passed.push(params);
        }
    }

    /// Asks something about a place.
    pub(crate) fn ask(&mut self, method: &str, name: &str, position: Value) -> Result<Value, (i64, String)> {
        let params = json!({ "textDocument": { "uri": self.uri(name) }, "position": position });
        self.request(method, params)
    }

    /// `shutdown`, `exit`, and the end of the process.
    pub(crate) fn quit(mut self) -> ExitStatus {
        assert_eq!(self.request("shutdown", Value::Null), Ok(Value::Null));
        self.notify("exit", Value::Null);
        self.ended()
    }

    /// Closes the server's stdin without a word.
    pub(crate) fn hang_up(mut self) -> ExitStatus {
        self.stdin.take();
        self.ended()
    }

    pub(crate) fn ended(mut self) -> ExitStatus {
        // The pipe stays open: a server must go by `exit` alone.
        let status = self.child.wait().unwrap();
        drop(self.stdin.take());
        status
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stdout: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(n) = line.strip_prefix("Content-Length: ") {
            length = n.parse().unwrap();
        }
    }
    let mut content = vec![0; length];
    stdout.read_exact(&mut content).ok()?;
    Some(serde_json::from_slice(&content).unwrap())
}

fn shown(diagnostic: &Value) -> String {
    let first = diagnostic["message"]
        .as_str()
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    format!(
        "{} {} {first}",
        place(&diagnostic["range"]),
        diagnostic["code"].as_str().unwrap()
    )
}

/// `line:column-line:column`, from 0.
pub(crate) fn place(range: &Value) -> String {
    let at = |p: &Value| format!("{}:{}", p["line"], p["character"]);
    format!("{}-{}", at(&range["start"]), at(&range["end"]))
}

/// Takes the `$0` out of a source and returns where it stood, in UTF-16 units.
pub(crate) fn cursor(source: &str) -> (String, Value) {
    let at = source.find("$0").expect("the source marks a place with $0");
    let before = &source[..at];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    let column = before[start..].encode_utf16().count();
    (
        source.replacen("$0", "", 1),
        json!({ "line": line, "character": column }),
    )
}

/// A file's content, of the repository.
pub(crate) fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}
