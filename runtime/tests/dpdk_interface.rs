//! Drivers over kernel interfaces: `af_packet` and `af_xdp` on a veth pair, and tap. Needs `CAP_NET_ADMIN` and `CAP_NET_RAW`, and fails
//! without.

#![allow(clippy::unwrap_used)]

mod dpdk_support;

use std::{fs::File, process::Command, sync::Arc, thread::sleep, time::Duration};

use dpdk_support::*;
use onvm_run::dpdk::*;

/// A pair of interfaces, removed on drop.
struct Veth {
    ends: [String; 2],
}

impl Veth {
    fn new() -> Self {
        let id = std::process::id() % 100_000;
        let ends = [format!("ovt{id}a"), format!("ovt{id}b")];
        ip(&["link", "add", &ends[0], "type", "veth", "peer", "name", &ends[1]]);
        let pair = Self { ends };
        for end in &pair.ends {
            // Else the kernel sends neighbour discovery of its own.
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
            ip(&["link", "set", end, "up"]);
        }
        pair
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.ends[0]]).status();
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "ip {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn interface_ports() {
    let before = inheritable();
    let eal = eal("interface");
    let (file, pool) = pool(&eal, 4096);
    let veth = Veth::new();
    let [a, b] = &veth.ends;
    carry(
        &eal,
        &file,
        &pool,
        &before,
        ("net_af_packet0", a),
        ("net_af_packet1", b),
    );
    // Another driver's memory: the packets are copied into the pool, and out of it.
    carry(
        &eal,
        &file,
        &pool,
        &before,
        ("net_af_packet0", a),
        ("net_af_xdp0", b),
    );
    carry(
        &eal,
        &file,
        &pool,
        &before,
        ("net_af_xdp0", a),
        ("net_af_packet0", b),
    );
    tap_appears_and_disappears(&eal, &pool);
    assert_eq!(inheritable(), before);
    failures_name_the_cause(&eal);
    assert_eq!(pool.in_use(), 0);
}

/// A frame with the number `n` in it; `tag` gives it a VLAN tag.
fn frame(n: u8, tag: Option<u16>) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, n]);
    if let Some(tag) = tag {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(0x88b5_u16.to_be_bytes());
    frame.extend(std::iter::repeat_n(n, 60 + usize::from(n)));
    frame
}

/// Sends from one end of the pair with one driver, and receives at the other with another.
fn carry(
    eal: &Eal,
    file: &File,
    pool: &Arc<PacketPool>,
    before: &[String],
    from: (&str, &str),
    to: (&str, &str),
) {
    let mut a = open(eal, from.0, &format!("iface={}", from.1), pool);
    let mut b = open(eal, to.0, &format!("iface={}", to.1), pool);
    let (mut tx, mut rx) = (a.tx_queue(0).unwrap(), b.rx_queue(0).unwrap());
    let sent: Vec<Vec<u8>> = (0..100)
        .map(|n| frame(n, (n % 3 == 0).then_some(u16::from(n) + 1)))
        .collect();
    let mut indices = vec![0; sent.len()];
    assert_eq!(pool.alloc_burst(&mut indices), sent.len());
    let mut packets = Vec::new();
    for (&index, frame) in indices.iter().zip(&sent) {
        write(file, index, HEADROOM, frame);
        packets.push(TxDesc {
            index,
            off: HEADROOM,
            len: frame.len() as u16,
        });
    }
    send_all(&mut tx, pool, &packets);
    assert_eq!(
        inheritable(),
        *before,
        "a process started now gets descriptors of DPDK"
    );
    let received = wait_for(file, pool, &mut rx, sent.len());
    assert_eq!(received, sent, "{} to {}", from.0, to.0);
    assert_eq!(a.stats().opackets, 100);
    drop((tx, rx));
    a.close().unwrap();
    b.close().unwrap();
    assert_eq!(pool.in_use(), 0);
}

fn wait_for(file: &File, pool: &PacketPool, rx: &mut RxQueue, count: usize) -> Vec<Vec<u8>> {
    let mut burst = RxBurst::new(32);
    let mut received = Vec::new();
    for _ in 0..2000 {
        for packet in receive(rx, &mut burst) {
            let bytes = bytes(file, packet.index, packet.off, packet.len);
            pool.free_burst(&[packet.index]);
            // Only frames of this test: an interface may carry others.
            if bytes.len() > 12 && bytes[6..11] == [2, 0, 0, 0, 0] {
                received.push(bytes);
            }
        }
        if received.len() >= count {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    received
}

fn tap_appears_and_disappears(eal: &Eal, pool: &Arc<PacketPool>) {
    let name = format!("ovtap{}", std::process::id() % 100_000);
    assert!(!interface_exists(&name));
    let port = open(eal, "net_tap0", &format!("iface={name}"), pool);
    assert!(interface_exists(&name));
    assert_ne!(port.mac(), [0; 6]);
    port.close().unwrap();
    assert!(!interface_exists(&name), "closing the port left {name} behind");
}

fn failures_name_the_cause(eal: &Eal) {
    let missing = Port::create_vdev(eal, "net_af_packet0", "iface=nonesuch0").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "port `net_af_packet0`: there is no network interface `nonesuch0` in this network namespace"
    );
    // A thread can give up rights for itself alone.
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            drop_capabilities();
            Port::create_vdev(eal, "net_af_packet0", "iface=lo").unwrap_err()
        });
        let refused = refused.join().unwrap().to_string();
        assert!(refused.contains("needs the capability CAP_NET_RAW"), "{refused}");
    });
}

fn drop_capabilities() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
    .unwrap();
    assert!(!has_capability(Capability::NetRaw));
}
