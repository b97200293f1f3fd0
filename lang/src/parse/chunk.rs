//! Splits a file into declarations, so that a syntax error in one never hides the next.
//!
//! A declaration begins at a keyword followed by text that looks like its head (`port NAME =`),
//! outside all brackets, or at the start of a line inside brackets that were then left open. A
//! keyword alone (`port 80` in a filter, `steer` in `allow x to steer y`) does not begin one.

use crate::MAX_NESTING;
use crate::filter::names;
use crate::scan::{Kind, Token};
use crate::syntax::Span;
use crate::units::UNITS;

/// The declaration keywords.
pub(crate) const KEYWORDS: [&str; 12] = [
    "use", "param", "let", "class", "port", "nf", "chain", "steer", "allow", "assert", "test", "manager",
];

/// Words that go on with a declaration.
const CONTINUE: [&str; 14] = [
    "and", "or", "not", "with", "as", "to", "before", "else", "steer", "program", "lookup", "max_hops",
    "drop", "times",
];

/// The text of one declaration, or of what stands where one should.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// `None` when the text does not begin with a keyword.
    pub(crate) keyword: Option<&'static str>,
    /// From the first token to the end of the last.
    pub(crate) span: Span,
    /// The `///` lines above it.
    pub(crate) doc: Vec<Span>,
    /// The outermost bracket that is not closed.
    pub(crate) unclosed: Option<Span>,
    /// A string that its line ends.
    pub(crate) open_string: Option<Span>,
    /// The first bracket beyond the nesting limit.
    pub(crate) too_deep: Option<Span>,
}

/// A file's chunks, and doc comments that stand before none.
#[derive(Debug)]
pub(crate) struct Chunks {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) stray_doc: Vec<Span>,
}

/// Splits the tokens of `source`.
pub(crate) fn split(source: &str, all: &[Token]) -> Chunks {
    let code: Vec<Token> = all.iter().filter(|t| !t.is_comment()).copied().collect();
    let mut splitter = Splitter {
        source,
        code: &code,
        brackets: Vec::new(),
        out: Chunks {
            chunks: Vec::new(),
            stray_doc: Vec::new(),
        },
        doc: Vec::new(),
    };
    let mut at = 0;
    for token in all {
        match token.kind {
            Kind::Comment => {}
            Kind::Doc => splitter.doc.push(token.span()),
            _ => {
                splitter.token(at);
                at += 1;
            }
        }
    }
    splitter.close();
    splitter.out.stray_doc.append(&mut splitter.doc);
    splitter.out
}

struct Splitter<'s> {
    source: &'s str,
    code: &'s [Token],
    brackets: Vec<(u8, Span)>,
    out: Chunks,
    doc: Vec<Span>,
}

