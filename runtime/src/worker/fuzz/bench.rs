//! What outlives an input: DPDK, the buffers, and ports that give what is sent into them.

use std::{
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, atomic::Ordering},
};

use nflib::memory::{Geometry, Mapping, PacketFile, create_file};

use crate::dpdk::{
    Eal, EalOptions, HEADROOM, HugePages, PacketPool, PacketSpace, PageSize, PoolConfig, Port, TxDesc,
    TxQueue,
};

/// Ids of the ports that packets come from, and of those that they go to.
pub(super) const SOURCES: [usize; 2] = [0, 1];
pub(super) const SINKS: [usize; 2] = [2, 3];
pub(super) const PORTS: usize = 4;
/// The number of the security domain that each source's packets come into.
pub(super) const DOMAIN_OF: [usize; SOURCES.len()] = [0, 1];
pub(super) const DOMAINS: usize = 3;

/// Of each domain.
const GEOMETRY: Geometry = Geometry {
    first: 0,
    buffers: 256,
    stride: 512,
    headroom: HEADROOM as u32,
};

#[derive(Debug)]
pub(super) struct Bench {
    /// By domain.
    pub(super) pools: Vec<Arc<PacketPool>>,
    pub(super) packets: Arc<PacketFile>,
    /// By domain, as an NF that may write has them.
    shared: Vec<Mapping>,
    pub(super) ports: Vec<Port>,
    /// Packets sent to each port in this input.
    pub(super) sent: [u64; PORTS],
    _eal: Eal,
}

/// The one of this process.
pub(super) fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    BENCH.get_or_init(|| Mutex::new(Bench::new())).lock().unwrap()
}

impl Bench {
    fn new() -> Self {
        let eal = Eal::init(&EalOptions {
            huge_pages: HugePages::Off,
            file_prefix: format!("fuzz-{}", std::process::id()),
            ..EalOptions::default()
        });
        let eal = eal.unwrap();
        let space = PacketSpace::reserve(&eal, GEOMETRY.stride, GEOMETRY.buffers, DOMAINS as u32).unwrap();
        let all = Geometry {
            buffers: space.indices(),
            ..GEOMETRY
        };
        let reader = Mapping::reserve(all.bytes()).unwrap();
        let config = PoolConfig {
            name: String::new(),
            stride: GEOMETRY.stride,
            count: GEOMETRY.buffers,
            headroom: HEADROOM,
            page_size: PageSize::Kib4,
            cache: 0,
        };
        let (mut pools, mut shared) = (Vec::new(), Vec::new());
        for domain in 0..DOMAINS {
            let fd = create_file("packets", GEOMETRY.bytes(), false).unwrap();
            let offset = space.first_of(domain) as usize * GEOMETRY.stride as usize;
            let length = reader.put(&fd, offset).unwrap();
            let config = PoolConfig {
                name: format!("fuzz{domain}"),
                ..config.clone()
            };
            pools.push(space.add(fd.as_fd(), length, &config).unwrap());
            shared.push(Mapping::new(&fd, true).unwrap());
        }
        let open = |id: usize| {
            let mut port = Port::create_vdev(&eal, &format!("net_ring{id}"), "").unwrap();
            let pool = &pools[DOMAIN_OF.get(id).copied().unwrap_or(0)];
            port.configure(&Default::default(), std::slice::from_ref(pool))
                .unwrap();
            port.start().unwrap();
            port
        };
        Self {
            packets: Arc::new(PacketFile::new(reader, all).unwrap()),
            ports: (0..PORTS).map(open).collect(),
            shared,
            pools,
            sent: [0; PORTS],
            _eal: eal,
        }
    }

    pub(super) fn send(&self, queue: &mut TxQueue, buffers: &[u32], length: u16) {
        let packets: Vec<TxDesc> = buffers
            .iter()
            .map(|&index| TxDesc {
                index,
                off: HEADROOM,
                len: length,
            })
            .collect();
        let mut left = packets.as_slice();
        while !left.is_empty() {
            let sent = queue.tx_burst(&self.pools[0], left);
            assert!(
                sent.accepted > 0,
                "a port's ring holds more than there are buffers"
            );
            left = &left[sent.accepted..];
        }
    }

    /// Buffers that are not free.
    pub(super) fn in_use(&self) -> u64 {
        self.pools.iter().map(|pool| u64::from(pool.in_use())).sum()
    }

    pub(super) fn write_frame(&self, buffer: u32, seed: u8) {
        for (i, word) in frame(seed).as_chunks().0.iter().enumerate() {
            self.write(buffer, usize::from(HEADROOM) + i * 4, u32::from_ne_bytes(*word));
        }
    }

    pub(super) fn write(&self, buffer: u32, at: usize, value: u32) {
        let domain = self.pools[0].number_of(buffer);
        let buffer = buffer - self.pools[domain].first();
        let at = buffer as usize * GEOMETRY.stride as usize + at % GEOMETRY.stride as usize;
        if let Some(word) = self.shared[domain].u32_at(at) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// A frame of one of many flows.
pub(super) fn frame(seed: u8) -> [u8; 64] {
    let mut frame = [0; 64];
    frame[12..14].copy_from_slice(&[8, 0]);
    (frame[14], frame[17], frame[22], frame[23]) = (0x45, 50, 64, 6);
    frame[29] = seed;
    // Some of them are for another rule.
    frame[37] = 96 + seed % 4;
    frame
}
