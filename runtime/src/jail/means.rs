//! The means of isolation that this host offers, and whether they suffice.

use std::fmt;

use onvm_api::{Isolation, Missing};

use super::{files, filter, groups::Groups, process::Namespaces};
use crate::error::RunError;

/// Landlock keeps signals inside from this version on.
const SIGNAL_SCOPE: u32 = 6;

/// What a jail keeps an NF from. For each there are several means, and one of them is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// System calls that an NF does not need, some of which change the packet memory's pages.
    Syscalls,
    /// Files of the host.
    Files,
    /// Other processes: the manager, other NFs, the operator's.
    Processes,
    /// The host's network.
    Network,
}

impl Part {
    const ALL: [Self; 4] = [Self::Syscalls, Self::Files, Self::Processes, Self::Network];
}

impl fmt::Display for Part {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syscalls => "syscalls",
            Self::Files => "files",
            Self::Processes => "processes",
            Self::Network => "network",
        })
    }
}

/// The means in use.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    /// The filter of system calls.
    pub(crate) calls: bool,
    /// The version of Landlock; 0: none.
    pub(crate) landlock: u32,
    /// A user id of its own for each NF.
    pub(crate) users: bool,
    pub(crate) namespaces: Namespaces,
    /// What control groups limit, or why there are none.
    groups: Result<String, String>,
    /// What this host lacks, and why.
    pub(super) missing: Vec<(&'static str, String)>,
    waived: Vec<Part>,
}

const CALLS: &str = "system call filter";
const LANDLOCK: &str = "landlock";
const USERS: &str = "user ids";
const GROUPS: &str = "control groups";

impl Means {
    /// All but the namespaces, which must be tried.
    pub(super) fn find(waived: &[Part]) -> Self {
        let mut missing = Vec::new();
        let calls = match filter::are_there() {
            Ok(()) => true,
            Err(why) => {
                missing.push((CALLS, why));
                false
            }
        };
        let landlock = files::version();
        if landlock == 0 {
            missing.push((LANDLOCK, "the kernel has none".to_owned()));
        } else if landlock < SIGNAL_SCOPE {
            let why = format!("version {landlock} of the kernel holds files, and no signals");
            missing.push((LANDLOCK, why));
        }
        let users = rustix::process::geteuid().is_root();
        if !users {
            missing.push((USERS, "onvm-run is not root".to_owned()));
        }
        Self {
            calls,
            landlock,
            users,
            namespaces: Namespaces::default(),
            groups: Err(String::new()),
            missing,
            waived: waived.to_vec(),
        }
    }

    /// Takes over the control group that has been delegated to this process. No part of the jail depends on it.
    pub(super) fn take_groups(&mut self) -> Option<Groups> {
        let taken = Groups::take();
        self.groups = taken.as_ref().map(Groups::limits).map_err(String::clone);
        taken.ok()
    }

    fn has(&self, part: Part) -> bool {
        match part {
            Part::Syscalls => self.calls,
            Part::Files => self.namespaces.mount || self.landlock > 0,
            // A signal needs the id of a process that can be seen, or one's own user id.
            Part::Processes => self.namespaces.pid || self.users || self.landlock >= SIGNAL_SCOPE,
            Part::Network => self.namespaces.network || self.calls,
        }
    }

    /// Fails where a part of the jail can be had by no means and is not waived.
    pub(super) fn refuse(&self) -> Result<(), RunError> {
        let lacking = |part: &Part| !self.has(*part) && !self.waived.contains(part);
        let parts: Vec<Part> = Part::ALL.into_iter().filter(lacking).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let each = |with: &dyn Fn(&Part) -> String| parts.iter().map(with).collect::<Vec<_>>();
        let missing = self.missing.iter().map(|(name, why)| format!("{name} ({why})"));
        Err(RunError::Unsupported(format!(
            "NFs cannot be jailed here: nothing keeps them from {}. This host lacks {}. In a container, permit these in its \
             profile. Or do without, if you trust the NFs, with {}.",
            each(&|part| format!("`{part}`")).join(", "),
            missing.collect::<Vec<_>>().join(", "),
            each(&|part| format!("--waive {part}")).join(" "),
        )))
    }

    /// As `status` shows it.
    pub(crate) fn report(&self) -> Isolation {
        let own = self.namespaces.names();
        let named = [
            (self.calls, CALLS.to_owned()),
            (self.landlock > 0, format!("{LANDLOCK} {}", self.landlock)),
            (self.users, USERS.to_owned()),
        ];
        let groups = self.groups.iter().map(|limits| format!("{GROUPS} ({limits})"));
        let named = named.into_iter().filter(|(has, _)| *has).map(|(_, name)| name);
        Isolation {
            containers: None,
            means: named
                .chain(own.into_iter().map(str::to_owned))
                .chain(groups)
                .collect(),
            missing: self
                .missing
                .iter()
                .map(|(means, reason)| Missing {
                    means: (*means).to_owned(),
                    reason: reason.clone(),
                })
                .collect(),
            optional: self
                .groups
                .as_ref()
                .err()
                .map(|why| Missing {
                    means: GROUPS.to_owned(),
                    reason: why.clone(),
                })
                .into_iter()
                .collect(),
            waived: self.waived.iter().map(ToString::to_string).collect(),
        }
    }
}
