//! Creating containers: those that are asked for at the same time together, with those that their services may have later, which then
//! need only be started.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use bollard::{errors::Error, query_parameters::ListContainersOptionsBuilder};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::{
    Container, Engine,
    batch::{Batch, Key, Means},
    compose::Compose,
    text,
};
use crate::fleet::User;

/// A container that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The slot of its service.
    pub(crate) service: u16,
    pub(crate) instance: String,
    /// All instances that its service may have.
    pub(crate) siblings: Arc<[String]>,
    pub(crate) image: String,
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    /// The cores that it may run on; empty: all.
    pub(crate) cores: Vec<u16>,
}

/// A container that waits to be started.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) container: Container,
    /// None: it shares the user of the manager, which is not root and cannot choose.
    pub(crate) user: Option<User>,
    /// The cores that it is on.
    pub(crate) cores: Vec<u16>,
}

#[derive(Debug)]
pub(super) enum Request {
    Create(Wanted, oneshot::Sender<Result<Created, String>>),
    /// The service is gone.
    Forget(u16),
    Close(oneshot::Sender<()>),
}

impl Engine {
    /// A container for an instance: one that was created ahead, or a new one.
    pub(crate) async fn create(&self, wanted: Wanted) -> Result<Created, String> {
        let (reply, answer) = oneshot::channel();
        let gone = "the manager is stopping";
        self.requests
            .send(Request::Create(wanted, reply))
            .map_err(|_| gone.to_owned())?;
        answer.await.unwrap_or_else(|_| Err(gone.to_owned()))
    }

    /// Removes what was created ahead for a service.
    pub(crate) fn forget(&self, service: u16) {
        let _ = self.requests.send(Request::Forget(service));
    }

    /// This manager's containers with all of these labels: their ids and labels.
    pub(super) async fn containers(
        &self,
        labels: &[String],
    ) -> Result<Vec<(String, HashMap<String, String>)>, Error> {
        let own = format!("onvm.manager={}", self.manager);
        let labels: Vec<&str> = std::iter::once(&own).chain(labels).map(String::as_str).collect();
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.client.list_containers(Some(options)).await?;
        let with_id = found
            .into_iter()
            .filter_map(|c| Some((c.id?, c.labels.unwrap_or_default())));
        Ok(with_id.collect())
    }
}

pub(super) async fn close(engine: &Engine) {
    let (done, closed) = oneshot::channel();
    if engine.requests.send(Request::Close(done)).is_ok() {
        let _ = closed.await;
    }
}

/// The task that creates.
pub(super) struct Creator {
    engine: Weak<Engine>,
    compose: Compose,
    run_dir: PathBuf,
    ahead: BTreeMap<Key, Created>,
    /// Services for which all that they may have was created with their first.
    provided: BTreeSet<u16>,
    /// Each batch has its own.
    projects: u64,
    /// Whether the first batch is that of the manager's start.
    from_start: bool,
}

type Asked = (Wanted, oneshot::Sender<Result<Created, String>>);

impl Creator {
    pub(super) fn new(engine: Weak<Engine>, compose: Compose, run_dir: PathBuf, from_start: bool) -> Self {
        Self {
            engine,
            compose,
            run_dir,
            ahead: BTreeMap::new(),
            provided: BTreeSet::new(),
            projects: 0,
            from_start,
        }
    }

    pub(super) async fn run(mut self, mut requests: UnboundedReceiver<Request>) {
        let mut next = requests.recv().await;
        while let Some(request) = next.take() {
            let mut together: Vec<Asked> = Vec::new();
            let mut pending = Some(request);
            // Those that ask at the same time have been heard by then.
            tokio::task::yield_now().await;
            while let Some(request) = pending.take() {
                match request {
                    Request::Create(wanted, reply) => self.give_or(wanted, reply, &mut together).await,
                    Request::Forget(service) => {
                        together.retain(|(wanted, _)| wanted.service != service);
                        self.provided.remove(&service);
                        self.forget(|of| of == service).await;
                    }
                    Request::Close(done) => {
                        self.forget(|_| true).await;
                        if let Some(engine) = self.engine.upgrade() {
                            engine.remove_rest().await;
                        }
                        let _ = done.send(());
                        return;
                    }
                }
                pending = requests.try_recv().ok();
            }
            while let Some((first, _)) = together.first() {
                let bundle = first.bundle.clone();
                let same: Vec<Asked> = together.extract_if(.., |(w, _)| w.bundle == bundle).collect();
                self.create(&bundle, same).await;
            }
            next = requests.recv().await;
        }
    }

