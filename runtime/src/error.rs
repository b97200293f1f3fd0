use std::{io, path::PathBuf};

use onvm_bundle::BundleError;

use crate::dpdk::DpdkError;

/// Why the manager does not start or does not go on. Each text names the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Dpdk(#[from] DpdkError),
    #[error("{}: {source}. {remedy}", path.display())]
    Io {
        path: PathBuf,
        source: io::Error,
        remedy: &'static str,
    },
    #[error("{}: {found}. {remedy}", path.display())]
    Foreign {
        path: PathBuf,
        found: String,
        remedy: &'static str,
    },
    #[error(
        "{}: another onvm-run{} runs this bundle here. Stop it first, or give this one another --run-dir.",
        dir.display(), pid.map(|p| format!(" (process {p})")).unwrap_or_default()
    )]
    Busy { dir: PathBuf, pid: Option<u32> },
    #[error(
        "{}: the path is too long for a Unix socket (at most 107 bytes). Give a shorter --run-dir.", .0.display()
    )]
    SocketPath(PathBuf),
    #[error("port `{port}` ({place}): {reason}")]
    Port {
        port: String,
        place: String,
        reason: String,
    },
    #[error(
        "NF `{instance}`: its program `{binary}` is not in {searched}. Install it beside onvm-run, or name its directory \
         with --nf-path."
    )]
    Program {
        instance: String,
        binary: String,
        searched: String,
    },
    #[error("NF `{instance}`: its program {program} cannot run: {reason}")]
    Files {
        instance: String,
        program: String,
        reason: String,
    },
    #[error(
        "secret `{name}` of NF `{instance}` is not given. Set it in the environment variable {name}, or write it to a file \
         of that name in the directory of --secrets."
    )]
    Secret { name: String, instance: String },
    #[error("NF `{instance}` did not start: {reason}")]
    Instance { instance: String, reason: String },
    #[error("{0}")]
    Unsupported(String),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
}

impl RunError {
    /// For `map_err`: an I/O error at `path`.
    pub fn io(path: impl Into<PathBuf>, remedy: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source, remedy }
    }

    /// For `map_err`: a system call's error.
    pub fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
