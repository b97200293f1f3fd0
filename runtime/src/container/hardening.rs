//! A limit or an isolation that the bundle states is in force, or the NF does not start: engines leave out silently what their host
//! lacks.

use bollard::models::{ContainerInspectResponse, SystemInfo};

use crate::error::RunError;

/// What the engine's host must offer.
pub(super) fn of_engine(info: &SystemInfo) -> Result<(), RunError> {
    let filters = info.security_options.iter().flatten();
    let lacks = [
        (
            filters.clone().any(|o| o.contains("seccomp")),
            "filters of system calls (seccomp)",
        ),
        (
            info.memory_limit == Some(true),
            "limits of memory (the memory control group)",
        ),
        (
            info.pids_limit == Some(true),
            "limits of processes (the pids control group)",
        ),
        (
            info.cpu_set == Some(true),
            "the choice of cores (the cpuset control group)",
        ),
    ];
    if let Some((_, lack)) = lacks.iter().find(|(there, _)| !there) {
        return Err(RunError::Unsupported(format!(
            "the container engine's host lacks {lack}, which the bundle's containers are promised. Run the NFs as processes \
             (`--nfs process`), or on another host."
        )));
    }
    if filters.clone().any(|o| o.contains("userns")) {
        return Err(RunError::Unsupported(
            "the container engine gives containers other user ids than they ask for (`userns-remap`), so that none could connect \
             to its socket. Start it without that option."
                .to_owned(),
        ));
    }
    Ok(())
}

/// Whether a created container is as the bundle says; else what it lacks.
pub(super) fn of_container(found: &ContainerInspectResponse, user: &str) -> Result<(), &'static str> {
    let host = found.host_config.as_ref().ok_or("a configuration")?;
    let all = |list: &Option<Vec<String>>, test: fn(&str) -> bool| list.iter().flatten().any(|o| test(o));
    let has = [
        (host.privileged != Some(true), "being unprivileged"),
        (
            all(&host.cap_drop, |c| c.eq_ignore_ascii_case("all")),
            "capabilities dropped",
        ),
        (
            host.cap_add.iter().flatten().next().is_none(),
            "no capabilities added",
        ),
        (
            host.network_mode.as_deref() == Some("none"),
            "a network of its own without interfaces",
        ),
        (host.readonly_rootfs == Some(true), "a read-only file system"),
        (
            all(&host.security_opt, |o| {
                o.starts_with("no-new-privileges") && !o.ends_with("false")
            }),
            "no-new-privileges",
        ),
        (
            all(&host.security_opt, |o| {
                o.starts_with("seccomp") && !o.ends_with("unconfined")
            }),
            "a filter of system calls",
        ),
        (host.pids_limit.is_some_and(|n| n > 0), "a limit of processes"),
        (host.memory.is_some_and(|n| n > 0), "a limit of memory"),
        (
            own_or_none(&host.pid_mode) && own_or_none(&host.ipc_mode),
            "namespaces of processes and of memory of its own",
        ),
        (host.devices.iter().flatten().next().is_none(), "no devices"),
        (
            host.binds.as_ref().is_some_and(|b| b.len() == 1) || mounts(found) == 1,
            "its socket's directory as the only mount",
        ),
        (
            found.config.as_ref().and_then(|c| c.user.as_deref()) == Some(user),
            "the user that this manager chose",
        ),
    ];
    match has.into_iter().find(|(there, _)| !there) {
        Some((_, lack)) => Err(lack),
        None => Ok(()),
    }
}

fn mounts(found: &ContainerInspectResponse) -> usize {
    found.mounts.as_ref().map_or(0, Vec::len)
}

/// A namespace that is neither the host's nor another container's.
fn own_or_none(mode: &Option<String>) -> bool {
    matches!(
        mode.as_deref(),
        None | Some("" | "private" | "none" | "shareable")
    )
}
