//! Limits of the system that stop a manager.

use std::{collections::BTreeSet, path::Path};

use onvm_bundle::{ManagerConfig, PortKind};

use super::{Check, Machine, facts};
use crate::placement::bytes;

/// Descriptors that `onvm-run` holds for each instance: its directory, its socket, its connection, its process, and two pipes for
/// its output.
const PER_INSTANCE: u64 = 6;
const PER_PORT: u64 = 8;
const ANYWAY: u64 = 64;

pub(super) fn all(machine: &dyn Machine, manager: Option<&ManagerConfig>) -> Vec<Check> {
    let mut checks = vec![open_files(machine, manager), memory_files(machine)];
    if let Some(manager) = manager {
        let pinned = pinned(manager);
        if !pinned.is_empty() {
            checks.push(locked_memory(machine, manager, &pinned));
        }
    }
    checks
}

fn open_files(machine: &dyn Machine, manager: Option<&ManagerConfig>) -> Check {
    const NAME: &str = "open files";
    let instances = manager.map_or(0, |m| {
        m.hosts()
            .iter()
            .map(|host| host.service.instances.len() as u64)
            .sum()
    });
    let ports = manager.map_or(0, |m| m.ports.len() as u64);
    let needed = ANYWAY + instances * PER_INSTANCE + ports * PER_PORT;
    // An edit that replaces all NFs has the old and the new ones.
    let most = needed + instances * PER_INSTANCE;
    let found = format!(
        "about {needed} needed for {instances} instances and {ports} ports, {most} in an edit of all NFs"
    );
    let fix = format!("sudo prlimit --pid $$ --nofile={0}:{0}", most.next_power_of_two());
    // `onvm-run` raises its own limit to the hard one.
    match facts::limits(machine, "Max open files")[1] {
        Some(limit) if limit < needed => Check::failed(NAME, format!("{found}, {limit} allowed"), fix),
        Some(limit) if limit < most => Check::warning(NAME, format!("{found}, {limit} allowed"), fix),
        Some(limit) => Check::ok(NAME, format!("{found}, {limit} allowed")),
        None => Check::ok(NAME, format!("{found}, without a limit")),
    }
}

/// Packets, rings and configurations are in memory files, which some hosts let nobody make that could be executed.
fn memory_files(machine: &dyn Machine) -> Check {
    const NAME: &str = "memory files";
    match facts::number(machine, Path::new("/proc/sys/vm/memfd_noexec")) {
        Some(2..) => Check::failed(
            NAME,
            "vm.memfd_noexec = 2 refuses the files that packets and rings are in",
            "sudo sysctl -w vm.memfd_noexec=1",
        ),
        _ => Check::ok(NAME, "they can be made"),
    }
}

/// The kinds of ports whose device reaches packets by itself.
fn pinned(manager: &ManagerConfig) -> BTreeSet<&'static str> {
    let kinds = manager.ports.iter().map(|port| &port.kind);
    let pinned = kinds.filter(|kind| matches!(kind, PortKind::Pci { .. } | PortKind::AfXdp { .. }));
    pinned.map(PortKind::word).collect()
}

/// A device reaches packets in memory that must stay where it is.
fn locked_memory(machine: &dyn Machine, manager: &ManagerConfig, pinned: &BTreeSet<&str>) -> Check {
    const NAME: &str = "locked memory";
    let needed = manager.packet_bytes() + (u64::from(manager.dpdk_mib()) << 20);
    if facts::has_capability(machine, facts::IPC_LOCK) {
        return Check::ok(NAME, "this user may lock as much as it likes");
    }
    match facts::limits(machine, "Max locked memory")[0] {
        Some(limit) if limit < needed => Check::failed(
            NAME,
            format!(
                "ports of kind {} lock {}, and {} are allowed",
                pinned.iter().copied().collect::<Vec<_>>().join(" and "),
                bytes(needed),
                bytes(limit)
            ),
            "ulimit -l unlimited",
        ),
        _ => Check::ok(NAME, format!("{} can be locked", bytes(needed))),
    }
}
