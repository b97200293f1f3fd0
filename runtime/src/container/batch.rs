//! Containers that are created together: by one command of Compose, or by the engine's API from the same file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions},
};
use futures_util::future;
use onvm_bundle::compose_variable;

use super::{
    Container, Created, Engine, Wanted,
    compose::Compose,
    hardening,
    service::{PROJECT, SERVICE, Services},
    text,
};
use crate::fleet::User;

/// A service's slot and the instance.
pub(super) type Key = (u16, String);
type Results = BTreeMap<Key, Result<Created, String>>;

/// What a batch is created with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) compose: &'a Compose,
    /// Whether Compose is to do it, though the engine could be asked without it.
    pub(super) by_compose: bool,
    /// A name that no other batch has: Compose would touch what is in a project already.
    pub(super) project: &'a str,
    /// The bundle's directory.
    pub(super) bundle: &'a Path,
    pub(super) run_dir: &'a Path,
}

#[derive(Debug)]
pub(super) struct Batch {
    /// The cores that each may run on.
    all: BTreeMap<Key, Vec<u16>>,
}

impl Batch {
    /// Those that are asked for, and those that their services may have later, if these were not provided before.
    pub(super) fn new<'a>(asked: impl Iterator<Item = &'a Wanted>, provided: &BTreeSet<u16>) -> Self {
        let mut all = BTreeMap::new();
        for wanted in asked {
            let own = std::iter::once(&wanted.instance);
            let later = match provided.contains(&wanted.service) {
                true => &[],
                false => &wanted.siblings[..],
            };
            for instance in own.chain(later) {
                let key = (wanted.service, instance.clone());
                all.entry(key).or_insert_with(|| wanted.cores.clone());
            }
        }
        Self { all }
    }

    /// Creates and checks each; an error is that of all.
    pub(super) async fn create(self, means: Means<'_>) -> Result<Results, String> {
        let mut variables = vec![
            ("ONVM_RUN_DIR".to_owned(), means.run_dir.display().to_string()),
            ("ONVM_MANAGER".to_owned(), means.engine.manager.clone()),
            // It dies with this manager and looks for no other.
            ("ONVM_NF_REATTACH".to_owned(), "0".to_owned()),
        ];
        let mut users = BTreeMap::new();
        for (key, cores) in self.all {
            let user = User::reserve().map_err(|e| e.to_string())?;
            variables.push((compose_variable("USER", &key.1), ids(user.as_ref())));
            let listed: Vec<String> = cores.iter().map(ToString::to_string).collect();
            variables.push((compose_variable("CPUSET", &key.1), listed.join(",")));
            users.insert(key, (user, cores));
        }
        let names: Vec<String> = users.keys().map(|(_, instance)| instance.clone()).collect();
        let mut made = means.make(&names, &variables).await?;
        let checked = users.into_iter().map(|(key, (user, cores))| {
            let id = made.remove(&key.1);
            async move {
                let id = id.unwrap_or_else(|| Err("Compose created no container for it".to_owned()));
                let created = means.check(id, &key.1, user, cores).await;
                (key, created)
            }
        });
        Ok(future::join_all(checked).await.into_iter().collect())
    }
}

impl Means<'_> {
    /// The ids of the new containers by service.
    async fn make(
        self,
        names: &[String],
        variables: &[(String, String)],
    ) -> Result<HashMap<String, Result<String, String>>, String> {
        if !self.by_compose {
            match Services::read(self.bundle, variables) {
                Ok(services) => return Ok(self.by_engine(&services, names).await),
                Err(why) => tracing::info!("compose.yaml is left to Compose: {why}"),
            }
        }
        let done = self
            .compose
            .create(self.project, self.bundle, names, variables)
            .await;
        let of_project = format!("{PROJECT}={}", self.project);
        let found = self.engine.containers(&[of_project]).await;
        let found = found.map_err(|e| text(&e));
        if let Err(why) = done {
            // It has created some all the same.
            for (id, _) in found.unwrap_or_default() {
                let _ = self.engine.remove(&id).await;
            }
            return Err(why);
        }
        let by_name = found?
            .into_iter()
            .filter_map(|(id, labels)| Some((labels.get(SERVICE)?.clone(), Ok(id))));
        Ok(by_name.collect())
    }

    async fn by_engine(
        self,
        services: &Services,
        names: &[String],
    ) -> HashMap<String, Result<String, String>> {
        let each = names.iter().map(async |name| {
            let created = match services.body(name, self.project) {
                Some(body) => self.create_one(name, body).await,
                None => Err("compose.yaml has no service for it".to_owned()),
            };
            (name.clone(), created)
        });
        future::join_all(each).await.into_iter().collect()
    }

    async fn create_one(self, service: &str, body: ContainerCreateBody) -> Result<String, String> {
        // As Compose names it.
        let name = format!("{}-{service}-1", self.project);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = self.engine.client.create_container(Some(options), body).await;
        created.map(|created| created.id).map_err(|e| text(&e))
    }

    /// A container that is as the bundle says.
    async fn check(
        self,
        id: Result<String, String>,
        instance: &str,
        user: Option<User>,
        cores: Vec<u16>,
    ) -> Result<Created, String> {
        let container = Container::new(self.engine.clone(), id?);
        match self.is_hardened(&container, instance, &ids(user.as_ref())).await {
            Ok(()) => Ok(Created {
                container,
                user,
                cores,
            }),
            Err(why) => {
                container.remove().await;
                Err(why)
            }
        }
    }

    async fn is_hardened(self, container: &Container, instance: &str, user: &str) -> Result<(), String> {
        let found = self
            .engine
            .client
            .inspect_container(container.full_id(), None::<InspectContainerOptions>)
            .await;
        let found = found.map_err(|e| text(&e))?;
        hardening::of_container(&found, user, instance).map_err(|lack| {
            format!("its container lacks {lack}: is compose.yaml of the bundle as `onvmc build` wrote it?")
        })
    }
}

/// User and group of a container.
fn ids(user: Option<&User>) -> String {
    let (user, group) = match user {
        Some(user) => (user.id(), user.id()),
        None => (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
    };
    format!("{user}:{group}")
}
