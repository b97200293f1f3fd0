//! Which programs the open files belong to, and keeping what is known of them fresh.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gen_lsp_types::{Diagnostic, PublishDiagnosticsParams, Uri};

use super::{
    analysis::Analysis,
    client::Client,
    diagnostics::by_file,
    documents::{Documents, Kind},
    importers::Importers,
};
use crate::source::host::Host;

/// The checked programs, and the diagnostics that the client has of their files.
#[derive(Default)]
pub(super) struct Programs {
    checked: Vec<Analysis>,
    /// Main files of programs that were forgotten because something in them changed.
    stale: Vec<PathBuf>,
    settled: bool,
    published: BTreeMap<PathBuf, Published>,
    pub(super) importers: Importers,
}

#[derive(Debug, PartialEq)]
struct Published {
    version: Option<i32>,
    diagnostics: Vec<Diagnostic>,
}

impl Programs {
    /// A file is not as it was: whatever was concluded from it is forgotten.
    pub(super) fn changed(&mut self, path: &Path) {
        let (stale, kept) = std::mem::take(&mut self.checked)
            .into_iter()
            .partition(|a: &Analysis| a.depends_on(path));
        self.checked = kept;
        self.settled = false;
        self.stale.extend(stale.into_iter().map(|a| a.main));
    }

    /// Forgets everything but what was published.
    pub(super) fn forget(&mut self) {
        self.stale.extend(self.checked.drain(..).map(|a| a.main));
        self.settled = false;
    }

    /// Checks what has to be checked so that every open source lies in a program. A program is an open source, or one that
    /// imports it, or reads its rules, and is itself imported by none.
    pub(super) fn refresh(&mut self, documents: &Documents, disk: &dyn Host, client: &Client) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let mut open: Vec<&PathBuf> = documents.of_kind(Kind::Chain).collect();
        let sources = open.len();
        open.extend(documents.of_kind(Kind::Rules));
        let mut mains: Vec<PathBuf> = open
            .iter()
            .flat_map(|path| self.importers.mains_of(path))
            .collect();
        // Rules are not a program of their own.
        mains.extend(open.iter().take(sources).map(|path| (*path).clone()));
        // What was a program before is one again, rather than a library of it.
        let stale = std::mem::take(&mut self.stale);
        mains.sort_by_key(|main| !stale.contains(main));
        for main in mains {
            let known = self.checked.iter().any(|a| a.unit(&main).is_some());
            if known {
                continue;
            }
            if let Ok(analysis) = Analysis::new(documents, disk, &main, client) {
                self.checked.retain(|a| analysis.unit(&a.main).is_none());
                self.checked.push(analysis);
            }
        }
        self.checked
            .retain(|a| open.iter().any(|path| a.unit(path).is_some()));
    }

    /// The programs that a file belongs to.
    pub(super) fn of(&self, path: &Path) -> impl Iterator<Item = &Analysis> {
        self.checked.iter().filter(move |a| a.unit(path).is_some())
    }

    /// The messages that bring the client up to date.
    pub(super) fn publish(
        &mut self,
        documents: &Documents,
        client: &Client,
    ) -> Vec<PublishDiagnosticsParams> {
        let mut found: BTreeMap<PathBuf, Vec<Diagnostic>> = BTreeMap::new();
        for analysis in &self.checked {
            for (path, diagnostics) in by_file(analysis, documents, client) {
                let all = found.entry(path).or_default();
                // Two programs may share a file, and find the same in it.
                let new = diagnostics.into_iter().filter(|d| !all.contains(d));
                let new: Vec<_> = new.collect();
                all.extend(new);
            }
        }
        for path in self.published.keys() {
            found.entry(path.clone()).or_default();
        }
        let mut messages = Vec::new();
        for (path, diagnostics) in found {
            let version = documents.get(&path).map(|d| d.version);
            let gone = diagnostics.is_empty() && version.is_none();
            let now = Published { version, diagnostics };
            let untold = gone && !self.published.contains_key(&path);
            if untold || self.published.get(&path) == Some(&now) {
                continue;
            }
            messages.push(PublishDiagnosticsParams {
                uri: Uri(documents.uri(&path)),
                version,
                diagnostics: now.diagnostics.clone(),
            });
            if gone {
                self.published.remove(&path);
            } else {
                self.published.insert(path, now);
            }
        }
        messages
    }
}
