//! The state of the manager, as the control API reports it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use onvm_api as wire;
use onvm_api::Reason;
use onvm_bundle::{domain_name, tables::ChainTable};

use super::{Manager, totals::Totals};
use crate::{
    dpdk::PacketPool,
    fleet::InstanceEntry,
    generation::RuleName,
    worker::{InstanceCounters, PortCounters},
};

impl Manager {
    pub(super) fn status(&self) -> wire::Status {
        self.status_with(false)
    }

    /// With the hits of each rule, of which there may be thousands.
    pub(super) fn verbose_status(&self) -> wire::Status {
        self.status_with(true)
    }

    fn status_with(&self, rules: bool) -> wire::Status {
        let totals = self.history.up_to(&self.generation);
        wire::Status {
            version: wire::API_VERSION,
            bundle: self.name.clone(),
            generation: self.bundle.index.generation.clone(),
            bundle_dir: self.bundle.dir.display().to_string(),
            pid: std::process::id(),
            uptime_s: self.began.elapsed().as_secs_f64(),
            state: self.state,
            isolation: self.fleet.isolation(),
            ports: (0..self.ports.len())
                .map(|id| wire::PortStatus {
                    rules: match rules {
                        true => self.rules(id, &totals),
                        false => Vec::new(),
                    },
                    ..self.port_status(id)
                })
                .collect(),
            chains: self
                .generation
                .chains
                .iter()
                .map(|c| chain_status(c, &totals))
                .collect(),
            services: self
                .bundle
                .manager
                .hosts()
                .iter()
                .map(|host| self.service_status(&host.service))
                .collect(),
            drops: self.drops(&totals),
            domains: self.domain_status(),
            buffers: wire::BufferStatus {
                total: self.memory.pools.iter().map(|pool| u64::from(pool.count())).sum(),
                in_use: self
                    .memory
                    .pools
                    .iter()
                    .map(|pool| u64::from(pool.in_use()))
                    .sum(),
            },
            balance: self.balance(&totals),
        }
    }

    /// None where there is no other than that of NFs and ports that name none.
    fn domain_status(&self) -> Vec<wire::DomainStatus> {
        let manager = &self.bundle.manager;
        let names = self.memory.domains.names();
        if names == [None] {
            return Vec::new();
        }
        let status = |(name, pool): (&Option<String>, &Arc<PacketPool>)| {
            let name = name.as_deref();
            let ports = manager.ports.iter().map(|port| (&port.name, &port.domain));
            let nfs = manager.services.iter().map(|nf| (&nf.name, &nf.domain));
            let members = ports.chain(nfs).filter(|(_, domain)| domain.as_deref() == name);
            wire::DomainStatus {
                name: domain_name(name).to_owned(),
                members: members.map(|(name, _)| name.clone()).collect(),
                buffers: wire::BufferStatus {
                    total: pool.count().into(),
                    in_use: pool.in_use().into(),
                },
            }
        };
        names.iter().zip(&self.memory.pools).map(status).collect()
    }

    fn port_status(&self, id: usize) -> wire::PortStatus {
        let sum = |counter: fn(&PortCounters) -> &AtomicU64| self.workers.sum(|c| counter(&c.ports[id]));
        let stats = self.ports[id].stats();
        let refused = Reason::ALL.iter().map(|&r| (r.name(), self.dropped_at(id, r)));
        // Packets that the device lost before the worker saw them are not in the balance, and are shown here.
        let device = [
            ("device_missed", stats.imissed),
            ("device_errors", stats.ierrors),
            ("device_no_buffer", stats.rx_nombuf),
        ];
        let drops = refused
            .chain(device)
            .filter(|(_, n)| *n > 0)
            .map(|(r, n)| (r.to_owned(), n))
            .collect();
        let (rx_pps, tx_pps) = self.rates.ports[id];
        wire::PortStatus {
            name: self.ports[id].name.clone(),
            kind: self.ports[id].kind.to_owned(),
            rx_packets: sum(|port| &port.rx_packets),
            rx_bytes: sum(|port| &port.rx_bytes),
            tx_packets: sum(|port| &port.tx_packets),
            tx_bytes: sum(|port| &port.tx_bytes),
            drops,
            rx_pps,
            tx_pps,
            done: self.workers.is_done(id),
            link: self.ports[id].link().map(|link| link.name().to_owned()),
            rules: Vec::new(),
            programmed: self.programmed_status(&self.ports[id].name),
            rx_by_worker: match self
                .workers
                .each(|c| c.ports[id].rx_packets.load(Ordering::Relaxed))
            {
                one if one.len() < 2 => Vec::new(),
                several => several,
            },
            rss: self.ports[id].rss().map(|rss| wire::RssStatus {
                queues: rss.queues,
                kinds: rss.names().into_iter().map(str::to_owned).collect(),
                symmetric: rss.symmetric,
            }),
        }
    }

    /// What NFs have made of a port's table. A permission of the past is shown as long as it says anything.
    fn programmed_status(&self, port: &str) -> Vec<wire::ProgrammedStatus> {
        let used = self.director.used().filter(|used| used.port == port);
        let shown = used.filter(|used| used.permitted || used.total.0 > 0);
        shown
            .map(|used| wire::ProgrammedStatus {
                nf: used.nf.to_owned(),
                chain: used.chain.to_owned(),
                entries: used.entries as u64,
                packets: used.total.0,
                bytes: used.total.1,
            })
            .collect()
    }

