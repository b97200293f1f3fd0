//! What commands that compare or show are given: a source, or a bundle.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use onvm_bundle::{Bundle, diff::Contents};
use onvmc::{Inputs, Program, artifact::Artifact};

use super::{
    args::SourceArgs,
    build::{make, packed},
    check,
    output::Output,
};

/// A source that has been compiled, or a bundle that has been loaded.
#[derive(Debug)]
pub(super) enum Side {
    Source(Box<(Program, Artifact)>),
    Bundle(Box<Bundle>),
}

impl Side {
    /// None: refused, and said so.
    pub(super) fn read(out: &Output, path: &Path, args: &SourceArgs, inputs: &Inputs<'_>) -> Option<Self> {
        if !path.is_dir() {
            return make(out, path, args, inputs).map(|made| Self::Source(Box::new(made)));
        }
        match Bundle::load(path) {
            Ok(bundle) => Some(Self::Bundle(Box::new(bundle))),
            Err(e) => {
                out.error("bundle", &e.to_string());
                None
            }
        }
    }

    /// The same, to be looked at and not run: assertions need not hold.
    pub(super) fn look(out: &Output, path: &Path, args: &SourceArgs) -> Option<Self> {
        if path.is_dir() {
            return Self::read(out, path, args, &Inputs::default());
        }
        let (program, sources) = check::look(out, path, args, &Inputs::default())?;
        packed(out, program, &sources).map(|made| Self::Source(Box::new(made)))
    }

    pub(super) fn contents(&self) -> Contents<'_> {
        match self {
            Self::Source(made) => made.0.contents(),
            Self::Bundle(bundle) => bundle.as_ref().into(),
        }
    }

    /// Names of the secrets that its NFs need.
    pub(super) fn secrets(&self) -> &[String] {
        match self {
            Self::Source(made) => &made.0.secrets,
            Self::Bundle(bundle) => &bundle.index.secrets,
        }
    }

    /// The bundle's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Source(made) => &made.1.index.name,
            Self::Bundle(bundle) => &bundle.index.name,
        }
    }

    /// What `file("...")` named, by path in the bundle, as far as it can be read.
    pub(super) fn files(&self) -> Cow<'_, BTreeMap<String, Vec<u8>>> {
        match self {
            Self::Source(made) => Cow::Borrowed(&made.0.files),
            Self::Bundle(bundle) => {
                let files = bundle.index.files.iter().filter(|f| f.path.starts_with("files/"));
                let read = files.filter_map(|f| Some((f.path.clone(), bundle.read(&f.path).ok()?)));
                Cow::Owned(read.collect())
            }
        }
    }

    /// The texts of the chain files that it was made from, as far as they can be read.
    pub(super) fn sources(&self) -> Vec<String> {
        let is_chain = |path: &str| path.starts_with("source/") && path.ends_with(".chain");
        match self {
            Self::Source(made) => {
                let files = made.1.files.iter().filter(|(path, _)| is_chain(path));
                files
                    .map(|(_, content)| String::from_utf8_lossy(content).into_owned())
                    .collect()
            }
            Self::Bundle(bundle) => {
                let files = bundle.index.files.iter().filter(|f| is_chain(&f.path));
                files
                    .filter_map(|f| String::from_utf8(bundle.read(&f.path).ok()?).ok())
                    .collect()
            }
        }
    }

    pub(super) fn generation(&self) -> &str {
        match self {
            Self::Source(made) => &made.1.index.generation,
            Self::Bundle(bundle) => &bundle.index.generation,
        }
    }
}
