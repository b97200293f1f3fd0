//! Facts in the kernel's notations.

use std::path::{Path, PathBuf};

use super::Machine;

/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK: bits of `CapEff`.
pub(super) const NET_ADMIN: u32 = 12;
pub(super) const NET_RAW: u32 = 13;
pub(super) const IPC_LOCK: u32 = 14;

/// A line `KEY: value` of a file such as `/proc/meminfo`.
pub(super) fn field(machine: &dyn Machine, path: &str, key: &str) -> Option<String> {
    let text = machine.read(Path::new(path)).ok()?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

pub(super) fn number(machine: &dyn Machine, path: &Path) -> Option<u64> {
    machine.read(path).ok()?.trim().parse().ok()
}

/// A list such as `0-3,8`.
pub(super) fn list(text: &str) -> Vec<u64> {
    let parts = text.trim().split(',').filter(|p| !p.is_empty());
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u64>().ok()?..=last.trim().parse::<u64>().ok()?)
    };
    // The kernel's lists are short; a broken one must not become long.
    parts.filter_map(range).flatten().take(65_536).collect()
}

/// Whether a program that the user starts has a capability.
pub(super) fn has_capability(machine: &dyn Machine, capability: u32) -> bool {
    let bits = field(machine, "/proc/self/status", "CapEff").and_then(|t| u64::from_str_radix(&t, 16).ok());
    bits.is_some_and(|bits| bits >> capability & 1 == 1)
}

/// The effective user id.
pub(super) fn is_root(machine: &dyn Machine) -> bool {
    let ids = field(machine, "/proc/self/status", "Uid").unwrap_or_default();
    ids.split_whitespace().nth(1) == Some("0")
}

/// The soft and the hard limit of a resource as `/proc/self/limits` names it; none: unlimited or not known.
pub(super) fn limits(machine: &dyn Machine, name: &str) -> [Option<u64>; 2] {
    let text = machine.read(Path::new("/proc/self/limits")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .unwrap_or_default();
    let mut words = line.split_whitespace().map(|word| word.parse().ok());
    [words.next().flatten(), words.next().flatten()]
}

/// Bytes that may still be allocated: what the system has, and what the control groups above this process leave.
pub(super) fn free_memory(machine: &dyn Machine) -> Option<u64> {
    let available = field(machine, "/proc/meminfo", "MemAvailable")?;
    let kib: u64 = available.split_whitespace().next()?.parse().ok()?;
    Some(control_groups(machine).fold(kib << 10, u64::min))
}

fn control_groups(machine: &dyn Machine) -> impl Iterator<Item = u64> {
    let text = machine.read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let own = text
        .lines()
        .find_map(|l| l.strip_prefix("0::/"))
        .unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let groups: Vec<PathBuf> = root
        .join(own)
        .ancestors()
        .take_while(|p| p.starts_with(root))
        .map(Path::to_path_buf)
        .collect();
    groups.into_iter().filter_map(|group| {
        let limit = number(machine, &group.join("memory.max"))?;
        let used = number(machine, &group.join("memory.current"))?;
        Some(limit.saturating_sub(used))
    })
}

/// Huge pages of a size, in all and free.
pub(super) fn huge_pages(machine: &dyn Machine, page: u64) -> (u64, u64) {
    let counter = |name| number(machine, &pages_dir(page).join(name)).unwrap_or(0);
    (counter("nr_hugepages"), counter("free_hugepages"))
}

pub(super) fn pages_dir(page: u64) -> PathBuf {
    PathBuf::from(format!("/sys/kernel/mm/hugepages/hugepages-{}kB", page >> 10))
}
