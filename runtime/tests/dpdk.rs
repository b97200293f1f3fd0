//! The EAL, the packet pool, and the null driver.

#![allow(clippy::unwrap_used)]

mod dpdk_support;

use std::{collections::HashSet, os::fd::AsFd, path::PathBuf, sync::Arc};

use dpdk_support::*;
use onvm_run::dpdk::*;

const COUNT: u32 = 1000;

#[test]
fn eal_pool_and_null_port() {
    let before = process_state();
    let options = EalOptions {
        huge_pages: HugePages::Off,
        main_cores: vec![5000],
        ..EalOptions::default()
    };
    let refused = Eal::init(&options).unwrap_err().to_string();
    assert_eq!(
        refused,
        "invalid EAL option: main core 5000 is not among this process's CPUs"
    );

    let options = EalOptions {
        pci: vec!["3b:00.0".to_owned()],
        ..options_off()
    };
    let refused = Eal::init(&options).unwrap_err().to_string();
    assert_eq!(
        refused,
        "invalid EAL option: PCI address `3b:00.0`: write it as 0000:3b:00.0"
    );

    let eal = eal("eal");
    assert_eq!(
        process_state(),
        before,
        "DPDK changed the signal handlers or the CPU set"
    );
    assert!(!eal.uses_huge_pages());
    assert!(!runtime_folder().exists(), "DPDK left files behind");
    assert!(matches!(
        Eal::init(&options_off()),
        Err(DpdkError::AlreadyStarted)
    ));

    let (file, pool) = pool(&eal, COUNT);
    every_buffer_is_allocated_once(&pool);
    a_buffer_beyond_the_end_is_skipped(&pool);
    refused_pools(&eal);
    null_port_moves_buffers(&eal, &file, &pool);
    what_a_device_hashes_is_read_back(&eal, &pool);
    threads_have_numbers(&eal, &pool);
    assert_eq!((pool.in_use(), pool.available()), (0, COUNT));
    let absent = Port::open_pci(&eal, "ffff:ff:1f.7").unwrap_err().to_string();
    assert_eq!(
        absent,
        "port `ffff:ff:1f.7`: there is no such PCI device (see `lspci -D`)"
    );
    drop(pool);
    eal.cleanup();
    assert!(!runtime_folder().exists(), "DPDK left files behind");
}

/// The null driver keeps key, kinds and table as a card does, though it hashes nothing.
fn what_a_device_hashes_is_read_back(eal: &Eal, pool: &Arc<PacketPool>) {
    let mut port = Port::create_vdev(eal, "net_null7", "no-rx=1").unwrap();
    let mut set_up = |rx_queues, rss| {
        let config = PortConfig {
            rx_queues,
            rss,
            ..PortConfig::default()
        };
        port.configure(&config, std::slice::from_ref(pool)).unwrap();
        port.start().unwrap();
        port.rss()
    };
    assert_eq!(set_up(1, true), None, "there is nothing to spread");
    assert_eq!(set_up(3, false), None);
    let rss = set_up(3, true).unwrap();
    assert!(rss.symmetric && rss.common_table && rss.queues == 3, "{rss:?}");
    for kind in ["ipv4", "ipv4-tcp", "ipv4-udp", "ipv6", "ipv6-tcp", "ipv6-udp"] {
        assert!(rss.names().contains(&kind), "{kind} of {:?}", rss.names());
    }
    let only_addresses = 1 << 2 | 1 << 8;
    port.restrict_rss(only_addresses).unwrap();
    let rss = port.rss().unwrap();
    assert_eq!(rss.names(), ["ipv4", "ipv6"]);
    assert!(rss.symmetric, "the key stays");
    port.close().unwrap();
}

/// Where DPDK would keep files of this process; other processes may have theirs beside it.
fn runtime_folder() -> PathBuf {
    PathBuf::from(format!("/var/run/dpdk/eal-{}", std::process::id()))
}

fn options_off() -> EalOptions {
    EalOptions {
        huge_pages: HugePages::Off,
        ..EalOptions::default()
    }
}

fn every_buffer_is_allocated_once(pool: &PacketPool) {
    let mut all = vec![u32::MAX; COUNT as usize + 10];
    assert_eq!(pool.alloc_burst(&mut all), COUNT as usize);
    all.truncate(COUNT as usize);
    assert_eq!(
        all.iter().copied().collect::<HashSet<u32>>(),
        (0..COUNT).collect()
    );
    assert_eq!((pool.in_use(), pool.available()), (COUNT, 0));
    assert_eq!(pool.alloc_burst(&mut [0; 3]), 0);
    // What is left below a burst is handed out too.
    assert_eq!(pool.free_burst(&all[..5]), 5);
    assert_eq!(pool.alloc_burst(&mut [0; 32]), 5);
    assert_eq!(pool.free_burst(&all), COUNT as usize);
}

fn a_buffer_beyond_the_end_is_skipped(pool: &PacketPool) {
    assert_eq!(pool.free_burst(&[COUNT, u32::MAX]), 0);
    assert_eq!(pool.available(), COUNT);
}

