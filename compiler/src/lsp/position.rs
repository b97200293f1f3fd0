//! Between byte offsets and the protocol's positions: a line, and a column in UTF-16 units or, where the client can, bytes.

use gen_lsp_types::{Position, Range};
use onvm_lang::syntax::Span;

/// What a column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16,
}

/// A text by its lines, which end with `\n`, `\r\n` or `\r`, as the protocol has it.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Of each line.
    starts: Vec<usize>,
    encoding: Encoding,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str, encoding: Encoding) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(at, b)| match b {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        Self {
            text,
            starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect(),
            encoding,
        }
    }

    /// The offset of a position. One behind the end of its line, or within a character, is moved to the nearest before.
    pub(super) fn offset(&self, position: Position) -> usize {
        let line = position.line as usize;
        let Some(&start) = self.starts.get(line) else {
            return self.text.len();
        };
        let content = self.line(line);
        let mut column = position.character as usize;
        for (at, c) in content.char_indices() {
            let width = self.width(c);
            if column < width {
                return start + at;
            }
            column -= width;
        }
        start + content.len()
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|s| *s <= offset).max(1) - 1;
        let start = self.starts.get(line).copied().unwrap_or(0);
        let mut end = offset.min(start + self.line(line).len()).max(start);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(start..end).unwrap_or("");
        let column: usize = before.chars().map(|c| self.width(c)).sum();
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position::new(narrow(line), narrow(column))
    }

    pub(super) fn range(&self, span: Span) -> Range {
        let range = span.range();
        Range::new(self.position(range.start), self.position(range.end))
    }

    /// A line without its end.
    fn line(&self, line: usize) -> &'t str {
        let start = self.starts.get(line).copied().unwrap_or(self.text.len());
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or("");
        text.strip_suffix('\n').map_or_else(
            || text.strip_suffix('\r').unwrap_or(text),
            |t| t.strip_suffix('\r').unwrap_or(t),
        )
    }

    fn width(&self, c: char) -> usize {
        match self.encoding {
            Encoding::Utf8 => c.len_utf8(),
            Encoding::Utf16 => c.len_utf16(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_count_what_was_agreed() {
        let text = "a\r\n/// ä😀b\nend";
        let at = text.find('b').unwrap_or(0);
        assert_eq!(
            Lines::new(text, Encoding::Utf16).position(at),
            Position::new(1, 7)
        );
        assert_eq!(
            Lines::new(text, Encoding::Utf8).position(at),
            Position::new(1, 10)
        );
    }

    #[test]
    fn positions_outside_of_the_text_are_moved_into_it() {
        let lines = Lines::new("ab\r\ncd", Encoding::Utf16);
        assert_eq!(lines.offset(Position::new(0, 99)), 2);
        assert_eq!(lines.offset(Position::new(9, 0)), 6);
        assert_eq!(lines.offset(Position::new(1, u32::MAX)), 6);
        assert_eq!(Lines::new("😀", Encoding::Utf16).offset(Position::new(0, 1)), 0);
    }

    proptest! {
        /// There and back again, from every place where a cursor can stand.
        #[test]
        fn positions_lead_back(text in "([a-z ä😀]|\n|\r\n|\r){0,40}", utf8: bool) {
            let encoding = if utf8 { Encoding::Utf8 } else { Encoding::Utf16 };
            let lines = Lines::new(&text, encoding);
            let stops = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            for at in stops.filter(|at| !(text[..*at].ends_with('\r') && text[*at..].starts_with('\n'))) {
                prop_assert_eq!(lines.offset(lines.position(at)), at);
            }
        }
    }
}
