//! A program as it was checked last, and what can be looked up in it.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

use onvm_bundle::ParamKind;
use onvm_lang::{
    Diagnostic,
    syntax::{self, Decl, DeclKind, Ident, Span},
};

use super::{
    client::Client,
    documents::{Documents, Overlay},
    marks::{Mark, marks},
    tables::RuleTables,
};
use crate::{
    Inputs,
    check::check_for_editor,
    program::Filtered,
    resolve::{
        manifests::{NfType, NfTypes},
        spec::Kind,
    },
    source::{
        host::Host,
        load::{Trees, Unit},
        sources::{FileId, Source, Sources},
    },
};

/// A program: its main file and everything that this imports.
pub(super) struct Analysis {
    pub(super) main: PathBuf,
    pub(super) sources: Sources,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) filtered: Filtered,
    trees: Trees,
    /// Made when first asked for.
    pub(super) tables: RefCell<RuleTables>,
    /// Every file that was asked for, those that are not there included.
    reads: BTreeSet<PathBuf>,
}

/// A span in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) file: FileId,
    pub(super) span: Span,
}

/// A declaration that introduces a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'a> {
    pub(super) file: FileId,
    pub(super) name: &'a Ident,
    pub(super) decl: &'a Decl,
}

impl Analysis {
    pub(super) fn new(
        documents: &Documents,
        disk: &dyn Host,
        main: &Path,
        client: &Client,
    ) -> io::Result<Self> {
        let host = Overlay::new(documents, disk);
        let inputs = Inputs {
            set: &client.set,
            overlaps: client.overlaps,
            ..Inputs::default()
        };
        let (checked, trees, filtered) = check_for_editor(&host, main, &inputs)?;
        Ok(Self {
            main: main.to_path_buf(),
            sources: checked.sources,
            diagnostics: checked.diagnostics,
            filtered,
            tables: RefCell::default(),
            trees,
            reads: host.reads.into_inner(),
        })
    }

    /// Whether a change of that file may change what is known here.
    pub(super) fn depends_on(&self, path: &Path) -> bool {
        self.reads.contains(path)
    }

    /// The chain sources, the main file first.
    pub(super) fn units(&self) -> &[Unit] {
        &self.trees.units
    }

    pub(super) fn unit(&self, path: &Path) -> Option<&Unit> {
        self.units().iter().find(|u| self.source(u.file).path == path)
    }

    pub(super) fn source(&self, file: FileId) -> &Source {
        self.sources.get(file)
    }

    /// The names of the program; of two with one name the first counts, as for the checker.
    pub(super) fn names(&self) -> HashMap<&str, Declared<'_>> {
        let mut names = HashMap::new();
        for unit in self.units() {
            for decl in &unit.tree.decls {
                if let Some(name) = decl.name() {
                    let file = unit.file;
                    names
                        .entry(name.node.as_str())
                        .or_insert(Declared { file, name, decl });
                }
            }
        }
        names
    }

    /// Everything of one file that stands for something.
    pub(super) fn marks(&self, unit: &Unit) -> Vec<Mark<'_>> {
        // The unit comes from this analysis, by another borrow.
        let unit = self.units().iter().find(|u| u.file == unit.file);
        unit.map_or_else(Vec::new, |u| marks(u, &self.source(u.file).text))
    }

    pub(super) fn nf_types(&self) -> NfTypes<'_> {
        NfTypes::collect(self.units(), &self.trees.manifests)
    }

    /// The NF type of that name, if it is there and can be used.
    pub(super) fn nf_type(&self, name: &str) -> Option<NfType> {
        self.nf_types().look_up(&self.sources, name)
    }

    /// The type of the NF of that name.
    pub(super) fn type_of_nf(&self, nf: &str) -> Option<NfType> {
        self.nf_type(self.nf(nf)?.ty.node.as_str())
    }

    /// The verdicts of files of rules that NFs of the program read.
    pub(super) fn verdicts(&self) -> Vec<String> {
        let nfs = self.declarations().filter_map(|(_, decl)| match &decl.kind.node {
            DeclKind::Nf(nf) => Some(nf),
            _ => None,
        });
        let types = nfs.filter_map(|nf| self.nf_type(&nf.ty.node));
        let specs = types.flat_map(|ty| ty.specs);
        let words = specs.filter(|spec| spec.kind == Kind::Plain(ParamKind::Rules));
        let mut words: Vec<String> = words.flat_map(|spec| spec.words).map(Into::into).collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    pub(super) fn nf(&self, name: &str) -> Option<&syntax::Nf> {
        self.declarations().find_map(|(_, decl)| match &decl.kind.node {
            DeclKind::Nf(nf) if nf.name.node == name => Some(nf),
            _ => None,
        })
    }

    pub(super) fn declarations(&self) -> impl Iterator<Item = (FileId, &Decl)> {
        let decls = |u: &'_ Unit| u.file;
        self.units()
            .iter()
            .flat_map(move |u| u.tree.decls.iter().map(move |d| (decls(u), d)))
    }

    /// The file that a `use` or a `file("...")` in `from` names.
    pub(super) fn named_file(&self, from: FileId, written: &str) -> PathBuf {
        let directory = self.source(from).path.parent().unwrap_or(Path::new(""));
        crate::source::host::clean(&directory.join(written))
    }
}