fn refused_pools(eal: &Eal) {
    let file = rustix::fs::memfd_create("small", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, 1 << 20).unwrap();
    let too_long = FileMapping::map(file.as_fd(), 2 << 20).unwrap_err().to_string();
    assert!(
        too_long.contains("2097152 bytes were asked for of a file of 1048576 bytes"),
        "{too_long}"
    );
    let memory = Arc::new(FileMapping::map(file.as_fd(), 1 << 20).unwrap());
    let refusal = |change: fn(&mut PoolConfig)| {
        let mut config = pool_config("refused", 100);
        change(&mut config);
        let memory: Arc<dyn PacketMemory> = Arc::<FileMapping>::clone(&memory);
        PacketPool::new(eal, memory, &config).unwrap_err().to_string()
    };
    type Change = fn(&mut PoolConfig);
    let cases: [(Change, &str); 6] = [
        (|c| c.stride = 2300, "stride 2300: must be a multiple of 64"),
        (
            |c| c.count = 456,
            "456 buffers do not fit 1048576 bytes of memory",
        ),
        (|c| c.count = 0, "0 buffers do not fit"),
        (|c| c.headroom = 256, "a headroom of 256 bytes was asked for"),
        (|c| c.page_size = PageSize::Mib2, "page border of 2097152 bytes"),
        (|c| c.name = "test".to_owned(), "creating its mbufs: File exists"),
    ];
    for (change, expected) in cases {
        let text = refusal(change);
        assert!(text.contains(expected), "{text}");
    }
}

fn null_port_moves_buffers(eal: &Eal, file: &std::fs::File, pool: &Arc<PacketPool>) {
    let mut port = Port::create_vdev(eal, "net_null0", "size=64,copy=1").unwrap();
    let twice = Port::create_vdev(eal, "net_null0", "").unwrap_err().to_string();
    assert_eq!(twice, "port `net_null0`: there is a port of this name already");
    assert!(
        port.rx_queue(0)
            .unwrap_err()
            .to_string()
            .contains("is not started")
    );
    let many = PortConfig {
        rx_queues: 5000,
        ..PortConfig::default()
    };
    let refused = port
        .configure(&many, std::slice::from_ref(pool))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("5000 receive queues were asked for; the device has 1 to"),
        "{refused}"
    );
    let jumbo = PortConfig {
        mtu: Some(9000),
        ..PortConfig::default()
    };
    let refused = port
        .configure(&jumbo, std::slice::from_ref(pool))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("MTU 9000 and 22 bytes of headers do not fit the 2176 bytes"),
        "{refused}"
    );

    let effective = port
        .configure(&PortConfig::default(), std::slice::from_ref(pool))
        .unwrap();
    assert_eq!(effective.mtu, 1500);
    port.start().unwrap();
    assert!(port.link_up());
    let mut rx = port.rx_queue(0).unwrap();
    let mut tx = port.tx_queue(0).unwrap();
    assert!(
        port.rx_queue(0)
            .unwrap_err()
            .to_string()
            .contains("receive queue 0 is in use already")
    );
    assert!(
        port.rx_queue(1)
            .unwrap_err()
            .to_string()
            .contains("has 1 receive queues, no number 1")
    );
    assert!(matches!(port.stop(), Err(DpdkError::QueuesInUse { .. })));

    let mut burst = RxBurst::new(32);
    let mut held = Vec::new();
    while held.len() + 32 <= COUNT as usize {
        let packets = receive(&mut rx, &mut burst);
        assert_eq!(packets.len(), 32);
        held.extend(packets);
    }
    assert_eq!(
        receive(&mut rx, &mut burst),
        [],
        "32 buffers are not there any more"
    );
    assert_eq!(
        held.iter().map(|p| p.index).collect::<HashSet<_>>().len(),
        held.len()
    );
    assert!(held.iter().all(|p| (p.off, p.len) == (HEADROOM, 64)));
    write(file, held[0].index, held[0].off, b"through the file");
    assert!(bytes(file, held[0].index, held[0].off, 16) == b"through the file");

    refused_packets(&mut tx, pool, held[0]);
    let held = &held;
    // Queues are used, and given back, in the worker's thread.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _lcore = Lcore::register(eal).unwrap();
            send_all(&mut tx, pool, held);
            drop((rx, tx));
        });
    });
    assert_eq!(pool.in_use(), 0);
    let stats = port.stats();
    assert_eq!((stats.ipackets, stats.opackets), (992, 992));
    port.stop().unwrap();
    port.start().unwrap();
    assert!(port.rx_queue(0).is_ok());
    port.close().unwrap();
    drop(Port::create_vdev(eal, "net_null0", "").unwrap());
}

fn refused_packets(tx: &mut TxQueue, pool: &PacketPool, good: TxDesc) {
    let bad = [
        TxDesc { index: COUNT, ..good },
        TxDesc {
            index: u32::MAX,
            ..good
        },
        TxDesc { len: 0, ..good },
        TxDesc { len: 13, ..good },
        TxDesc { len: 1523, ..good },
        TxDesc {
            off: STRIDE as u16 - 63,
            ..good
        },
        TxDesc {
            off: u16::MAX,
            ..good
        },
    ];
    for packet in bad {
        assert_eq!(
            tx.tx_burst(pool, &[packet, good]),
            Sent {
                accepted: 0,
                malformed: true,
                ..Sent::default()
            },
            "{packet:?}"
        );
    }
    assert_eq!(
        tx.tx_burst(pool, &[]),
        Sent {
            accepted: 0,
            malformed: false,
            ..Sent::default()
        }
    );
}

fn threads_have_numbers(eal: &Eal, pool: &PacketPool) {
    assert_eq!(Lcore::register(eal).unwrap().id(), 0);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let lcore = Lcore::register(eal).unwrap();
            let mut held = [0; 200];
            assert_eq!(pool.alloc_burst(&mut held), 200);
            assert_eq!(pool.free_burst(&held), 200);
            lcore.id()
        });
        assert_eq!(worker.join().unwrap(), 1);
    });
    // A number is free again, and the thread's cache was given back.
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| Lcore::register(eal).unwrap().id());
        assert_eq!(worker.join().unwrap(), 1);
    });
    let mut all = vec![0; COUNT as usize];
    assert_eq!(pool.alloc_burst(&mut all), COUNT as usize);
    assert_eq!(pool.free_burst(&all), COUNT as usize);
}
