//! The state of the server, and the handlers of messages.

use gen_lsp_types as lsp;
use lsp::{TextDocumentPositionParams, Uri};
use lsp_server::{ErrorCode, Message, Notification, Request};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    actions,
    client::{Client, Fault},
    completion, definition,
    documents::Documents,
    format, hover,
    position::Encoding,
    programs::Programs,
    references, symbols,
    transport::UNREADABLE,
    uri::path_of,
    view::View,
};
use crate::source::host::Host;

type Answer = Result<Value, Fault>;

pub(super) struct Server<'s> {
    disk: &'s dyn Host,
    client: Client,
    documents: Documents,
    programs: Programs,
    /// Messages to the client besides diagnostics.
    outgoing: Vec<Message>,
}

impl<'s> Server<'s> {
    pub(super) fn new(disk: &'s dyn Host) -> Self {
        Self {
            disk,
            client: Client::new(&Value::Null),
            documents: Documents::default(),
            programs: Programs::default(),
            outgoing: Vec::new(),
        }
    }

    pub(super) fn initialize(&mut self, params: &Value) -> Answer {
        self.client = Client::new(params);
        self.programs.importers.scan(self.disk, &self.client.folders);
        json(lsp::InitializeResult {
            capabilities: capabilities(&self.client),
            server_info: Some(lsp::ServerInfo {
                name: "onvmc".to_owned(),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            }),
        })
    }

    pub(super) fn request(&mut self, method: &str, params: Value) -> Answer {
        self.programs.refresh(&self.documents, self.disk, &self.client);
        match method {
            "textDocument/hover" => json(self.view(read(params)?).and_then(|v| hover::hover(&v))),
            "textDocument/definition" => {
                json(self.view(read(params)?).and_then(|v| definition::definition(&v)))
            }
            "textDocument/completion" => json(self.view(read(params)?).map(|v| completion::complete(&v))),
            "textDocument/references" => {
                let params: lsp::ReferenceParams = read(params)?;
                let with_declaration = params.context.include_declaration;
                json(self.meaning(params.text_document_position_params).map(|meaning| {
                    let (programs, documents) = (&self.programs, &self.documents);
                    references::references(
                        programs,
                        documents,
                        self.client.encoding,
                        &meaning,
                        with_declaration,
                    )
                }))
            }
            "textDocument/documentHighlight" => json(self.view(read(params)?).and_then(|v| {
                let ranges = references::in_file(&v, &references::meaning(&v)?).into_iter();
                let kind = None;
                Some(
                    ranges
                        .map(|range| lsp::DocumentHighlight { range, kind })
                        .collect::<Vec<_>>(),
                )
            })),
            "textDocument/prepareRename" => json(self.view(read(params)?).and_then(|v| {
                references::meaning(&v)?;
                Some(v.lines.range(v.mark()?.span))
            })),
            "textDocument/rename" => {
                let params: lsp::RenameParams = read(params)?;
                let meaning = self.meaning(params.text_document_position_params);
                let meaning =
                    meaning.ok_or_else(|| Fault::refused("there is no name here that a source declares"))?;
                let (programs, documents) = (&self.programs, &self.documents);
                json(references::rename(
                    programs,
                    documents,
                    &self.client,
                    &meaning,
                    &params.new_name,
                )?)
            }
            "textDocument/codeAction" => json(self.actions(&read(params)?)),
            "textDocument/documentSymbol" => {
                let params: lsp::DocumentSymbolParams = read(params)?;
                json(self.file(&params.text_document.uri).map(|v| symbols::symbols(&v)))
            }
            "textDocument/formatting" => {
                let params: lsp::DocumentFormattingParams = read(params)?;
                let document = self.documents.get(&path_of(&params.text_document.uri.0));
                json(
                    document
                        .map(|d| format::format(d, self.client.encoding))
                        .transpose()?,
                )
            }
            _ => Err(Fault::new(
                ErrorCode::MethodNotFound,
                format!("`{method}` is not offered"),
            )),
        }
    }

    pub(super) fn notification(&mut self, method: &str, params: Value) -> Result<(), Fault> {
        match method {
            "initialized" => self.outgoing.extend(self.client.watches.then(watch)),
            "textDocument/didOpen" => {
                let params: lsp::DidOpenTextDocumentParams = read(params)?;
                let path = self.documents.open(params.text_document);
                self.programs.changed(&path);
            }
            "textDocument/didChange" => {
                if let Some(path) = self.documents.change(read(params)?, self.client.encoding) {
                    self.programs.changed(&path);
                }
            }
            "textDocument/didClose" => {
                let params: lsp::DidCloseTextDocumentParams = read(params)?;
                let path = self.documents.close(&params.text_document.uri.0);
                self.programs.changed(&path);
            }
            "textDocument/didSave" => {
                let params: lsp::DidSaveTextDocumentParams = read(params)?;
                self.on_disk(&[params.text_document.uri]);
            }
            "workspace/didChangeWatchedFiles" => {
                let params: lsp::DidChangeWatchedFilesParams = read(params)?;
                let uris: Vec<Uri> = params.changes.into_iter().map(|c| c.uri).collect();
                self.on_disk(&uris);
            }
            UNREADABLE => {
                return Err(Fault::new(
                    ErrorCode::ParseError,
                    params.as_str().unwrap_or_default(),
                ));
            }
            // The protocol lets unknown notifications pass.
            _ => {}
        }
        Ok(())
    }

