//! `bundle.toml`: what the bundle holds, with a hash of each file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The format this crate writes and reads.
pub const FORMAT_VERSION: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub format: u32,
    /// As [`is_bundle_name`] has it; the manager's directory in its run directory is named so.
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
    /// Relative to the bundle, `/` between components, sorted.
    pub path: String,
    /// Lower-case hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// Whether this can be the name of a bundle, and so of a directory: 1 to 64 letters, digits, `-` and `_`.
pub fn is_bundle_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// The generation id: SHA-256 over every field of the index but itself, so over all content by hash.
pub fn generation_id(index: &Index) -> String {
    let mut h = Sha256::new();
    let mut field = |s: &str| {
        h.update((s.len() as u64).to_le_bytes());
        h.update(s.as_bytes());
    };
    field(&index.format.to_string());
    field(&index.name);
    field(&index.compiler);
    field(&index.main);
    for (k, v) in &index.params {
        field(k);
        field(v);
    }
    for s in &index.secrets {
        field(s);
    }
    for f in &index.files {
        field(&f.path);
        field(&f.sha256);
        field(&f.size.to_string());
    }
    hex(&h.finalize())
}

/// Lower-case hexadecimal SHA-256 of `bytes`.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
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
