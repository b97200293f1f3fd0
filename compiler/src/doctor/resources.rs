//! Cores, NUMA nodes, memory and huge pages.

use std::path::Path;

use onvm_bundle::ManagerConfig;

use super::{Check, Machine, facts};
use crate::placement::{PageDemand, Placement, bytes};

pub(super) fn all(machine: &dyn Machine, manager: Option<&ManagerConfig>) -> Vec<Check> {
    let placement = manager.map(Placement::new);
    let mut checks = vec![cores(machine, manager, placement.as_ref())];
    checks.extend(numa(machine, placement.as_ref()));
    checks.push(memory(machine, manager, placement.as_ref()));
    match &placement {
        Some(placement) if !placement.huge_pages.is_empty() => {
            checks.extend(asked_pages(machine, &placement.huge_pages))
        }
        _ => checks.push(free_pages(machine)),
    }
    checks
}

fn cores(machine: &dyn Machine, manager: Option<&ManagerConfig>, placement: Option<&Placement>) -> Check {
    const NAME: &str = "cores";
    let shown = facts::field(machine, "/proc/self/status", "Cpus_allowed_list").unwrap_or_default();
    let allowed = facts::list(&shown);
    let named = manager.map(ManagerConfig::named_cores).unwrap_or_default();
    let missing: Vec<String> = named
        .iter()
        .filter(|c| !allowed.contains(&u64::from(**c)))
        .map(u16::to_string)
        .collect();
    if !missing.is_empty() {
        return Check::failed(
            NAME,
            format!(
                "`cores` names {}, and this process may use {shown}",
                missing.join(", ")
            ),
            format!(
                "manager {{ cores = [{}] }}",
                allowed.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
            ),
        );
    }
    let usable = if named.is_empty() {
        allowed.len()
    } else {
        named.len()
    };
    let asked = placement.map_or(1, |p| p.cores.asked);
    let found = format!("{usable} to be used ({shown} allowed), {asked} asked for");
    match (usable as u64) < asked {
        true => Check::warning(
            NAME,
            format!("{found}; they are shared"),
            "use a host with more cores, or ask for fewer in `with`",
        ),
        false if usable == 1 => Check::warning(
            NAME,
            format!("{found}; the worker and all NFs share it"),
            "use a host with two cores or more",
        ),
        false => Check::ok(NAME, found),
    }
}

fn numa(machine: &dyn Machine, placement: Option<&Placement>) -> Option<Check> {
    const NAME: &str = "NUMA nodes";
    let text = machine
        .read(Path::new("/sys/devices/system/node/online"))
        .unwrap_or_else(|_| "0".to_owned());
    let nodes = facts::list(&text);
    let shown = text.trim();
    let seats = placement.map_or(&[][..], |p| &p.seats);
    let lost = seats
        .iter()
        .find(|s| s.numa.is_some_and(|n| !nodes.contains(&u64::from(n))));
    if let Some((seat, node)) = lost.and_then(|s| Some((s, s.numa?))) {
        let found = format!("{} asks for node {node}, but the host has {shown}", seat.name);
        return Some(Check::failed(
            NAME,
            found,
            "with { numa = N }, N one of these nodes; or leave it out",
        ));
    }
    let asked = seats.iter().any(|s| s.numa.is_some());
    (asked || nodes.len() > 1).then(|| Check::ok(NAME, shown))
}

fn memory(machine: &dyn Machine, manager: Option<&ManagerConfig>, placement: Option<&Placement>) -> Check {
    const NAME: &str = "memory";
    let Some(free) = facts::free_memory(machine) else {
        return Check::warning(NAME, "/proc/meminfo does not state the free memory", "free -h");
    };
    let (Some(manager), Some(placement)) = (manager, placement) else {
        return Check::ok(NAME, format!("{} free", bytes(free)));
    };
    let domains = manager.domains().len();
    // The limits of NFs come last, and are no more than that.
    let taken: u64 = placement
        .memory
        .lines
        .iter()
        .take(domains + 2)
        .map(|l| l.amount)
        .sum();
    let all = placement.memory.asked;
    if taken > free {
        let spare = free.saturating_sub(taken - manager.packet_bytes());
        let fitting = spare / u64::from(manager.buffer_stride()) / 2 / domains as u64;
        return Check::failed(
            NAME,
            format!(
                "{} are taken at the start, and {} are free",
                bytes(taken),
                bytes(free)
            ),
            match fitting {
                512.. => format!("manager {{ buffers = {} }}", 1_u64 << fitting.ilog2()),
                _ => "use a host with more memory".to_owned(),
            },
        );
    }
    let found = format!(
        "{} free, {} taken at the start, {} with all limits of NFs",
        bytes(free),
        bytes(taken),
        bytes(all)
    );
    match all > free {
        true => Check::warning(
            NAME,
            found,
            "with { memory = ... } of the NFs, or a host with more memory",
        ),
        false => Check::ok(NAME, found),
    }
}

/// A check for each size of page.
fn asked_pages(machine: &dyn Machine, demands: &[PageDemand]) -> Vec<Check> {
    let mut sizes: Vec<u64> = demands.iter().map(|d| d.page).collect();
    sizes.dedup();
    sizes
        .into_iter()
        .map(|page| {
            let of_size = demands.iter().filter(|d| d.page == page);
            let asked: u64 = of_size.clone().map(|d| d.pages).sum();
            let sum = of_size
                .clone()
                .map(|d| format!("{} for {}", d.pages, d.what))
                .collect::<Vec<_>>()
                .join(" + ");
            let required = of_size.clone().any(|d| d.required);
            let (all, free) = facts::huge_pages(machine, page);
            let name = format!("huge pages of {}", size(page));
            let found = format!("{free} free, {asked} asked for: {sum}");
            match (free >= asked, required) {
                (true, _) => Check::ok(name, found),
                (false, true) => Check::failed(name, found, more(page, all + asked - free)),
                (false, false) => Check::ok(name, format!("{found}; without them ordinary pages are used")),
            }
        })
        .collect()
}

fn free_pages(machine: &dyn Machine) -> Check {
    let shown = [2 << 20, 1 << 30].map(|page| {
        let (all, free) = facts::huge_pages(machine, page);
        format!("{free} of {all} free of {}", size(page))
    });
    Check::ok("huge pages", format!("none asked for; {}", shown.join(", ")))
}

fn size(page: u64) -> &'static str {
    if page < 1 << 30 { "2 MiB" } else { "1 GiB" }
}

fn more(page: u64, wanted: u64) -> String {
    format!(
        "echo {wanted} | sudo tee {}/nr_hugepages",
        facts::pages_dir(page).display()
    )
}
