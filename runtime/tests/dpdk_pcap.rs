//! The pcap driver: a capture in, the same packets out.

#![allow(clippy::unwrap_used)]

mod dpdk_support;

use std::{fs::File, path::Path, process::Command, sync::Arc, time::Duration};

use dpdk_support::*;
use onvm_run::dpdk::*;
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};

#[test]
fn pcap_ports() {
    let eal = eal("pcap");
    let (file, pool) = pool(&eal, 1024);
    let folder = tempfile::tempdir().unwrap();
    capture_in_is_capture_out(&eal, &file, &pool, folder.path());
    input_alone_swallows_what_is_sent(&eal, &pool, folder.path());
    input_repeats(&eal, &pool, folder.path());
    a_long_packet_is_freed_and_counted(&eal, &pool, folder.path());
    failures_name_the_cause(&eal, folder.path());
    assert_eq!(pool.in_use(), 0);
}

/// Packets of many lengths, each with its number in it.
fn packets() -> Vec<Vec<u8>> {
    let packet = |n: usize| (0..60 + n * 7 % 1440).map(|i| (i * 31 + n) as u8).collect();
    (0..500).map(packet).collect()
}

fn write_capture(path: &Path, packets: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for packet in packets {
        writer
            .write_packet(&PcapPacket::new(
                Duration::from_secs(1),
                packet.len() as u32,
                packet,
            ))
            .unwrap();
    }
}

fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        packets.push(packet.unwrap().data.to_vec());
    }
    packets
}

fn capture_in_is_capture_out(eal: &Eal, file: &File, pool: &Arc<PacketPool>, folder: &Path) {
    let (input, output) = (folder.join("in.pcap"), folder.join("out.pcap"));
    let sent = packets();
    write_capture(&input, &sent);
    let args = format!("rx_pcap={},tx_pcap={}", input.display(), output.display());
    let mut port = open(eal, "net_pcap0", &args, pool);
    let (mut rx, mut tx) = (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap());
    let mut burst = RxBurst::new(32);
    let mut seen = 0;
    loop {
        let packets = receive(&mut rx, &mut burst);
        if packets.is_empty() {
            break;
        }
        for packet in &packets {
            assert_eq!(bytes(file, packet.index, packet.off, packet.len), sent[seen]);
            seen += 1;
        }
        send_all(&mut tx, pool, &packets);
    }
    assert_eq!(seen, sent.len());
    assert_eq!(receive(&mut rx, &mut burst), [], "the end stays the end");
    let stats = port.stats();
    assert_eq!(
        (stats.ipackets, stats.opackets, stats.ierrors, stats.oerrors),
        (500, 500, 0, 0)
    );
    drop((rx, tx));
    port.close().unwrap();

    assert_eq!(read_capture(&output), sent);
    let listing = Command::new("tcpdump")
        .args(["-nr"])
        .arg(&output)
        .output()
        .unwrap();
    assert!(
        listing.status.success(),
        "{}",
        String::from_utf8_lossy(&listing.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&listing.stdout)
            .lines()
            .filter(|l| !l.starts_with('\t'))
            .count(),
        500
    );
}

fn input_alone_swallows_what_is_sent(eal: &Eal, pool: &Arc<PacketPool>, folder: &Path) {
    let args = format!("rx_pcap={}", folder.join("in.pcap").display());
    let mut port = open(eal, "net_pcap0", &args, pool);
    let (mut rx, mut tx) = (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap());
    let packets = receive(&mut rx, &mut RxBurst::new(32));
    assert_eq!(
        tx.tx_burst(pool, &packets),
        Sent {
            accepted: 32,
            malformed: false,
            ..Sent::default()
        }
    );
    assert_eq!(port.stats().opackets, 32);
    assert_eq!(pool.in_use(), 0);
}

fn input_repeats(eal: &Eal, pool: &Arc<PacketPool>, folder: &Path) {
    let path = folder.join("few.pcap");
    write_capture(&path, &packets()[..10]);
    let args = format!("rx_pcap={},infinite_rx=1", path.display());
    let mut port = open(eal, "net_pcap0", &args, pool);
    let mut rx = port.rx_queue(0).unwrap();
    let mut burst = RxBurst::new(32);
    let lengths: Vec<u16> = receive(&mut rx, &mut burst).iter().map(|p| p.len).collect();
    assert_eq!(lengths.len(), 32);
    assert_eq!(lengths[..10], lengths[10..20]);
    let held: Vec<u32> = burst.packets().iter().map(|p| p.index).collect();
    assert_eq!(pool.in_use(), 32 + 10, "the capture itself is in buffers");
    pool.free_burst(&held);
    drop(rx);
    drop(port);
    assert_eq!(pool.in_use(), 0);
}

fn a_long_packet_is_freed_and_counted(eal: &Eal, pool: &Arc<PacketPool>, folder: &Path) {
    let path = folder.join("long.pcap");
    write_capture(
        &path,
        &[vec![1; 100], vec![2; 5000], vec![3; 2176], vec![4; 2177]],
    );
    let mut port = open(eal, "net_pcap0", &format!("rx_pcap={}", path.display()), pool);
    let mut rx = port.rx_queue(0).unwrap();
    let mut burst = RxBurst::new(32);
    let packets = receive(&mut rx, &mut burst);
    assert_eq!(packets.iter().map(|p| p.len).collect::<Vec<_>>(), [100, 2176]);
    assert_eq!((burst.oversized, burst.foreign, pool.in_use()), (2, 0, 2));
    // The long one can be sent once the MTU says so.
    let mut tx = port.tx_queue(0).unwrap();
    assert_eq!(
        tx.tx_burst(pool, &packets),
        Sent {
            accepted: 1,
            malformed: true,
            ..Sent::default()
        }
    );
    drop((rx, tx));
    port.stop().unwrap();
    let config = PortConfig {
        mtu: Some(2154),
        ..PortConfig::default()
    };
    assert_eq!(
        port.configure(&config, std::slice::from_ref(pool)).unwrap().mtu,
        2154
    );
    port.start().unwrap();
    let mut tx = port.tx_queue(0).unwrap();
    assert_eq!(
        tx.tx_burst(pool, &packets[1..]),
        Sent {
            accepted: 1,
            malformed: false,
            ..Sent::default()
        }
    );
}

fn failures_name_the_cause(eal: &Eal, folder: &Path) {
    let missing = Port::create_vdev(eal, "net_pcap0", "rx_pcap=/missing.pcap")
        .unwrap_err()
        .to_string();
    assert_eq!(
        missing,
        "port `net_pcap0`: capture `/missing.pcap`: No such file or directory (os error 2)"
    );
    let path = folder.join("not.pcap");
    std::fs::write(&path, "this is not a capture file at all").unwrap();
    let args = format!("rx_pcap={}", path.display());
    let wrong = Port::create_vdev(eal, "net_pcap0", &args)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("creating the device failed") && wrong.contains("unknown file format"),
        "{wrong}"
    );
    let args = format!("tx_pcap={}", folder.join("no/such/folder.pcap").display());
    let wrong = Port::create_vdev(eal, "net_pcap0", &args)
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("folder.pcap"), "{wrong}");
    let unknown = Port::create_vdev(eal, "net_nonesuch0", "")
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("nonesuch"), "{unknown}");
}
