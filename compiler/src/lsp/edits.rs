//! Changes of several files, in the form that the client takes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gen_lsp_types::{
    DocumentChange, Edit, OptionalVersionedTextDocumentIdentifier, TextDocumentEdit, TextDocumentIdentifier,
    TextEdit, Uri, WorkspaceEdit,
};

use super::{client::Client, documents::Documents};

pub(super) fn workspace_edit(
    documents: &Documents,
    client: &Client,
    edits: BTreeMap<PathBuf, Vec<TextEdit>>,
) -> WorkspaceEdit {
    if client.versioned_edits {
        let changes = edits
            .into_iter()
            .map(|(path, edits)| versioned(documents, &path, edits));
        return WorkspaceEdit {
            document_changes: Some(changes.collect()),
            ..WorkspaceEdit::default()
        };
    }
    let changes = edits
        .into_iter()
        .map(|(path, edits)| (Uri(documents.uri(&path)), edits));
    WorkspaceEdit {
        changes: Some(changes.collect()),
        ..WorkspaceEdit::default()
    }
}

fn versioned(documents: &Documents, path: &Path, edits: Vec<TextEdit>) -> DocumentChange {
    let text_document = OptionalVersionedTextDocumentIdentifier {
        version: documents.get(path).map(|d| d.version),
        text_document_identifier: TextDocumentIdentifier {
            uri: Uri(documents.uri(path)),
        },
    };
    let edits = edits.into_iter().map(Edit::TextEdit).collect();
    DocumentChange::TextDocumentEdit(TextDocumentEdit { text_document, edits })
}
