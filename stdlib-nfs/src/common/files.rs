//! Files that operators write for NFs, and the mistakes in them.

use nflib::{FileMistake, FileMistakes, Params, ParamsError, SetupError};
use serde::Deserialize;

/// What a parser of such a file returns: the content, or all mistakes.
pub(crate) type Parsed<T> = Result<T, Vec<FileMistake>>;

/// Reads the file of parameter `name`.
pub(crate) fn parsed<T>(
    params: &Params,
    name: &str,
    parse: impl FnOnce(&[u8]) -> Parsed<T>,
) -> Result<T, SetupError> {
    let content = params.file(name)?;
    parse(content).map_err(|mistakes| refused(params, name, mistakes))
}

/// The error of parameter `name` for a file with these mistakes.
pub(crate) fn refused(params: &Params, name: &str, mistakes: Vec<FileMistake>) -> SetupError {
    match file_name(params, name) {
        Ok(file) => ParamsError::File {
            name: name.to_owned(),
            mistakes: FileMistakes { file, mistakes },
        }
        .into(),
        Err(e) => e.into(),
    }
}

/// The name that the operator gave to a file parameter's file: in a bundle it is `files/<hash>-<name>`.
fn file_name(params: &Params, name: &str) -> Result<String, ParamsError> {
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
