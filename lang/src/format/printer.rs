//! Output with delayed white space, and comments put in as the text passes them.

use super::WIDTH;
use crate::scan::{self, Token};
use crate::syntax::Span;

/// White space that comes before the next text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    None,
    Space,
    Line {
        /// A blank line first.
        blank: bool,
        /// Indented once more: a comment broke a line that goes on.
        goes_on: bool,
    },
}

pub(super) struct Printer<'s> {
    pub(super) source: &'s str,
    out: String,
    /// Characters on the current line.
    column: usize,
    indent: usize,
    gap: Gap,
    /// No blank line comes after an opening brace.
    opened: bool,
    /// Nothing has come after an opening brace.
    empty: bool,
    /// The text written last is a comment, so nothing may follow on its line.
    commented: bool,
    comments: Vec<Token>,
    next: usize,
    /// Where the text written last ends in the source.
    passed: usize,
}

impl<'s> Printer<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        let mut comments = scan::scan(source);
        comments.retain(Token::is_comment);
        Self {
            source,
            out: String::with_capacity(source.len()),
            column: 0,
            indent: 0,
            gap: Gap::None,
            opened: true,
            empty: false,
            commented: false,
            comments,
            next: 0,
            passed: 0,
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.line();
        self.comments_before(u32::MAX);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    /// Text that stood at `span`.
    pub(super) fn text(&mut self, text: &str, span: Span) {
        self.comments_before(span.start);
        self.put(text);
        self.passed = span.end as usize;
    }

    /// The source's own text.
    pub(super) fn copy(&mut self, span: Span) {
        let source = self.source;
        self.text(span.text(source), span);
    }

    /// A mark that has no place of its own; it goes where the text before it ended.
    /// Spaces around it are kept unless a line begins or ends there.
    pub(super) fn mark(&mut self, text: &str) {
        let word = text.trim_matches(' ');
        if text.starts_with(' ') {
            self.space();
        }
        if !word.is_empty() {
            self.put(word);
        }
        if text.ends_with(' ') {
            self.space();
        }
    }

    pub(super) fn space(&mut self) {
        if self.gap == Gap::None {
            self.gap = Gap::Space;
        }
    }

    pub(super) fn spaces(&mut self, count: usize) {
        self.put(&" ".repeat(count));
    }

    pub(super) fn line(&mut self) {
        self.gap = Gap::Line {
            blank: false,
            goes_on: false,
        };
    }

    /// Begins a line for what stood at `start`, after the comments before it; a blank line in the
    /// source is kept.
    pub(super) fn item(&mut self, start: u32) {
        self.line();
        self.comments_before(start);
        self.gap = Gap::Line {
            blank: self.blank_before(start as usize),
            goes_on: false,
        };
    }

    /// Ends what stood before `end`.
    pub(super) fn passed(&mut self, end: u32) {
        self.passed = self.passed.max(end as usize);
    }

    pub(super) fn open(&mut self, brace: &str) {
        self.put(brace);
        self.indent += 1;
        self.opened = true;
        self.empty = true;
    }

    /// Closes the bracket whose last byte is before `end`, on a line of its own.
    pub(super) fn close(&mut self, brace: &str, end: u32) {
        self.line();
        self.comments_before(end.saturating_sub(1));
        self.indent = self.indent.saturating_sub(1);
        self.gap = Gap::None;
        if !self.empty {
            self.line();
        }
        self.put(brace);
        self.passed = end as usize;
    }

    pub(super) fn indented(&mut self, write: impl FnOnce(&mut Self)) {
        self.indent += 1;
        write(self);
        self.indent -= 1;
    }

    /// True when a comment stands inside the span.
    pub(super) fn has_comment(&self, span: Span) -> bool {
        let at = self.comments.partition_point(|c| c.start < span.start);
        self.comments.get(at).is_some_and(|c| c.start < span.end)
    }

    /// True when `text`, which stood at `span`, and `more` characters after it have room on this
    /// line, and no comment forbids to put it on one.
    pub(super) fn fits(&mut self, text: &str, span: Span, more: usize) -> bool {
        if self.has_comment(span) {
            return false;
        }
        self.comments_before(span.start);
        let column = match self.gap {
            Gap::None => self.column,
            Gap::Space => self.column + 1,
            Gap::Line { goes_on, .. } => 4 * (self.indent + usize::from(goes_on)),
        };
        column + text.chars().count() + more <= WIDTH
    }

    /// Writes the comments that stood before `start`.
    pub(super) fn comments_before(&mut self, start: u32) {
        while let Some(comment) = self.comments.get(self.next).copied() {
            if comment.start >= start {
                return;
            }
            self.next += 1;
            let text = comment.text(self.source).trim_end();
            let goes_on = !matches!(self.gap, Gap::Line { goes_on: false, .. });
            if comment.first || self.out.is_empty() {
                let blank = self.blank_before(comment.start as usize);
                self.gap = Gap::Line { blank, goes_on };
            } else if self.commented {
                let blank = false;
                self.gap = Gap::Line { blank, goes_on };
            } else {
                self.gap = Gap::Space;
            }
            let opened = self.opened;
            self.put(text);
            // A comment behind an opening brace is not the first thing inside.
            self.opened = opened && !comment.first;
            self.commented = true;
            self.passed = comment.end as usize;
            self.gap = Gap::Line {
                blank: false,
                goes_on,
            };
        }
    }

    fn blank_before(&self, start: usize) -> bool {
        let between = self.source.get(self.passed..start).unwrap_or("");
        let mut lines = between.split('\n');
        // What is before the first line end and after the last belongs to lines with text.
        lines.next_back();
        !self.opened && lines.skip(1).any(|line| line.trim().is_empty())
    }

    fn put(&mut self, text: &str) {
        match self.gap {
            _ if self.out.is_empty() => {}
            Gap::None => {}
            Gap::Space => {
                self.out.push(' ');
                self.column += 1;
            }
            Gap::Line { blank, goes_on } => {
                self.out.push_str(if blank { "\n\n" } else { "\n" });
                let indent = 4 * (self.indent + usize::from(goes_on));
                self.out.extend(std::iter::repeat_n(' ', indent));
                self.column = indent;
            }
        }
        self.gap = Gap::None;
        self.opened = false;
        self.empty = false;
        self.commented = false;
        self.out.push_str(text);
        self.column += text.chars().count();
    }
}
