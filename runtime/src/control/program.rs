//! Flow entries: from what instances and operators ask to the workers, and back.

use std::time::Instant;

use onvm_api::{self as wire, ApiError};
use onvm_bundle::Bundle;
use tokio::sync::oneshot;

use super::{Manager, answer};
use crate::{
    director::{Changes, FlowRequests},
    worker::Command,
};

impl Manager {
    /// Takes what an instance asks for. What one asks whose program does not run yet waits for that.
    pub(super) fn program(&mut self, instance: u16, asked: FlowRequests) {
        let Some(client) = self.fleet.client(instance, asked.life) else {
            return;
        };
        if !self.serving.contains(&client.service) {
            self.early.push((instance, asked));
            return;
        }
        let changes = self
            .director
            .take(&client.client, asked.first, asked.requests, Instant::now());
        self.send_changes(&changes.into());
    }

    /// Another program runs: ends the entries that it does not permit, and gives their number; takes what has waited for it.
    pub(super) fn go_on_programming(&mut self) -> usize {
        let ended = self.director.end_unpermitted();
        let number = ended.as_ref().map_or(0, |(number, _)| *number);
        if number > 0 {
            tracing::warn!(
                entries = number,
                "flow entries ended, which the new program does not permit"
            );
        }
        self.send_changes(&ended.map(|(_, changes)| changes));
        for (instance, asked) in std::mem::take(&mut self.early) {
            self.program(instance, asked);
        }
        number
    }

    /// The program that instances have been started for does not come.
    pub(super) fn forget_early(&mut self) {
        self.early.clear();
    }

    /// All workers obey the changes of this number.
    pub(super) fn programmed(&mut self, number: u64) {
        for news in self.director.carried_out(number) {
            self.fleet.tell(news);
        }
    }

    /// Ends the entries whose time is over.
    pub(super) fn expire_flows(&mut self) {
        let changes = self.director.tick(Instant::now());
        self.send_changes(&changes);
    }

    /// Ends the entries of an instance's service if it was the last.
    pub(super) fn end_flows_of(&mut self, instance: u16) {
        if let Some(nf) = self.fleet.has_ended(instance) {
            let changes = self.director.end_service(&nf);
            self.send_changes(&changes);
        }
    }

    pub(super) fn flows(&self, request: &wire::FlowsRequest) -> Result<wire::FlowsReply, ApiError> {
        self.refuse_unknown(&request.which)?;
        Ok(self.director.page(request, Instant::now()))
    }

    /// Removes entries; the answer comes when no worker obeys them any more.
    pub(super) fn delete_flows(
        &mut self,
        request: &wire::FlowsDeleteRequest,
        reply: oneshot::Sender<Result<wire::FlowsDeleteReply, ApiError>>,
    ) {
        let refused = match request.which == wire::WhichFlows::default() && !request.all {
            true => Err(ApiError::new(
                ApiError::BAD_REQUEST,
                "The request does not say which flow entries are to go",
                "Name some by id, NF, port or cookie, or ask for all.",
            )),
            false => self.refuse_unknown(&request.which),
        };
        if let Err(error) = refused {
            return answer(reply, Err(error));
        }
        let (done, removed) = oneshot::channel();
        let changes = self.director.delete(&request.which, done);
        self.send_changes(&Some(changes));
        tokio::task::spawn_local(async move {
            // None where the manager ends first; the asker sees that by itself.
            if let Ok(removed) = removed.await {
                let version = wire::API_VERSION;
                answer(reply, Ok(wire::FlowsDeleteReply { version, removed }));
            }
        });
    }

    fn refuse_unknown(&self, which: &wire::WhichFlows) -> Result<(), ApiError> {
        if let Some(nf) = &which.nf {
            self.service(nf)?;
        }
        let Some(port) = &which.port else {
            return Ok(());
        };
        let mut ports = self.bundle.manager.ports.iter();
        match ports.any(|known| known.name == *port) {
            true => Ok(()),
            false => {
                let names = port_names(&self.bundle);
                let message = format!("The running program has no port `{port}`");
                Err(ApiError::new(
                    ApiError::UNKNOWN_PORT,
                    message,
                    format!("It has {}.", names.join(", ")),
                ))
            }
        }
    }

    fn send_changes(&self, changes: &Option<std::sync::Arc<Changes>>) {
        if let Some(changes) = changes {
            self.workers.send_all(|| Command::Program(changes.clone()));
        }
    }
}

/// In the order of ids.
pub(super) fn port_names(bundle: &Bundle) -> Vec<&str> {
    bundle
        .manager
        .ports
        .iter()
        .map(|port| port.name.as_str())
        .collect()
}
