//! The patterns file: one literal a line, blanks around it not included; a line that starts with `#` is comment.
//!
//! A backslash writes what a line cannot hold or what would be read otherwise: `\xNN` a byte by two hexadecimal digits,
//! `\t`, `\r`, `\n`, `\\`, `\|`, `\#`. Between bars stand bytes in hexadecimal, as in Snort and Suricata rules:
//! `|0d 0a|`. All other bytes of the file stand for themselves, UTF-8 or not.

use nflib::FileMistake;

use crate::common::files::Parsed;

const ESCAPES: &str = "after a backslash, expected `x` and two hexadecimal digits, or one of `t r n \\ | #`";
const BARS: &str = "between bars, expected bytes as two hexadecimal digits each, as in `|0d 0a|`";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// In the patterns file, from 1.
    pub line: usize,
    /// Never empty.
    pub bytes: Vec<u8>,
}

/// Reads a whole file. One without any pattern is a mistake.
pub fn parse(content: &[u8]) -> Parsed<Vec<Pattern>> {
    let (mut patterns, mut mistakes) = (Vec::new(), Vec::new());
    for (i, whole) in content.split(|&b| b == b'\n').enumerate() {
        let text = whole.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let line = i + 1;
        let indent = whole.len() - whole.trim_ascii_start().len();
        match literal(text) {
            Ok(bytes) => patterns.push(Pattern { line, bytes }),
            Err((at, message)) => {
                let characters = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count();
                let before = characters(whole.get(..indent + at).unwrap_or_default());
                let rest = characters(text.get(at..).unwrap_or_default());
                mistakes.push(FileMistake::new(line, before + 1, rest, message));
            }
        }
    }
    if patterns.is_empty() && mistakes.is_empty() {
        let none = "there is no pattern in this file; write one literal a line";
        mistakes.push(FileMistake::whole(none));
    }
    if mistakes.is_empty() {
        Ok(patterns)
    } else {
        Err(mistakes)
    }
}

/// The bytes that a line stands for, or where it is wrong.
fn literal(text: &[u8]) -> Result<Vec<u8>, (usize, &'static str)> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'\\' => {
                let escaped = text.get(at).copied();
                at += 1;
                bytes.push(match escaped {
                    Some(b't') => b'\t',
                    Some(b'r') => b'\r',
                    Some(b'n') => b'\n',
                    Some(same @ (b'\\' | b'|' | b'#')) => same,
                    Some(b'x') => {
                        at += 2;
                        hex(text, at - 2).ok_or((start, ESCAPES))?
                    }
                    _ => return Err((start, ESCAPES)),
                });
            }
            b'|' => at = bars(text, start, &mut bytes)?,
            other => bytes.push(other),
        }
    }
    Ok(bytes)
}

/// Reads `|0d 0a|` at `start`; returns where it ends.
fn bars(text: &[u8], start: usize, bytes: &mut Vec<u8>) -> Result<usize, (usize, &'static str)> {
    let before = bytes.len();
    let mut at = start + 1;
    loop {
        match text.get(at) {
            Some(b' ') => at += 1,
            Some(b'|') if bytes.len() > before => return Ok(at + 1),
            Some(b'|') => return Err((start, BARS)),
            Some(_) => {
                bytes.push(hex(text, at).ok_or((at, BARS))?);
                at += 2;
            }
            None => return Err((start, "this bar is not closed by another")),
        }
    }
}

/// The byte that two hexadecimal digits write.
fn hex(text: &[u8], at: usize) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    Some((digit(*text.get(at)?)? * 16 + digit(*text.get(at + 1)?)?) as u8)
}

#[cfg(test)]
mod tests {
    use nflib::FileMistakes;

    use super::*;

    fn one(line: &str) -> Vec<u8> {
        parse(line.as_bytes()).unwrap().remove(0).bytes
    }

    fn error(content: &str) -> String {
        let mistakes = parse(content.as_bytes()).unwrap_err();
        let file = "web.patterns".to_owned();
        FileMistakes { file, mistakes }.to_string()
    }

    #[test]
    fn reads_literals_escapes_and_bars() {
        assert_eq!(one("  cmd.exe \r"), b"cmd.exe");
        assert_eq!(one(r"\x20\t\r\n\\\|\#\xfF"), b" \t\r\n\\|#\xff");
        assert_eq!(one("Host|3a 20|x|0D0A|"), b"Host: x\r\n");
        assert_eq!(one("a # b"), b"a # b", "a comment is a whole line");
        assert_eq!(one("é"), "é".as_bytes());
        let lines: Vec<_> = parse(b"# c\n\na\n b\n").unwrap().iter().map(|p| p.line).collect();
        assert_eq!(lines, [3, 4]);
        assert_eq!(parse(b"\xff\xfe").unwrap()[0].bytes, b"\xff\xfe");
    }

    #[test]
    fn every_mistake_of_a_file_is_reported() {
        assert_eq!(
            error("a||\nfine\n\\q\n"),
            format!("web.patterns:1:2: {BARS} (and 1 more mistake)")
        );
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(
            error("# only\n\n"),
            "web.patterns: there is no pattern in this file; write one literal a line"
        );
        assert_eq!(error("ok\n  é\\q"), format!("web.patterns:2:4: {ESCAPES}"));
        assert_eq!(error("\\x4"), format!("web.patterns:1:1: {ESCAPES}"));
        assert_eq!(error("\\"), format!("web.patterns:1:1: {ESCAPES}"));
        assert_eq!(error("ab|0d zz|"), format!("web.patterns:1:7: {BARS}"));
        assert_eq!(error("a||"), format!("web.patterns:1:2: {BARS}"));
        assert_eq!(
            error("a|0d"),
            "web.patterns:1:2: this bar is not closed by another"
        );
    }
}
