//! One place of one file, as a request names it.

use std::path::Path;

use gen_lsp_types::{Location, Position, Range, Uri};
use onvm_lang::syntax::{Decl, DeclKind, Span, Value};

use super::{
    analysis::{Analysis, At},
    documents::{Documents, Kind},
    marks::Mark,
    position::{Encoding, Lines},
};
use crate::source::load::Unit;

pub(super) struct View<'a> {
    pub(super) analysis: &'a Analysis,
    pub(super) documents: &'a Documents,
    pub(super) unit: &'a Unit,
    pub(super) text: &'a str,
    pub(super) lines: Lines<'a>,
    pub(super) offset: usize,
    encoding: Encoding,
}

impl<'a> View<'a> {
    /// None: the file is not a source of the program.
    pub(super) fn new(
        analysis: &'a Analysis,
        documents: &'a Documents,
        encoding: Encoding,
        path: &Path,
        position: Position,
    ) -> Option<Self> {
        let unit = analysis.unit(path)?;
        let text = analysis.source(unit.file).text.as_str();
        let lines = Lines::new(text, encoding);
        let offset = lines.offset(position);
        Some(Self {
            analysis,
            documents,
            unit,
            text,
            lines,
            offset,
            encoding,
        })
    }

    /// The mark under the cursor, or directly before it.
    pub(super) fn mark(&self) -> Option<Mark<'a>> {
        let before = self.text.get(self.offset..).is_some_and(|t| t.starts_with('$'));
        let offset = Span::new(0, self.offset + usize::from(before)).end;
        let marks = self.analysis.marks(self.unit);
        let on = |m: &&Mark<'_>| m.span.start <= offset && offset <= m.span.end;
        // Where two touch, the one that begins here.
        marks
            .iter()
            .filter(on)
            .max_by_key(|m| (m.span.start, !m.guessed))
            .copied()
    }

    /// The declaration around the cursor.
    pub(super) fn decl(&self) -> Option<&'a Decl> {
        let offset = Span::new(0, self.offset).end;
        let decls = &self.unit.tree.decls;
        decls
            .iter()
            .find(|d| d.span().start <= offset && offset <= d.span().end)
    }

    /// Whether the file is one of rules.
    pub(super) fn is_rules(&self) -> bool {
        let path = &self.analysis.source(self.unit.file).path;
        let kind = self.documents.get(path).map(|document| document.kind);
        kind == Some(Kind::Rules) || !self.unit.rules.is_empty()
    }

    /// Whether the cursor is within a value that is a filter or rules.
    pub(super) fn in_filter_value(&self) -> bool {
        let Some(DeclKind::Nf(nf)) = self.decl().map(|d| &d.kind.node) else {
            return false;
        };
        let offset = Span::new(0, self.offset).end;
        let mut fields = nf.params.iter().flat_map(|params| &params.fields);
        fields.any(|field| {
            let span = field.value.span;
            let of_packets = matches!(field.value.node, Value::Filter(_) | Value::Rules(_));
            of_packets && span.start <= offset && offset <= span.end
        })
    }

    pub(super) fn at(&self, span: Span) -> At {
        At {
            file: self.unit.file,
            span,
        }
    }

    pub(super) fn location(&self, at: At) -> Location {
        let source = self.analysis.source(at.file);
        Location {
            uri: Uri(self.documents.uri(&source.path)),
            range: self.range(at),
        }
    }

    pub(super) fn range(&self, at: At) -> Range {
        if at.file == self.unit.file {
            return self.lines.range(at.span);
        }
        Lines::new(&self.analysis.source(at.file).text, self.encoding).range(at.span)
    }
}
