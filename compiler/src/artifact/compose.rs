//! `compose.yaml`: one service per NF instance, valid for Compose v2 and docker-compose 1.29.

use nflib::FUSED;
use onvm_bundle::{Host, Instance, ManagerConfig, compose_variable};
use serde::Serialize;

use super::ArtifactError;
use crate::program::Program;

const TEMPLATE: &str = include_str!("compose.yaml.hbs");
/// Processes and threads in one container: the NF's own few, and room for a runtime's helpers.
const PIDS: u32 = 64;
/// `nobody`: an NF needs no rights of any user.
const USER: &str = "65534:65534";

#[derive(Debug, Serialize)]
struct Compose<'a> {
    bundle: &'a str,
    services: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// A JSON string, which is a YAML string whatever is in it; so are the others.
    image: String,
    command: Vec<String>,
    user: &'static str,
    /// The variable that holds the user and group that the manager chose.
    user_variable: String,
    memory: u64,
    pids: u32,
    /// The variable that holds the cores which the manager chose.
    cpuset: String,
    /// It is not started with the others, but when the service is scaled.
    on_demand: bool,
}

pub(super) fn render(program: &Program) -> Result<String, ArtifactError> {
    let failed = |reason: String| ArtifactError::Template {
        file: "compose.yaml",
        reason,
    };
    let mut engine = handlebars::Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(handlebars::no_escape);
    engine
        .register_template_string("compose", TEMPLATE)
        .map_err(|e| failed(e.to_string()))?;
    let data = Compose {
        bundle: &program.name,
        services: entries(program, &program.manager),
    };
    engine.render("compose", &data).map_err(|e| failed(e.to_string()))
}

fn entries(program: &Program, manager: &ManagerConfig) -> Vec<Entry> {
    let hosts = manager.hosts();
    let instances = hosts.iter().flat_map(|host| {
        let min = usize::from(host.service.replicas().min);
        let instances = host.service.instances.iter().enumerate();
        instances.map(move |(n, i)| (host, i, n >= min))
    });
    let entry = |(host, instance, on_demand): (&Host<'_>, &Instance, bool)| {
        let members = host.instances(&instance.name).into_iter();
        let configs: Vec<_> = members.filter_map(|m| program.instances.get(&m.name)).collect();
        let config = configs.first()?;
        let run = &config.manifest.run;
        Some(Entry {
            name: instance.name.clone(),
            image: quote(&config.manifest.image()),
            command: match host.is_fused() {
                true => vec![quote(FUSED)],
                false => run.args.iter().map(|a| quote(a)).collect(),
            },
            user: USER,
            user_variable: compose_variable("USER", &instance.name),
            memory: instance.memory.unwrap_or(64 << 20),
            pids: PIDS,
            cpuset: compose_variable("CPUSET", &instance.name),
            on_demand,
        })
    };
    instances.filter_map(entry).collect()
}

fn quote(text: &str) -> String {
    // A `$` would be taken for a variable by Compose.
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}
