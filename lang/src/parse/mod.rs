//! Source text to tree: split into declarations, parse each by the grammar, walk the result.

mod chain;
pub(crate) mod chunk;
mod decl;
mod error;
mod hidden;
mod hint;
pub(crate) mod literal;
mod recover;
mod test;
mod value;

pub(crate) use error::{name as name_error, nearest, nesting};
pub(crate) use hidden::directions;
pub(crate) use hint::look_alike;

use chunk::Chunk;
use pest::Parser as _;

use crate::diagnostic::Diagnostic;
use crate::filter::names;
use crate::scan;
use crate::syntax::{Broken, Decl, DeclKind, File, Ident, Span, Spanned};
use crate::{MAX_SOURCE, Parse, codes};

/// The grammar of one declaration, generated from `chain.pest`.
#[derive(Debug, pest_derive::Parser)]
#[grammar = "chain.pest"]
struct Grammar;

type Pair<'s> = pest::iterators::Pair<'s, Rule>;

/// What a walk over one declaration needs: where the declaration starts in the file, and where to
/// put the mistakes found.
struct Walk<'a> {
    base: u32,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// Reads one source file. See [`crate::parse`].
pub(crate) fn file(source: &str) -> Parse {
    let mut diagnostics = Vec::new();
    if source.len() > MAX_SOURCE {
        diagnostics.push(too_large(source));
        return Parse {
            file: File::default(),
            diagnostics,
        };
    }
    let tokens = scan::scan(source);
    hidden::hidden(source, &tokens, &mut diagnostics);
    let chunks = chunk::split(source, &tokens);
    let mut decls = Vec::with_capacity(chunks.chunks.len());
    for chunk in &chunks.chunks {
        declaration(source, chunk, &mut diagnostics, &mut decls);
    }
    for span in chunks.stray_doc {
        diagnostics.push(
            Diagnostic::warning(
                codes::STRAY_DOC,
                "this doc comment belongs to no declaration",
                span,
                "nothing follows that it could describe",
            )
            .help("write `//` for a plain comment"),
        );
    }
    diagnostics.sort_by_key(|d| d.span().start);
    Parse {
        file: File { decls },
        diagnostics,
    }
}

pub(crate) fn too_large(source: &str) -> Diagnostic {
    Diagnostic::error(
        codes::TOO_LARGE,
        format!(
            "expected a source of at most {MAX_SOURCE} bytes, found {}",
            source.len()
        ),
        Span::new(0, 0),
        "the file starts here",
    )
    .help("split it, and join the parts with `use`")
}

fn declaration(source: &str, chunk: &Chunk, diagnostics: &mut Vec<Diagnostic>, decls: &mut Vec<Decl>) {
    let doc = chunk.doc.iter().map(|s| doc_line(source, *s)).collect();
    let mut lost = Vec::new();
    let kind = kind(source, chunk, diagnostics, &mut lost).unwrap_or_else(|| broken(source, chunk));
    decls.push(Decl {
        doc,
        kind: Spanned::new(kind, chunk.span),
    });
    // The parts of it that could not be read stand behind it, for the names in them.
    let keyword = chunk.keyword;
    decls.extend(lost.into_iter().map(|span| Decl {
        doc: Vec::new(),
        kind: Spanned::new(DeclKind::Error(Broken { keyword, name: None }), span),
    }));
}

fn doc_line(source: &str, span: Span) -> Spanned<String> {
    let text = span.text(source);
    let text = text.strip_prefix("///").unwrap_or(text);
    let text = text.strip_prefix(' ').unwrap_or(text);
    Spanned::new(text.trim_end().to_owned(), span)
}

