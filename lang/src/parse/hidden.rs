//! Characters that make a source look otherwise than it reads.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::scan::{Kind, Token};
use crate::syntax::Span;

/// Errors for characters that make a line look different from what it means, in comments and strings; elsewhere the
/// grammar refuses it.
pub(super) fn hidden(source: &str, tokens: &[Token], found: &mut Vec<Diagnostic>) {
    text_directions(source, tokens, found);
    line_ends(source, tokens, found);
}

/// Editors show another line behind a carriage return that stands alone; here the comment goes on, with what seems to be code.
fn line_ends(source: &str, tokens: &[Token], found: &mut Vec<Diagnostic>) {
    for token in tokens.iter().filter(|t| t.is_comment()) {
        let text = token.text(source).trim_end();
        let Some(at) = text.find('\r') else {
            continue;
        };
        let start = token.start as usize + at;
        found.push(
            Diagnostic::error(
                codes::DIRECTION,
                "a carriage return alone does not end this comment",
                Span::new(token.start as usize, start),
                "all that follows up to the next line feed is part of it",
            )
            .help("end the lines of this file with a line feed, or with a carriage return and a line feed"),
        );
    }
}

fn text_directions(source: &str, tokens: &[Token], found: &mut Vec<Diagnostic>) {
    if !source.contains(is_direction) {
        return;
    }
    for token in tokens
        .iter()
        .filter(|t| t.is_comment() || matches!(t.kind, Kind::Str { .. }))
    {
        found.extend(directions(source, token.span()));
    }
}

/// See CVE-2021-42574.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The error for a comment or a string that changes the direction of text.
pub(crate) fn directions(source: &str, span: Span) -> Option<Diagnostic> {
    let mut characters = span.text(source).char_indices();
    let (at, c) = characters.find(|(_, c)| is_direction(*c))?;
    let start = span.start as usize + at;
    let found = Diagnostic::error(
        codes::DIRECTION,
        format!(
            "the invisible character U+{:04X} changes the direction of text",
            u32::from(c)
        ),
        Span::new(start, start + c.len_utf8()),
        "the text after it is shown in another order than it is read",
    );
    Some(found.help("remove it"))
}
