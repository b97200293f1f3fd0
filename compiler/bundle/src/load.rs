//! Loading and verifying: nothing is handed out before every hash, every path and every reference has been checked.
//!
//! A file may be another the next time it is read. So whatever is read again later is held against the same hash again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::{
    BundleError, FORMAT_VERSION, FileEntry, Flows, Index, InstanceConfig, ManagerConfig, PathRef,
    directory::Directory, generation_id, index::hex, is_bundle_name, is_file_path, validate,
};

/// Bytes of `bundle.toml`.
pub const MAX_INDEX: u64 = 8 << 20;
/// Files of a bundle.
pub const MAX_FILES: usize = 16_384;
/// Bytes of `manager.toml`, `flows.toml` and `nfs/` together, which are kept in memory.
pub const MAX_SETTINGS: u64 = 64 << 20;
/// Bytes of a file that an NF gets, which is kept in memory as well.
pub const MAX_PARAM_FILE: u64 = 64 << 20;
/// Bytes of all files together.
pub const MAX_BUNDLE: u64 = 1 << 30;

const INDEX: &str = "bundle.toml";
/// Bytes that are read at a time.
const PIECE: usize = 128 << 10;

/// A verified bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub dir: PathBuf,
    pub index: Index,
    pub manager: ManagerConfig,
    pub flows: Flows,
    /// By instance name.
    pub instances: BTreeMap<String, InstanceConfig>,
}

impl Bundle {
    /// Reads and verifies the bundle at `dir`.
    pub fn load(dir: &Path) -> Result<Self, BundleError> {
        let at = open(dir)?;
        let index = parse_index(dir, &read_index(&at)?)?;
        index.refuse_large(dir)?;
        let mut settings = BTreeMap::new();
        for file in &index.files {
            let mut kept = settings_text(&file.path).then(Vec::new);
            pieces(&at, file, |piece| -> Result<(), BundleError> {
                if let Some(text) = &mut kept {
                    text.extend_from_slice(piece);
                }
                Ok(())
            })?;
            if let Some(text) = kept {
                settings.insert(file.path.as_str(), text);
            }
        }
        refuse_unlisted(dir, &index)?;
        let manager: ManagerConfig = parse(dir, "manager.toml", &mut settings)?;
        let flows: Flows = parse(dir, "flows.toml", &mut settings)?;
        let mut instances = BTreeMap::new();
        let named = manager.services.iter().flat_map(|s| &s.instances);
        for name in named.map(|i| &i.name).filter(|name| crate::is_name(name)) {
            let config: InstanceConfig = parse(dir, &format!("nfs/{name}.toml"), &mut settings)?;
            instances.insert(name.clone(), config);
        }
        let bundle = Self {
            dir: dir.to_path_buf(),
            index,
            manager,
            flows,
            instances,
        };
        validate::references(&bundle)?;
        Ok(bundle)
    }

    /// The path on the host of a file named by the bundle.
    pub fn resolve(&self, path: &PathRef) -> PathBuf {
        match path {
            PathRef::Bundle(p) => self.dir.join(p),
            PathRef::Host(p) => PathBuf::from(p),
        }
    }

