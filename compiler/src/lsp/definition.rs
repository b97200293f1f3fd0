//! Going to where a name is declared, or to the file that a path names.

use gen_lsp_types::{Location, Range, Uri};

use super::{
    analysis::At,
    marks::{Mark, What},
    view::View,
};

pub(super) fn definition(view: &View<'_>) -> Option<Location> {
    let mark = view.mark()?;
    match mark.what {
        What::Import | What::File => {
            let path = view.analysis.named_file(view.unit.file, mark.text);
            Some(Location {
                uri: Uri(view.documents.uri(&path)),
                range: Range::default(),
            })
        }
        _ => declaration(view, &mark).map(|at| view.location(at)),
    }
}

/// Where the name of a mark is declared.
pub(super) fn declaration(view: &View<'_>, mark: &Mark<'_>) -> Option<At> {
    match mark.what {
        What::Name { .. } | What::NfType => {
            let names = view.analysis.names();
            let found = names.get(mark.text)?;
            Some(At {
                file: found.file,
                span: found.name.span,
            })
        }
        What::Param { of, .. } => {
            let param = of.params.iter().flatten().find(|p| p.name.node == mark.text)?;
            Some(view.at(param.name.span))
        }
        _ => None,
    }
}
