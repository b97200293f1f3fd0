//! `/metrics`: the status in the OpenMetrics text form.

use std::sync::atomic::AtomicU64;

use onvm_api as wire;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

type Labels = Vec<(String, String)>;

/// Renders a status.
pub(crate) fn render(status: &wire::Status) -> String {
    let mut registry = Registry::with_prefix("onvm");
    ports(&mut registry, status);
    chains(&mut registry, status);
    instances(&mut registry, status);
    let drops = Table::counter(
        &mut registry,
        "drops",
        "Packets not delivered, by reason and place",
    );
    for d in &status.drops {
        drops.set(&[("reason", &d.reason), ("place", &d.place)], d.packets);
    }
    let total = Gauge::<i64>::default();
    total.set(status.buffers.total as i64);
    registry.register("buffers", "Packet buffers", total);
    let in_use = Gauge::<i64>::default();
    in_use.set(status.buffers.in_use as i64);
    registry.register(
        "buffers_in_use",
        "Packet buffers that hold a packet or wait in a device",
        in_use,
    );
    let in_flight = Gauge::<i64>::default();
    in_flight.set(status.balance.in_flight as i64);
    registry.register("in_flight", "Packets inside", in_flight);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

/// A family of counters, filled from a status.
struct Table(Family<Labels, Counter>);

impl Table {
    fn counter(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::default();
        registry.register(name, help, family.clone());
        Self(family)
    }

    fn set(&self, labels: &[(&str, &str)], value: u64) {
        self.0.get_or_create(&own(labels)).inc_by(value);
    }
}

fn own(labels: &[(&str, &str)]) -> Labels {
    labels
        .iter()
        .map(|&(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn ports(registry: &mut Registry, status: &wire::Status) {
    let rx = Table::counter(registry, "port_rx_packets", "Packets received by a port");
    let tx = Table::counter(registry, "port_tx_packets", "Packets sent by a port");
    let rx_bytes = Table::counter(registry, "port_rx_bytes", "Bytes received by a port");
    let tx_bytes = Table::counter(registry, "port_tx_bytes", "Bytes sent by a port");
    let entries = Family::<Labels, Gauge>::default();
    registry.register(
        "flow_entries",
        "Flow entries that an NF has made of a port's table",
        entries.clone(),
    );
    let flows = Table::counter(registry, "flow_entry_packets", "Packets that flow entries took");
    for p in &status.ports {
        for of in &p.programmed {
            let labels = [("port", p.name.as_str()), ("nf", &of.nf), ("chain", &of.chain)];
            entries.get_or_create(&own(&labels)).set(of.entries as i64);
            flows.set(&labels, of.packets);
        }
        let labels = [("port", p.name.as_str())];
        rx.set(&labels, p.rx_packets);
        tx.set(&labels, p.tx_packets);
        rx_bytes.set(&labels, p.rx_bytes);
        tx_bytes.set(&labels, p.tx_bytes);
    }
}

fn chains(registry: &mut Registry, status: &wire::Status) {
    let packets = Table::counter(
        registry,
        "hop_packets",
        "Packets that arrived at a hop of a chain",
    );
    let drops = Table::counter(registry, "hop_drops", "Packets dropped at a hop of a chain");
    let bypassed = Table::counter(
        registry,
        "hop_bypassed",
        "Packets that went on without the NF of a hop",
    );
    let crossings = Table::counter(
        registry,
        "hop_crossings",
        "Packets copied into the security domain of the NF of a hop",
    );
    for chain in &status.chains {
        for (i, hop) in chain.hops.iter().enumerate() {
            let index = i.to_string();
            let labels = [
                ("chain", chain.name.as_str()),
                ("hop", &index),
                ("nf", &hop.at),
                ("generation", &status.generation),
            ];
            packets.set(&labels, hop.packets);
            drops.set(&labels, hop.drops);
            bypassed.set(&labels, hop.bypassed);
            crossings.set(&labels, hop.crossings);
        }
    }
}

fn instances(registry: &mut Registry, status: &wire::Status) {
    let rx = Table::counter(registry, "nf_rx_packets", "Packets handed to an instance");
    let tx = Table::counter(registry, "nf_tx_packets", "Packets handed back by an instance");
    let drops = Table::counter(
        registry,
        "nf_drops",
        "Packets dropped by an instance's verdict, its ring or its loss",
    );
    let overruled = Table::counter(
        registry,
        "nf_overruled",
        "Verdicts that the bundle does not permit",
    );
    let generated = Table::counter(registry, "nf_generated", "Packets that an instance made");
    let refused = Table::counter(
        registry,
        "nf_refused",
        "Descriptors of buffers that the instance did not hold",
    );
    let messages = Table::counter(registry, "nf_messages", "Messages that an instance was given");
    let missed = Table::counter(
        registry,
        "nf_messages_missed",
        "Messages for an instance that it was not given",
    );
    let undeclared = Table::counter(
        registry,
        "nf_messages_refused",
        "Messages to peers that the instance's manifest does not declare",
    );
    let restarts = Table::counter(registry, "nf_restarts", "Restarts of an instance");
    let running = Family::<Labels, Gauge>::default();
    registry.register(
        "nf_running",
        "Whether an instance runs or drains: 1 or 0",
        running.clone(),
    );
    let own_counters = Table::counter(registry, "nf_counter", "An NF's own counters, by name");
    let own_gauges = Family::<Labels, Gauge<u64, AtomicU64>>::default();
    registry.register("nf_gauge", "An NF's own gauges, by name", own_gauges.clone());
    let replicas = Family::<Labels, Gauge>::default();
    registry.register(
        "nf_replicas",
        "Instances of an NF, without those that keep their flows until these end",
        replicas.clone(),
    );
    for service in &status.services {
        let labels = own(&[("nf", &service.name)]);
        replicas.get_or_create(&labels).set(service.replicas.now.into());
        for i in &service.instances {
            let labels = [("nf", service.name.as_str()), ("instance", i.name.as_str())];
            rx.set(&labels, i.rx_packets);
            tx.set(&labels, i.tx_packets);
            drops.set(&labels, i.drops);
            overruled.set(&labels, i.overruled);
            generated.set(&labels, i.generated);
            refused.set(&labels, i.refused);
            messages.set(&labels, i.messages);
            missed.set(&labels, i.messages_missed);
            undeclared.set(&labels, i.messages_refused);
            restarts.set(&labels, u64::from(i.restarts));
            let runs = matches!(
                i.state,
                wire::InstanceState::Running | wire::InstanceState::Draining
            );
            running.get_or_create(&own(&labels)).set(runs.into());
            for (name, &value) in &i.counters {
                let labels = [labels[0], labels[1], ("name", name)];
                if i.gauges.contains(name) {
                    own_gauges.get_or_create(&own(&labels)).set(value);
                } else {
                    own_counters.set(&labels, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_nf_s_counters_are_counters_and_its_gauges_are_gauges() {
        let instance = wire::InstanceStatus {
            name: "fw-0".into(),
            state: wire::InstanceState::Running,
            pid: None,
            container: None,
            restarts: 0,
            rx_packets: 0,
            tx_packets: 0,
            drops: 0,
            overruled: 0,
            generated: 0,
            refused: 0,
            messages: 0,
            messages_missed: 0,
            messages_refused: 0,
            rx_pps: 0.0,
            ring_used: 0,
            ring_size: 0,
            counters: BTreeMap::from([("denied".into(), 7), ("flows".into(), u64::MAX)]),
            gauges: ["flows".into()].into(),
            last_loss: None,
            restart_in_ms: None,
            cores: Vec::new(),
            own_cores: false,
        };
        let service = wire::ServiceStatus {
            name: "fw".into(),
            id: 0,
            nf_type: "firewall".into(),
            replicas: wire::Replicas::default(),
            instances: vec![instance],
        };
        let status = wire::Status {
            version: wire::API_VERSION,
            bundle: String::new(),
            generation: String::new(),
            bundle_dir: String::new(),
            pid: 1,
            uptime_s: 0.0,
            state: wire::ManagerState::Running,
            isolation: wire::Isolation::default(),
            ports: Vec::new(),
            chains: Vec::new(),
            services: vec![service],
            drops: Vec::new(),
            domains: Vec::new(),
            buffers: wire::BufferStatus { total: 0, in_use: 0 },
            balance: wire::Balance {
                received: 0,
                generated: 0,
                delivered: 0,
                dropped: 0,
                in_flight: 0,
            },
        };
        let text = render(&status);
        let labels = |name: &str| format!("{{nf=\"fw\",instance=\"fw-0\",name=\"{name}\"}}");
        for line in [
            "# TYPE onvm_nf_gauge gauge".to_owned(),
            format!("onvm_nf_gauge{} {}", labels("flows"), u64::MAX),
            format!("onvm_nf_counter_total{} 7", labels("denied")),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
        }
        assert_eq!(text.matches("\"flows\"").count(), 1);
    }
}
