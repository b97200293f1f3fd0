//! A limit or an isolation that the bundle states is in force, or the NF does not start: engines leave out silently what their host
//! lacks.

use std::path::Path;

use bollard::models::{ContainerInspectResponse, RestartPolicyNameEnum as Restart, SystemInfo};

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
pub(super) fn of_container(
    found: &ContainerInspectResponse,
    user: &str,
    instance: &str,
) -> Result<(), &'static str> {
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
            is_alone(&host.binds, found, instance),
            "its socket's directory as the only mount, read-only",
        ),
        (
            host.restart_policy
                .as_ref()
                .is_none_or(|policy| matches!(policy.name, None | Some(Restart::EMPTY | Restart::NO))),
            "being started by the manager alone",
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

/// An engine shows a bind among the mounts as well, whichever way it was asked for.
fn is_alone(binds: &Option<Vec<String>>, found: &ContainerInspectResponse, instance: &str) -> bool {
    let [mount] = found.mounts.as_deref().unwrap_or_default() else {
        return false;
    };
    binds.as_ref().map_or(0, Vec::len) <= 1
        && mount
            .source
            .as_ref()
            .is_some_and(|source| Path::new(source).ends_with(Path::new("nf").join(instance)))
        && mount.destination.as_deref() == Some("/run/onvm")
        && mount.rw == Some(false)
}

/// A namespace that is neither the host's nor another container's.
fn own_or_none(mode: &Option<String>) -> bool {
    matches!(
        mode.as_deref(),
        None | Some("" | "private" | "none" | "shareable")
    )
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, HostConfig, MountPoint, RestartPolicy};

    use super::*;

    fn mount(source: &str) -> MountPoint {
        MountPoint {
            source: Some(source.to_owned()),
            destination: Some("/run/onvm".to_owned()),
            rw: Some(false),
            ..MountPoint::default()
        }
    }

    fn checked(found: &ContainerInspectResponse, user: &str) -> Result<(), &'static str> {
        of_container(found, user, "fw-0")
    }

    fn as_written() -> ContainerInspectResponse {
        let list = |items: &[&str]| Some(items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
        ContainerInspectResponse {
            host_config: Some(HostConfig {
                privileged: Some(false),
                cap_drop: list(&["ALL"]),
                network_mode: Some("none".to_owned()),
                readonly_rootfs: Some(true),
                security_opt: list(&[
                    "no-new-privileges:true",
                    "seccomp={\"defaultAction\": \"SCMP_ACT_ERRNO\"}",
                ]),
                pids_limit: Some(64),
                memory: Some(8 << 20),
                ipc_mode: Some("private".to_owned()),
                binds: list(&["/run/onvm/edge/nf/fw-0:/run/onvm:ro"]),
                ..HostConfig::default()
            }),
            mounts: Some(vec![mount("/run/onvm/edge/nf/fw-0")]),
            config: Some(ContainerConfig {
                user: Some("61184:61184".to_owned()),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn a_container_without_one_of_its_limits_does_not_start() {
        assert_eq!(checked(&as_written(), "61184:61184"), Ok(()));
        type Change = fn(&mut HostConfig);
        let changes: [(Change, &str); 13] = [
            (|h| h.privileged = Some(true), "unprivileged"),
            (|h| h.cap_drop = None, "capabilities dropped"),
            (
                |h| h.cap_add = Some(vec!["NET_ADMIN".to_owned()]),
                "no capabilities added",
            ),
            (|h| h.network_mode = Some("bridge".to_owned()), "network"),
            (|h| h.readonly_rootfs = Some(false), "read-only"),
            (
                |h| h.security_opt = Some(vec!["seccomp=x".to_owned()]),
                "no-new-privileges",
            ),
            (
                |h| {
                    h.security_opt = Some(vec![
                        "no-new-privileges".to_owned(),
                        "seccomp=unconfined".to_owned(),
                    ])
                },
                "system calls",
            ),
            (|h| h.pids_limit = None, "processes"),
            (|h| h.memory = Some(0), "memory"),
            (|h| h.pid_mode = Some("host".to_owned()), "namespaces"),
            (|h| h.ipc_mode = Some("container:other".to_owned()), "namespaces"),
            (
                |h| h.binds.get_or_insert_default().push("/:/host".to_owned()),
                "mount",
            ),
            (
                |h| {
                    h.restart_policy = Some(RestartPolicy {
                        name: Some(Restart::ALWAYS),
                        ..RestartPolicy::default()
                    })
                },
                "by the manager alone",
            ),
        ];
        for (change, lack) in changes {
            let mut found = as_written();
            change(found.host_config.as_mut().unwrap());
            let refused = checked(&found, "61184:61184").unwrap_err();
            assert!(refused.contains(lack), "{lack}: {refused}");
        }
        assert!(checked(&as_written(), "0:0").unwrap_err().contains("user"));
        let mounts = [
            vec![mount("/")],
            vec![],
            vec![mount("/run/onvm/edge/nf/fw-0"), mount("/")],
            vec![MountPoint {
                rw: Some(true),
                ..mount("/run/onvm/edge/nf/fw-0")
            }],
        ];
        for mounts in mounts {
            let found = ContainerInspectResponse {
                mounts: Some(mounts),
                ..as_written()
            };
            assert!(checked(&found, "61184:61184").unwrap_err().contains("only mount"));
        }
    }

    #[test]
    fn an_engine_whose_host_lacks_a_limit_is_refused() {
        let full = SystemInfo {
            security_options: Some(vec!["name=seccomp,profile=default".to_owned()]),
            memory_limit: Some(true),
            pids_limit: Some(true),
            cpu_set: Some(true),
            ..SystemInfo::default()
        };
        of_engine(&full).unwrap();
        let refused = |info: SystemInfo| of_engine(&info).unwrap_err().to_string();
        let memory = refused(SystemInfo {
            memory_limit: Some(false),
            ..full.clone()
        });
        assert!(
            memory.contains("limits of memory") && memory.contains("--nfs process"),
            "{memory}"
        );
        let filters = refused(SystemInfo {
            security_options: None,
            ..full.clone()
        });
        assert!(filters.contains("seccomp"), "{filters}");
        let remapped = refused(SystemInfo {
            security_options: Some(vec!["name=seccomp".to_owned(), "name=userns".to_owned()]),
            ..full
        });
        assert!(remapped.contains("userns-remap"), "{remapped}");
    }
}
