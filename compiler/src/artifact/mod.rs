//! A bundle in memory: every file's bytes, and the index over them.

mod compose;
mod toml_text;

use std::collections::{BTreeMap, HashMap};

use onvm_bundle::{FORMAT_VERSION, FileEntry, Index, SourceRef, generation_id, hash_bytes};

use crate::{program::Program, source::sources::Sources};

/// The files written to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub index: Index,
    /// Content by path, `bundle.toml` included.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why the text of a bundle cannot be made. Both are faults of this program, not of the source.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the template of {file} does not fit its data: {reason}")]
    Template { file: &'static str, reason: String },
    #[error("a value of {file} cannot be written as TOML: {reason}")]
    Toml { file: String, reason: String },
}

impl Artifact {
    /// Lays out the bundle of a program. The same program and sources give the same bytes.
    ///
    /// # Errors
    /// A fault of this program; see [`ArtifactError`].
    pub fn new(program: &Program, sources: &Sources) -> Result<Self, ArtifactError> {
        let mut files = program.files.clone();
        let quoted = Quotes(sources);
        files.insert(
            "manager.toml".into(),
            toml_text::manager(&program.manager, &quoted)?.into_bytes(),
        );
        files.insert(
            "flows.toml".into(),
            toml_text::flows(&program.flows, &quoted)?.into_bytes(),
        );
        files.insert("compose.yaml".into(), compose::render(program)?.into_bytes());
        files.insert("seccomp.json".into(), onvm_bundle::SECCOMP_PROFILE.into());
        let services = program.manager.services.iter();
        let declared: HashMap<&str, &SourceRef> = services.map(|s| (s.name.as_str(), &s.source)).collect();
        for (name, config) in &program.instances {
            let source = declared.get(config.service.as_str()).copied();
            let text = toml_text::instance(config, source, &quoted)?;
            files.insert(format!("nfs/{name}.toml"), text.into_bytes());
        }
        for source in sources.files().iter().filter(|s| !s.is_command_line()) {
            files.insert(
                format!("source/{}", source.name),
                source.text.clone().into_bytes(),
            );
        }
        let entry = |(path, content): (&String, &Vec<u8>)| FileEntry {
            path: path.clone(),
            sha256: hash_bytes(content),
            size: content.len() as u64,
        };
        let mut index = Index {
            format: FORMAT_VERSION,
            name: program.name.clone(),
            generation: String::new(),
            compiler: env!("CARGO_PKG_VERSION").to_owned(),
            main: sources
                .files()
                .first()
                .map_or_else(String::new, |s| s.name.clone()),
            params: program.params.clone(),
            secrets: program.secrets.clone(),
            files: files.iter().map(entry).collect(),
        };
        index.generation = generation_id(&index);
        files.insert("bundle.toml".into(), toml_text::index(&index)?.into_bytes());
        Ok(Self { index, files })
    }
}

/// Source lines for comments.
pub(crate) struct Quotes<'a>(&'a Sources);

impl Quotes<'_> {
    /// `file:line` and the line's text, cut to a comment's length.
    fn line(&self, source: &SourceRef) -> Option<String> {
        let mut parts = source.0.rsplitn(3, ':');
        let (_column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
        let number: usize = line.parse().ok()?;
        let file = self.0.files().iter().find(|f| f.name == file)?;
        let text = file
            .text
            .get(file.line_start(number)..file.line_start(number + 1))?;
        let text: String = text
            .trim()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(100)
            .collect();
        Some(format!("{}:{line}: {text}", file.name))
    }
}
