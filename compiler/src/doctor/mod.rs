//! `onvmc doctor`: the requirements of a program, compared with a host.
//!
//! Facts come through [`Machine`], so that tests can make up hosts; nothing is changed and nothing is kept open.

mod devices;
mod facts;
mod files;
mod limits;
mod machine;
mod resources;
mod runtime;

use std::{collections::BTreeMap, path::PathBuf};

use onvm_bundle::{InstanceConfig, ManagerConfig};
use serde::Serialize;

pub use machine::{Access, Machine};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// As in `huge pages` or `port wan`.
    pub name: String,
    pub state: State,
    /// One line of what was found.
    pub found: String,
    /// The command or the change of the source that fixes it.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It runs, though not as it might.
    Warning,
    /// `onvm-run` would refuse it, or no packet would pass.
    Failed,
}

/// A program to be run on the host.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub name: &'a str,
    pub manager: &'a ManagerConfig,
    /// By instance name.
    pub instances: &'a BTreeMap<String, InstanceConfig>,
    pub secrets: &'a [String],
}

/// The options of `onvm-run` that matter here.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where sockets are made.
    pub run_dir: PathBuf,
    pub secrets: Option<PathBuf>,
    pub nf_path: Vec<PathBuf>,
}

/// Looks at the host: at what every program needs, and, given one, at what it asks.
pub fn examine(machine: &dyn Machine, subject: Option<Subject<'_>>, options: &Options) -> Vec<Check> {
    let mut checks = runtime::all(machine, options, subject);
    checks.extend(resources::all(machine, subject.map(|s| s.manager)));
    checks.extend(limits::all(machine, subject.map(|s| s.manager)));
    if let Some(subject) = subject {
        checks.extend(
            subject
                .manager
                .ports
                .iter()
                .map(|port| devices::port(machine, port)),
        );
        checks.extend(files::all(machine, subject, options));
    }
    checks
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: State::Ok,
            found: found.into(),
            fix: None,
        }
    }

    fn warning(name: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            fix: Some(fix.into()),
            ..Self::ok(name, found)
        }
    }

    fn failed(name: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Failed,
            fix: Some(fix.into()),
            ..Self::ok(name, found)
        }
    }
}

#[cfg(test)]
mod tests;
