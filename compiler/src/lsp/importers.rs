//! Which sources of the workspace import which, so that a library that is opened alone is seen as part of its programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use onvm_lang::syntax::{DeclKind, Value};

use crate::source::host::{Entry, Host, clean};

/// A workspace is looked through no further than this, since it may be a whole home directory.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 20_000;

/// At most so many programs are checked for one open library.
const MAX_PROGRAMS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Importers {
    /// The files that import a file.
    of: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Importers {
    /// Looks through the workspace again.
    pub(super) fn scan(&mut self, disk: &dyn Host, folders: &[PathBuf]) {
        self.of.clear();
        let mut open: Vec<(PathBuf, usize)> = folders.iter().map(|f| (f.clone(), 0)).collect();
        let mut seen = 0;
        while let Some((directory, depth)) = open.pop() {
            for entry in disk.list(&directory).unwrap_or_default() {
                seen += 1;
                if seen > MAX_ENTRIES {
                    return;
                }
                match entry {
                    Entry::Directory(path) if depth < MAX_DEPTH && !is_skipped(&path) => {
                        open.push((path, depth + 1))
                    }
                    Entry::File(path) if path.extension().is_some_and(|e| e == "chain") => {
                        self.source(disk, &path)
                    }
                    _ => {}
                }
            }
        }
    }

    fn source(&mut self, disk: &dyn Host, path: &Path) {
        let Ok(text) = disk.read(path).map(|t| String::from_utf8_lossy(&t).into_owned()) else {
            return;
        };
        // Many sources import nothing, and need no parsing to see that.
        if !text.contains("use") && !text.contains(".rules\"") {
            return;
        }
        for decl in onvm_lang::parse(&text).file.decls {
            for named in named_by(&decl.kind.node) {
                let named = clean(&path.parent().unwrap_or(Path::new("")).join(named));
                self.of.entry(named).or_default().insert(clean(path));
            }
        }
    }

    /// The sources that import a file, directly or not, and are imported by none.
    pub(super) fn mains_of(&self, path: &Path) -> Vec<PathBuf> {
        let mut seen = BTreeSet::from([path.to_path_buf()]);
        let mut open = vec![path.to_path_buf()];
        let mut mains = Vec::new();
        while let Some(file) = open.pop() {
            match self.of.get(&file) {
                None if file != path => mains.push(file),
                None => {}
                Some(importers) => {
                    open.extend(importers.iter().filter(|i| seen.insert((*i).clone())).cloned())
                }
            }
        }
        mains.truncate(MAX_PROGRAMS);
        mains
    }
}

/// The sources and files of rules that a declaration names.
fn named_by(decl: &DeclKind) -> Vec<&str> {
    match decl {
        DeclKind::Use(import) if import.alias.is_none() => vec![import.path.node.as_str()],
        DeclKind::Nf(nf) => {
            let fields = nf.params.iter().flat_map(|params| &params.fields);
            fields.filter_map(|field| rules(&field.value.node)).collect()
        }
        DeclKind::Let(binding) => rules(&binding.value.node).into_iter().collect(),
        DeclKind::Param(param) => param
            .default
            .iter()
            .filter_map(|value| rules(&value.node))
            .collect(),
        _ => Vec::new(),
    }
}

fn rules(value: &Value) -> Option<&str> {
    match value {
        Value::File(path) if path.node.ends_with(".rules") => Some(&path.node),
        _ => None,
    }
}

fn is_skipped(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name == "target" || name == "node_modules"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::host::MemoryHost;

    #[test]
    fn the_outermost_importers_are_the_programs() {
        let host = MemoryHost::default()
            .with("/w/lib/base.chain", "let a = 1\n")
            .with("/w/lib/mid.chain", "use \"base.chain\"\n")
            .with("/w/edge.chain", "use \"lib/mid.chain\"\n")
            .with("/w/core.chain", "use \"lib/base.chain\"\n")
            .with("/w/.git/old.chain", "use \"../lib/base.chain\"\n");
        let mut importers = Importers::default();
        importers.scan(&host, &[PathBuf::from("/w")]);
        let mut mains = importers.mains_of(Path::new("/w/lib/base.chain"));
        mains.sort();
        assert_eq!(mains, [Path::new("/w/core.chain"), Path::new("/w/edge.chain")]);
        assert!(importers.mains_of(Path::new("/w/edge.chain")).is_empty());
    }

    #[test]
    fn circles_end() {
        let host = MemoryHost::default()
            .with("/w/a.chain", "use \"b.chain\"\n")
            .with("/w/b.chain", "use \"a.chain\"\n");
        let mut importers = Importers::default();
        importers.scan(&host, &[PathBuf::from("/w")]);
        assert!(importers.mains_of(Path::new("/w/a.chain")).is_empty());
    }
}
