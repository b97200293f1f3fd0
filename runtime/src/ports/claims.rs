//! Which manager has an interface or a network card, so that no two managers of a host take the same one: each would receive every
//! packet, and all would be doubled.
//!
//! A lock is by the interface's name and by its index, in its network namespace: it may be renamed, have another name, or go and come
//! back. A `tap` needs none: the kernel gives it to one manager, and another one may well be at its other end.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};

use super::Plan;
use crate::{
    error::RunError,
    rundir::{self, lock::Lock},
};

/// Resources that only one manager may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// In the network namespace of this process.
    Interface(String),
    /// By PCI address.
    Card(String),
}

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Claims {
    _locks: Vec<Lock>,
}

impl Claims {
    /// Claims what the ports of the manager of that name need.
    pub(crate) fn take(plans: &[Plan], manager: &str) -> Result<Self, RunError> {
        let none = Self { _locks: Vec::new() };
        if plans.iter().all(|plan| plan.claim.is_none()) {
            return Ok(none);
        }
        match rundir::private(&directory()) {
            Ok(directory) => Self::take_in(&directory, plans, manager),
            Err(e) => {
                tracing::warn!("other managers are not kept from the interfaces of this one: {e}");
                Ok(none)
            }
        }
    }

    fn take_in(directory: &Path, plans: &[Plan], manager: &str) -> Result<Self, RunError> {
        let text = format!("{} {manager}\n", std::process::id());
        let mut locks = Vec::new();
        for plan in plans {
            let Some(claim) = &plan.claim else { continue };
            for key in keys(claim).map_err(|e| plan.refuse(&format!("{}: {e}", claim.shown())))? {
                let path = directory.join(key);
                let lock = Lock::take(&path, &text).map_err(RunError::io(
                    &path,
                    "onvm-run notes there which interfaces it has, and must be able to write it.",
                ))?;
                match lock {
                    Some((lock, _)) => locks.push(lock),
                    None => return Err(plan.refuse(&claim.refusal(&path))),
                }
            }
        }
        Ok(Self { _locks: locks })
    }
}

impl Claim {
    fn shown(&self) -> String {
        match self {
            Self::Interface(name) => format!("the interface `{name}`"),
            Self::Card(address) => format!("the network card {address}"),
        }
    }

    /// `path` is of the lock that somebody has.
    fn refusal(&self, path: &Path) -> String {
        let what = self.shown();
        let text = fs::read_to_string(path).unwrap_or_default();
        match text.trim_end().split_once(' ') {
            Some((pid, _)) if pid == std::process::id().to_string() => {
                format!("{what} belongs to another port of this bundle already. Give each port its own.")
            }
            Some((pid, name)) => format!(
                "{what} is in use by the manager `{name}` (process {pid}), and two would both receive each of its packets. Stop that \
                 one with `onvmc stop {name}`, or choose another."
            ),
            None => format!("{what} is in use by another manager. Stop that one, or choose another."),
        }
    }
}

/// Those of root are where every manager of root sees them, whatever its run directory; those of a user, with the user's.
fn directory() -> PathBuf {
    let mut path = onvm_api::default_run_dir().into_os_string();
    path.push(".ports");
    path.into()
}

/// The names of the locks.
fn keys(claim: &Claim) -> io::Result<Vec<String>> {
    match claim {
        Claim::Card(address) => Ok(vec![format!("pci-{address}")]),
        Claim::Interface(name) => {
            let namespace = fs::metadata("/proc/self/ns/net")?.ino();
            let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
            let index = name_to_index(&any, name)?;
            Ok(vec![
                format!("net-{namespace}-name-{name}"),
                format!("net-{namespace}-index-{index}"),
            ])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_who_has_it_and_goes_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let card = Claim::Card("0000:3b:00.0".into());
        let path = dir.path().join(keys(&card).unwrap().remove(0));
        let (held, before) = Lock::take(&path, "7 edge\n").unwrap().unwrap();
        assert!(!before);
        assert!(Lock::take(&path, "8 core\n").unwrap().is_none());
        let refusal = card.refusal(&path);
        for words in ["0000:3b:00.0", "`edge` (process 7)", "`onvmc stop edge`"] {
            assert!(refusal.contains(words), "{refusal}");
        }
        drop(held);
        let (again, before) = Lock::take(&path, &format!("{} edge\n", std::process::id()))
            .unwrap()
            .unwrap();
        assert!(!before, "the file went with its owner");
        assert!(card.refusal(&path).contains("of this bundle already"));
        drop(again);
    }

    #[test]
    fn an_interface_is_known_by_name_and_index() {
        let keys = keys(&Claim::Interface("lo".into())).unwrap();
        assert!(
            keys[0].ends_with("-name-lo") && keys[1].ends_with("-index-1"),
            "{keys:?}"
        );
    }
}
