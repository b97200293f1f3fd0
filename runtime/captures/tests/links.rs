//! Packets of other link types become Ethernet frames whose network layer tshark reads as it was.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{fs, path::Path};

use onvm_captures::{Capture, file_header, push_record};
use onvm_tests::{capture, programs, variants};

/// The Ethernet frames that packets of this link type are read as, and how long they were on the wire.
fn converted(packets: &[Vec<u8>], link: u16, big_endian: bool) -> Result<Vec<(Vec<u8>, u32)>, String> {
    let bytes = variants::pcap(packets, link.into(), big_endian, 0xa1b2_c3d4, 65_535).bytes;
    let mut frames = Vec::new();
    Capture::of(Path::new("in"), Box::new(std::io::Cursor::new(bytes)))
        .and_then(|capture| capture.for_each(|p| frames.push((p.data.to_vec(), p.wire_length))))
        .map_err(|e| e.to_string())?;
    Ok(frames)
}

/// What stands behind the Ethernet header of some packets: IPv4, and IPv6 to a group.
fn network_layers() -> Vec<(u16, Vec<u8>)> {
    let ipv4 = (0..5).map(|i| (0x0800, capture::udp(i, i.into(), 30)[14..].to_vec()));
    let mut ipv6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    ipv6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    ipv6.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]);
    ipv6.extend([0, 53, 0, 53, 0, 8, 0, 0]);
    ipv4.chain([(0x86dd, ipv6)]).collect()
}

fn with(header: impl Fn(u16) -> Vec<u8>) -> Vec<Vec<u8>> {
    let layers = network_layers().into_iter();
    layers
        .map(|(kind, layer)| [header(kind), layer].concat())
        .collect()
}

/// What a dissector says of packets, by fields of the network layer and above.
fn dissected(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    let mut arguments = vec!["-n", "-r", path.to_str().unwrap(), "-T", "fields"];
    let fields = [
        "ip.src",
        "ip.dst",
        "ip.checksum",
        "ipv6.src",
        "ipv6.dst",
        "udp.srcport",
        "udp.dstport",
        "data.data",
    ];
    for field in fields {
        arguments.extend(["-e", field]);
    }
    programs::tool("tshark", &arguments)
}

fn sll(kind: u16) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    vec![0, 0, 0, 1, 0, 6, 0xaa, 1, 2, 3, 4, 5, 0, 0, high, low]
}

fn sll2(kind: u16) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    vec![high, low, 0, 0, 0, 0, 0, 7, 0, 1, 4, 6, 0xaa, 1, 2, 3, 4, 5, 0, 0]
}

fn family(kind: u16, big_endian: bool) -> Vec<u8> {
    let family: u32 = if kind == 0x0800 { 2 } else { 30 };
    if big_endian {
        family.to_be_bytes().to_vec()
    } else {
        family.to_le_bytes().to_vec()
    }
}

#[test]
fn the_network_layer_is_what_tshark_read_before() {
    let dir = tempfile::tempdir().unwrap();
    let ipv4 = || network_layers().into_iter().filter(|(kind, _)| *kind == 0x0800);
    let cases: [(u16, bool, Vec<Vec<u8>>); 9] = [
        (113, false, with(sll)),
        (276, true, with(sll2)),
        (101, false, with(|_| Vec::new())),
        (12, false, with(|_| Vec::new())),
        (228, false, ipv4().map(|(_, layer)| layer).collect()),
        (229, false, vec![network_layers()[5].1.clone()]),
        (0, false, with(|kind| family(kind, false))),
        (0, true, with(|kind| family(kind, true))),
        (108, false, with(|kind| family(kind, true))),
    ];
    for (link, big_endian, packets) in cases {
        let frames = converted(&packets, link, big_endian).unwrap();
        assert_eq!(frames.len(), packets.len(), "link type {link}");
        let before = variants::pcap(&packets, link.into(), big_endian, 0xa1b2_c3d4, 65_535).bytes;
        let mut after = file_header().to_vec();
        for (frame, wire_length) in &frames {
            assert_eq!(frame.len() as u32, *wire_length);
            push_record(&mut after, 0, frame, *wire_length);
        }
        let before = dissected(dir.path(), "before.pcap", &before);
        assert_eq!(
            before,
            dissected(dir.path(), "after.pcap", &after),
            "link type {link}"
        );
        assert!(
            before
                .lines()
                .all(|l| l.contains("198.51.") || l.contains("2001:db8::1")),
            "{before}"
        );
    }
}

#[test]
fn addresses_are_those_of_the_packet_where_it_says_some() {
    let made_up = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let group = [0x33, 0x33, 0, 1, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    let frames = converted(&with(|_| Vec::new()), 101, false).unwrap();
    assert_eq!(frames[0].0[..14], made_up);
    assert_eq!(frames[5].0[..14], group);
    let frames = converted(&with(sll), 113, false).unwrap();
    assert_eq!(frames[0].0[..14], [2, 0, 0, 0, 0, 2, 0xaa, 1, 2, 3, 4, 5, 8, 0]);
    let broadcast = |kind| {
        let mut header = sll(kind);
        header[1] = 1;
        header
    };
    let frames = converted(&with(broadcast), 113, false).unwrap();
    assert_eq!(
        frames[0].0[..12],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xaa, 1, 2, 3, 4, 5]
    );
    // A frame of 802.2 has its length where others have their type.
    let llc = [sll(4), vec![0x42, 0x42, 3, 0, 0, 0, 0]].concat();
    assert_eq!(
        converted(&[llc], 113, false).unwrap()[0].0[12..],
        [0, 7, 0x42, 0x42, 3, 0, 0, 0, 0]
    );
}

#[test]
fn a_packet_without_an_ethernet_form_is_an_error_with_its_number() {
    let good = [sll(0x0800), network_layers()[0].1.clone()].concat();
    let mut netlink = good.clone();
    netlink[2..4].copy_from_slice(&824_u16.to_be_bytes());
    let error = converted(&[good.clone(), netlink], 113, false).unwrap_err();
    assert!(
        error.contains("packet 2") && error.contains("824") && error.contains("tcprewrite"),
        "{error}"
    );
    let error = converted(&[good.clone(), good[..15].to_vec()], 113, false).unwrap_err();
    assert!(
        error.contains("after packet 1") && error.contains("shorter"),
        "{error}"
    );
    let error = converted(&[vec![0x20; 40]], 101, false).unwrap_err();
    assert!(
        error.contains("packet 1") && error.contains("not an IP packet"),
        "{error}"
    );
    let error = converted(&[[7_u32.to_le_bytes().to_vec(), vec![0; 40]].concat()], 0, false).unwrap_err();
    assert!(
        error.contains("packet 1") && error.contains("address family 7"),
        "{error}"
    );
}
