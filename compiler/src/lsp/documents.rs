//! The client's open buffers, and the files as the compiler is to see them: buffers before the disk.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use gen_lsp_types::{DidChangeTextDocumentParams, TextDocumentContentChangeEvent, TextDocumentItem};

use super::{
    position::{Encoding, Lines},
    uri::{path_of, uri_of},
};
use crate::source::host::{Entry, Host, clean};

#[derive(Debug)]
pub(super) struct Document {
    /// As the client writes it.
    pub(super) uri: String,
    pub(super) version: i32,
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// The kind of a buffer, by its name or because the client says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chain,
    Rules,
    /// Something that a program may read.
    Other,
}

/// The open buffers by path.
#[derive(Debug, Default)]
pub(super) struct Documents {
    open: BTreeMap<PathBuf, Document>,
}

impl Documents {
    /// Returns the buffer's path.
    pub(super) fn open(&mut self, item: TextDocumentItem) -> PathBuf {
        let uri = item.uri.0;
        let path = path_of(&uri);
        let language = serde_json::to_value(&item.language_id).unwrap_or_default();
        let ending = path.extension().and_then(|e| e.to_str());
        let kind = match (ending, language.as_str()) {
            (Some("chain"), _) => Kind::Chain,
            (Some("rules"), _) => Kind::Rules,
            (_, Some("chain")) => Kind::Chain,
            (_, Some("chain-rules")) => Kind::Rules,
            _ => Kind::Other,
        };
        let document = Document {
            uri,
            version: item.version,
            text: item.text,
            kind,
        };
        self.open.insert(path.clone(), document);
        path
    }

    /// Returns the path of the buffer, if it is open.
    pub(super) fn change(
        &mut self,
        params: DidChangeTextDocumentParams,
        encoding: Encoding,
    ) -> Option<PathBuf> {
        let path = path_of(&params.text_document.text_document_identifier.uri.0);
        let document = self.open.get_mut(&path)?;
        document.version = params.text_document.version;
        for change in params.content_changes {
            match change {
                TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole) => {
                    document.text = whole.text;
                }
                TextDocumentContentChangeEvent::TextDocumentContentChangePartial(part) => {
                    let lines = Lines::new(&document.text, encoding);
                    let start = lines.offset(part.range.start);
                    let end = lines.offset(part.range.end).max(start);
                    document.text.replace_range(start..end, &part.text);
                }
            }
        }
        Some(path)
    }

    pub(super) fn close(&mut self, uri: &str) -> PathBuf {
        let path = path_of(uri);
        self.open.remove(&path);
        path
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Document> {
        self.open.get(path)
    }

    /// The open buffers of one kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &PathBuf> {
        let fits = self.open.iter().filter(move |(_, d)| d.kind == kind);
        fits.map(|(path, _)| path)
    }

    /// A file's URI, as the client writes it if it is open.
    pub(super) fn uri(&self, path: &Path) -> String {
        self.open
            .get(path)
            .map_or_else(|| uri_of(path), |d| d.uri.clone())
    }
}

/// Files larger than this are taken for empty: that they are there is all that a check asks of captures, and reading them
/// at each keystroke would take longer than the check.
const MAX_READ: u64 = 16 << 20;

/// Buffers before the disk; notes what was asked for.
pub(super) struct Overlay<'a> {
    documents: &'a Documents,
    disk: &'a dyn Host,
    pub(super) reads: RefCell<BTreeSet<PathBuf>>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(documents: &'a Documents, disk: &'a dyn Host) -> Self {
        Self {
            documents,
            disk,
            reads: RefCell::default(),
        }
    }
}

impl Host for Overlay<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = clean(path);
        self.reads.borrow_mut().insert(path.clone());
        if let Some(document) = self.documents.get(&path) {
            return Ok(document.text.clone().into_bytes());
        }
        let source = path.extension().is_some_and(|e| e == "chain" || e == "toml");
        if !source && self.disk.size(&path)? > MAX_READ {
            return Ok(Vec::new());
        }
        self.disk.read(&path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(directory)
    }
}