impl Splitter<'_> {
    fn token(&mut self, at: usize) {
        let Some(token) = self.code.get(at).copied() else {
            return;
        };
        let stray = self.brackets.is_empty()
            && (matches!(token.kind, Kind::Close(_)) || self.continues_nothing(at, &token));
        if let Some(keyword) = self.head(at, &token) {
            self.begin(keyword, token.span());
        } else if self.out.chunks.is_empty() || (stray && !self.in_junk()) {
            self.begin(None, token.span());
        } else {
            // A doc comment inside a declaration is a comment.
            self.doc.clear();
        }
        let Some(chunk) = self.out.chunks.last_mut() else {
            return;
        };
        chunk.span = chunk.span.to(token.span());
        match token.kind {
            Kind::Str { closed: false } => {
                chunk.open_string.get_or_insert(token.span());
            }
            Kind::Open(b) => {
                self.brackets.push((b, token.span()));
                if self.brackets.len() > MAX_NESTING {
                    chunk.too_deep.get_or_insert(token.span());
                }
            }
            Kind::Close(b) => self.close_bracket(b),
            _ => {}
        }
    }

    /// At the very beginning of a line and behind what may be a whole declaration: what goes on with it is indented, or is
    /// one of few words.
    fn continues_nothing(&self, at: usize, token: &Token) -> bool {
        let column = (token.start as usize).checked_sub(1);
        let margin = column.is_none_or(|c| self.source.as_bytes().get(c) == Some(&b'\n'));
        let keyword = self.out.chunks.last().and_then(|c| c.keyword);
        if !margin || at == 0 || matches!(keyword, Some("class" | "assert") | None) {
            return false;
        }
        let before = self.code.get(at - 1).map_or("", |t| t.text(self.source));
        let open = before.ends_with(['=', ':', ',', '-', '>', '$', '.'])
            || KEYWORDS.contains(&before)
            || CONTINUE.contains(&before);
        let goes_on = match token.kind {
            Kind::Word => {
                let word = token.text(self.source);
                let number = before.starts_with(|c: char| c.is_ascii_digit());
                CONTINUE.contains(&word) || number && UNITS.contains(&word)
            }
            Kind::Other => match token.text(self.source) {
                "-" => self.is(at + 1, ">"),
                "=" => !self.is(at + 1, "="),
                text => matches!(text, "," | ":"),
            },
            _ => true,
        };
        !open && !goes_on
    }

    fn in_junk(&self) -> bool {
        self.out.chunks.last().is_some_and(|c| c.keyword.is_none())
    }

    fn begin(&mut self, keyword: Option<&'static str>, span: Span) {
        self.close();
        let doc = std::mem::take(&mut self.doc);
        self.out.chunks.push(Chunk {
            keyword,
            span,
            doc,
            unclosed: None,
            open_string: None,
            too_deep: None,
        });
    }

    fn close(&mut self) {
        if let (Some(chunk), Some((_, span))) = (self.out.chunks.last_mut(), self.brackets.first()) {
            chunk.unclosed = Some(*span);
        }
        self.brackets.clear();
    }

    /// Pops up to the bracket that matches; a closer that matches none is left to the grammar.
    fn close_bracket(&mut self, close: u8) {
        let open = match close {
            b'}' => b'{',
            b']' => b'[',
            _ => b'(',
        };
        // The stack is never searched further than the limit, so this stays linear.
        let depth = self.brackets.len();
        let searched = self.brackets.iter().rev().take(MAX_NESTING);
        if let Some(up) = searched.map(|(b, _)| *b).position(|b| b == open) {
            self.brackets.truncate(depth - up - 1);
        }
    }

    /// Whether a declaration begins here: `Some(None)` for one with an unknown keyword.
    #[allow(clippy::option_option)]
    fn head(&self, at: usize, token: &Token) -> Option<Option<&'static str>> {
        if token.kind != Kind::Word {
            return None;
        }
        let outside = self.brackets.is_empty();
        if !outside && !token.first {
            return None;
        }
        let word = token.text(self.source);
        let known = KEYWORDS.into_iter().find(|k| *k == word);
        match known {
            Some(keyword) if self.strong(keyword, at) => Some(Some(keyword)),
            Some(keyword) if outside && token.first && self.weak(keyword, at) => Some(Some(keyword)),
            None if outside && token.first && self.misspelt(word, at) => Some(None),
            _ => None,
        }
    }

    fn word(&self, at: usize) -> Option<&str> {
        let token = self.code.get(at)?;
        (token.kind == Kind::Word).then(|| token.text(self.source))
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.code.get(at).is_some_and(|t| t.text(self.source) == text)
    }

    fn is_string(&self, at: usize) -> bool {
        matches!(self.code.get(at), Some(t) if matches!(t.kind, Kind::Str { .. }))
    }

    /// The keyword and a well-formed head after it.
    fn strong(&self, keyword: &str, at: usize) -> bool {
        let name = self.word(at + 1).is_some();
        match keyword {
            "use" | "test" => self.is_string(at + 1),
            "manager" => self.is(at + 1, "{"),
            "param" | "assert" => name && self.is(at + 2, ":"),
            "chain" => name && (self.is(at + 2, "=") || self.is(at + 2, "(")),
            // `allow ... to steer`, and what it should name is missing: the next declaration follows.
            "steer" if at > 0 && self.is(at - 1, "to") => {
                self.is(at + 2, "{") && self.word(at + 1).is_some_and(|w| !KEYWORDS.contains(&w))
            }
            "steer" => name && self.is(at + 2, "{"),
            "allow" => name && self.is(at + 2, "to"),
            _ => name && self.is(at + 2, "=") && !self.is(at + 3, "="),
        }
    }

    /// First on its line, and nothing else that it could be.
    fn weak(&self, keyword: &str, at: usize) -> bool {
        match keyword {
            "port" => match self.word(at + 1) {
                Some(word) => names::service(word).is_none(),
                None => self.is(at + 1, "="),
            },
            "steer" => at == 0 || !self.is(at - 1, "to"),
            _ => true,
        }
    }

    /// An unknown word where the rest looks like a declaration: `prot wan = ...`.
    fn misspelt(&self, word: &str, at: usize) -> bool {
        let Some(name) = self.word(at + 1) else {
            return false;
        };
        let same_line = self.code.get(at + 1).is_some_and(|t| !t.first);
        // `firewall with { ... }` goes on with the line before it.
        if CONTINUE.contains(&word) || CONTINUE.contains(&name) || KEYWORDS.contains(&name) || !same_line {
            return false;
        }
        let equals = self.is(at + 2, "=") && !self.is(at + 3, "=");
        equals || self.is(at + 2, "{") || self.is(at + 2, ":")
    }
}
