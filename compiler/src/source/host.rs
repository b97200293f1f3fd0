//! The only way from the compiler to files.

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
};

/// The compiler's access to the machine that it runs on.
pub trait Host {
    /// The content of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// A file's size in bytes.
    ///
    /// # Errors
    /// Why it cannot be told.
    fn size(&self, path: &Path) -> io::Result<u64> {
        self.read(path).map(|content| content.len() as u64)
    }

    /// The entries of a directory, in any order. Only the language server asks, to find the programs that import a
    /// file.
    ///
    /// # Errors
    /// Why it cannot be told.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let _ = directory;
        Ok(Vec::new())
    }
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    File(PathBuf),
    Directory(PathBuf),
}

/// Files in memory, for tests and for editors.
#[derive(Debug, Clone, Default)]
pub struct MemoryHost {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryHost {
    /// Adds or replaces a file.
    #[must_use]
    pub fn with(mut self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(clean(path.as_ref()), content.into());
        self
    }
}

impl Host for MemoryHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files
            .get(&clean(path))
            .cloned()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let directory = clean(directory);
        let below = self.files.keys().filter_map(|path| {
            let mut rest = path.strip_prefix(&directory).ok()?.components();
            let child = directory.join(rest.next()?);
            Some(match rest.next() {
                None => Entry::File(child),
                Some(_) => Entry::Directory(child),
            })
        });
        let mut below: Vec<Entry> = below.collect();
        below.dedup();
        Ok(below)
    }
}

/// The path without `.` and with each `..` taken together with the name before it.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths() {
        assert_eq!(clean(Path::new("./a/b/../c")), Path::new("a/c"));
        assert_eq!(clean(Path::new("../a")), Path::new("../a"));
        assert_eq!(clean(Path::new("a/../../b")), Path::new("../b"));
    }
}
