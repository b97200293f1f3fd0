//! The memory of packets: a file that the manager and its NFs share.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use nflib::memory::{Geometry, Mapping, PacketFile, create_file, reopen_read_only};
use onvm_bundle::{HugePages, ManagerConfig};

use crate::{
    dpdk::{Eal, FileMapping, HEADROOM, PacketPool, PageSize, PoolConfig, WatchedPackets},
    error::RunError,
};

/// Buffers that a worker's cache may keep from the other users of the pool.
const POOL_CACHE: u32 = 256;

/// The packet file, its descriptors and the pool over it.
pub(super) struct Memory {
    pub(super) packets_fd: OwnedFd,
    pub(super) read_only_fd: OwnedFd,
    pub(super) geometry: Geometry,
    pub(super) pool: Arc<PacketPool>,
    pub(super) packets: Arc<PacketFile>,
    pub(super) watched: WatchedPackets,
}

impl Memory {
    /// `filtered`: NFs make only the system calls of their jail. One that is not held to them can punch holes into the file, and
    /// where huge pages have run out the manager's next touch of it would be a SIGBUS. `near` is the NUMA node of the ports.
    pub(super) fn new(
        eal: &Eal,
        manager: &ManagerConfig,
        filtered: bool,
        near: Option<u16>,
    ) -> Result<Self, RunError> {
        let failed = RunError::system("the packet file cannot be made");
        let stride = manager.buffer_stride();
        let geometry = Geometry {
            buffers: manager.buffers.count,
            stride,
            headroom: u32::from(HEADROOM),
        };
        let huge = filtered && eal.uses_huge_pages();
        if !filtered && eal.uses_huge_pages() {
            tracing::warn!(
                "packet buffers lie in ordinary pages: an NF whose system calls are not filtered could take huge ones away"
            );
        }
        let (packets_fd, page_size) = match huge.then(|| create_file("onvm-packets", geometry.bytes(), true))
        {
            Some(Ok(fd)) => (fd, PageSize::Mib2),
            // The EAL found huge pages for itself and they do not suffice for the packets.
            Some(Err(e)) if matches!(manager.hugepages, HugePages::Size(_)) => return Err(failed(e)),
            _ => (
                create_file("onvm-packets", geometry.bytes(), false).map_err(&failed)?,
                PageSize::Kib4,
            ),
        };
        let read_only_fd = reopen_read_only(packets_fd.as_fd()).map_err(&failed)?;
        let reader = Mapping::new(&read_only_fd, false).map_err(&failed)?;
        let length = reader.len();
        // Before any page is there. For speed alone: nobody asked for it.
        if let Some(Err(e)) = near.map(|node| reader.prefer_node(node)) {
            tracing::warn!(
                node = near,
                "packet buffers cannot be put on the NUMA node of the ports: {e}"
            );
        }
        let packets = Arc::new(PacketFile::new(reader, geometry).map_err(&failed)?);
        let watched = WatchedPackets::new(packets.clone(), page_size).map_err(&failed)?;
        let config = PoolConfig {
            name: "packets".to_owned(),
            stride: geometry.stride,
            count: geometry.buffers,
            headroom: HEADROOM,
            page_size,
            cache: POOL_CACHE,
        };
        let mapping = Arc::new(FileMapping::map(packets_fd.as_fd(), length)?);
        let pool = PacketPool::new(eal, mapping, &config).map_err(|e| {
            RunError::Unsupported(format!(
                "{e}. {} buffers are asked for; where memory does not suffice, write fewer `buffers` in `manager`.",
                config.count
            ))
        })?;
        Ok(Self {
            packets_fd,
            read_only_fd,
            geometry,
            pool,
            packets,
            watched,
        })
    }
}
