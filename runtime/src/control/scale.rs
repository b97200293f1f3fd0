//! Another number of instances of a service, by request or by load.

use std::{collections::HashMap, time::Instant};

use onvm_api::{self as wire, ApiError};
use onvm_bundle::{Host, Service};

use super::{Manager, apply::UNCHANGED};
use crate::fleet::{NfMode, Scale, scale::Scaled, spec};

/// What has become of the instances: their names.
#[derive(Debug, Default)]
struct Changed {
    started: Vec<String>,
    scaled: Scaled,
}

impl Manager {
    pub(super) async fn scale(&mut self, request: &wire::ScaleRequest) -> Result<wire::ScaleReply, ApiError> {
        let began = Instant::now();
        self.refuse_fused(&request.nf)?;
        let service = self.service(&request.nf)?;
        let range = service.replicas();
        let before = self.scale_now(&service);
        let scale = match request.replicas {
            Some(replicas) if range.clamp(replicas) == replicas => Scale {
                range,
                replicas,
                automatic: false,
            },
            None if range.scales() => Scale {
                automatic: true,
                ..before
            },
            asked => return Err(out_of_range(&service, asked)),
        };
        let changed = self.scale_to(&service, scale).await?;
        Ok(wire::ScaleReply {
            version: wire::API_VERSION,
            nf: request.nf.clone(),
            before: before.replicas,
            replicas: self.replicas(&service),
            started: changed.started,
            stopped: changed.scaled.stopped,
            draining: changed.scaled.retired,
            took_ms: began.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// Starts or retires instances of services whose load asks for it.
    pub(super) async fn scale_by_load(&mut self) {
        if self.stopping {
            return;
        }
        for (slot, step) in self.fleet.look(&self.workers, self.scale_down_after) {
            let entry = self.fleet.services[usize::from(slot)].as_ref();
            let Some((name, scale)) = entry.map(|e| (e.name.clone(), e.scale)) else {
                continue;
            };
            let Ok(service) = self.service(&name) else {
                continue;
            };
            let to = Scale {
                replicas: step.to,
                ..scale
            };
            tracing::info!(
                nf = %name,
                from = scale.replicas,
                to = step.to,
                range = %scale.range,
                ring_percent = (step.waiting * 100.0).round(),
                turned_away_pps = step.turned_away.round(),
                "scaling by load"
            );
            self.scales_itself = true;
            let outcome = self.scale_to(&service, to).await;
            self.scales_itself = false;
            if let Err(e) = outcome {
                tracing::warn!(nf = %name, "not scaled: {}", e.message);
            }
            let now = self.scale_now(&service).replicas;
            if let Some(entry) = &mut self.fleet.services[usize::from(slot)] {
                entry
                    .load
                    .stepped(Instant::now(), scale.replicas, now, self.scale_down_after);
            }
        }
    }

    /// Nothing is changed where this fails.
    async fn scale_to(&mut self, service: &Service, scale: Scale) -> Result<Changed, ApiError> {
        self.state = wire::ManagerState::Applying;
        let outcome = self.go_to_scale(service, scale).await;
        self.state = wire::ManagerState::Running;
        outcome
    }

    async fn go_to_scale(&mut self, service: &Service, scale: Scale) -> Result<Changed, ApiError> {
        let (bundle, host, name) = (self.bundle.clone(), self.host.clone(), service.name.clone());
        let specs = self.aside(move || spec::of(&bundle, &name, &host)).await?;
        let not_ready =
            |e: &dyn std::fmt::Display| ApiError::new(ApiError::NOT_READY, e.to_string(), UNCHANGED);
        let specs = specs.map_err(|e| not_ready(&e))?;
        let bundle = self.bundle.clone();
        self.fleet.bundle.clone_from(&bundle.dir);
        let placed = self
            .fleet
            .place_as(&Host::alone(service), &bundle.instances, specs, scale)
            .map_err(|e| not_ready(&e))?;
        let placed = HashMap::from([(service.name.clone(), placed)]);
        // One that somebody else starts joins when it comes.
        if self.host.mode != NfMode::External
            && let Err(error) = self.await_ready(&placed).await
        {
            self.undo_services(&placed);
            return Err(error);
        }
        let mut changed = Changed::default();
        for placed in placed.values() {
            let started = self.fleet.started(placed).into_iter();
            changed.started = started
                .filter_map(|s| Some(self.fleet.instance(s)?.name.clone()))
                .collect();
            changed.scaled = self.fleet.settle(&self.workers, placed);
        }
        let lists = [
            &mut changed.started,
            &mut changed.scaled.stopped,
            &mut changed.scaled.retired,
        ];
        lists.into_iter().for_each(|list| list.sort());
        Ok(changed)
    }

    pub(super) fn service(&self, name: &str) -> Result<Service, ApiError> {
        let services = &self.bundle.manager.services;
        services.iter().find(|s| s.name == name).cloned().ok_or_else(|| {
            let names: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
            let remedy = match names.is_empty() {
                true => "It has no NFs.".to_owned(),
                false => format!("It has {}.", names.join(", ")),
            };
            let message = format!("The running program has no NF `{name}`");
            ApiError::new(ApiError::UNKNOWN_NF, message, remedy)
        })
    }

    /// How many processes there are of fused NFs is fixed.
    fn refuse_fused(&self, nf: &str) -> Result<(), ApiError> {
        let hosts = self.bundle.manager.hosts();
        let named = |host: &Host<'_>| host.service.name == nf || host.members.iter().any(|m| m.name == nf);
        let Some(host) = hosts.iter().find(|host| host.is_fused() && named(host)) else {
            return Ok(());
        };
        let message = format!(
            "`{}` is the process of {}: the source fixes how many there are of fused NFs",
            host.service.name, host.service.nf_type
        );
        let remedy = "Edit `replicas` of all of them and apply that.";
        Err(ApiError::new(ApiError::OUT_OF_RANGE, message, remedy))
    }

    fn scale_now(&self, service: &Service) -> Scale {
        let range = service.replicas();
        let running = self.fleet.scale_of(&service.name);
        running.unwrap_or(Scale {
            range,
            replicas: range.min,
            automatic: true,
        })
    }

    pub(super) fn replicas(&self, service: &Service) -> wire::Replicas {
        let Scale {
            range,
            replicas,
            automatic,
        } = self.scale_now(service);
        wire::Replicas {
            now: replicas,
            min: range.min,
            max: range.max,
            automatic: automatic && range.scales(),
        }
    }
}

fn out_of_range(service: &Service, asked: Option<u16>) -> ApiError {
    let (name, range) = (&service.name, service.replicas());
    let message = match asked {
        Some(asked) => {
            format!("`{name}` has `replicas = {range}` in the source, which does not allow {asked}")
        }
        None => format!("`{name}` has `replicas = {range}` in the source, which leaves nothing to choose"),
    };
    let (min, max) = (
        range.min.min(asked.unwrap_or(range.min)).max(1),
        range.max.max(asked.unwrap_or(range.max + 1)),
    );
    let remedy = format!("Write `with {{ replicas = {min}..{max} }}` in the source and apply that.");
    ApiError::new(ApiError::OUT_OF_RANGE, message, remedy)
}
