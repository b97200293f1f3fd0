//! The words of one line, with their columns.

use std::ops::RangeInclusive;

/// What is wrong at a place of the line.
#[derive(Debug)]
pub(super) struct Failure {
    /// In characters, from 1.
    pub(super) column: usize,
    pub(super) length: usize,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    words: Vec<Word<'a>>,
    at: usize,
    /// One past the last character.
    end: usize,
}

#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    column: usize,
    text: &'a str,
}

impl<'a> Cursor<'a> {
    /// Splits at blanks; a comma is a word of its own.
    pub(super) fn new(line: &'a str) -> Self {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let mut words = Vec::new();
        let mut start = None;
        for (column, (i, ch)) in (1..).zip(line.char_indices()) {
            if ch.is_whitespace() || ch == ',' {
                words.extend(start.take().map(|(column, from)| Word {
                    column,
                    text: &line[from..i],
                }));
                if ch == ',' {
                    words.push(Word { column, text: "," });
                }
            } else if start.is_none() {
                start = Some((column, i));
            }
        }
        words.extend(start.map(|(column, from)| Word {
            column,
            text: &line[from..],
        }));
        Self {
            words,
            at: 0,
            end: line.chars().count() + 1,
        }
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.words.len()
    }

    /// The present word; empty at the end.
    pub(super) fn peek(&self) -> &'a str {
        self.words.get(self.at).map_or("", |w| w.text)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// Goes past `word` if it is the present one.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        self.at += usize::from(found);
        found
    }

    /// All words, one space between them.
    pub(super) fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|w| w.text).collect();
        words.join(" ")
    }

    /// A number, decimal or with `0x`.
    pub(super) fn number(&mut self, range: RangeInclusive<u16>, what: &str) -> Result<u16, Failure> {
        let word = self.peek();
        let parsed = match word.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16),
            None => word.parse(),
        };
        match parsed {
            Ok(n) if range.contains(&n) => {
                self.advance();
                Ok(n)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// That something else stands where `what` should.
    pub(super) fn expected(&self, what: &str) -> Failure {
        match self.peek() {
            "" => self.failure(format!("expected {what}, found the end of the line")),
            word => self.failure(format!("expected {what}, found `{word}`")),
        }
    }

    pub(super) fn failure(&self, message: String) -> Failure {
        self.failure_at(self.words.get(self.at), message)
    }

    /// About the word that was taken last.
    pub(super) fn failure_at_previous(&self, message: String) -> Failure {
        let previous = self.at.checked_sub(1).and_then(|i| self.words.get(i));
        self.failure_at(previous, message)
    }

    /// Without a word: about the end of the line.
    fn failure_at(&self, word: Option<&Word<'_>>, message: String) -> Failure {
        Failure {
            column: word.map_or(self.end, |w| w.column),
            length: word.map_or(1, |w| w.text.chars().count()),
            message,
        }
    }
}
