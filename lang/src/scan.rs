//! The coarse scanner: strings, comments, brackets and words, enough to find where declarations
//! begin and which bracket is not closed. It never fails and reads each byte once.

use crate::syntax::Span;

/// What a token is, as far as the splitting of a file needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `// ...`, or `/// ...` behind other tokens of its line.
    Comment,
    /// `/// ...`, first on its line.
    Doc,
    /// `"..."`
    Str {
        /// False when the line ends first.
        closed: bool,
    },
    /// `{`, `[` or `(`
    Open(u8),
    /// `}`, `]` or `)`
    Close(u8),
    /// A letter or `_`, and what follows of letters, digits and `_`.
    Word,
    /// One other character, or a run of digits and letters that begins with a digit.
    Other,
}

/// A token.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of its first byte.
    pub start: u32,
    /// Offset after its last byte.
    pub end: u32,
    /// True for the first token of a line.
    pub first: bool,
}

impl Token {
    /// Where it stands.
    pub fn span(&self) -> Span {
        Span {
            start: self.start,
            end: self.end,
        }
    }

    /// Its text.
    pub fn text<'s>(&self, source: &'s str) -> &'s str {
        self.span().text(source)
    }

    /// True for comments of both kinds.
    pub fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::Comment | Kind::Doc)
    }
}

/// Splits a source into tokens. White space, and a byte order mark at the start, make none.
pub(crate) fn scan(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 4);
    let mut at = if source.starts_with('\u{feff}') { 3 } else { 0 };
    let mut first = true;
    while let Some(&b) = bytes.get(at) {
        if b == b'\n' {
            first = true;
            at += 1;
            continue;
        }
        if matches!(b, b' ' | b'\t' | b'\r') {
            at += 1;
            continue;
        }
        let (kind, end) = token_at(source, at, first);
        let span = Span::new(at, end);
        tokens.push(Token {
            kind,
            start: span.start,
            end: span.end,
            first,
        });
        first = false;
        at = end;
    }
    tokens
}

fn token_at(source: &str, at: usize, first: bool) -> (Kind, usize) {
    let rest = source.get(at..).unwrap_or("");
    let bytes = rest.as_bytes();
    match bytes.first().copied().unwrap_or(0) {
        b'/' if bytes.get(1) == Some(&b'/') => {
            let len = line_length(bytes);
            let doc = first && rest.starts_with("///") && !rest.starts_with("////");
            (if doc { Kind::Doc } else { Kind::Comment }, at + len)
        }
        b'"' => {
            let (len, closed) = string_length(bytes);
            (Kind::Str { closed }, at + len)
        }
        b @ (b'{' | b'[' | b'(') => (Kind::Open(b), at + 1),
        b @ (b'}' | b']' | b')') => (Kind::Close(b), at + 1),
        _ => {
            let mut chars = rest.chars();
            let head = chars.next().unwrap_or(' ');
            let word = head.is_alphabetic() || head == '_';
            if !word && !head.is_ascii_digit() {
                return (Kind::Other, at + head.len_utf8());
            }
            let len = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            (if word { Kind::Word } else { Kind::Other }, at + len)
        }
    }
}

/// Length up to the end of the line, a carriage return before it left out.
fn line_length(bytes: &[u8]) -> usize {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let text = bytes.get(..end).unwrap_or(bytes);
    end - usize::from(text.ends_with(b"\r"))
}

/// Length of the string that starts with the first byte; it ends with its line at the latest.
fn string_length(bytes: &[u8]) -> (usize, bool) {
    let mut at = 1;
    while let Some(b) = bytes.get(at) {
        match b {
            b'"' => return (at + 1, true),
            b'\n' => break,
            b'\\' if bytes.get(at + 1).is_some_and(|b| *b != b'\n') => at += 2,
            _ => at += 1,
        }
    }
    (at.min(bytes.len()), false)
}
