//! An instance's parameters, already checked against the manifest by the compiler.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Parameters by name. Times are nanoseconds, sizes bytes, bit rates bits a second, packet rates packets a second,
/// addresses, prefixes and MACs text; a file's content and a secret's value are here as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Params {
    #[serde(default)]
    values: BTreeMap<String, Value>,
    /// Contents of the file parameters, by the file's name in the bundle.
    #[serde(skip)]
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    #[error("parameter `{0}` is missing")]
    Missing(String),
    #[error("parameter `{name}`: {reason}")]
    Value { name: String, reason: String },
    #[error("parameter `{name}`: {mistakes}")]
    File { name: String, mistakes: FileMistakes },
}

/// What is wrong with the file of a file parameter: at least one mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistakes {
    /// The file's name, as the operator wrote it.
    pub file: String,
    /// In the order in which they stand there.
    pub mistakes: Vec<FileMistake>,
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistake {
    /// None: the file as a whole.
    pub at: Option<FileSpan>,
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpan {
    /// From 1.
    pub line: usize,
    /// In characters, from 1. Where the text is not UTF-8, each faulty part of it counts as one.
    pub column: usize,
    /// In characters.
    pub length: usize,
}

impl FileMistake {
    pub fn new(line: usize, column: usize, length: usize, message: impl Into<String>) -> Self {
        Self {
            at: Some(FileSpan { line, column, length }),
            message: message.into(),
            help: None,
        }
    }

    /// About the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self {
            at: None,
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The first of them, and how many more there are.
impl Display for FileMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.mistakes.first() else {
            return f.write_str(&self.file);
        };
        match first.at {
            Some(FileSpan { line, column, .. }) => {
                write!(f, "{}:{line}:{column}: {}", self.file, first.message)?;
            }
            None => write!(f, "{}: {}", self.file, first.message)?,
        }
        match self.mistakes.len() - 1 {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more mistake)"),
            more => write!(f, " (and {more} more mistakes)"),
        }
    }
}

impl ParamsError {
    /// An error about the value of `name`.
    pub fn value(name: &str, reason: impl Display) -> Self {
        Self::Value {
            name: name.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Params {
    pub fn new(values: BTreeMap<String, Value>, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { values, files }
    }

    /// Adds or replaces a value; for tests of an NF.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a file parameter; for tests of an NF.
    #[must_use]
    pub fn with_file(mut self, name: &str, content: &[u8]) -> Self {
        self.values
            .insert(name.to_owned(), serde_json::json!({ "file": name }));
        self.files.insert(name.to_owned(), content.to_vec());
        self
    }

    /// The value as a `T`, e.g. `u64`, `bool`, `String`, `IpAddr`, `Vec<u16>`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ParamsError> {
        self.optional(name)?
            .ok_or_else(|| ParamsError::Missing(name.to_owned()))
    }

    /// As [`Self::get`], or none when the parameter was not given.
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ParamsError> {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        T::deserialize(value)
            .map(Some)
            .map_err(|e| ParamsError::value(name, e))
    }

    pub fn duration(&self, name: &str) -> Result<Duration, ParamsError> {
        self.get(name).map(Duration::from_nanos)
    }

    /// The content of a file parameter.
    pub fn file(&self, name: &str) -> Result<&[u8], ParamsError> {
        #[derive(Deserialize)]
        struct Reference {
            file: String,
        }
        let reference: Reference = self.get(name)?;
        let content = self.files.get(&reference.file);
        content
            .map(Vec::as_slice)
            .ok_or_else(|| ParamsError::value(name, "the manager did not send the file"))
    }
}
