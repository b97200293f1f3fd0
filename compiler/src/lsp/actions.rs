//! Quick fixes: the changes that diagnostics carry, whichever they are.

use std::{collections::BTreeMap, path::Path};

use gen_lsp_types::{CodeAction, CodeActionKind, Range, TextEdit};
use onvm_lang::Fix;

use super::{
    analysis::Analysis, client::Client, diagnostics::Shown, documents::Documents, edits::workspace_edit,
    programs::Programs,
};

/// The fixes of all diagnostics of a range of a file, in any of its programs.
pub(super) fn fixes(
    programs: &Programs,
    documents: &Documents,
    client: &Client,
    path: &Path,
    range: Range,
) -> Vec<CodeAction> {
    let mut actions: Vec<CodeAction> = Vec::new();
    for analysis in programs.of(path) {
        let found = of_program(analysis, documents, client, path, range);
        for action in found {
            // Two programs may share the file, and find the same in it.
            let same = |known: &CodeAction| known.title == action.title && known.edit == action.edit;
            if !actions.iter().any(same) {
                actions.push(action);
            }
        }
    }
    actions
}

fn of_program(
    analysis: &Analysis,
    documents: &Documents,
    client: &Client,
    path: &Path,
    range: Range,
) -> Vec<CodeAction> {
    let shown = Shown::new(analysis, documents, client);
    let edit = |fix: &Fix| {
        let (path, range) = shown.range(fix.span)?;
        // What was given in the client's settings stands in no document.
        analysis.unit(path)?;
        let new_text = fix.text.clone();
        Some(BTreeMap::from([(
            path.to_path_buf(),
            vec![TextEdit { range, new_text }],
        )]))
    };
    let mut actions = Vec::new();
    for found in analysis.diagnostics.iter().filter(|d| !d.fixes.is_empty()) {
        let Some((file, diagnostic)) = shown.diagnostic(found) else {
            continue;
        };
        if file != path || !meet(diagnostic.range, range) {
            continue;
        }
        let edits = found
            .fixes
            .iter()
            .filter_map(|fix| Some((&fix.title, edit(fix)?)));
        actions.extend(edits.map(|(title, edits)| CodeAction {
            title: title.clone(),
            kind: Some(CodeActionKind::QuickFix),
            diagnostics: Some(vec![diagnostic.clone()]),
            // Where there is a choice, it is the operator's.
            is_preferred: (found.fixes.len() == 1).then_some(true),
            edit: Some(workspace_edit(documents, client, edits)),
            ..CodeAction::default()
        }));
    }
    actions
}

/// Whether two ranges have a place in common; a cursor may stand at either end.
fn meet(a: Range, b: Range) -> bool {
    let at = |p: gen_lsp_types::Position| (p.line, p.character);
    at(a.start) <= at(b.end) && at(b.start) <= at(a.end)
}
