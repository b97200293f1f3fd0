//! The files and secrets that values name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use onvm_bundle::hash_bytes;

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

impl Assets {
    /// Where in the bundle a file of the host is, if it has been taken.
    pub(crate) fn known(&self, on_host: &Path) -> Option<&str> {
        self.by_path.get(on_host).map(String::as_str)
    }

    /// Takes a file of the host, which the source calls `name`; returns its path in the bundle.
    pub(crate) fn take_file(&mut self, on_host: PathBuf, name: &str, content: Vec<u8>) -> String {
        let hash = hash_bytes(&content);
        let in_bundle = format!("files/{}-{}", &hash[..16], file_name(name));
        self.files.insert(in_bundle.clone(), content);
        let origin = self.origins.entry(in_bundle.clone());
        origin.or_insert_with(|| on_host.clone());
        self.by_path.insert(on_host, in_bundle.clone());
        in_bundle
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
