//! Messages over a pair of streams.
//!
//! The framing is read here rather than by `lsp-server`, whose reader ends with the first message that is not JSON and
//! believes any `Content-Length`.

use std::io::{self, BufRead, Read, Write};

use lsp_server::{Message, Notification};

/// The largest message that is read: the largest source, every character of it escaped.
const MAX_MESSAGE: usize = 6 * onvm_lang::MAX_SOURCE;

/// The longest line of a header.
const MAX_HEADER: u64 = 4096;

/// Reads messages and hands them on until the stream ends or `send` says that nobody listens.
///
/// # Errors
/// When the stream fails.
pub fn read(input: &mut dyn BufRead, send: impl Fn(Message) -> bool) -> io::Result<()> {
    while let Some(content) = frame(input)? {
        match serde_json::from_slice::<Message>(&content) {
            Ok(message) => {
                let last = matches!(&message, Message::Notification(n) if n.method == "exit");
                if !send(message) || last {
                    break;
                }
            }
            // Its id, if it has one, is not known: there is no request to answer.
            Err(e) => {
                let text = format!("an unreadable message was ignored: {e}");
                let problem = Message::Notification(Notification::new(UNREADABLE.to_owned(), text));
                if !send(problem) {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// How [`read`] reports a malformed message to the server; `$/` notifications that a server does not know are ignored.
pub(super) const UNREADABLE: &str = "$/onvmc/unreadable";

/// Writes messages as they come.
///
/// # Errors
/// When the stream fails.
pub fn write(output: &mut impl Write, mut messages: impl Iterator<Item = Message>) -> io::Result<()> {
    messages.try_for_each(|message| message.write(output))
}

pub(super) fn log_message(text: &str) -> Notification {
    let params = serde_json::json!({ "type": 1, "message": text });
    Notification::new("window/logMessage".to_owned(), params)
}

/// The content of the next message; one without a usable header is passed over. None: the stream has ended.
fn frame(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = None;
    loop {
        let mut line = Vec::new();
        if input.take(MAX_HEADER).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
        if !line.is_empty() {
            continue;
        }
        match length {
            Some(length) if length <= MAX_MESSAGE => return content(input, length),
            Some(length) => drop(io::copy(&mut input.take(length as u64), &mut io::sink())?),
            None => {}
        }
        length = None;
    }
}

fn content(input: &mut dyn BufRead, length: usize) -> io::Result<Option<Vec<u8>>> {
    // Grown as it arrives: a length alone takes no memory.
    let mut content = Vec::new();
    let read = input.take(length as u64).read_to_end(&mut content)?;
    Ok((read == length).then_some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(stream: &str) -> Vec<String> {
        let mut input = stream.as_bytes();
        let frames = std::iter::from_fn(|| frame(&mut input).unwrap());
        frames.map(|f| String::from_utf8(f).unwrap()).collect()
    }

    #[test]
    fn frames_in_all_shapes() {
        assert_eq!(
            contents("Content-Length: 2\r\n\r\n{}Content-Length: 1\r\n\r\n1"),
            ["{}", "1"]
        );
        assert_eq!(contents("content-length:2\nContent-Type: x\n\n{}"), ["{}"]);
        assert_eq!(
            contents("junk\r\n\r\nContent-Length: x\r\n\r\nContent-Length: 2\r\n\r\n{}"),
            ["{}"]
        );
        assert_eq!(
            contents("Content-Length: 9\r\n\r\n{}"),
            [""; 0],
            "the stream ends within a message"
        );
        assert_eq!(
            contents(&format!("Content-Length: {}\r\n\r\n{{}}", usize::MAX)),
            [""; 0]
        );
    }
}
