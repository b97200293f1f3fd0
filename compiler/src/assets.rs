//! The files and secrets that values name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
};

use onvm_bundle::hash_bytes;

use crate::{
    diagnostics::missing_file,
    host::clean,
    load::describe,
    values::{Given, Values},
};

/// What goes into the bundle beside settings.
#[derive(Debug, Default)]
pub(crate) struct Assets {
    by_path: HashMap<PathBuf, String>,
    /// Where each file of the bundle comes from.
    pub(crate) origins: BTreeMap<String, PathBuf>,
    /// Content by path in the bundle.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) secrets: BTreeSet<String>,
}

impl Values<'_> {
    /// Takes a file into the bundle; returns its path there. None: reported.
    pub(crate) fn file(&self, given: &Given, path: &str) -> Option<String> {
        let on_host = clean(&self.cx.directory(given.file).join(path));
        if let Some(known) = self.assets.borrow().by_path.get(&on_host) {
            return Some(known.clone());
        }
        match self.cx.host.read(&on_host) {
            Ok(content) => {
                let hash = hash_bytes(&content);
                let in_bundle = format!("files/{}-{}", &hash[..16], file_name(path));
                let mut assets = self.assets.borrow_mut();
                assets.files.insert(in_bundle.clone(), content);
                assets
                    .origins
                    .entry(in_bundle.clone())
                    .or_insert_with(|| on_host.clone());
                assets.by_path.insert(on_host, in_bundle.clone());
                Some(in_bundle)
            }
            Err(e) => {
                let found = missing_file::missing_file(given.place, path, &describe(&e));
                self.cx.report(given.with_origin(found));
                None
            }
        }
    }
}

/// The last component, of characters that are safe in any file system and in a TOML comment.
pub(crate) fn file_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().map(safe).take(64).collect()
}