    /// Files on the disk are not as they were.
    fn on_disk(&mut self, uris: &[Uri]) {
        for uri in uris {
            self.programs.changed(&path_of(&uri.0));
        }
        if uris.iter().any(|uri| uri.0.ends_with(".chain")) {
            self.programs.importers.scan(self.disk, &self.client.folders);
        }
    }

    /// Checks what changed; returns the messages to the client.
    pub(super) fn settle(&mut self) -> Vec<Message> {
        self.programs.refresh(&self.documents, self.disk, &self.client);
        let messages = self.programs.publish(&self.documents, &self.client);
        let notification = |m| Notification::new("textDocument/publishDiagnostics".to_owned(), m);
        let diagnostics = messages
            .into_iter()
            .map(|m| Message::Notification(notification(m)));
        self.outgoing.drain(..).chain(diagnostics).collect()
    }

    /// After a panic nothing that was concluded is trusted.
    pub(super) fn recover(&mut self) {
        self.programs.forget();
    }

    /// The place that a request is about, in the first program that it belongs to.
    fn view(&self, at: TextDocumentPositionParams) -> Option<View<'_>> {
        let path = path_of(&at.text_document.uri.0);
        let analysis = self.programs.of(&path).next()?;
        View::new(
            analysis,
            &self.documents,
            self.client.encoding,
            &path,
            at.position,
        )
    }

    fn actions(&self, params: &lsp::CodeActionParams) -> Vec<lsp::CodeAction> {
        let kinds = params.context.only.as_ref();
        let wanted = |kind: &lsp::CodeActionKind| {
            matches!(kind, lsp::CodeActionKind::Empty | lsp::CodeActionKind::QuickFix)
        };
        if !self.client.literal_actions || kinds.is_some_and(|kinds| !kinds.iter().any(wanted)) {
            return Vec::new();
        }
        let path = path_of(&params.text_document.uri.0);
        actions::fixes(&self.programs, &self.documents, &self.client, &path, params.range)
    }

    fn file(&self, uri: &Uri) -> Option<View<'_>> {
        let text_document = lsp::TextDocumentIdentifier { uri: uri.clone() };
        self.view(TextDocumentPositionParams {
            text_document,
            position: lsp::Position::default(),
        })
    }

    fn meaning(&self, at: TextDocumentPositionParams) -> Option<references::Meaning> {
        references::meaning(&self.view(at)?)
    }
}

/// Asks for reports of changed files: a source can name any.
fn watch() -> Message {
    let watcher = serde_json::json!({ "globPattern": "**/*" });
    let registration = serde_json::json!({
        "id": "files", "method": "workspace/didChangeWatchedFiles", "registerOptions": { "watchers": [watcher] },
    });
    let params = serde_json::json!({ "registrations": [registration] });
    Message::Request(Request::new(
        "watch".to_owned().into(),
        "client/registerCapability".to_owned(),
        params,
    ))
}

fn capabilities(client: &Client) -> lsp::ServerCapabilities {
    let sync = lsp::TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(lsp::TextDocumentSyncKind::Incremental),
        save: Some(true.into()),
        ..Default::default()
    };
    lsp::ServerCapabilities {
        position_encoding: Some(match client.encoding {
            Encoding::Utf8 => lsp::PositionEncodingKind::UTF8,
            Encoding::Utf16 => lsp::PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(sync.into()),
        hover_provider: Some(true.into()),
        definition_provider: Some(true.into()),
        references_provider: Some(true.into()),
        document_highlight_provider: Some(true.into()),
        document_symbol_provider: Some(true.into()),
        document_formatting_provider: Some(true.into()),
        code_action_provider: client.literal_actions.then(|| {
            let kinds = Some(vec![lsp::CodeActionKind::QuickFix]);
            lsp::CodeActionProvider::CodeActionOptions(lsp::CodeActionOptions {
                code_action_kinds: kinds,
                ..Default::default()
            })
        }),
        completion_provider: Some(lsp::CompletionOptions {
            trigger_characters: Some(["$", "{", ">", "(", "="].map(str::to_owned).to_vec()),
            ..Default::default()
        }),
        rename_provider: Some(lsp::RenameProvider::RenameOptions(lsp::RenameOptions {
            prepare_provider: Some(true),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, Fault> {
    serde_json::from_value(params).map_err(|e| Fault::new(ErrorCode::InvalidParams, e.to_string()))
}

fn json(answer: impl Serialize) -> Answer {
    serde_json::to_value(answer).map_err(|e| Fault::new(ErrorCode::InternalError, e.to_string()))
}