    /// The content of one of its files, which is still what it was when the bundle was loaded.
    ///
    /// # Errors
    /// When it is another by now.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, BundleError> {
        let at = open(&self.dir)?;
        let Some(file) = self.index.files.iter().find(|f| f.path == path) else {
            return Err(BundleError::Missing(self.dir.join(path)));
        };
        let mut content = Vec::new();
        pieces(&at, file, |piece| -> Result<(), BundleError> {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// Hands out all its files, `bundle.toml` included, piece by piece: the name goes to `begin`, which makes what takes the
    /// pieces of that file. A piece may be handed out before its file turns out to be another than was loaded: on an error what
    /// was made of them is to be thrown away.
    ///
    /// # Errors
    /// When a file is another by now, and whatever `begin` and what it made report.
    pub fn hand_out<E, S>(&self, mut begin: impl FnMut(&str) -> Result<S, E>) -> Result<(), E>
    where
        E: From<BundleError>,
        S: FnMut(&[u8]) -> Result<(), E>,
    {
        let at = open(&self.dir)?;
        for file in &self.index.files {
            pieces(&at, file, begin(&file.path)?)?;
        }
        let text = read_index(&at)?;
        if parse_index(&self.dir, &text)? != self.index {
            return Err(BundleError::Changed(self.dir.join(INDEX)).into());
        }
        begin(INDEX)?(text.as_bytes())
    }
}

fn open(dir: &Path) -> Result<Directory, BundleError> {
    Directory::open(dir).map_err(|source| match source.kind() {
        ErrorKind::NotADirectory => BundleError::NotABundle(dir.into()),
        _ => BundleError::Io {
            path: dir.into(),
            source,
        },
    })
}

fn read_index(at: &Directory) -> Result<String, BundleError> {
    let path = at.path.join(INDEX);
    let (file, size) = at.file(INDEX).map_err(|e| match e {
        BundleError::Missing(_) => BundleError::NotABundle(at.path.clone()),
        other => other,
    })?;
    refuse_size(&path, size, MAX_INDEX)?;
    let mut bytes = Vec::new();
    // It may have grown since.
    let read = file.take(MAX_INDEX + 1).read_to_end(&mut bytes);
    read.map_err(|source| BundleError::Io {
        path: path.clone(),
        source,
    })?;
    refuse_size(&path, bytes.len() as u64, MAX_INDEX)?;
    String::from_utf8(bytes).map_err(|_| BundleError::Malformed {
        path,
        reason: "it is not UTF-8 text".into(),
    })
}

fn parse_index(dir: &Path, text: &str) -> Result<Index, BundleError> {
    let path = dir.join(INDEX);
    let malformed = |e: toml::de::Error| BundleError::Malformed {
        path: path.clone(),
        reason: describe(&e),
    };
    // The version alone decides whether the rest can be understood, so it is read before the rest.
    let table: toml::Table = text.parse().map_err(malformed)?;
    let found = table
        .get("format")
        .and_then(toml::Value::as_integer)
        .and_then(|v| u32::try_from(v).ok());
    match found {
        Some(FORMAT_VERSION) => {}
        Some(found) => {
            return Err(BundleError::Version {
                path,
                found,
                supported: FORMAT_VERSION,
            });
        }
        None => {
            return Err(BundleError::Malformed {
                path,
                reason: "it has no `format` number".into(),
            });
        }
    }
    let index: Index = table.try_into().map_err(malformed)?;
    let found = generation_id(&index);
    if found != index.generation {
        return Err(BundleError::Hash {
            path,
            expected: index.generation,
            found,
        });
    }
    if !is_bundle_name(&index.name) {
        let reason = format!(
            "`{}` is not a name for a bundle: it takes up to 64 letters, digits, `-` and `_`",
            index.name.escape_debug()
        );
        return Err(BundleError::Inconsistent { path, reason });
    }
    let mut seen = BTreeSet::from([INDEX]);
    for file in &index.files {
        if !is_file_path(&file.path) {
            return Err(BundleError::Escapes {
                bundle: dir.to_path_buf(),
                entry: file.path.clone(),
            });
        }
        if !seen.insert(&file.path) {
            let reason = format!("it lists `{}` twice", file.path.escape_debug());
            return Err(BundleError::Inconsistent { path, reason });
        }
    }
    Ok(index)
}

impl Index {
    /// Refuses a bundle at `dir` that nobody would read, by what its index says of sizes.
    ///
    /// # Errors
    /// Which limit it exceeds.
    pub fn refuse_large(&self, dir: &Path) -> Result<(), BundleError> {
        if self.files.len() > MAX_FILES {
            return Err(BundleError::Inconsistent {
                path: dir.join(INDEX),
                reason: format!(
                    "it lists {} files, and at most {MAX_FILES} are read",
                    self.files.len()
                ),
            });
        }
        let sum = |files: &mut dyn Iterator<Item = &FileEntry>| {
            files.fold(0_u64, |sum, file| sum.saturating_add(file.size))
        };
        refuse_size(dir, sum(&mut self.files.iter()), MAX_BUNDLE)?;
        let mut settings = self.files.iter().filter(|f| settings_text(&f.path));
        refuse_size(&dir.join("manager.toml"), sum(&mut settings), MAX_SETTINGS)
    }
}

pub(crate) fn refuse_size(path: &Path, size: u64, most: u64) -> Result<(), BundleError> {
    match size <= most {
        true => Ok(()),
        false => Err(BundleError::Large {
            path: path.to_path_buf(),
            found: size,
            most,
        }),
    }
}

/// Whether a file is read for what it says.
fn settings_text(path: &str) -> bool {
    matches!(path, "manager.toml" | "flows.toml") || path.starts_with("nfs/")
}

/// Reads a listed file in pieces, and refuses one that is not what the index says.
fn pieces<E: From<BundleError>>(
    at: &Directory,
    file: &FileEntry,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let path = || at.path.join(&file.path);
    let wrong_size = |found| BundleError::Size {
        path: path(),
        expected: file.size,
        found,
    };
    let (mut open, size) = at.file(&file.path)?;
    if size != file.size {
        return Err(wrong_size(size).into());
    }
    let (mut hash, mut left) = (Sha256::new(), size);
    let mut buffer = vec![0; PIECE];
    loop {
        let got = match open.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(source) => return Err(BundleError::Io { path: path(), source }.into()),
        };
        // It grows while it is read.
        left = left
            .checked_sub(got as u64)
            .ok_or_else(|| wrong_size(size.saturating_add(1)))?;
        hash.update(&buffer[..got]);
        take(&buffer[..got])?;
    }
    if left > 0 {
        return Err(wrong_size(size - left).into());
    }
    let found = hex(&hash.finalize());
    if found != file.sha256 {
        return Err(BundleError::Hash {
            path: path(),
            expected: file.sha256.clone(),
            found,
        }
        .into());
    }
    Ok(())
}

/// A file that no hash covers could be taken for part of the bundle, so it is refused.
fn refuse_unlisted(dir: &Path, index: &Index) -> Result<(), BundleError> {
    let listed: BTreeSet<PathBuf> = index.files.iter().map(|f| dir.join(&f.path)).collect();
    // Where listed files are, so that no tree beside them has to be walked.
    let ways = index
        .files
        .iter()
        .flat_map(|f| Path::new(&f.path).ancestors().skip(1));
    let ways: BTreeSet<PathBuf> = ways.map(|way| dir.join(way)).collect();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        let io = |source| BundleError::Io {
            path: at.clone(),
            source,
        };
        for entry in fs::read_dir(&at).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            let is_dir = entry.file_type().map_err(io)?.is_dir();
            if is_dir && ways.contains(&path) {
                open.push(path);
            } else if is_dir || path != dir.join(INDEX) && !listed.contains(&path) {
                return Err(BundleError::Unlisted(path));
            }
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(
    dir: &Path,
    name: &str,
    settings: &mut BTreeMap<&str, Vec<u8>>,
) -> Result<T, BundleError> {
    let path = dir.join(name);
    let Some(bytes) = settings.remove(name) else {
        return Err(BundleError::Missing(path));
    };
    let text = String::from_utf8(bytes).map_err(|e| BundleError::Malformed {
        path: path.clone(),
        reason: e.to_string(),
    })?;
    toml::from_str(&text).map_err(|e| BundleError::Malformed {
        path,
        reason: describe(&e),
    })
}

/// The parser's message on one line.
fn describe(e: &toml::de::Error) -> String {
    e.message().replace('\n', " ")
}
