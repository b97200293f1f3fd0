//! Every place where a name stands, and renaming it.
//!
//! A file can belong to several programs; a name that is declared in it is one name in all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use gen_lsp_types::{Location, Range, TextEdit, Uri, WorkspaceEdit};
use onvm_lang::{
    is_name,
    syntax::{DeclKind, Span},
};

use super::{
    analysis::{Analysis, At},
    client::{Client, Fault},
    definition::declaration,
    documents::Documents,
    edits::workspace_edit,
    marks::{Mark, What},
    position::{Encoding, Lines},
    programs::Programs,
    view::View,
};

/// A place as a file, by its path, and a span: alike in all programs.
type Place = (PathBuf, Span);

/// What a name under the cursor means.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    name: String,
    declared: Place,
    /// A parameter of a chain, which is known only there.
    param: bool,
}

/// The meaning of the name under the cursor. None: there is none, or it is declared nowhere.
pub(super) fn meaning(view: &View<'_>) -> Option<Meaning> {
    let mark = view.mark()?;
    let at = declaration(view, &mark)?;
    Some(Meaning {
        name: mark.text.to_owned(),
        declared: place(view.analysis, at),
        param: matches!(mark.what, What::Param { .. }),
    })
}

/// Every use of a name, its declaration included if that is asked for.
pub(super) fn references(
    programs: &Programs,
    documents: &Documents,
    encoding: Encoding,
    meaning: &Meaning,
    with_declaration: bool,
) -> Vec<Location> {
    let places = places(programs, meaning, |_| true);
    let wanted = places
        .into_iter()
        .filter(|p| with_declaration || *p != meaning.declared);
    let located = wanted.filter_map(|(path, span)| {
        Some(Location {
            uri: Uri(documents.uri(&path)),
            range: range(programs, encoding, &path, span)?,
        })
    });
    located.collect()
}

/// The uses of a name in one file.
pub(super) fn in_file(view: &View<'_>, meaning: &Meaning) -> Vec<Range> {
    let spans = uses(view.analysis, meaning, |_| true);
    let here = spans.into_iter().filter(|at| at.file == view.unit.file);
    here.map(|at| view.lines.range(at.span)).collect()
}

/// The edits that rename a name everywhere.
pub(super) fn rename(
    programs: &Programs,
    documents: &Documents,
    client: &Client,
    meaning: &Meaning,
    new: &str,
) -> Result<WorkspaceEdit, Fault> {
    check_name(programs, meaning, new)?;
    check_readable(programs, meaning)?;
    let mut edits: BTreeMap<PathBuf, Vec<TextEdit>> = BTreeMap::new();
    for (path, span) in places(programs, meaning, |mark| !mark.guessed) {
        let Some(range) = range(programs, client.encoding, &path, span) else {
            continue;
        };
        let new_text = new.to_owned();
        edits.entry(path).or_default().push(TextEdit { range, new_text });
    }
    Ok(workspace_edit(documents, client, edits))
}

fn check_name(programs: &Programs, meaning: &Meaning, new: &str) -> Result<(), Fault> {
    if !is_name(new) {
        let rule = "a name begins with a lower-case letter, and letters, digits and `_` follow";
        return Err(Fault::refused(format!("`{new}` cannot be a name: {rule}")));
    }
    if onvm_lang::words::is_reserved(new) {
        return Err(Fault::refused(format!(
            "`{new}` is a word of the language and cannot be a name"
        )));
    }
    for analysis in programs.of(&meaning.declared.0) {
        let names = analysis.names();
        let class = names
            .get(meaning.name.as_str())
            .is_some_and(|d| matches!(d.decl.kind.node, DeclKind::Class(_)));
        if class && onvm_lang::words::is_filter_word(new) {
            return Err(Fault::refused(format!(
                "`{new}` is a word of filters and cannot be a class"
            )));
        }
        let params = analysis.units().iter().flat_map(|u| analysis.marks(u));
        let mut params = params.filter(|m| matches!(m.what, What::Param { .. }));
        let taken = names.contains_key(new) || params.any(|m| m.text == new);
        if taken && new != meaning.name {
            return Err(Fault::refused(format!("there is a `{new}` already")));
        }
    }
    Ok(())
}

/// Text that does not parse could hold the name, and would keep it.
fn check_readable(programs: &Programs, meaning: &Meaning) -> Result<(), Fault> {
    for analysis in programs.of(&meaning.declared.0) {
        for unit in analysis.units() {
            let guessed = analysis.marks(unit).into_iter().filter(|m| m.guessed);
            if let Some(mark) = guessed.into_iter().find(|m| m.text == meaning.name) {
                let source = analysis.source(unit.file);
                let line = source.position(mark.span.start).line;
                let why = "that declaration does not parse, so its use of the name is unclear";
                let (name, file) = (&meaning.name, &source.name);
                return Err(Fault::refused(format!(
                    "`{name}` stands in {file}, line {line}: {why}"
                )));
            }
        }
    }
    Ok(())
}

fn places(programs: &Programs, meaning: &Meaning, keep: impl Fn(&Mark<'_>) -> bool) -> BTreeSet<Place> {
    let of = programs.of(&meaning.declared.0);
    of.flat_map(|a| uses(a, meaning, &keep).into_iter().map(|at| place(a, at)))
        .collect()
}

fn uses(analysis: &Analysis, meaning: &Meaning, keep: impl Fn(&Mark<'_>) -> bool) -> Vec<At> {
    let mut found = Vec::new();
    let names = analysis.names();
    let known = |declared: &At| place(analysis, *declared) == meaning.declared;
    for unit in analysis.units() {
        let file = unit.file;
        let marks = analysis
            .marks(unit)
            .into_iter()
            .filter(|m| m.text == meaning.name && keep(m));
        found.extend(marks.filter_map(|mark| {
            let declared = match mark.what {
                What::Param { of, .. } if meaning.param => {
                    let param = of.params.iter().flatten().find(|p| p.name.node == mark.text)?;
                    Some(At {
                        file,
                        span: param.name.span,
                    })
                }
                What::Name { .. } | What::NfType if !meaning.param => {
                    let found = names.get(mark.text)?;
                    Some(At {
                        file: found.file,
                        span: found.name.span,
                    })
                }
                _ => None,
            };
            declared.filter(known).map(|_| At {
                file,
                span: mark.span,
            })
        }));
    }
    found
}

fn place(analysis: &Analysis, at: At) -> Place {
    (analysis.source(at.file).path.clone(), at.span)
}

fn range(programs: &Programs, encoding: Encoding, path: &Path, span: Span) -> Option<Range> {
    let analysis = programs.of(path).next()?;
    let source = analysis.source(analysis.unit(path)?.file);
    Some(Lines::new(&source.text, encoding).range(span))
}
