//! An instance in a container: its socket, which lives as long as the instance, and a container that is started for each of its
//! lives.

use nflib::Region;
use tokio::{io::unix::AsyncFd, sync::mpsc::UnboundedReceiver};

use super::{
    closing::NfSocket,
    cores::{has_moved, is_on},
    log, patience,
    register::{READY_DEADLINE, too_late},
    running::{Hosted, Running},
    spec::Contained,
    supervise::{End, Order, Supervisor, ended_early, wait_for_stop},
    users::User,
};
use crate::{
    container::{Container, Created, Engine, Wanted},
    rundir::InstanceDir,
};

/// What an instance in a container keeps from one life to the next.
#[derive(Debug)]
pub(super) struct Home {
    /// Holds the socket.
    _dir: InstanceDir,
    listener: AsyncFd<NfSocket>,
    container: Container,
    user: Option<User>,
}

impl Home {
    /// How the last life ended, by the engine; false where it does not know.
    pub(super) async fn settle(&mut self, instance: &str) -> bool {
        let exit = self.container.exit().await;
        match exit {
            Some(exit) => tracing::info!(instance, "{exit}"),
            None => tracing::warn!(
                instance,
                "the container engine does not say how its container ended"
            ),
        }
        exit.is_some_and(|exit| exit.is_clean())
    }

    pub(super) async fn leave(self) {
        self.container.remove().await;
    }
}

impl Supervisor {
    /// One life of a container.
    pub(super) async fn live_contained(
        &self,
        contained: &Contained,
        home: &mut Option<Home>,
        orders: &mut UnboundedReceiver<Order>,
    ) -> End {
        let started = tokio::select! {
            started = self.enter(contained, home) => started,
            stop = wait_for_stop(orders) => return ended_early(stop),
        };
        let Some(home) = home else {
            return End::NotReady(started.err().unwrap_or_default());
        };
        let end = match started {
            Ok(()) => self.inside_container(home, orders).await,
            Err(why) => End::NotReady(why),
        };
        // Before anybody else gets what it held.
        home.container.kill().await;
        match end {
            // The engine knows better why it did not come.
            End::NotReady(why) => match home.container.exit().await {
                Some(exit) if exit.code.is_some_and(|code| code != KILLED) => {
                    End::NotReady(format!("{exit}: {why}"))
                }
                _ => End::NotReady(why),
            },
            end => end,
        }
    }

    /// Makes what is not there yet, and starts the container.
    async fn enter(&self, contained: &Contained, home: &mut Option<Home>) -> Result<(), String> {
        self.closing.done().await;
        let engine = self.shared.engine.get().ok_or("there is no container engine")?;
        let gone = match home {
            Some(home) => !home.container.is_there().await,
            None => true,
        };
        if gone {
            *home = None;
            *home = Some(self.move_in(engine, contained).await?);
        }
        let Some(home) = home else { return Ok(()) };
        let cores = self.cores();
        if !is_on(&self.assignment, &cores) || contained.node.is_some() {
            home.container.place(&cores, contained.node).await?;
            has_moved(&self.assignment, cores);
        }
        let output = home.container.start().await;
        let output = output.map_err(|e| format!("its container cannot be started: {e}"))?;
        log::forward_pieces(&self.spec.name, &self.shared.journal, output);
        self.container.replace(Some(home.container.id().to_owned()));
        Ok(())
    }

    async fn move_in(&self, engine: &Engine, contained: &Contained) -> Result<Home, String> {
        let wanted = Wanted {
            service: contained.service,
            instance: self.spec.name.clone(),
            siblings: contained.siblings.clone(),
            image: contained.image.clone(),
            bundle: contained.bundle(),
            cores: self.cores(),
        };
        let Created {
            container,
            user,
            cores,
        } = engine.create(wanted).await?;
        match self.socket_for(user.as_ref().map(User::id)) {
            Ok((_dir, listener)) => {
                has_moved(&self.assignment, cores);
                Ok(Home {
                    _dir,
                    listener,
                    container,
                    user,
                })
            }
            Err(why) => {
                container.remove().await;
                Err(why)
            }
        }
    }

    async fn inside_container(&self, home: &mut Home, orders: &mut UnboundedReceiver<Order>) -> End {
        let started = tokio::select! {
            started = self.await_container(home) => started,
            stop = wait_for_stop(orders) => return ended_early(stop),
        };
        let (connection, region) = match started {
            Ok(started) => started,
            Err(why) => return End::NotReady(why),
        };
        let mut running = Running {
            connection,
            region,
            hosted: Some(Hosted::Container(&mut home.container)),
        };
        running.watch(self, orders).await
    }

    async fn await_container(&self, home: &mut Home) -> Result<(AsyncFd<NfSocket>, Region), String> {
        let user = home.user.as_ref().map(User::id);
        let admitted = tokio::select! {
            biased;
            admitted = self.admit(&home.listener, user) => admitted,
            exit = home.container.ended() => return Err(format!("{exit} before it was ready")),
            () = patience::elapse(READY_DEADLINE) => return Err(too_late()),
        };
        self.close_complaints();
        let (connection, region, pid) = admitted?;
        home.container.connected(pid);
        Ok((connection, region))
    }
}

/// Its exit where this manager ended it.
const KILLED: i64 = 137;