    fn service_status(&self, service: &onvm_bundle::Service) -> wire::ServiceStatus {
        let status = |i: &onvm_bundle::Instance| {
            // The newest of this name: a predecessor that drains has left the table of services.
            let entries = self
                .fleet
                .services
                .iter()
                .flatten()
                .filter(|e| e.name == service.name);
            let slot = entries
                .filter_map(|e| e.instances.get(&i.name))
                .next_back()
                .copied()?;
            Some(self.instance_status(slot, self.fleet.instance(slot)?))
        };
        let mut instances: Vec<_> = service.instances.iter().filter_map(status).collect();
        let retiring = self.fleet.retiring(&service.name);
        instances.extend(retiring.map(|(slot, entry)| self.instance_status(slot, entry)));
        wire::ServiceStatus {
            name: service.name.clone(),
            id: service.id,
            nf_type: service.nf_type.clone(),
            replicas: self.replicas(service),
            instances,
        }
    }

    fn instance_status(&self, slot: u16, entry: &InstanceEntry) -> wire::InstanceStatus {
        let slot = usize::from(slot);
        let sum =
            |counter: fn(&InstanceCounters) -> &AtomicU64| self.workers.sum(|c| counter(&c.instances[slot]));
        let values = entry.counters.as_ref();
        let own = || entry.own_counters.iter().filter(|_| values.is_some()).enumerate();
        let value = |n| values.map_or(0, |set| set.value(n));
        wire::InstanceStatus {
            name: entry.name.clone(),
            state: entry.shown_state(),
            pid: entry.pid,
            container: entry.container.clone(),
            restarts: entry.restarts,
            rx_packets: sum(|instance| &instance.rx_packets),
            tx_packets: sum(|instance| &instance.tx_packets),
            drops: sum(|instance| &instance.dropped),
            overruled: sum(|instance| &instance.overruled),
            generated: sum(|instance| &instance.generated),
            refused: sum(|instance| &instance.refused),
            messages: entry.inbox.delivered(),
            messages_missed: entry.inbox.missed(),
            messages_refused: entry.inbox.refused(),
            rx_pps: self.rates.instances[slot],
            ring_used: sum(|instance| &instance.ring_used) as u32,
            ring_size: self.bundle.manager.ring,
            counters: own().map(|(n, own)| (own.name.clone(), value(n))).collect(),
            gauges: own()
                .filter(|(_, own)| own.is_gauge)
                .map(|(_, own)| own.name.clone())
                .collect(),
            last_loss: entry.last_loss.clone(),
            cores: entry.cores().cores,
            own_cores: entry.cores().own,
            restart_in_ms: entry.starts_at.map(|at| {
                let left = at.saturating_duration_since(Instant::now());
                left.as_millis() as u64
            }),
        }
    }

    /// The rules of a port in order, `else` last.
    fn rules(&self, id: usize, totals: &Totals) -> Vec<wire::RuleStatus> {
        let names = self.generation.rules.get(id).into_iter().flatten();
        let tables = &self.bundle.flows.tables;
        let table = tables.iter().find(|t| t.port == self.ports[id].name);
        let status = |(i, name): (usize, &RuleName)| {
            let source = table.and_then(|t| match t.rules.get(i) {
                Some(rule) => Some(&rule.source),
                None => t.otherwise_source.as_ref(),
            });
            wire::RuleStatus {
                rule: name.text.clone(),
                chain: name.chain.clone(),
                source: source.map(ToString::to_string),
                packets: totals.hits.get(&(id, name.clone())).copied().unwrap_or(0),
            }
        };
        names.enumerate().map(status).collect()
    }

    fn drops(&self, totals: &Totals) -> Vec<wire::Drop> {
        let on_chains = totals
            .drops
            .iter()
            .map(|((reason, place), &packets)| (*reason, place.clone(), packets));
        let at_ports = self.ports.iter().enumerate().flat_map(|(id, port)| {
            Reason::ALL
                .into_iter()
                .map(move |r| (r, port.name.clone(), self.dropped_at(id, r)))
        });
        let all = at_ports.chain(on_chains).filter(|(_, _, packets)| *packets > 0);
        all.map(|(reason, place, packets)| wire::Drop {
            reason: reason.name().into(),
            place,
            packets,
        })
        .collect()
    }

    /// Packets dropped at a port before they were on a chain.
    fn dropped_at(&self, port: usize, reason: Reason) -> u64 {
        self.workers.sum(|c| &c.ports[port].dropped[reason as usize])
    }

    fn balance(&self, totals: &Totals) -> wire::Balance {
        let ports = 0..self.ports.len();
        let sum = |counter: fn(&PortCounters) -> &AtomicU64| -> u64 {
            ports
                .clone()
                .map(|id| self.workers.sum(|c| counter(&c.ports[id])))
                .sum()
        };
        let refused: u64 = ports
            .clone()
            .flat_map(|id| Reason::ALL.into_iter().map(move |r| self.dropped_at(id, r)))
            .sum();
        wire::Balance {
            received: sum(|port| &port.rx_packets),
            generated: self.workers.sum(|c| &c.generated),
            delivered: sum(|port| &port.tx_packets),
            dropped: refused + totals.drops.values().sum::<u64>(),
            in_flight: self.workers.in_flight(),
        }
    }
}

fn chain_status(chain: &ChainTable, totals: &Totals) -> wire::ChainStatus {
    let hop = |(i, place): (usize, &String)| {
        let key = (chain.name.clone(), i, place.clone());
        let here = totals.hops.get(&key).copied().unwrap_or_default();
        wire::HopStatus {
            at: place.clone(),
            packets: here.arrived,
            drops: here.dropped,
            bypassed: here.bypassed,
            crossings: here.crossings,
        }
    };
    let hops: Vec<_> = chain.places.iter().enumerate().map(hop).collect();
    wire::ChainStatus {
        name: chain.name.clone(),
        packets: hops.first().map_or(0, |h| h.packets),
        hops,
    }
}
