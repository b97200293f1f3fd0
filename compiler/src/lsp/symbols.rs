//! The declarations of a file, for its outline.

use gen_lsp_types::{DocumentSymbol, SymbolKind};
use onvm_lang::syntax::{Chain, Decl, DeclKind, Grant, Span};

use super::{position::Lines, view::View};

pub(super) fn symbols(view: &View<'_>) -> Vec<DocumentSymbol> {
    let decls = view.unit.tree.decls.iter();
    decls.filter_map(|d| symbol(&view.lines, view.text, d)).collect()
}

fn symbol(lines: &Lines<'_>, text: &str, decl: &Decl) -> Option<DocumentSymbol> {
    let (name, kind, at, detail) = describe(text, decl)?;
    let children = match &decl.kind.node {
        DeclKind::Chain(chain) => params(lines, chain),
        _ => Vec::new(),
    };
    let whole = decl.doc.first().map_or(decl.span(), |d| d.span.to(decl.span()));
    Some(made(lines, name, kind, whole, at, detail, children))
}

fn describe(text: &str, decl: &Decl) -> Option<(String, SymbolKind, Span, Option<String>)> {
    let named = |kind, detail: &str| {
        let name = decl.name()?;
        Some((name.node.clone(), kind, name.span, Some(detail.to_owned())))
    };
    match &decl.kind.node {
        DeclKind::Use(d) => match &d.alias {
            Some(_) => named(SymbolKind::Class, &d.path.node),
            None => Some((d.path.node.clone(), SymbolKind::Module, d.path.span, None)),
        },
        DeclKind::Param(d) => named(SymbolKind::Variable, &d.ty.name.node),
        DeclKind::Let(_) => named(SymbolKind::Constant, "let"),
        DeclKind::Class(_) => named(SymbolKind::Interface, "class"),
        DeclKind::Port(d) => named(SymbolKind::Struct, &d.kind.node),
        DeclKind::Nf(d) => named(SymbolKind::Object, &d.ty.node),
        DeclKind::Chain(_) => named(SymbolKind::Function, "chain"),
        DeclKind::Steer(d) => Some((
            format!("steer {}", d.port.node),
            SymbolKind::Event,
            d.port.span,
            None,
        )),
        DeclKind::Allow(d) => {
            let what = match &d.grant {
                Grant::Steer { .. } => "steer",
                Grant::Program { .. } => "program",
                Grant::Lookup => "lookup",
            };
            Some((
                format!("allow {} to {what}", d.nf.node),
                SymbolKind::Key,
                d.nf.span,
                None,
            ))
        }
        DeclKind::Assert(d) => {
            let claim = crate::lower::steering::one_line(d.claim.span.text(text));
            Some((
                format!("assert {}: {claim}", d.port.node),
                SymbolKind::Boolean,
                d.port.span,
                None,
            ))
        }
        DeclKind::Test(d) => Some((
            format!("test \"{}\"", d.name.node),
            SymbolKind::Method,
            d.name.span,
            None,
        )),
        DeclKind::Manager(d) => Some(("manager".to_owned(), SymbolKind::Namespace, d.settings.span, None)),
        DeclKind::Error(d) => named(SymbolKind::Null, d.keyword.unwrap_or("")),
    }
}

fn params(lines: &Lines<'_>, chain: &Chain) -> Vec<DocumentSymbol> {
    let params = chain.params.iter().flatten();
    let one = |p: &onvm_lang::syntax::ChainParam| {
        let whole = p.name.span.to(p.kind.span);
        let name = p.name.node.clone();
        made(
            lines,
            name,
            SymbolKind::TypeParameter,
            whole,
            p.name.span,
            None,
            Vec::new(),
        )
    };
    params.map(one).collect()
}

#[allow(deprecated, reason = "the type has a field that the protocol has replaced")]
fn made(
    lines: &Lines<'_>,
    name: String,
    kind: SymbolKind,
    whole: Span,
    at: Span,
    detail: Option<String>,
    children: Vec<DocumentSymbol>,
) -> DocumentSymbol {
    DocumentSymbol {
        name,
        detail,
        kind,
        tags: None,
        deprecated: None,
        range: lines.range(whole.to(at)),
        selection_range: lines.range(at),
        children: Some(children).filter(|c| !c.is_empty()),
    }
}
