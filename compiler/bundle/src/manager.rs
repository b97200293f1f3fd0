//! `manager.toml`: the manager's configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Limits of the runtime's tables; the compiler refuses what would not fit.
pub const MAX_PORTS: usize = 64;
/// Ports of those that DPDK's drivers serve: `RTE_MAX_ETHPORTS`, as libdpdk is built.
pub const MAX_DPDK_PORTS: usize = 32;
pub const MAX_SERVICES: usize = 1024;
pub const MAX_INSTANCES: usize = 1024;
pub const MAX_CHAINS: usize = 65_535;
/// Hops of all chains of one bundle together.
pub const MAX_HOPS: usize = 65_535;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagerConfig {
    /// Descriptors in each ring; a power of two, 64 to 65536.
    pub ring: u32,
    /// NF visits that one packet may make before it is dropped as `hop_limit`, 1 to 255.
    pub max_hops: u8,
    pub hugepages: HugePages,
    pub idle: Idle,
    pub backpressure: bool,
    pub workers: Workers,
    pub buffers: Buffers,
    #[serde(rename = "port", default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    #[serde(rename = "service", default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    #[serde(rename = "chain", default, skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<Chain>,
}

impl ManagerConfig {
    /// The NFs that packets go around while they are lost.
    pub fn bypassed(&self) -> BTreeSet<&str> {
        let hops = self.chains.iter().flat_map(|chain| &chain.hops);
        hops.filter(|hop| hop.bypass).map(|hop| hop.at.name()).collect()
    }

