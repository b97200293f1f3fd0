//! What the client can do and wants, and why it gets no answer.

use std::path::PathBuf;

use lsp_server::ErrorCode;
use serde_json::Value;

use super::{position::Encoding, uri::path_of};

/// What the client can do and wants.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) encoding: Encoding,
    /// Values for `param` declarations, as `--set` gives them: the initialisation option `set`.
    pub(super) set: Vec<(String, String)>,
    /// It wants to be told which rules overlap: the initialisation option `overlaps`.
    pub(super) overlaps: bool,
    /// It takes edits that say of which version of a buffer they are.
    pub(super) versioned_edits: bool,
    /// It takes code actions that are not commands.
    pub(super) literal_actions: bool,
    /// It tells of files that change on the disk, if it is asked to.
    pub(super) watches: bool,
    pub(super) folders: Vec<PathBuf>,
}

impl Client {
    /// Reads what matters of the client's long description of itself, whatever the rest looks like.
    pub(super) fn new(params: &Value) -> Self {
        let offered = params.pointer("/capabilities/general/positionEncodings");
        let offers_utf8 = offered
            .and_then(Value::as_array)
            .is_some_and(|l| l.iter().any(|e| e == "utf-8"));
        let can = |path: &str| params.pointer(path) == Some(&Value::Bool(true));
        let set = params
            .pointer("/initializationOptions/set")
            .and_then(Value::as_object);
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let folders = params.get("workspaceFolders").and_then(Value::as_array);
        let folders = folders.into_iter().flatten().filter_map(|f| f.get("uri"));
        let roots: Vec<&str> = folders
            .chain(params.get("rootUri"))
            .filter_map(Value::as_str)
            .collect();
        let mut folders: Vec<PathBuf> = roots.into_iter().map(path_of).collect();
        folders.dedup();
        Self {
            encoding: if offers_utf8 {
                Encoding::Utf8
            } else {
                Encoding::Utf16
            },
            set: set
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), text(v)))
                .collect(),
            overlaps: can("/initializationOptions/overlaps"),
            versioned_edits: can("/capabilities/workspace/workspaceEdit/documentChanges"),
            literal_actions: params
                .pointer("/capabilities/textDocument/codeAction/codeActionLiteralSupport")
                .is_some_and(|literals| !literals.is_null()),
            watches: can("/capabilities/workspace/didChangeWatchedFiles/dynamicRegistration"),
            folders,
        }
    }
}

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) panicked: bool,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            panicked: false,
        }
    }

    /// The request is in order, and cannot be done.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::RequestFailed, message)
    }
}
