//! The services of a bundle's `compose.yaml` as the engine is told of them: what Compose would ask it for.
//!
//! Compose itself takes its time to start (docker-compose 1.29: 0.5 s on an idle machine and seconds beside busy cores), which is
//! longer than all that the engine has to do. The file is a bundle's and thus as `onvmc build` wrote it, so that few of Compose's
//! keys are in it; one with others is left to Compose.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
};
use serde::Deserialize;
use serde_norway::Value;

/// How Compose marks what it has created; its own commands look for these.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// What a security option names that is a file of the bundle.
const SECCOMP: &str = "seccomp";

/// The services of one file, with values for its variables.
#[derive(Debug)]
pub(super) struct Services {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: BTreeMap<String, Service>,
}

/// A key that is not here makes the file one for Compose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    #[serde(rename = "pull_policy")]
    _pull_policy: Never,
    /// Whether `up` starts it.
    #[serde(rename = "profiles", default)]
    _profiles: Vec<String>,
    command: Vec<String>,
    environment: Vec<String>,
    labels: HashMap<String, String>,
    network_mode: String,
    cap_drop: Vec<String>,
    security_opt: Vec<String>,
    read_only: bool,
    user: String,
    mem_limit: i64,
    cpuset: String,
    pids_limit: i64,
    #[serde(rename = "restart")]
    _restart: No,
    logging: Logging,
    volumes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Never {
    Never,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum No {
    No,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logging {
    driver: String,
    options: HashMap<String, String>,
}

impl Services {
    /// Of the bundle in this directory.
    pub(super) fn read(bundle: &Path, variables: &[(String, String)]) -> Result<Self, String> {
        let read = |name: &str| {
            let text = std::fs::read_to_string(bundle.join(name));
            text.map_err(|e| format!("{name} cannot be read: {e}"))
        };
        let mut services = parse(&read("compose.yaml")?, variables)?;
        for option in services.values_mut().flat_map(|s| &mut s.security_opt) {
            // The engine is given what is in the file.
            if let Some((SECCOMP, file)) = option.split_once(':') {
                *option = format!("{SECCOMP}={}", read(file)?);
            }
        }
        Ok(Self { services })
    }

    /// What a container of a service is made from.
    pub(super) fn body(&self, service: &str, project: &str) -> Option<ContainerCreateBody> {
        let found = self.services.get(service)?;
        let marks = [
            (PROJECT, project),
            (SERVICE, service),
            (NUMBER, "1"),
            (ONE_OFF, "False"),
        ];
        let marks = marks.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(ContainerCreateBody {
            image: Some(found.image.clone()),
            cmd: Some(found.command.clone()),
            env: Some(found.environment.clone()),
            labels: Some(found.labels.clone().into_iter().chain(marks).collect()),
            user: Some(found.user.clone()),
            host_config: Some(found.host()),
            ..ContainerCreateBody::default()
        })
    }
}

impl Service {
    fn host(&self) -> HostConfig {
        HostConfig {
            network_mode: Some(self.network_mode.clone()),
            cap_drop: Some(self.cap_drop.clone()),
            security_opt: Some(self.security_opt.clone()),
            readonly_rootfs: Some(self.read_only),
            memory: Some(self.mem_limit),
            cpuset_cpus: Some(self.cpuset.clone()),
            pids_limit: Some(self.pids_limit),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                ..RestartPolicy::default()
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some(self.logging.driver.clone()),
                config: Some(self.logging.options.clone()),
            }),
            binds: Some(self.volumes.clone()),
            ..HostConfig::default()
        }
    }
}

fn parse(text: &str, variables: &[(String, String)]) -> Result<BTreeMap<String, Service>, String> {
    let mut value: Value = serde_norway::from_str(text).map_err(|e| e.to_string())?;
    substitute(&mut value, variables)?;
    let file: File = serde_norway::from_value(value).map_err(|e| e.to_string())?;
    Ok(file.services)
}

