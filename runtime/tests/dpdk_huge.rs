//! Huge pages, where the system has 64 MiB of them and a page for the packet file free; else the way without.

#![allow(clippy::unwrap_used)]

mod dpdk_support;

use std::{collections::HashSet, fs::File, os::fd::AsFd, sync::Arc};

use dpdk_support::*;
use onvm_run::dpdk::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

const COUNT: u32 = 900;

#[test]
fn huge_pages_are_used_where_there_are_enough() {
    let free_pages = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let enough = free_pages.is_ok_and(|text| text.trim().parse::<u32>().unwrap() > 32);
    let options = |huge_pages| EalOptions {
        huge_pages,
        file_prefix: format!("huge-{}", std::process::id()),
        ..EalOptions::default()
    };
    if !enough {
        let refused = Eal::init(&options(HugePages::Size(PageSize::Mib2)))
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("64 MiB of free 2 MiB huge pages were asked for, "),
            "{refused}"
        );
        assert!(refused.contains("hugepages-2048kB/nr_hugepages"), "{refused}");
    }
    let eal = Eal::init(&options(HugePages::Auto)).unwrap();
    assert_eq!(eal.uses_huge_pages(), enough, "{}", eal.recent_log());
    let pool = if enough {
        huge_pool(&eal)
    } else {
        pool(&eal, COUNT).1
    };

    let mut port = open(&eal, "net_null0", "size=64", &pool);
    let (mut rx, mut tx) = (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap());
    // What is dropped first does not matter: the queues keep all that they need.
    drop((port, eal));
    let mut burst = RxBurst::new(MAX_BURST);
    let mut held = Vec::new();
    while held.len() + MAX_BURST <= COUNT as usize {
        held.extend(receive(&mut rx, &mut burst));
    }
    assert_eq!(
        held.iter().map(|p| p.index).collect::<HashSet<_>>().len(),
        held.len()
    );
    send_all(&mut tx, &pool, &held);
    assert_eq!((pool.in_use(), pool.available()), (0, COUNT));
}

fn huge_pool(eal: &Eal) -> Arc<PacketPool> {
    let len = (COUNT as usize * STRIDE as usize).next_multiple_of(PageSize::Mib2.bytes());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let file = File::from(memfd_create("packets", flags).unwrap());
    ftruncate(&file, len as u64).unwrap();
    let memory = Arc::new(FileMapping::map(file.as_fd(), len).unwrap());
    let config = PoolConfig {
        page_size: PageSize::Mib2,
        ..pool_config("huge", COUNT)
    };
    PacketPool::new(eal, memory, &config).unwrap()
}
