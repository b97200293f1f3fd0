//! What outlives an input: DPDK, the buffers, and ports that give what is sent into them.

use std::{
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, atomic::Ordering},
};

use nflib::memory::{Geometry, Mapping, PacketFile, create_file};

use crate::dpdk::{
    Eal, EalOptions, FileMapping, HEADROOM, HugePages, PacketPool, PageSize, PoolConfig, Port, TxDesc,
    TxQueue,
};

/// Ids of the ports that packets come from, and of those that they go to.
pub(super) const SOURCES: [usize; 2] = [0, 1];
pub(super) const SINKS: [usize; 2] = [2, 3];
pub(super) const PORTS: usize = 4;

const GEOMETRY: Geometry = Geometry {
    buffers: 256,
    stride: 512,
    headroom: HEADROOM as u32,
};

#[derive(Debug)]
pub(super) struct Bench {
    pub(super) pool: Arc<PacketPool>,
    pub(super) packets: Arc<PacketFile>,
    /// The same, as an NF that may write has it.
    shared: Mapping,
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
        let fd = create_file("packets", GEOMETRY.bytes(), false).unwrap();
        let memory = Arc::new(FileMapping::map(fd.as_fd(), GEOMETRY.bytes()).unwrap());
        let config = PoolConfig {
            name: "fuzz".to_owned(),
            stride: GEOMETRY.stride,
            count: GEOMETRY.buffers,
            headroom: HEADROOM,
            page_size: PageSize::Kib4,
            cache: 0,
        };
        let pool = PacketPool::new(&eal, memory, &config).unwrap();
        let open = |id: usize| {
            let mut port = Port::create_vdev(&eal, &format!("net_ring{id}"), "").unwrap();
            port.configure(&Default::default(), std::slice::from_ref(&pool))
                .unwrap();
            port.start().unwrap();
            port
        };
        let ports = (0..PORTS).map(open).collect();
        Self {
            packets: Arc::new(PacketFile::new(Mapping::new(&fd, false).unwrap(), GEOMETRY).unwrap()),
            shared: Mapping::new(&fd, true).unwrap(),
            pool,
            ports,
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
            let sent = queue.tx_burst(&self.pool, left);
            assert!(
                sent.accepted > 0,
                "a port's ring holds more than there are buffers"
            );
            left = &left[sent.accepted..];
        }
    }

    pub(super) fn write_frame(&self, buffer: u32, seed: u8) {
        for (i, word) in frame(seed).as_chunks().0.iter().enumerate() {
            self.write(buffer, usize::from(HEADROOM) + i * 4, u32::from_ne_bytes(*word));
        }
    }

    pub(super) fn write(&self, buffer: u32, at: usize, value: u32) {
        let at = buffer as usize * GEOMETRY.stride as usize + at % GEOMETRY.stride as usize;
        if let Some(word) = self.shared.u32_at(at) {
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
