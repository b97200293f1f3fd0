use std::{io, path::PathBuf};

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("{what}: {source}")]
    System { what: String, source: io::Error },
    #[error(
        "`{program}` is not beside this program in {}. Build everything first: cargo build --release --bins",
        dir.display()
    )]
    Missing { program: &'static str, dir: PathBuf },
    #[error("{command} failed with {status}:\n{output}")]
    Command {
        command: String,
        status: String,
        output: String,
    },
    #[error("onvm-run {what}. Its log ends:\n{log}")]
    Manager { what: String, log: String },
    #[error("onvmc lsp: {0}")]
    LanguageServer(String),
    #[error("{0}")]
    Dpdk(String),
    #[error("the NF {0}")]
    Nf(String),
    #[error("this benchmark needs {0}")]
    Needs(&'static str),
    #[error("{}: {reason}", path.display())]
    Baseline { path: PathBuf, reason: String },
    #[error("instructions per descriptor rose beyond the baseline's tolerance: {0}")]
    Regression(String),
}

impl From<onvm_run::dpdk::DpdkError> for BenchError {
    fn from(e: onvm_run::dpdk::DpdkError) -> Self {
        Self::Dpdk(e.to_string())
    }
}

impl BenchError {
    /// For `map_err`: names what was tried.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// As [`Self::system`], for rustix.
    pub(crate) fn errno(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let what = what.into();
        move |errno| Self::System {
            what,
            source: errno.into(),
        }
    }
}