    /// Hands out what was created ahead and is still there.
    async fn give_or(
        &mut self,
        wanted: Wanted,
        reply: oneshot::Sender<Result<Created, String>>,
        rest: &mut Vec<Asked>,
    ) {
        if reply.is_closed() {
            return;
        }
        let key = (wanted.service, wanted.instance.clone());
        match self.ahead.remove(&key) {
            Some(ahead) if ahead.container.is_there().await => give(reply, Ok(ahead)).await,
            _ => rest.push((wanted, reply)),
        }
    }

    async fn forget(&mut self, is_gone: impl Fn(u16) -> bool) {
        let gone: Vec<_> = self
            .ahead
            .keys()
            .filter(|(of, _)| is_gone(*of))
            .cloned()
            .collect();
        for key in gone {
            if let Some(created) = self.ahead.remove(&key) {
                created.container.remove().await;
            }
        }
    }

    async fn create(&mut self, bundle: &Path, asked: Vec<Asked>) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        let asked = engine.with_images(asked).await;
        if asked.is_empty() {
            return;
        }
        self.projects += 1;
        let project = format!("{}-{}", engine.manager, self.projects);
        let means = Means {
            engine: &engine,
            compose: &self.compose,
            // At the start nothing flows that would wait, and the file is run by what it is for.
            by_compose: self.projects == 1 && self.from_start,
            project: &project,
            bundle,
            run_dir: &self.run_dir,
        };
        let batch = Batch::new(asked.iter().map(|(wanted, _)| wanted), &self.provided);
        let created = batch.create(means).await;
        let mut created = match created {
            Ok(created) => created,
            Err(why) => {
                for (_, reply) in asked {
                    let _ = reply.send(Err(why.clone()));
                }
                return;
            }
        };
        self.provided
            .extend(asked.iter().map(|(wanted, _)| wanted.service));
        for (wanted, reply) in asked {
            let one = created.remove(&(wanted.service, wanted.instance));
            let one = one.unwrap_or_else(|| Err("no container was created for it".to_owned()));
            give(reply, one).await;
        }
        for (key, one) in created {
            match one {
                Ok(one) => drop(self.ahead.insert(key, one)),
                // It is asked for again when it is to be started.
                Err(why) => tracing::warn!(instance = key.1, "not created ahead: {why}"),
            }
        }
    }
}

/// What nobody waits for any more is removed.
async fn give(reply: oneshot::Sender<Result<Created, String>>, one: Result<Created, String>) {
    if let Err(Ok(unused)) = reply.send(one) {
        unused.container.remove().await;
    }
}

impl Engine {
    /// Removes what was created and never came to who had asked: an engine may do it after its answer was given up.
    async fn remove_rest(&self) {
        // One that does not answer has said so, and the next manager removes them.
        for (id, _) in self.containers(&[]).await.unwrap_or_default() {
            let _ = self.remove(&id).await;
        }
    }

    /// Those whose images are there; the others are told that they are not.
    async fn with_images(&self, asked: Vec<Asked>) -> Vec<Asked> {
        let mut found = Vec::new();
        for (wanted, reply) in asked {
            match self.has_image(&wanted.image).await {
                Ok(()) => found.push((wanted, reply)),
                Err(why) => drop(reply.send(Err(why))),
            }
        }
        found
    }

    async fn has_image(&self, image: &str) -> Result<(), String> {
        match self.client.inspect_image(image).await {
            Ok(_) => Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Err(format!(
                "the container engine has no image `{image}`. `onvmc image` makes that of the standard NFs; for another, build \
                 or load it first: onvm-run pulls none."
            )),
            Err(e) => Err(text(&e)),
        }
    }
}
