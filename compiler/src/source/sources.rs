//! Source files in one space of offsets, so that a diagnostic may point into several files.

use std::path::{Path, PathBuf};

use onvm_bundle::SourceRef;
use onvm_lang::syntax::Span;

/// The `--set` arguments, as a file that messages can point into.
pub(crate) const COMMAND_LINE: &str = "--set";

/// A packet from the command line, as a file that messages can point into.
pub(crate) const PACKET: &str = "PACKET";

/// A filter from the command line, likewise.
pub(crate) const FILTER: &str = "FILTER";

/// The fields of a message from the command line, likewise.
pub(crate) const MESSAGE: &str = "MESSAGE";

/// A file of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(usize);

impl FileId {
    /// The file that was named on the command line.
    pub const MAIN: Self = Self(0);
}

/// A span in the common space of all files. Only [`Sources::place`] makes one from a file's own span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(Span);

impl Place {
    /// As the span of a diagnostic's label.
    pub fn span(self) -> Span {
        self.0
    }

    /// The smallest place that covers both; they must lie in one file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self(self.0.to(other.0))
    }
}

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// How it was found on the host; also how messages name it, so that an editor finds it.
    pub path: PathBuf,
    /// Relative to the bundle's `source/`.
    pub name: String,
    pub text: String,
    /// The text for a terminal, where that is another.
    shown: Option<String>,
    base: u32,
    line_starts: Vec<u32>,
}

/// The text with a mark of the same length for each character that a terminal would obey and not show; none where there is
/// no such character.
fn shown(text: &str) -> Option<String> {
    let mut rest = text.chars().peekable();
    let mut changed = false;
    let mut out = String::new();
    while let Some(c) = rest.next() {
        let mark = match c {
            '\n' | '\t' => c,
            '\r' if rest.peek() == Some(&'\n') => c,
            '\0'..='\u{1f}' | '\u{7f}' => '?',
            '\u{80}'..='\u{9f}' => '\u{bf}',
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        changed |= mark != c;
        out.push(mark);
    }
    changed.then_some(out)
}

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// All files of one run, the main file first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: &Path, name: String, text: String) -> FileId {
        let base = self
            .files
            .last()
            .map_or(0, |f| f.base.saturating_add(Span::new(0, f.text.len() + 1).end));
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let line_starts = std::iter::once(0)
            .chain(breaks.map(|(i, _)| Span::new(0, i + 1).end))
            .collect();
        self.files.push(Source {
            path: path.to_path_buf(),
            name,
            shown: shown(&text),
            text,
            base,
            line_starts,
        });
        FileId(self.files.len() - 1)
    }

    /// The files in the order in which they were read.
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    pub fn get(&self, file: FileId) -> &Source {
        &self.files[file.0]
    }

    /// A file's own span in the common space.
    pub fn place(&self, file: FileId, span: Span) -> Place {
        Place(span.shift(self.get(file).base))
    }

    /// The file of a span of the common space, and the span within it.
    pub fn locate(&self, span: Span) -> Option<(&Source, Span)> {
        let after = self.files.partition_point(|f| f.base <= span.start);
        let file = self.files.get(after.checked_sub(1)?)?;
        let within = Span {
            start: span.start - file.base,
            end: span.end - file.base,
        };
        (within.end as usize <= file.text.len() + 1).then_some((file, within))
    }

    /// `file:line:column` as a bundle writes it.
    pub(crate) fn reference(&self, place: Place) -> SourceRef {
        self.reference_of(place.0)
    }

    /// As [`Self::reference`], of a span of the common space.
    pub fn reference_of(&self, span: Span) -> SourceRef {
        let Some((file, span)) = self.locate(span) else {
            return SourceRef(String::new());
        };
        let Position { line, column } = file.position(span.start);
        SourceRef(format!("{}:{line}:{column}", file.name))
    }

    /// The place that begins at a reference and holds `text`, however its words are spaced there.
    pub fn find(&self, source: &SourceRef, text: &str) -> Option<Place> {
        let mut parts = source.0.rsplitn(3, ':');
        let column: usize = parts.next()?.parse().ok()?;
        let line: usize = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        let file = self.files.iter().position(|f| f.name == name)?;
        let Source { text: all, .. } = &self.files[file];
        let start = self.files[file].line_start(line);
        let rest = all.get(start..)?;
        let start = start + rest.char_indices().nth(column.checked_sub(1)?)?.0;
        let mut wanted = text.chars().filter(|c| !c.is_whitespace()).peekable();
        let mut end = start;
        for (at, c) in all.get(start..)?.char_indices() {
            match wanted.peek() {
                None => break,
                Some(next) if *next == c => {
                    wanted.next();
                    end = start + at + c.len_utf8();
                }
                Some(_) if c.is_whitespace() => {}
                Some(_) => break,
            }
        }
        Some(self.place(FileId(file), Span::new(start, end)))
    }

    /// The text under a place.
    pub(crate) fn text(&self, place: Place) -> &str {
        self.locate(place.0)
            .map_or("", |(file, span)| span.text(&file.text))
    }

    pub(crate) fn position(&self, place: Place) -> Position {
        self.locate(place.0)
            .map_or(Position { line: 0, column: 0 }, |(file, span)| {
                file.position(span.start)
            })
    }

    pub(crate) fn line(&self, place: Place) -> usize {
        self.locate(place.0)
            .map_or(0, |(file, span)| file.position(span.start).line)
    }
}

impl Source {
    /// The text as it can be written to a terminal, at the same offsets.
    pub(crate) fn shown(&self) -> &str {
        self.shown.as_deref().unwrap_or(&self.text)
    }

    /// True for what was given on the command line, which stands in no file.
    pub fn is_command_line(&self) -> bool {
        [COMMAND_LINE, PACKET, FILTER, MESSAGE].contains(&self.name.as_str())
    }

    /// Where an offset of this file stands.
    pub fn position(&self, offset: u32) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts[line - 1] as usize;
        let before = self.text.get(start..offset as usize).unwrap_or("");
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// Offset of the first byte of a line, lines from 1; the end of the text for lines beyond it.
    pub(crate) fn line_start(&self, line: usize) -> usize {
        self.line_starts
            .get(line.saturating_sub(1))
            .map_or(self.text.len(), |s| *s as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_two_files_stay_apart() {
        let mut sources = Sources::default();
        let a = sources.add(Path::new("a.chain"), "a.chain".into(), "one\ntwo\n".into());
        let b = sources.add(Path::new("b.chain"), "b.chain".into(), "ä drei".into());
        let end_of_a = sources.place(a, Span::new(8, 8));
        let drei = sources.place(b, Span::new(3, 7));
        assert_eq!(sources.reference(end_of_a).0, "a.chain:3:1");
        assert_eq!(sources.reference(drei).0, "b.chain:1:3");
        assert_eq!(sources.text(drei), "drei");
    }
}
