//! Reading the main file and everything that it imports.

use std::{collections::HashMap, path::Path, path::PathBuf};

use onvm_lang::{
    Diagnostic,
    syntax::{self, DeclKind},
};

use crate::{
    diagnostics::{import_cycle, unreadable_file},
    source::{
        context::globalise,
        host::{Host, clean},
        sources::{FILTER, FileId, PACKET, Sources},
    },
};

pub(crate) struct Loaded {
    pub(crate) sources: Sources,
    pub(crate) units: Vec<Unit>,
    /// Imported manifests by the place of the `use` declaration.
    pub(crate) manifests: HashMap<(FileId, u32), FileId>,
    /// The files of rules that NFs name.
    pub(crate) rules: RulesFiles,
    pub(crate) found: Vec<Diagnostic>,
}

/// By path. An error says why a file could not be read.
pub(crate) type RulesFiles = HashMap<PathBuf, Result<RulesFile, String>>;

/// A file of rules.
#[derive(Debug)]
pub(crate) struct RulesFile {
    pub(crate) file: FileId,
    pub(crate) rules: Vec<syntax::RuleLine>,
    /// Whether `rules` are all rules, and none has an error of its own.
    pub(crate) complete: bool,
}

/// The results of parsing, kept for later questions about the sources.
pub(crate) struct Trees {
    /// Those of the sources, then those of files of rules.
    pub(crate) units: Vec<Unit>,
    /// Imported manifests by the place of the `use` declaration.
    pub(crate) manifests: HashMap<(FileId, u32), FileId>,
}

/// A source file and its tree; of a file of rules, its rules.
pub(crate) struct Unit {
    pub(crate) file: FileId,
    pub(crate) tree: syntax::File,
    pub(crate) rules: Vec<syntax::RuleLine>,
}

impl Loaded {
    /// Adds `test "..." { send PORT PACKET }` behind all files.
    pub(crate) fn add_packet(&mut self, port: &str, packet: &str) {
        self.add(
            PACKET,
            format!("test \"{PACKET}\" {{\n    send {port} {packet}\n}}\n"),
        );
    }

    /// Adds `assert PORT: FILTER dropped` behind all files. It is not an assertion: only its packets are asked of.
    pub(crate) fn add_question(&mut self, port: &str, filter: &str) {
        let filter = filter.split_whitespace().collect::<Vec<_>>().join(" ");
        self.add(FILTER, format!("assert {port}: {filter} dropped\n"));
    }

    fn add(&mut self, name: &str, text: String) {
        let parse = onvm_lang::parse(&text);
        let file = self.sources.add(Path::new(name), name.to_owned(), text);
        let local = parse.diagnostics.into_iter();
        let global: Vec<_> = local.map(|d| globalise(&self.sources, file, d)).collect();
        self.found.extend(global);
        self.units.push(Unit {
            file,
            tree: parse.file,
            rules: Vec::new(),
        });
    }
}

/// Reads `main` and its imports. An unreadable main file is the only failure.
pub(crate) fn load(host: &dyn Host, main: &Path) -> std::io::Result<Loaded> {
    let main = clean(main);
    let text = read_text(host, &main)?;
    let loaded = Loaded {
        sources: Sources::default(),
        units: Vec::new(),
        manifests: HashMap::new(),
        rules: RulesFiles::new(),
        found: Vec::new(),
    };
    let root = main.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut loader = Loader {
        host,
        root,
        loaded,
        known: HashMap::new(),
        open: Vec::new(),
    };
    loader.source(&main, text);
    Ok(loader.loaded)
}

/// Imports may not nest deeper than this, so that a hostile set of files cannot exhaust the stack.
const MAX_DEPTH: usize = 64;

struct Loader<'a> {
    host: &'a dyn Host,
    root: PathBuf,
    loaded: Loaded,
    known: HashMap<PathBuf, FileId>,
    /// The files on the way from the main file to the present one.
    open: Vec<PathBuf>,
}

