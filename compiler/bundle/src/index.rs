//! `bundle.toml`: what the bundle holds, with a hash of each file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The format this crate writes and reads.
pub const FORMAT_VERSION: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub format: u32,
    /// As [`is_bundle_name`](crate::is_bundle_name) has it; the manager's directory in its run directory is named so.
    pub name: String,
    /// [`generation_id`] of this index: names the content of the whole bundle.
    pub generation: String,
    /// Version of the compiler that wrote the bundle.
    pub compiler: String,
    /// The source file that was built, in `source/`.
    pub main: String,
    /// Values of the `param` declarations, in the source's notation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Names of the secrets that the NFs need at run time; never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    #[serde(rename = "file")]
    pub files: Vec<FileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// As [`is_file_path`](crate::is_file_path) has it, relative to the bundle; sorted, none twice.
    pub path: String,
    /// Lower-case hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The generation id: SHA-256 over every field of the index but itself, so over all content by hash. Each text goes in after
/// its length and each list after the number of its entries, so that no two indices give the same input.
pub fn generation_id(index: &Index) -> String {
    let mut input = Input(Sha256::new());
    input.number(u64::from(index.format));
    input.text(&index.name);
    input.text(&index.compiler);
    input.text(&index.main);
    input.number(index.params.len() as u64);
    for (name, value) in &index.params {
        input.text(name);
        input.text(value);
    }
    input.number(index.secrets.len() as u64);
    index.secrets.iter().for_each(|name| input.text(name));
    input.number(index.files.len() as u64);
    for file in &index.files {
        input.text(&file.path);
        input.text(&file.sha256);
        input.number(file.size);
    }
    hex(&input.0.finalize())
}

/// What is hashed, each part so that its end is known.
struct Input(Sha256);

impl Input {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }
}

/// Lower-case hexadecimal SHA-256 of `bytes`.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| {
            [
                DIGITS[(b >> 4) as usize] as char,
                DIGITS[(b & 15) as usize] as char,
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index {
            format: FORMAT_VERSION,
            name: "edge".into(),
            generation: String::new(),
            compiler: "0.1.0".into(),
            main: "edge.chain".into(),
            params: BTreeMap::new(),
            secrets: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The end of one list and the beginning of the next are not interchangeable.
    #[test]
    fn lists_do_not_run_into_each_other() {
        let param = Index {
            params: [("a".to_owned(), "b".to_owned())].into(),
            ..index()
        };
        let secrets = Index {
            secrets: vec!["a".into(), "b".into()],
            ..index()
        };
        let file = Index {
            files: vec![FileEntry {
                path: "a".into(),
                sha256: "b".into(),
                size: 7,
            }],
            ..index()
        };
        let more_secrets = Index {
            secrets: vec!["a".into(), "b".into(), "7".into()],
            ..index()
        };
        let all = [index(), param, secrets, file, more_secrets];
        let ids: std::collections::BTreeSet<String> = all.iter().map(generation_id).collect();
        assert_eq!(ids.len(), all.len());
    }
}
