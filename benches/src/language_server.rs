//! B9: from a keystroke to its diagnostics in `onvmc lsp`.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    BenchError, Effort, host,
    results::{Goal, Record},
};

pub const ID: &str = "b9";

const LINES: usize = 2_000;
const GOAL_MS: f64 = 100.0;
const KEYSTROKES: usize = 100;
const URI: &str = "file:///bench/edge.chain";

/// Types into a source of 2,000 lines; every second keystroke breaks a declaration, the next one mends it.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Language server",
        "`onvmc lsp` with one open source of 2,000 lines (40 NFs, 100 classes, 300 chains, 1,400 steering rules, 100 assertions \
         and tests): a letter is typed into a rule, or taken out again, and the clock runs from writing the change until \
         the diagnostics of that version have been read; then hover and completion at the same place.",
        "none in the paper; 100 ms is where a person begins to feel a delay",
    );
    let source = source();
    let mut editor = Editor::start(&source)?;
    let at = position(&source);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        for _ in 0..KEYSTROKES / 2 {
            times[0].push(editor.keystroke(&at, "x")?);
            times[0].push(editor.keystroke(&at, "")?);
        }
        times[1].push(editor.ask("textDocument/hover", &at)?);
        times[2].push(editor.ask("textDocument/completion", &at)?);
    }
    editor.quit()?;
    let [keystrokes, hover, completion] = times;
    let slowest = keystrokes.iter().copied().fold(0.0, f64::max);
    record.add("keystroke to diagnostics", "ms", keystrokes);
    record.add("hover", "ms", hover);
    record.add("completion", "ms", completion);
    record.goals.push(Goal::below(
        "the slowest keystroke in 2,000 lines",
        "ms",
        GOAL_MS,
        slowest,
    ));
    Ok(record)
}

/// A source without errors in which every kind of name is used.
fn source() -> String {
    let mut text = String::from("port wan = null\nport lan = null\nsteer lan { else -> drop }\n");
    // Writing to a string does not fail.
    for n in 0..40 {
        let _ = writeln!(text, "nf f{n} = forward");
    }
    for n in 0..100 {
        let _ = writeln!(
            text,
            "/// Clients of site {n}.\nlet site{n} = [10.{n}.0.0/16]\nclass c{n} = src net $site{n} and tcp"
        );
    }
    for n in 0..300 {
        let _ = writeln!(text, "chain p{n} = f{} -> f{} -> lan", n % 40, (n + 1) % 40);
    }
    for n in 0..100 {
        let _ = writeln!(
            text,
            "assert wan: c{n} and dst port {} passes f{} before lan",
            n + 1,
            n % 40
        );
    }
    text.push_str("steer wan {\n");
    let rest = LINES - text.lines().count() - 2;
    for n in 0..rest {
        let _ = writeln!(text, "    c{} and dst port {} -> p{}", n % 100, n + 1, n % 300);
    }
    text + "    else -> drop\n}\n"
}

/// Behind the name of the class in the rule in the middle of the `steer` block.
fn position(source: &str) -> Value {
    let lines: Vec<&str> = source.lines().collect();
    let line = lines.len() - 700;
    let column = lines[line].find(" and").unwrap_or(0);
    json!({ "line": line, "character": column })
}

/// A client that knows only what it measures.
struct Editor {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    version: i64,
    typed: usize,
}

impl Editor {
    fn start(source: &str) -> Result<Self, BenchError> {
        let failed = BenchError::system("onvmc cannot be run");
        let mut child = Command::new(host::program("onvmc")?)
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(silent());
        };
        let mut editor = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
            version: 1,
            typed: 0,
        };
        editor.send(
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "capabilities": {} } }),
        )?;
        editor.until(|m| m["id"] == 1)?;
        let document = json!({ "uri": URI, "languageId": "chain", "version": 1, "text": source });
        editor.tell("textDocument/didOpen", json!({ "textDocument": document }))?;
        let published = editor.until(|m| m["params"]["version"] == 1)?;
        let errors = published["params"]["diagnostics"]
            .as_array()
            .into_iter()
            .flatten();
        match errors.filter(|d| d["severity"] == 1).count() {
            0 => Ok(editor),
            n => Err(BenchError::LanguageServer(format!(
                "the generated source has {n} errors"
            ))),
        }
    }

    /// Replaces what was typed last; returns the milliseconds until its diagnostics are there.
    fn keystroke(&mut self, at: &Value, text: &str) -> Result<f64, BenchError> {
        let (line, column) = (&at["line"], at["character"].as_u64().unwrap_or(0));
        let end = json!({ "line": line, "character": column + self.typed as u64 });
        let change = json!({ "range": { "start": at, "end": end }, "text": text });
        self.typed = text.len();
        self.version += 1;
        let version = self.version;
        let document = json!({ "uri": URI, "version": version });
        let began = Instant::now();
        self.tell(
            "textDocument/didChange",
            json!({ "textDocument": document, "contentChanges": [change] }),
        )?;
        self.until(|m| m["params"]["version"] == version)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    fn ask(&mut self, method: &str, at: &Value) -> Result<f64, BenchError> {
        let params = json!({ "textDocument": { "uri": URI }, "position": at });
        let began = Instant::now();
        self.send(&json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params }))?;
        self.until(|m| m["id"] == method)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    fn quit(mut self) -> Result<(), BenchError> {
        self.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": "shutdown" }))?;
        self.until(|m| m["id"] == 2)?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "exit" }))?;
        let status = self.child.wait().map_err(BenchError::system("onvmc lsp"))?;
        match status.success() {
            true => Ok(()),
            false => Err(BenchError::LanguageServer(format!(
                "onvmc lsp ended with {status}"
            ))),
        }
    }

    fn tell(&mut self, method: &str, params: Value) -> Result<(), BenchError> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    fn send(&mut self, message: &Value) -> Result<(), BenchError> {
        let text = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len())
            .and_then(|()| self.stdin.flush())
            .map_err(BenchError::system("onvmc lsp"))
    }

    /// Reads messages up to the one that is waited for.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value, BenchError> {
        loop {
            let message = self.receive()?;
            if wanted(&message) {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self) -> Result<Value, BenchError> {
        let failed = || BenchError::system("onvmc lsp");
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).map_err(failed())? == 0 {
                return Err(silent());
            }
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", n)) => length = n.parse().unwrap_or(0),
                Some(_) => {}
                None => break,
            }
        }
        let mut content = vec![0; length];
        self.stdout.read_exact(&mut content).map_err(failed())?;
        serde_json::from_slice(&content).map_err(|e| failed()(e.into()))
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn silent() -> BenchError {
    BenchError::LanguageServer("onvmc lsp closed its side".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_as_long_as_is_said() {
        let source = source();
        assert_eq!(source.lines().count(), LINES);
        let at = position(&source);
        let line = source
            .lines()
            .nth(at["line"].as_u64().unwrap_or(0) as usize)
            .unwrap_or("");
        assert!(
            line.trim_start().starts_with('c') && at["character"] != 0,
            "{line}"
        );
    }
}
