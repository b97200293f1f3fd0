//! Loading and verifying: nothing is handed out before every hash, every path and every reference has been checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::{
    BundleError, FORMAT_VERSION, Flows, Index, InstanceConfig, ManagerConfig, PathRef, generation_id,
    hash_bytes, is_bundle_name, validate,
};

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
        let index = read_index(dir)?;
        let contents = read_files(dir, &index)?;
        refuse_unlisted(dir, &index)?;
        let manager: ManagerConfig = parse(dir, "manager.toml", &contents)?;
        let flows: Flows = parse(dir, "flows.toml", &contents)?;
        let mut instances = BTreeMap::new();
        for name in manager
            .services
            .iter()
            .flat_map(|s| &s.instances)
            .map(|i| &i.name)
        {
            let config: InstanceConfig = parse(dir, &format!("nfs/{name}.toml"), &contents)?;
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
}

fn read_index(dir: &Path) -> Result<Index, BundleError> {
    let path = dir.join("bundle.toml");
    let text = match read_file(&path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            return Err(BundleError::Malformed {
                path,
                reason: "it is not UTF-8 text".into(),
            });
        }
        Err(e) if dir.exists() && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(BundleError::NotABundle(dir.to_path_buf()));
        }
        Err(source) => {
            return Err(BundleError::Io {
                path: if dir.is_dir() { path } else { dir.into() },
                source,
            });
        }
    };
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
            "`{}` is no name for a bundle: it takes letters, digits, `-` and `_`",
            index.name.escape_debug()
        );
        return Err(BundleError::Inconsistent { path, reason });
    }
    Ok(index)
}

fn read_files<'a>(dir: &Path, index: &'a Index) -> Result<BTreeMap<&'a str, Vec<u8>>, BundleError> {
    let mut contents = BTreeMap::new();
    for f in &index.files {
        check_inside(dir, &f.path)?;
        let path = dir.join(&f.path);
        let bytes = match read_file(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(BundleError::Missing(path)),
            Err(source) => return Err(BundleError::Io { path, source }),
        };
        let found = hash_bytes(&bytes);
        if found != f.sha256 || bytes.len() as u64 != f.size {
            return Err(BundleError::Hash {
                path,
                expected: f.sha256.clone(),
                found,
            });
        }
        contents.insert(f.path.as_str(), bytes);
    }
    Ok(contents)
}

/// Reads a regular file: reading a pipe or a device might never end.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("it is no regular file"));
    }
    fs::read(path)
}

/// A path must consist of plain names, and no component on the way may be a link.
pub(crate) fn check_inside(dir: &Path, entry: &str) -> Result<(), BundleError> {
    let escapes = || BundleError::Escapes {
        bundle: dir.to_path_buf(),
        entry: entry.to_owned(),
    };
    let relative = Path::new(entry);
    if entry.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(escapes());
    }
    let mut at = dir.to_path_buf();
    for part in relative.components() {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|m| m.file_type().is_symlink()) {
            return Err(escapes());
        }
    }
    Ok(())
}

/// A file that no hash covers could be taken for part of the bundle, so it is refused.
fn refuse_unlisted(dir: &Path, index: &Index) -> Result<(), BundleError> {
    let listed: BTreeSet<PathBuf> = index.files.iter().map(|f| dir.join(&f.path)).collect();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        let io = |source| BundleError::Io {
            path: at.clone(),
            source,
        };
        for entry in fs::read_dir(&at).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() {
                open.push(path);
            } else if path != dir.join("bundle.toml") && !listed.contains(&path) {
                return Err(BundleError::Unlisted(path));
            }
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(
    dir: &Path,
    name: &str,
    contents: &BTreeMap<&str, Vec<u8>>,
) -> Result<T, BundleError> {
    let path = dir.join(name);
    let Some(bytes) = contents.get(name) else {
        return Err(BundleError::Missing(path));
    };
    let text = std::str::from_utf8(bytes).map_err(|e| BundleError::Malformed {
        path: path.clone(),
        reason: e.to_string(),
    })?;
    toml::from_str(text).map_err(|e| BundleError::Malformed {
        path,
        reason: describe(&e),
    })
}

/// The parser's message on one line.
fn describe(e: &toml::de::Error) -> String {
    e.message().replace('\n', " ")
}