/// Puts in the variables, in values alone, as Compose does.
fn substitute(value: &mut Value, variables: &[(String, String)]) -> Result<(), String> {
    match value {
        Value::String(text) => *text = substituted(text, variables)?,
        Value::Sequence(items) => items.iter_mut().try_for_each(|v| substitute(v, variables))?,
        Value::Mapping(items) => items.iter_mut().try_for_each(|(_, v)| substitute(v, variables))?,
        _ => {}
    }
    Ok(())
}

/// `${NAME:-default}` alone, which is what `onvmc build` writes.
fn substituted(text: &str, variables: &[(String, String)]) -> Result<String, String> {
    let mut pieces = text.split('$');
    let mut done = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let parts = piece.strip_prefix('{').and_then(|p| p.split_once('}'));
        let parts = parts.and_then(|(inside, rest)| Some((inside.split_once(":-")?, rest)));
        let ((name, default), rest) =
            parts.ok_or_else(|| format!("`${piece}` is another form of variable"))?;
        let given = variables.iter().find(|(n, value)| n == name && !value.is_empty());
        done.push_str(given.map_or(default, |(_, value)| value));
        done.push_str(rest);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
services:
  fw-0:
    image: "onvm-nf:0.1.0"
    pull_policy: never
    profiles: [scale]
    command: ["firewall"]
    environment:
      - "ONVM_NF_REATTACH=${ONVM_NF_REATTACH:-1}"
    labels:
      onvm.instance: "edge/fw-0"
    network_mode: none
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true", "seccomp:seccomp.json"]
    read_only: true
    user: "${ONVM_USER_FW_0:-65534:65534}"
    mem_limit: 8388608
    cpuset: "${ONVM_CPUSET_FW_0:-}"
    pids_limit: 64
    restart: "no"
    logging: { driver: json-file, options: { max-size: 1m, max-file: "2" } }
    volumes:
      - "${ONVM_RUN_DIR:-/run/onvm}/edge/nf/fw-0:/run/onvm:ro"
"#;

    fn given(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_engine_is_asked_for_what_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("compose.yaml"), FILE).unwrap();
        std::fs::write(dir.path().join("seccomp.json"), "{}").unwrap();
        let variables = [
            given("ONVM_USER_FW_0", "61184:61184"),
            given("ONVM_RUN_DIR", "/r"),
        ];
        let services = Services::read(dir.path(), &variables).unwrap();
        assert!(services.body("other-0", "p").is_none());
        let body = services.body("fw-0", "p").unwrap();
        assert_eq!(body.user.as_deref(), Some("61184:61184"));
        assert_eq!(body.env.unwrap(), ["ONVM_NF_REATTACH=1"]);
        assert_eq!(body.labels.unwrap()[PROJECT], "p");
        let host = body.host_config.unwrap();
        assert_eq!(host.binds.unwrap(), ["/r/edge/nf/fw-0:/run/onvm:ro"]);
        assert_eq!(
            host.security_opt.unwrap(),
            ["no-new-privileges:true", "seccomp={}"]
        );
        assert_eq!((host.memory, host.pids_limit), (Some(8 << 20), Some(64)));
        assert_eq!(host.cpuset_cpus.as_deref(), Some(""));
    }

    #[test]
    fn a_file_with_anything_else_is_for_compose() {
        let refused = |from: &str, to: &str| parse(&FILE.replacen(from, to, 1), &[]).unwrap_err();
        parse(FILE, &[]).unwrap();
        assert!(refused("    read_only: true\n", "").contains("read_only"));
        assert!(refused("    user:", "    privileged: true\n    user:").contains("privileged"));
        assert!(refused("restart: \"no\"", "restart: always").contains("always"));
        assert!(refused("pull_policy: never", "pull_policy: always").contains("always"));
        assert!(refused("services:", "networks: {}\nservices:").contains("networks"));
        assert!(refused(":-1}", ":?unset}").contains("another form of variable"));
        assert!(refused("onvm-nf:", "$ONVM:").contains("another form of variable"));
    }

    #[test]
    fn an_empty_variable_is_as_one_that_is_not_set() {
        let text = "a${X:-1}b${Y:-}c";
        assert_eq!(substituted(text, &[]).unwrap(), "a1bc");
        let variables = [given("X", ""), given("Y", "2")];
        assert_eq!(substituted(text, &variables).unwrap(), "a1b2c");
    }
}
