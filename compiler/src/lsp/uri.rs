//! Between the protocol's URIs and the compiler's paths.

use std::path::{Path, PathBuf};

use url::Url;

use crate::source::host::clean;

/// The path of a `file:` URI. Any other, as of a buffer that was never saved, is a name that no file has.
pub(super) fn path_of(uri: &str) -> PathBuf {
    let file = Url::parse(uri)
        .ok()
        .filter(|u| u.scheme() == "file")
        .and_then(|u| u.to_file_path().ok());
    clean(&file.unwrap_or_else(|| PathBuf::from(uri)))
}

/// The URI of a path; how the client itself writes it is better where that is known.
pub(super) fn uri_of(path: &Path) -> String {
    Url::from_file_path(path).map_or_else(|()| path.display().to_string(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let path = Path::new("/srv/edge 1/ä.chain");
        assert_eq!(uri_of(path), "file:///srv/edge%201/%C3%A4.chain");
        assert_eq!(path_of(&uri_of(path)), path);
        assert_eq!(
            path_of("file:///srv/edge%201/../%C3%A4.chain"),
            Path::new("/srv/ä.chain")
        );
        assert_eq!(path_of("untitled:Untitled-1"), Path::new("untitled:Untitled-1"));
        assert_eq!(uri_of(Path::new("untitled:Untitled-1")), "untitled:Untitled-1");
    }
}