impl Loader<'_> {
    fn source(&mut self, path: &Path, text: String) {
        let parse = onvm_lang::parse(&text);
        let file = self.loaded.sources.add(path, source_name(&self.root, path), text);
        self.known.insert(path.to_path_buf(), file);
        let local = parse.diagnostics.into_iter();
        let global: Vec<_> = local.map(|d| globalise(&self.loaded.sources, file, d)).collect();
        self.loaded.found.extend(global);
        let imports: Vec<syntax::Use> = parse
            .file
            .decls
            .iter()
            .filter_map(|d| import(&d.kind.node))
            .collect();
        self.loaded.units.push(Unit {
            file,
            tree: parse.file,
            rules: Vec::new(),
        });
        self.open.push(path.to_path_buf());
        for import in imports {
            self.import(file, path, &import);
        }
        self.open.pop();
    }

    fn import(&mut self, from: FileId, from_path: &Path, import: &syntax::Use) {
        let place = self.loaded.sources.place(from, import.path.span);
        let written = import.path.node.as_str();
        let path = clean(&from_path.parent().unwrap_or(Path::new("")).join(written));
        let manifest = written.ends_with(".nf.toml");
        if !manifest && !written.ends_with(".chain") {
            return self
                .loaded
                .found
                .push(unreadable_file::neither_kind(place, written));
        }
        if manifest != import.alias.is_some() {
            return self
                .loaded
                .found
                .push(unreadable_file::wrong_alias(place, manifest));
        }
        if let Some(at) = self.open.iter().position(|p| *p == path).filter(|_| !manifest) {
            let circle = self.open[at..]
                .iter()
                .chain([&path])
                .map(|p| source_name(&self.root, p));
            return self
                .loaded
                .found
                .push(import_cycle::import_cycle(place, &circle.collect::<Vec<_>>()));
        }
        let file = match self.known.get(&path) {
            Some(file) => Some(*file),
            None if self.open.len() >= MAX_DEPTH => {
                let reason = format!("imports are nested more than {MAX_DEPTH} deep");
                return self
                    .loaded
                    .found
                    .push(unreadable_file::unreadable_file(place, written, &reason));
            }
            None => match read_text(self.host, &path) {
                Err(e) => {
                    let reason = describe(&e);
                    return self
                        .loaded
                        .found
                        .push(unreadable_file::unreadable_file(place, written, &reason));
                }
                Ok(text) if manifest => {
                    let file = self
                        .loaded
                        .sources
                        .add(&path, source_name(&self.root, &path), text);
                    self.known.insert(path, file);
                    Some(file)
                }
                Ok(text) => {
                    self.source(&path, text);
                    None
                }
            },
        };
        if let (Some(file), true) = (file, manifest) {
            self.loaded.manifests.insert((from, import.path.span.start), file);
        }
    }
}

fn import(decl: &DeclKind) -> Option<syntax::Use> {
    match decl {
        DeclKind::Use(import) => Some(import.clone()),
        _ => None,
    }
}

pub(crate) fn read_text(host: &dyn Host, path: &Path) -> std::io::Result<String> {
    String::from_utf8(host.read(path)?).map_err(|e| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            not_utf8(e.as_bytes(), &e.utf8_error()),
        )
    })
}

fn not_utf8(bytes: &[u8], e: &std::str::Utf8Error) -> String {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "it is UTF-16, and must be saved as UTF-8".to_owned();
    }
    let before = bytes.get(..e.valid_up_to()).unwrap_or(bytes);
    let line = before.split(|b| *b == b'\n').count();
    let byte = bytes.get(e.valid_up_to()).copied().unwrap_or(0);
    format!("it is not UTF-8 text: line {line} has the byte 0x{byte:02x}")
}

/// An I/O error in an operator's words.
pub(crate) fn describe(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => e.to_string(),
    }
}

/// The name of a file in the bundle's `source/`: relative to the main file's directory, with `_up` for each step
/// above it, so that no name leads outside.
pub(crate) fn source_name(root: &Path, path: &Path) -> String {
    let (root, path): (Vec<_>, Vec<_>) = (root.components().collect(), path.components().collect());
    let common = root.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let ups = root[common..].iter().map(|_| "_up".to_owned());
    let names = path[common..].iter().map(|c| match c {
        std::path::Component::Normal(name) => name.to_string_lossy().into_owned(),
        _ => "_up".to_owned(),
    });
    ups.chain(names).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let name = |root: &str, path: &str| source_name(Path::new(root), Path::new(path));
        assert_eq!(name("", "edge.chain"), "edge.chain");
        assert_eq!(name("a/b", "a/b/edge.chain"), "edge.chain");
        assert_eq!(name("a/b", "a/lib/x.chain"), "_up/lib/x.chain");
        assert_eq!(name("", "../x.chain"), "_up/x.chain");
        assert_eq!(name("/a", "/x.chain"), "_up/x.chain");
    }
}