    /// The NFs that may have packets looked up.
    pub fn permitted_lookups(&self) -> BTreeSet<&str> {
        let hops = self.chains.iter().flat_map(|chain| &chain.hops);
        hops.filter(|hop| hop.lookup).map(|hop| hop.at.name()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Worker threads, 1 to 64.
    pub count: u16,
    /// Up to 64 threads that only poll receive queues and hand whole flows to workers; without any, each worker polls its own queues.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub receivers: u16,
    /// Cores that the manager may use, in order of preference; empty: all that the host allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
}

fn is_zero(count: &u16) -> bool {
    *count == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffers {
    /// Packet buffers of each security domain, 512 to 4194304.
    pub count: u32,
    /// Largest layer-3 packet in bytes, 68 to 9216.
    pub mtu: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HugePages {
    /// Huge pages when the host has enough of them, ordinary pages otherwise.
    Auto,
    Off,
    /// Bytes of one huge page (2 MiB or 1 GiB); refused when the host has none of that size.
    Size(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    Adaptive,
    Spin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Index in the manager's port table, dense from 0.
    pub id: u16,
    pub name: String,
    pub source: SourceRef,
    pub queues: u16,
    pub promiscuous: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// `aa:bb:cc:dd:ee:ff`; none: the device's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The security domain of its packets, as of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Filters see its packets without their VLAN tags.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_tags: bool,
    pub kind: PortKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PortKind {
    /// `address` is a PCI address with its domain, in lower case: `0000:3b:00.0`.
    Pci {
        address: String,
    },
    /// `name` is the kernel interface that the port creates.
    Tap {
        name: String,
    },
    /// `interface` is an existing kernel interface.
    AfPacket {
        interface: String,
    },
    AfXdp {
        interface: String,
    },
    Pcap {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<PathRef>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        write: Option<PathRef>,
        repeat: bool,
    },
    Memif {
        socket: String,
        role: MemifRole,
        id: u32,
    },
    /// A port that generates packets of `size` bytes as fast as they are read and discards what is sent.
    Null {
        size: u16,
    },
    /// Any DPDK virtual device, e.g. `net_ring0` or `net_tap1,iface=x`.
    Vdev {
        device: String,
    },
}

impl PortKind {
    /// The word of every kind.
    pub const WORDS: [&str; 8] = [
        "pci",
        "tap",
        "af_packet",
        "af_xdp",
        "pcap",
        "memif",
        "null",
        "vdev",
    ];

    /// The kind as it is written in sources, in bundles, and in everything that is shown.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pci { .. } => "pci",
            Self::Tap { .. } => "tap",
            Self::AfPacket { .. } => "af_packet",
            Self::AfXdp { .. } => "af_xdp",
            Self::Pcap { .. } => "pcap",
            Self::Memif { .. } => "memif",
            Self::Null { .. } => "null",
            Self::Vdev { .. } => "vdev",
        }
    }

    /// Served by a driver of DPDK's, and not by `onvm-run` itself.
    pub fn is_dpdk(&self) -> bool {
        !matches!(self, Self::Tap { .. } | Self::AfPacket { .. } | Self::Pcap { .. })
    }

    /// Packets can arrive that somebody sent: not at a capture that is only written, nor at a generator.
    pub fn receives(&self) -> bool {
        !matches!(self, Self::Null { .. } | Self::Pcap { read: None, .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemifRole {
    Server,
    Client,
}

/// Where a file lies: in the bundle (`files/...`, from `file("...")`) or on the host (from a plain string, relative
/// to the working directory of `onvm-run`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathRef {
    Bundle(String),
    Host(String),
}

/// One `nf` declaration: a service, addressed by its id, with one or more instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Stable over edits: a service that was in the previous bundle keeps its id. 1 to 65535.
    pub id: u16,
    /// The declaration's name.
    pub name: String,
    /// The manifest's name.
    #[serde(rename = "type")]
    pub nf_type: String,
    pub source: SourceRef,
    pub run: Run,
    pub affinity: Affinity,
    pub restart: Restart,
    /// The instances get their domain's packet file mapped read-only.
    pub read_only: bool,
    /// The security domain: services of different domains share no packet memory. None: that of all that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Names of the outputs in the manifest's order; `output N` of a verdict is an index into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// How many instances run at least, of a service that is scaled while it runs; between that and all of them run as many as the
    /// load or the operator asks for, the first ones of the list. None: all, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<u16>,
    /// The name of the process that it shares with others of the same `fuse`, instance by instance. None: it has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuse: Option<String>,
    #[serde(rename = "instance")]
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `<service>-<k>`, k dense from 0. Its configuration is `nfs/<name>.toml`.
    pub name: String,
    /// Cores asked for the instance alone; none: it shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u16>,
    /// Memory limit in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    Process,
    Container,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// All packets of a flow, in both directions, meet the same instance.
    Flow,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

/// One steerable chain as a hop table. A packet enters at hop 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The declaration's name; an inline chain of a steer rule is named after its port and its steps, e.g.
    /// `wan -> fw -> lan`; `drop` is the chain of the target `drop`.
    pub name: String,
    pub source: SourceRef,
    #[serde(rename = "hop")]
    pub hops: Vec<Hop>,
}

impl Chain {
    /// A rule's target that has no name of its own.
    pub fn is_inline(&self) -> bool {
        self.name.contains(" -> ")
    }

    /// What the source says where it leads to this chain.
    pub fn as_target(&self) -> String {
        if self.is_inline() {
            self.path()
        } else {
            self.name.clone()
        }
    }
}

/// One place of a chain. All indices are into the same chain's `hops`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    pub at: Target,
    pub source: SourceRef,
    /// Where the verdict `next` leads; always present at an NF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u16>,
    /// Where each handled output leads, by output name; an output that is not here goes to `next`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, u16>,
    /// Where each permitted destination leads, by the name of an NF or a port (`allow NF to steer NAME`). A steer to
    /// anything else is overruled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steers: BTreeMap<String, u16>,
    /// The verdict `lookup` is permitted (`allow NF to lookup`): the packet enters a chain again, by its port's rules and by
    /// what its headers are then. Without it the verdict is overruled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lookup: bool,
    /// While no instance of the NF runs, packets go on to `next` without it (`on_loss = bypass`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Nf(String),
    Port(String),
    /// The packet ends here and is counted as dropped by the chain.
    Drop,
}

/// `file:line:column` in the bundle's `source/`, both from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceRef(pub String);

impl std::fmt::Display for SourceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        kind: PortKind,
    }

    #[test]
    fn every_kind_of_port_has_the_word_by_which_a_bundle_is_read() {
        let text = String::new;
        let kinds = [
            PortKind::Pci { address: text() },
            PortKind::Tap { name: text() },
            PortKind::AfPacket { interface: text() },
            PortKind::AfXdp { interface: text() },
            PortKind::Pcap {
                read: None,
                write: None,
                repeat: false,
            },
            PortKind::Memif {
                socket: text(),
                role: MemifRole::Server,
                id: 0,
            },
            PortKind::Null { size: 64 },
            PortKind::Vdev { device: text() },
        ];
        assert_eq!(kinds.each_ref().map(PortKind::word), PortKind::WORDS);
        for kind in kinds {
            let word = kind.word();
            let written = toml::to_string(&Holder { kind }).unwrap();
            assert!(written.starts_with(&format!("[kind.{word}]\n")), "{written}");
        }
        // One that is missing above would be named here.
        let unknown = toml::from_str::<Holder>("kind = { none = {} }");
        let unknown = unknown.unwrap_err().to_string();
        let words = PortKind::WORDS.map(|word| format!("`{word}`")).join(", ");
        assert!(unknown.contains(&format!("expected one of {words}")), "{unknown}");
    }
}
