//! The ends of containers, as the engine tells them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    errors::Error,
    models::EventMessage,
    query_parameters::{EventsOptionsBuilder, InspectContainerOptions},
};
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;

use super::{Engine, Exit, text};

/// Pauses before the engine is asked again, once it has gone.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Between looks for what ended while nobody told.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The containers that are to run, by id, and how they ended.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<HashMap<String, End>>);

#[derive(Debug)]
struct End {
    exit: watch::Sender<Option<Exit>>,
    /// Nanoseconds since 1970-01-01 UTC, by the same clock as the engine's, of when it was about to be started.
    since: i64,
    /// The engine has said that it runs.
    started: bool,
    out_of_memory: bool,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, End>> {
        // The map is whole between any two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one that is about to be started.
    pub(super) fn expect(&self, id: &str) -> watch::Receiver<Option<Exit>> {
        let (exit, receiver) = watch::channel(None);
        let end = End {
            exit,
            since: now(),
            started: false,
            out_of_memory: false,
        };
        self.lock().insert(id.to_owned(), end);
        receiver
    }

    pub(super) fn started(&self, id: &str) {
        if let Some(end) = self.lock().get_mut(id) {
            end.started = true;
        }
    }

    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn ended(&self, id: &str, code: Option<i64>, out_of_memory: bool) {
        if let Some(end) = self.lock().get(id) {
            end.exit.send_replace(Some(Exit {
                code,
                out_of_memory: out_of_memory || end.out_of_memory,
            }));
        }
    }

    fn hear(&self, event: &EventMessage) {
        let Some(actor) = &event.actor else { return };
        let Some(id) = &actor.id else { return };
        // One of a former life may come late.
        if let (Some(at), Some(end)) = (event.time_nano, self.lock().get(id))
            && at < end.since
        {
            return;
        }
        match event.action.as_deref() {
            Some("oom") => {
                if let Some(end) = self.lock().get_mut(id) {
                    end.out_of_memory = true;
                }
            }
            Some("die") => {
                let code = actor
                    .attributes
                    .iter()
                    .flatten()
                    .find(|(key, _)| *key == "exitCode");
                self.ended(id, code.and_then(|(_, code)| code.parse().ok()), false);
            }
            Some("destroy") => self.ended(id, None, false),
            _ => {}
        }
    }

    fn running(&self) -> Vec<String> {
        let all = self.lock();
        let running = all
            .iter()
            .filter(|(_, end)| end.started && end.exit.borrow().is_none());
        running.map(|(id, _)| id.clone()).collect()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Follows the engine's events as long as somebody uses it. While it is away, its containers are as they were.
pub(super) async fn follow(engine: Weak<Engine>) {
    let mut pause = FIRST_PAUSE;
    let mut away = false;
    while let Some(strong) = engine.upgrade() {
        match strong.client.ping().await {
            Ok(_) => {
                if std::mem::take(&mut away) {
                    tracing::info!("the container engine answers again");
                }
                pause = FIRST_PAUSE;
                let events = strong.events();
                drop(strong);
                hear_all(&engine, events).await;
            }
            Err(e) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(
                        "the container engine does not answer ({}): NFs that run go on; none can be started until it is back",
                        text(&e)
                    );
                }
                drop(strong);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the engine breaks off.
async fn hear_all(engine: &Weak<Engine>, events: impl Stream<Item = Result<EventMessage, Error>>) {
    tokio::pin!(events);
    let mut look = tokio::time::interval(LOOK_AGAIN);
    loop {
        let event = tokio::select! {
            event = events.next() => Some(event),
            _ = look.tick() => None,
        };
        let Some(engine) = engine.upgrade() else { return };
        match event {
            Some(Some(Ok(event))) => engine.ends.hear(&event),
            Some(Some(Err(_)) | None) => return,
            None => engine.look_again().await,
        }
    }
}

impl Engine {
    fn events(&self) -> impl Stream<Item = Result<EventMessage, Error>> + use<> {
        let label = format!("onvm.manager={}", self.manager);
        let filters = HashMap::from([("type", vec!["container"]), ("label", vec![&label])]);
        self.client
            .events(Some(EventsOptionsBuilder::new().filters(&filters).build()))
    }

    /// Finds what has ended while nobody told.
    async fn look_again(&self) {
        for id in self.ends.running() {
            match self
                .client
                .inspect_container(&id, None::<InspectContainerOptions>)
                .await
            {
                Ok(found) => {
                    let state = found.state.unwrap_or_default();
                    let has_run = state.started_at.is_some_and(|at| !at.starts_with("0001"));
                    if state.running == Some(false) && has_run {
                        self.ends
                            .ended(&id, state.exit_code, state.oom_killed == Some(true));
                    }
                }
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                    self.ends.ended(&id, None, false);
                }
                Err(_) => {}
            }
        }
    }
}
