//! The cores that this host offers, and how workers idle there. Which of them do what is [`Cores`]'s.

use std::{fs, path::Path};

use nflib::session::IdlePolicy;
use onvm_bundle::{Core, Cores, Idle, ManagerConfig};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::error::RunError;

/// Where the kernel says which cores are on which NUMA node.
const NODES: &str = "/sys/devices/system/node";

/// A missing core or node that was asked for would silently change what runs where.
pub(super) fn refuse_missing(manager: &ManagerConfig) -> Result<(), RunError> {
    let allowed = Allowed::get();
    let missing = |core: &&u16| !allowed.may(**core);
    if let Some(core) = manager.workers.cores.iter().find(missing) {
        let text = format!(
            "core {core} of `manager` does not exist, or onvm-run may not use it (`nproc` and `taskset -p $$` show which it \
             may). Name other `cores`, or leave them out."
        );
        return Err(RunError::Unsupported(text));
    }
    let usable = usable(manager, &allowed);
    let lost = |i: &&onvm_bundle::Instance| !usable.iter().any(|core| core.is_on(i.numa));
    let mut instances = manager.services.iter().flat_map(|s| &s.instances);
    if let Some(instance) = instances.find(lost).filter(|_| !usable.is_empty()) {
        let mut nodes: Vec<u16> = usable.iter().filter_map(|core| core.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let nodes: Vec<String> = nodes.iter().map(u16::to_string).collect();
        let text = format!(
            "`{}` asks for NUMA node {}, and the cores that onvm-run may use are on node {}. Name another `numa`, leave it \
             out, or name `cores` of that node in `manager`.",
            instance.name,
            instance.numa.unwrap_or_default(),
            nodes.join(", ")
        );
        return Err(RunError::Unsupported(text));
    }
    Ok(())
}

/// `near` is the node of the ports: unless the program names an order, its cores come first, and are so the workers'.
pub(super) fn of_host(manager: &ManagerConfig, near: Option<u16>) -> Cores {
    let mut cores = usable(manager, &Allowed::get());
    if manager.workers.cores.is_empty() && near.is_some() {
        cores.sort_by_key(|core| core.node != near);
    }
    Cores::new(cores, &manager.workers)
}

pub(super) fn worker_idle(cores: &Cores, manager: &ManagerConfig) -> IdlePolicy {
    IdlePolicy {
        spins: if cores.crowded() { 0 } else { 2000 },
        yields: 64,
        sleeps: manager.idle == Idle::Adaptive,
    }
}

/// The cores that `manager` names, or all that the host allows, in order of preference.
fn usable(manager: &ManagerConfig, allowed: &Allowed) -> Vec<Core> {
    let ids: Vec<u16> = match manager.named_cores() {
        none if none.is_empty() => allowed.all(),
        named => named,
    };
    let nodes = Nodes::read(Path::new(NODES));
    let core = |id| Core {
        id,
        node: Some(nodes.of(id)),
    };
    ids.into_iter().map(core).collect()
}

/// The cores that this process may use, where the kernel says it.
struct Allowed(Option<CpuSet>);

impl Allowed {
    fn get() -> Self {
        Self(sched_getaffinity(None).ok())
    }

    fn may(&self, core: u16) -> bool {
        let core = usize::from(core);
        core < CpuSet::MAX_CPU && self.0.as_ref().is_none_or(|set| set.is_set(core))
    }

    /// None where the kernel does not say it.
    fn all(&self) -> Vec<u16> {
        let all = 0..CpuSet::MAX_CPU as u16;
        all.filter(|&core| self.0.is_some() && self.may(core)).collect()
    }
}

/// The cores of each NUMA node.
struct Nodes(Vec<(u16, Vec<u16>)>);

impl Nodes {
    /// None where the kernel knows no nodes.
    fn read(directory: &Path) -> Self {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let node = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("node")?.parse().ok()?;
            let cores = fs::read_to_string(entry.path().join("cpulist")).ok()?;
            Some((number, listed(&cores)))
        };
        Self(entries.filter_map(node).collect())
    }

    /// Without nodes all is on the first.
    fn of(&self, core: u16) -> u16 {
        let found = self.0.iter().find(|(_, cores)| cores.contains(&core));
        found.map_or(0, |(node, _)| *node)
    }
}

/// The kernel's way to write a list: `0-3,8`.
fn listed(text: &str) -> Vec<u16> {
    let parts = text.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    parts.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_on_the_nodes_that_the_kernel_lists() {
        let dir = tempfile::tempdir().unwrap();
        for (name, cores) in [
            ("node0", "0-2,6\n"),
            ("node3", "3-5\n"),
            ("node9", "\n"),
            ("power", "7\n"),
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("cpulist"), cores).unwrap();
        }
        let nodes = Nodes::read(dir.path());
        assert_eq!([0, 2, 3, 5, 6, 7].map(|core| nodes.of(core)), [0, 0, 3, 3, 0, 0]);
        assert_eq!(Nodes::read(&dir.path().join("none")).of(5), 0);
    }
}
