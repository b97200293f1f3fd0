//! Errors in the files that operators write for NFs.

use nflib::{Params, ParamsError, SetupError};
use serde::Deserialize;

/// What is wrong with a rules or patterns file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Lines and columns count from 1, columns in characters.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        file: String,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{file}: {message}")]
    File { file: String, message: String },
}

impl Error {
    /// As the error of parameter `name`.
    pub(crate) fn in_param(self, name: &str) -> SetupError {
        ParamsError::value(name, self).into()
    }
}

/// The name that the operator gave to a file parameter's file: in a bundle it is `files/<hash>-<name>`.
pub(crate) fn file_name(params: &Params, name: &str) -> Result<String, ParamsError> {
    #[derive(Deserialize)]
    struct Reference {
        file: String,
    }
    let reference: Reference = params.get(name)?;
    let base = reference.file.rsplit('/').next().unwrap_or_default();
    Ok(match base.split_once('-') {
        Some((hash, name)) if hash.len() >= 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        _ => base.to_owned(),
    })
}
