//! The one place where diagnostics become text.

mod sarif;

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};
use onvm_lang::{Diagnostic, Severity};
use serde::Serialize;

use crate::source::sources::Sources;

pub use sarif::SarifLog;

/// With the source, for people. `width` in columns.
pub fn human(sources: &Sources, diagnostics: &[Diagnostic], colour: bool, width: usize) -> String {
    let styles = if colour {
        ThemeStyles::ansi()
    } else {
        ThemeStyles::none()
    };
    let theme = GraphicalTheme {
        characters: ThemeCharacters::unicode(),
        styles,
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(1);
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        let shown = Shown { diagnostic, sources };
        // Writing into a string fails only when a label lies outside of every source, which `place` rules out.
        if handler.render_report(&mut out, &shown).is_err() {
            out.push_str(&short(sources, std::slice::from_ref(diagnostic)));
        }
    }
    out
}

/// One line each: `file:line:column: error[C0101]: message`.
pub fn short(sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for d in diagnostics {
        let at = Located::new(sources, d.span());
        let level = d.severity.word();
        out.push_str(&format!(
            "{}:{}:{}: {level}[{}]: {}\n",
            printable(&at.file),
            at.line,
            at.column,
            d.code,
            printable(&d.message)
        ));
    }
    out
}

/// For programs: version 1 of a list of diagnostics, on one line.
pub fn json(sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    let list: Vec<_> = diagnostics
        .iter()
        .map(|d| JsonDiagnostic::new(sources, d))
        .collect();
    serde_json::json!({ "version": 1, "diagnostics": list }).to_string()
}

/// With escapes for control characters, which names and paths of a source may hold: a terminal would obey them.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

#[derive(Debug, Serialize)]
struct JsonDiagnostic<'a> {
    code: &'a str,
    severity: &'static str,
    message: &'a str,
    labels: Vec<JsonLabel<'a>>,
    help: Option<&'a str>,
    fixes: Vec<JsonFix<'a>>,
}

/// A change that fixes it: what stands at the place is replaced by `text`.
#[derive(Debug, Serialize)]
struct JsonFix<'a> {
    #[serde(flatten)]
    at: Located,
    title: &'a str,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonLabel<'a> {
    #[serde(flatten)]
    at: Located,
    text: &'a str,
    primary: bool,
}

/// Lines and columns from 1; the end is behind the last character.
#[derive(Debug, Serialize)]
struct Located {
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl Located {
    fn new(sources: &Sources, span: onvm_lang::syntax::Span) -> Self {
        let Some((file, within)) = sources.locate(span) else {
            return Self {
                file: String::new(),
                line: 1,
                column: 1,
                end_line: 1,
                end_column: 1,
            };
        };
        let (start, end) = (file.position(within.start), file.position(within.end));
        Self {
            file: file.path.display().to_string(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
        }
    }
}

impl<'a> JsonDiagnostic<'a> {
    fn new(sources: &'a Sources, d: &'a Diagnostic) -> Self {
        let label = |l: &'a onvm_lang::Label| JsonLabel {
            at: Located::new(sources, l.span),
            text: &l.text,
            primary: l.primary,
        };
        let fix = |f: &'a onvm_lang::Fix| JsonFix {
            at: Located::new(sources, f.span),
            title: &f.title,
            text: &f.text,
        };
        Self {
            code: d.code,
            severity: d.severity.word(),
            message: &d.message,
            labels: d.labels.iter().map(label).collect(),
            help: d.help.as_deref(),
            fixes: d.fixes.iter().map(fix).collect(),
        }
    }
}

struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.diagnostic.message))
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let Diagnostic { code, severity, .. } = self.diagnostic;
        // A failure of a test is not a diagnostic of the language, and has a word in place of a code.
        let is_word = code.starts_with(|c: char| c.is_ascii_lowercase());
        Some(match is_word {
            true => Box::new(*code),
            false => Box::new(format!("{}[{code}]", severity.word())),
        })
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic
            .help
            .as_ref()
            .map(|h| h.lines().map(printable).collect::<Vec<_>>().join("\n"))
            .map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.diagnostic.labels.iter().map(|l| {
            let span = SourceSpan::new((l.span.start as usize).into(), l.span.len() as usize);
            match l.primary {
                true => LabeledSpan::new_primary_with_span(Some(printable(&l.text)), span),
                false => LabeledSpan::new_with_span(Some(printable(&l.text)), span),
            }
        })))
    }
}

impl SourceCode for Shown<'_> {
    /// The lines of the file that holds the span. A span over two files has none: its labels are then shown apart.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let global = onvm_lang::syntax::Span::new(span.offset(), span.offset() + span.len());
        let (file, within) = self.sources.locate(global).ok_or(MietteError::OutOfBounds)?;
        let first = file.position(within.start).line.saturating_sub(before).max(1);
        let last = file.position(within.end).line + after;
        let (start, end) = (file.line_start(first), file.line_start(last + 1));
        let data = file.shown().get(start..end).ok_or(MietteError::OutOfBounds)?;
        let base = span.offset() - within.start as usize;
        let shown = SourceSpan::new((base + start).into(), data.len());
        let lines = data.matches('\n').count();
        // Asked for no context, it wants to know where the label stands.
        let column = match (before, after) {
            (0, 0) => file.position(within.start).column - 1,
            _ => 0,
        };
        let name = printable(&file.path.display().to_string());
        let contents = MietteSpanContents::new_named(name, data.as_bytes(), shown, first - 1, column, lines);
        Ok(Box::new(contents))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::checked;

    #[test]
    fn names_in_messages_do_nothing_to_a_terminal() {
        let found = checked("use \"\\x1b[2J\\n.chain\"\nport wan = null\nsteer wan { else -> wan }\n");
        let short = super::short(&found.sources, &found.diagnostics);
        assert_eq!(short.lines().count(), found.diagnostics.len(), "{short}");
        let human = super::human(&found.sources, &found.diagnostics, false, 100);
        for shown in [short, human] {
            assert!(
                shown.contains("\\u{1b}[2J\\n.chain") && !shown.contains('\u{1b}'),
                "{shown}"
            );
        }
    }

    #[test]
    fn quoted_lines_do_nothing_to_a_terminal() {
        let found = checked(
            "port wan = null // a\tb\u{1b}[2J\r!\u{85}\r\nlet \u{7f} = 1\nsteer wan { else -> drop }\n",
        );
        let human = super::human(&found.sources, &found.diagnostics, false, 100);
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!human.contains(obeyed), "{human:?}");
        assert!(human.contains("b?[2J?!¿\n"), "{human}");
    }
}
