//! The memory of packets: for each security domain a file that the manager shares with the domain's NFs, and a pool over it.
//!
//! The manager has all files beside each other, so that the index of a buffer says where it is. A domain that an edit has done
//! away with keeps its file until the manager ends, for the same domain alone: other NFs never see what was in it.

use std::{os::fd::AsFd, sync::Arc};

use nflib::memory::{Geometry, Mapping, PacketFile, create_file, reopen_read_only};
use onvm_bundle::{HugePages, MAX_DOMAINS, ManagerConfig, domain_name};

use crate::{
    dpdk::{Eal, HEADROOM, PacketPool, PacketSpace, PageSize, PoolConfig, WatchedPackets},
    error::RunError,
    fleet::{Domains, PacketsOf},
};

/// Buffers that a worker's cache may keep from the other users of the pool.
const POOL_CACHE: u32 = 256;

/// All domains, by number. Field order is drop order.
#[derive(Debug)]
pub(super) struct Memory {
    watched: Vec<WatchedPackets>,
    /// The buffers of all domains.
    pub(super) packets: Arc<PacketFile>,
    pub(super) pools: Vec<Arc<PacketPool>>,
    /// What instances are handed of them.
    pub(super) domains: Arc<Domains>,
    space: Arc<PacketSpace>,
    count: u32,
    stride: u32,
    pages: Pages,
    near: Option<u16>,
}

/// The pages that files are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    Ordinary,
    /// Huge ones, or else ordinary ones.
    Any,
    Huge,
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
        let failed = RunError::system("the packet memory cannot be made");
        if !filtered && eal.uses_huge_pages() {
            tracing::warn!(
                "packet buffers lie in ordinary pages: an NF whose system calls are not filtered could take huge ones away"
            );
        }
        let pages = match (filtered && eal.uses_huge_pages(), manager.hugepages) {
            (false, _) => Pages::Ordinary,
            (true, HugePages::Size(_)) => Pages::Huge,
            (true, _) => Pages::Any,
        };
        let (count, stride) = (manager.buffers.count, manager.buffer_stride());
        let space = PacketSpace::reserve(eal, stride, count, MAX_DOMAINS as u32)?;
        let all = Geometry {
            first: 0,
            buffers: space.indices(),
            stride,
            headroom: u32::from(HEADROOM),
        };
        let reader = Mapping::reserve(all.bytes()).map_err(&failed)?;
        let mut memory = Self {
            watched: Vec::new(),
            packets: Arc::new(PacketFile::new(reader, all).map_err(&failed)?),
            pools: Vec::new(),
            domains: Arc::default(),
            space,
            count,
            stride,
            pages,
            near,
        };
        for domain in manager.domains() {
            memory.add(domain)?;
        }
        Ok(memory)
    }

    /// The pool of a domain.
    pub(super) fn pool(&self, domain: Option<&str>) -> Result<&Arc<PacketPool>, RunError> {
        let number = self.domains.of(domain).map(|(number, _)| usize::from(number));
        number.and_then(|number| self.pools.get(number)).ok_or_else(|| {
            let name = domain_name(domain);
            RunError::Unsupported(format!("the domain `{name}` has no packet memory"))
        })
    }

    /// Makes a domain that is not there yet; gives its pool, which workers are to know before anybody has a buffer of it.
    pub(super) fn add(&mut self, domain: Option<&str>) -> Result<Arc<PacketPool>, RunError> {
        let failed = RunError::system("the packet file cannot be made");
        let name = domain_name(domain);
        if self.pools.len() == MAX_DOMAINS {
            return Err(RunError::Unsupported(format!(
                "there is no room for the domain `{name}`: this onvm-run has had {MAX_DOMAINS}, and keeps the memory of those that are \
                 gone until it ends. Use names again, or restart it."
            )));
        }
        let geometry = Geometry {
            first: self.space.first_of(self.pools.len()),
            buffers: self.count,
            stride: self.stride,
            headroom: u32::from(HEADROOM),
        };
        let huge = self.pages != Pages::Ordinary;
        let (file, page_size) = match huge.then(|| create_file("onvm-packets", geometry.bytes(), true)) {
            Some(Ok(fd)) => (fd, PageSize::Mib2),
            // The EAL found huge pages for itself and they do not suffice for the packets.
            Some(Err(e)) if self.pages == Pages::Huge => return Err(failed(e)),
            _ => (
                create_file("onvm-packets", geometry.bytes(), false).map_err(&failed)?,
                PageSize::Kib4,
            ),
        };
        let read_only = reopen_read_only(file.as_fd()).map_err(&failed)?;
        let offset = geometry.first as usize * self.stride as usize;
        let reader = self.packets.mapping();
        let length = reader.put(&read_only, offset).map_err(&failed)?;
        // Before any page is there. For speed alone: nobody asked for it.
        if let Some(Err(e)) = self.near.map(|node| reader.prefer_node_for(offset, length, node)) {
            tracing::warn!(
                node = self.near,
                "packet buffers cannot be put on the NUMA node of the ports: {e}"
            );
        }
        let watched =
            WatchedPackets::new(self.packets.clone(), offset, length, page_size).map_err(&failed)?;
        let config = PoolConfig {
            name: format!("packets{}", self.pools.len()),
            stride: self.stride,
            count: self.count,
            headroom: HEADROOM,
            page_size,
            cache: POOL_CACHE,
        };
        let pool = self.space.add(file.as_fd(), length, &config).map_err(|e| {
            RunError::Unsupported(format!(
                "{e}. {} buffers are asked for in the domain `{name}`; where memory does not suffice, write fewer `buffers` in \
                 `manager`, or fewer domains. For one that an edit adds, a restart reserves memory beforehand.",
                config.count
            ))
        })?;
        self.watched.push(watched);
        self.pools.push(pool.clone());
        let packets = PacketsOf {
            writable: file,
            read_only,
            geometry,
        };
        self.domains.add(domain, packets);
        Ok(pool)
    }

    /// Buffers that are free in every domain.
    pub(super) fn free(&self) -> u32 {
        let free = |pool: &Arc<PacketPool>| pool.count().saturating_sub(pool.in_use());
        self.pools.iter().map(free).min().unwrap_or(0)
    }
}
