//! Settings that are fixed from the start of a manager to its end.

use crate::{ManagerConfig, Port, SourceRef};

/// The settings, by their names in the source, in which `new` differs from `old` and which a running manager cannot
/// change: its ports, its packet memory, its rings, its worker threads. Where something stands in the source is no
/// difference. Empty: `new` can be applied to a manager that runs `old`.
pub fn fixed_while_running(old: &ManagerConfig, new: &ManagerConfig) -> Vec<String> {
    let differs = [
        ("ports", unplaced(&old.ports) != unplaced(&new.ports)),
        ("buffers", old.buffers.count != new.buffers.count),
        ("mtu", old.buffers.mtu != new.buffers.mtu),
        ("workers", old.workers.count != new.workers.count),
        ("receivers", old.workers.receivers != new.workers.receivers),
        ("cores", old.workers.cores != new.workers.cores),
        ("ring", old.ring != new.ring),
        ("idle", old.idle != new.idle),
        ("hugepages", old.hugepages != new.hugepages),
    ];
    let differs = differs.iter().filter(|(_, differs)| *differs);
    differs.map(|(name, _)| (*name).to_owned()).collect()
}

fn unplaced(ports: &[Port]) -> Vec<Port> {
    let blank = |p: &Port| Port {
        source: SourceRef(String::new()),
        ..p.clone()
    };
    ports.iter().map(blank).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Buffers, HugePages, Idle, PortKind, Workers};

    pub(crate) fn config() -> ManagerConfig {
        let port = Port {
            id: 0,
            name: "wan".into(),
            source: SourceRef("a.chain:1:1".into()),
            queues: 1,
            promiscuous: true,
            mtu: None,
            mac: None,
            domain: None,
            ignore_tags: false,
            kind: PortKind::Null { size: 64 },
        };
        ManagerConfig {
            ring: 4096,
            max_hops: 64,
            hugepages: HugePages::Auto,
            idle: Idle::Adaptive,
            backpressure: true,
            workers: Workers {
                count: 1,
                receivers: 0,
                cores: Vec::new(),
            },
            buffers: Buffers {
                count: 16_384,
                mtu: 1500,
            },
            ports: vec![port],
            services: Vec::new(),
            chains: Vec::new(),
        }
    }

    #[test]
    fn every_fixed_setting_is_named() {
        type Edit = fn(&mut ManagerConfig);
        let edits: [(&str, Edit); 11] = [
            ("ports", |m| m.ports[0].queues = 2),
            ("ports", |m| m.ports.clear()),
            ("ports", |m| m.ports[0].domain = Some("a".into())),
            ("buffers", |m| m.buffers.count = 512),
            ("mtu", |m| m.buffers.mtu = 9000),
            ("workers", |m| m.workers.count = 2),
            ("receivers", |m| m.workers.receivers = 1),
            ("cores", |m| m.workers.cores = vec![1]),
            ("ring", |m| m.ring = 64),
            ("idle", |m| m.idle = Idle::Spin),
            ("hugepages", |m| m.hugepages = HugePages::Off),
        ];
        for (name, edit) in edits {
            let mut new = config();
            edit(&mut new);
            assert_eq!(fixed_while_running(&config(), &new), [name]);
        }
    }

    #[test]
    fn a_move_in_the_source_and_a_hop_limit_are_not() {
        let mut new = config();
        new.ports[0].source = SourceRef("a.chain:9:1".into());
        new.max_hops = 3;
        assert!(fixed_while_running(&config(), &new).is_empty());
    }
}