fn kind(
    source: &str,
    chunk: &Chunk,
    diagnostics: &mut Vec<Diagnostic>,
    lost: &mut Vec<Span>,
) -> Option<DeclKind> {
    let Some(keyword) = chunk.keyword else {
        diagnostics.push(error::unknown_declaration(source, chunk));
        return None;
    };
    if let Some(found) = error::before_grammar(chunk) {
        diagnostics.push(found);
        return None;
    }
    let text = chunk.span.text(source);
    match Grammar::parse(rule_of(keyword), text) {
        Ok(mut pairs) => {
            let before = diagnostics.len();
            let mut walk = Walk {
                base: chunk.span.start,
                diagnostics,
            };
            let read = walk.declaration(pairs.next()?);
            if matches!(&read, Some(DeclKind::Steer(steer)) if recover::swallows(steer, source)) {
                diagnostics.truncate(before);
                if let Some((steer, spans)) = recover::steer(source, chunk, diagnostics) {
                    lost.extend(spans);
                    return steer;
                }
            }
            read
        }
        Err(found) => {
            if keyword == "steer"
                && let Some((steer, spans)) = recover::steer(source, chunk, diagnostics)
            {
                lost.extend(spans);
                return steer;
            }
            let meant = (keyword == "assert").then(|| recover::assertion(source, chunk, &found));
            diagnostics.push(
                meant
                    .flatten()
                    .unwrap_or_else(|| error::syntax(source, chunk, &found)),
            );
            None
        }
    }
}

fn rule_of(keyword: &str) -> Rule {
    match keyword {
        "use" => Rule::use_decl,
        "param" => Rule::param_decl,
        "let" => Rule::let_decl,
        "class" => Rule::class_decl,
        "port" => Rule::port_decl,
        "nf" => Rule::nf_decl,
        "chain" => Rule::chain_decl,
        "steer" => Rule::steer_decl,
        "allow" => Rule::allow_decl,
        "assert" => Rule::assert_decl,
        "test" => Rule::test_decl,
        _ => Rule::manager_decl,
    }
}

/// Saves the name of a declaration that did not parse.
fn broken(source: &str, chunk: &Chunk) -> DeclKind {
    let names = ["param", "let", "class", "port", "nf", "chain"];
    let named = chunk.keyword.is_none_or(|k| names.contains(&k));
    // Only the head is looked at, so that a long declaration is not scanned again.
    let mut end = chunk.span.range().end.min(chunk.span.range().start + 256);
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let head = source.get(chunk.span.range().start..end).unwrap_or("");
    let name = scan::scan(head)
        .get(1)
        .filter(|t| named && t.kind == scan::Kind::Word)
        .map(|t| {
            let name = t.text(head).to_lowercase();
            Ident::new(name, t.span().shift(chunk.span.start))
        });
    DeclKind::Error(Broken {
        keyword: chunk.keyword,
        name,
    })
}

impl Walk<'_> {
    /// From the first token of a pair to its last. The pair's own span would take in the white
    /// space and comments that the grammar skipped looking for an optional part.
    fn span(&self, pair: &Pair<'_>) -> Span {
        let start = pair.as_span().start();
        let mut end = pair.as_span().end();
        let mut last = pair.clone().into_inner().next_back();
        while let Some(inner) = last {
            end = inner.as_span().end();
            last = inner.into_inner().next_back();
        }
        Span::new(start, end).shift(self.base)
    }

    /// A name. One with capitals is reported and read as if it were in lower case, so that the
    /// declaration is still checked.
    fn ident(&mut self, pair: &Pair<'_>) -> Ident {
        let text = pair.as_str();
        let span = self.span(pair);
        self.check_name(text, span);
        Ident::new(text.to_lowercase(), span)
    }

    fn check_name(&mut self, text: &str, span: Span) {
        if let Some(found) = error::name(text, span) {
            self.diagnostics.push(found);
        }
    }

    /// A name that is declared here, which must not be a word of the language.
    fn declared(&mut self, pair: &Pair<'_>) -> Ident {
        let ident = self.ident(pair);
        let word = ident.node.as_str();
        if chunk::KEYWORDS.contains(&word) || names::RESERVED.contains(&word) {
            self.reserved(&ident);
        }
        ident
    }

    /// The name of a class, which stands inside filters.
    fn class_name(&mut self, pair: &Pair<'_>) -> Ident {
        let before = self.diagnostics.len();
        let ident = self.declared(pair);
        if before == self.diagnostics.len() && names::is_keyword(&ident.node) {
            self.reserved(&ident);
        }
        ident
    }

    fn reserved(&mut self, ident: &Ident) {
        let word = &ident.node;
        self.diagnostics.push(
            Diagnostic::error(
                codes::RESERVED,
                format!("`{word}` is a word of the language and cannot be a name"),
                ident.span,
                "this name is taken",
            )
            .help(format!("call it `my_{word}`, for example")),
        );
    }
}
