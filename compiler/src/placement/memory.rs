//! Memory, huge pages and buffers.

use nflib::{layout::Layout, memory::HUGE_PAGE};
use onvm_bundle::{HugePages, ManagerConfig, domain_name};
use serde::Serialize;

use super::{Line, bytes};

/// Bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryDemand {
    pub lines: Vec<Line>,
    pub asked: u64,
}

/// Rings and counters of one instance, in bytes.
pub(super) fn region_bytes(manager: &ManagerConfig) -> u64 {
    Layout::of_instance(u32::from(manager.workers.count), manager.ring).size as u64
}

impl MemoryDemand {
    pub(super) fn new(manager: &ManagerConfig) -> Self {
        let domains = manager.domains();
        let buffers = format!("{} x {} B", manager.buffers.count, manager.buffer_stride());
        let of_domain = |domain: &Option<&str>| {
            let what = match domains.len() {
                1 => "packet buffers".to_owned(),
                _ => format!("packet buffers of {}", domain_name(*domain)),
            };
            Line::new(what, buffers.clone(), manager.domain_bytes())
        };
        let hosts = manager.hosts();
        let services = || hosts.iter().map(|host| host.service.as_ref());
        let instances: u64 = services().map(|s| s.instances.len() as u64).sum();
        let region = region_bytes(manager);
        let mut lines: Vec<Line> = domains.iter().map(of_domain).collect();
        lines.extend([
            Line::new(
                "rings and counters",
                format!("{instances} x {}", bytes(region)),
                instances * region,
            ),
            Line::new("DPDK's own", "", u64::from(manager.dpdk_mib()) << 20),
        ]);
        for service in services() {
            let count = service.instances.len() as u64;
            if let Some(limit) = service.instances.first().and_then(|i| i.memory) {
                let what = format!("limit of {}", service.name);
                lines.push(Line::new(
                    what,
                    format!("{count} x {}", bytes(limit)),
                    count.saturating_mul(limit),
                ));
            }
        }
        Self {
            asked: lines.iter().fold(0, |sum: u64, l| sum.saturating_add(l.amount)),
            lines,
        }
    }
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageDemand {
    pub what: &'static str,
    /// Bytes of a page.
    pub page: u64,
    pub pages: u64,
    /// `onvm-run` refuses to start without them; otherwise it takes ordinary pages.
    pub required: bool,
}

impl PageDemand {
    /// DPDK has its memory in pages of the size asked for, the packet file in pages of 2 MiB.
    pub(super) fn all(manager: &ManagerConfig) -> Vec<Self> {
        let packet_page = HUGE_PAGE as u64;
        let (page, required) = match manager.hugepages {
            HugePages::Off => return Vec::new(),
            HugePages::Auto => (packet_page, false),
            HugePages::Size(size) if size > packet_page => (1 << 30, true),
            HugePages::Size(_) => (packet_page, true),
        };
        let dpdk = u64::from(manager.dpdk_mib()) << 20;
        vec![
            Self {
                what: "DPDK's own",
                page,
                pages: dpdk.div_ceil(page),
                required,
            },
            Self {
                what: "packet buffers",
                page: packet_page,
                pages: manager.domain_bytes().div_ceil(packet_page) * manager.domains().len() as u64,
                required,
            },
        ]
    }
}

/// Packet buffers against what rings can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BufferDemand {
    pub buffers: u64,
    /// What the two rings of one instance hold, for all workers. At most half of the buffers.
    pub held_by_one: u64,
    /// The same for all instances. It may be more than there are: then not all can fall behind at once.
    pub held_by_all: u64,
}

impl BufferDemand {
    pub(super) fn new(manager: &ManagerConfig) -> Self {
        let hosts = manager.hosts();
        let instances: u64 = hosts.iter().map(|host| host.service.instances.len() as u64).sum();
        let one = 2 * u64::from(manager.ring) * u64::from(manager.workers.count);
        Self {
            buffers: u64::from(manager.buffers.count),
            held_by_one: one,
            held_by_all: instances * one,
        }
    }
}
