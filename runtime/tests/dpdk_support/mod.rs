//! What the tests of `onvm_run::dpdk` share. DPDK starts once in a process: each test file holds one test.

#![allow(dead_code, unreachable_pub)]

use std::{fs::File, os::fd::AsFd, os::unix::fs::FileExt, sync::Arc};

use onvm_run::dpdk::{
    Eal, EalOptions, FileMapping, HEADROOM, HugePages, PacketPool, PageSize, PoolConfig, Port, RxBurst,
    RxQueue, TxDesc, TxQueue,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

pub const STRIDE: u32 = 2304;

/// DPDK without huge pages, under a name of its own.
pub fn eal(name: &str) -> Eal {
    let file_prefix = format!("{name}-{}", std::process::id());
    Eal::init(&EalOptions {
        huge_pages: HugePages::Off,
        file_prefix,
        ..EalOptions::default()
    })
    .unwrap()
}

/// The packet file of plain pages, and a pool over it.
pub fn pool(eal: &Eal, count: u32) -> (File, Arc<PacketPool>) {
    let len = (count as usize * STRIDE as usize).next_multiple_of(PageSize::Kib4.bytes());
    let file = File::from(memfd_create("packets", MemfdFlags::CLOEXEC).unwrap());
    ftruncate(&file, len as u64).unwrap();
    let memory = Arc::new(FileMapping::map(file.as_fd(), len).unwrap());
    (
        file,
        PacketPool::new(eal, memory, &pool_config("test", count)).unwrap(),
    )
}

pub fn pool_config(name: &str, count: u32) -> PoolConfig {
    PoolConfig {
        name: name.to_owned(),
        stride: STRIDE,
        count,
        headroom: HEADROOM,
        page_size: PageSize::Kib4,
        cache: 256,
    }
}

/// The bytes at an offset of a buffer, as an NF would see them: through the file.
pub fn bytes(file: &File, index: u32, off: u16, len: u16) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(len)];
    file.read_exact_at(&mut bytes, u64::from(index) * u64::from(STRIDE) + u64::from(off))
        .unwrap();
    bytes
}

pub fn write(file: &File, index: u32, off: u16, bytes: &[u8]) {
    file.write_all_at(bytes, u64::from(index) * u64::from(STRIDE) + u64::from(off))
        .unwrap();
}

/// Sends all, over as many calls as the driver needs.
pub fn send_all(queue: &mut TxQueue, pool: &PacketPool, packets: &[TxDesc]) {
    let mut left = packets;
    while !left.is_empty() {
        let sent = queue.tx_burst(pool, left);
        assert!(!sent.malformed, "{:?}", left[sent.accepted]);
        left = &left[sent.accepted..];
    }
}

/// One receive call, as packets to send on.
pub fn receive(queue: &mut RxQueue, burst: &mut RxBurst) -> Vec<TxDesc> {
    queue.rx_burst(burst);
    burst
        .packets()
        .iter()
        .map(|p| TxDesc {
            index: p.index,
            off: p.off,
            len: p.len,
        })
        .collect()
}

pub fn open(eal: &Eal, name: &str, args: &str, pool: &Arc<PacketPool>) -> Port {
    let mut port = Port::create_vdev(eal, name, args).unwrap();
    port.configure(&Default::default(), std::slice::from_ref(pool))
        .unwrap();
    port.start().unwrap();
    port
}

/// The lines of `/proc/self/status` with signal handlers and the CPU set.
pub fn process_state() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let kept = ["SigBlk:", "SigIgn:", "SigCgt:", "Cpus_allowed_list:"];
    status
        .lines()
        .filter(|line| kept.iter().any(|key| line.starts_with(key)))
        .map(str::to_owned)
        .collect()
}

/// Descriptors that a child process would inherit, with what they are.
pub fn inheritable() -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten() {
        let Ok(info) = std::fs::read_to_string(entry.path()) else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        if i32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 == 0 {
            let number = entry.file_name().into_string().unwrap();
            let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
            found.push(format!("{number} {}", target.display()));
        }
    }
    found.sort();
    found
}
