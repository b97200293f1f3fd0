//! The manager that a command talks to, and how the command ends where there is no answer.

mod choose;

use std::path::{Path, PathBuf};

use onvm_api::{ClientError, Status};
use onvm_bundle::Bundle;

pub(super) use self::choose::{Wanted, find};
use super::{Outcome, output::Output};

const START: &str = "Start one with `onvm-run BUNDLE`, or say where it is with `--run-dir` or `--socket`.";
const OWN: &str = "Talk to a manager as the user that it runs as, or to root's; name its run directory with `--run-dir` or its \
                   socket with `--socket`.";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no manager is running: there is no control socket in {}. {START}", .0.display())]
    None(PathBuf),
    #[error("several managers are running: {}. Name one of them {how}.", .names.join(", "))]
    Several { names: Vec<String>, how: &'static str },
    #[error("no manager `{name}` is running in {}; running: {}.", .run_dir.display(), .names.join(", "))]
    Unknown {
        name: String,
        names: Vec<String>,
        run_dir: PathBuf,
    },
    #[error(
        "{target} is for the manager `{name}`, and the only one that runs is `{running}`. If it is meant for `{running}`: `{command}`"
    )]
    Another {
        target: String,
        name: String,
        running: String,
        command: String,
    },
    #[error("{}", with_remedy(.0))]
    Client(#[from] ClientError),
}

fn with_remedy(error: &ClientError) -> String {
    match error {
        ClientError::Missing(_) => format!("no manager is running: {error}. {START}"),
        ClientError::Foreign { .. } => format!("{error}. {OWN}"),
        error => error.to_string(),
    }
}

/// The bundle that a manager runs.
pub(super) fn running_bundle(out: &Output, status: &Status) -> Result<Bundle, Outcome> {
    Bundle::load(Path::new(&status.bundle_dir)).map_err(|e| {
        out.error(
            "running_bundle",
            &format!("the bundle that the manager runs cannot be read: {e}"),
        );
        Outcome::Refused
    })
}

impl Failure {
    /// Says it, and how the command ends.
    pub(super) fn report(&self, out: &Output) -> Outcome {
        let (code, outcome) = match self {
            Self::None(_) => ("no_runtime", Outcome::NoRuntime),
            Self::Several { .. } => ("several_runtimes", Outcome::Usage),
            Self::Unknown { .. } => ("no_such_runtime", Outcome::NoRuntime),
            Self::Another { .. } => ("other_runtime", Outcome::Usage),
            Self::Client(ClientError::Missing(_) | ClientError::Unreachable { .. }) => {
                ("no_runtime", Outcome::NoRuntime)
            }
            Self::Client(ClientError::Foreign { .. }) => ("foreign_runtime", Outcome::NoRuntime),
            Self::Client(ClientError::Answer(_)) => ("answer", Outcome::NoRuntime),
            Self::Client(ClientError::Refused(e)) => (e.code.as_str(), Outcome::ApplyFailed),
        };
        out.error(code, &self.to_string());
        outcome
    }
}
