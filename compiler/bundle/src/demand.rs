//! The demands of a configuration on a host; the manager takes them, and the compiler states them beforehand.

use crate::{HEADROOM, MAX_DOMAINS, ManagerConfig, PortKind};

/// MiB of DPDK's memory for a receive queue of `af_xdp`: 4095 mbufs of its own, which the kernel writes to, of 2.4 KB each, and what
/// is lost between the pages.
const XDP_QUEUE_MIB: u64 = 12;

/// An mbuf with its pool header and ring slots.
const MBUF_BYTES: u64 = 320;

impl ManagerConfig {
    /// Bytes from one packet buffer to the next.
    pub fn buffer_stride(&self) -> u32 {
        self.buffer_room() + u32::from(HEADROOM)
    }

    /// Packet buffers of all domains.
    pub fn all_buffers(&self) -> u64 {
        u64::from(self.buffers.count) * self.domains().len() as u64
    }

    /// Bytes of the packet buffers of one domain.
    pub fn domain_bytes(&self) -> u64 {
        u64::from(self.buffers.count) * u64::from(self.buffer_stride())
    }

    /// Bytes of all packet buffers.
    pub fn packet_bytes(&self) -> u64 {
        self.domain_bytes() * self.domains().len() as u64
    }

    /// Queues of the ports that DPDK's drivers serve: those for receiving, and for each port one for sending of each worker.
    fn port_queues(&self) -> u64 {
        let served = self.ports.iter().filter(|p| p.kind.is_dpdk());
        served
            .map(|p| u64::from(p.queues) + u64::from(self.workers.count))
            .sum()
    }

    /// Receive queues whose driver has mbufs of its own.
    fn xdp_queues(&self) -> u64 {
        let xdp = self
            .ports
            .iter()
            .filter(|p| matches!(p.kind, PortKind::AfXdp { .. }));
        xdp.map(|p| u64::from(p.queues)).sum()
    }

    /// MiB for DPDK's own objects: 320 bytes for an mbuf with its pool header and ring slots, a quarter of a MiB for a
    /// queue, what `af_xdp` takes, and 32 MiB for DPDK itself.
    pub fn dpdk_mib(&self) -> u32 {
        let mbufs = self.all_buffers() * MBUF_BYTES / (1 << 20);
        let queues = self.port_queues() / 4 + self.xdp_queues() * XDP_QUEUE_MIB;
        u32::try_from(32 + mbufs + queues + 1).unwrap_or(u32::MAX)
    }

    /// MiB of DPDK's for the buffers of as many domains as edits may add.
    pub fn spare_dpdk_mib(&self) -> u32 {
        let domains = MAX_DOMAINS.saturating_sub(self.domains().len()) as u64;
        let mbufs = domains * u64::from(self.buffers.count) * MBUF_BYTES / (1 << 20);
        u32::try_from(mbufs + domains).unwrap_or(u32::MAX)
    }

    /// The cores that `cores` names, each once, in its order; empty: all that the host allows.
    pub fn named_cores(&self) -> Vec<u16> {
        let mut cores = Vec::new();
        for core in &self.workers.cores {
            if !cores.contains(core) {
                cores.push(*core);
            }
        }
        cores
    }
}
