use std::path::PathBuf;

/// Why a bundle is refused. Each text names the file, the reason and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("{} is not a bundle: it has no bundle.toml. Name the directory that `onvmc build -o DIR` wrote.", .0.display())]
    NotABundle(PathBuf),
    #[error("{}: {source}. Check that the file exists and can be read.", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{}: format version {found}, and this program reads version {supported}. \
         Build the bundle again with the `onvmc` that belongs to this `onvm-run`.", path.display()
    )]
    Version {
        path: PathBuf,
        found: u32,
        supported: u32,
    },
    #[error("{}: {reason}. The file was cut or edited by hand; build the bundle again with `onvmc build`.", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error(
        "{}: its content does not match the hash in bundle.toml (expected {expected}, found {found}). \
         The file was damaged or edited by hand; build the bundle again with `onvmc build`.", path.display()
    )]
    Hash {
        path: PathBuf,
        expected: String,
        found: String,
    },
    #[error(
        "{}: it has {found} bytes and bundle.toml says {expected}. \
         The file was damaged or edited by hand; build the bundle again with `onvmc build`.", path.display()
    )]
    Size {
        path: PathBuf,
        expected: u64,
        found: u64,
    },
    #[error(
        "{}: {found} bytes, and at most {most} are read. Put less into the bundle: a large capture can be named by its path on \
         the host instead of `file(...)`.", path.display()
    )]
    Large { path: PathBuf, found: u64, most: u64 },
    #[error("{}: the bundle was replaced while it was read. Try again when nobody writes it.", .0.display())]
    Changed(PathBuf),
    #[error("{}: bundle.toml lists this file and it is missing. Build the bundle again with `onvmc build`.", .0.display())]
    Missing(PathBuf),
    #[error("{}: bundle.toml does not list it. Remove it, or build the bundle again with `onvmc build`.", .0.display())]
    Unlisted(PathBuf),
    #[error(
        "{}: \"{entry}\" leads outside the bundle (absolute paths, `..` and links are refused). \
         Build the bundle again with `onvmc build`.", bundle.display()
    )]
    Escapes { bundle: PathBuf, entry: String },
    #[error("{}: {reason}. Build the bundle again with `onvmc build`.", path.display())]
    Inconsistent { path: PathBuf, reason: String },
}
