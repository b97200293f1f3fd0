//! Ethernet frames made by code, whole and damaged, from small pools of addresses, ports and ids, so
//! that a filter over the same pools often matches.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const MACS: [&str; 3] = ["02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"];
pub(crate) const V4: [&str; 6] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.1.2.3",
    "192.168.1.1",
    "198.51.100.7",
    "255.255.255.255",
];
pub(crate) const V6: [&str; 5] = ["::1", "2001:db8::1", "2001:db8::2", "2001:db8:1::2", "fe80::1"];
pub(crate) const PORTS: [u16; 7] = [0, 53, 80, 443, 1000, 4789, 65535];
pub(crate) const VLANS: [u16; 4] = [0, 5, 100, 4095];
pub(crate) const PROTOCOLS: [u8; 10] = [0, 1, 2, 6, 17, 44, 50, 58, 132, 255];
pub(crate) const ETHER_TYPES: [u16; 17] = [
    0x0800, 0x86dd, 0x0806, 0x8035, 0x8100, 0x88a8, 0x9100, 0x88cc, 0x8137, 0x809b, 0x80f3, 0x8847, 0x42,
    0xfe, 0xe0, 0xf0, 0x06,
];

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same frames from the same seed, everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    fn mac(&mut self) -> [u8; 6] {
        let text = self.pick(&MACS);
        let mut mac = [0; 6];
        for (octet, hex) in mac.iter_mut().zip(text.split(':')) {
            *octet = u8::from_str_radix(hex, 16).unwrap();
        }
        mac
    }

    fn v4(&mut self) -> [u8; 4] {
        self.pick(&V4).parse::<Ipv4Addr>().unwrap().octets()
    }

    fn v6(&mut self) -> [u8; 16] {
        self.pick(&V6).parse::<Ipv6Addr>().unwrap().octets()
    }
}

/// A well-formed frame.
pub(crate) fn frame(random: &mut Random) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(random.mac());
    frame.extend(random.mac());
    let tags = [0, 0, 0, 1, 1, 2, 3][random.below(7)];
    for _ in 0..tags {
        frame.extend(random.pick(&[0x8100_u16, 0x88a8, 0x9100]).to_be_bytes());
        let priority = (random.next() as u16) & 0xf000;
        frame.extend((priority | random.pick(&VLANS)).to_be_bytes());
    }
    match random.below(16) {
        0..=6 => put(&mut frame, 0x0800, &ip4(random)),
        7..=11 => put(&mut frame, 0x86dd, &ip6(random)),
        12 => put(&mut frame, 0x0806, &arp(random)),
        13 => put(&mut frame, 0x8035, &arp(random)),
        14 => {
            let llc = llc(random);
            put(&mut frame, llc.len() as u16, &llc);
        }
        _ => {
            let kind = random.pick(&ETHER_TYPES);
            let body = random.bytes(46);
            put(&mut frame, kind, &body);
        }
    }
    if random.one_in(2) && frame.len() < 60 {
        frame.resize(60, 0);
    }
    frame
}

fn put(frame: &mut Vec<u8>, ether_type: u16, body: &[u8]) {
    frame.extend(ether_type.to_be_bytes());
    frame.extend(body);
}

pub(crate) fn ip4(random: &mut Random) -> Vec<u8> {
    let options = [0, 0, 0, 4, 12, 40][random.below(6)];
    let protocol = random.pick(&[6, 6, 17, 17, 132, 1, 2, 50]);
    let fragment: u16 = random.pick(&[0, 0, 0, 0x4000, 0x2000, 0x2001, 0x00b9, 0x1fff]);
    let payload = if fragment & 0x1fff == 0 {
        l4(random, protocol)
    } else {
        random.bytes(24)
    };
    let length = (20 + options + payload.len()) as u16;
    let mut header = vec![0x45 + options as u8 / 4, random.next() as u8];
    header.extend(length.to_be_bytes());
    header.extend(random.bytes(2));
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol]);
    header.extend(random.bytes(2));
    header.extend(random.v4());
    header.extend(random.v4());
    header.extend(std::iter::repeat_n(1, options));
    header.extend(payload);
    header
}

pub(crate) fn ip6(random: &mut Random) -> Vec<u8> {
    let protocol = random.pick(&[6, 6, 17, 17, 132, 58, 50, 59]);
    let mut body = l4(random, protocol);
    let mut next = protocol;
    for _ in 0..[0, 0, 0, 1, 1, 2][random.below(6)] {
        let kind = random.pick(&[0, 43, 44, 44, 60]);
        let mut header = vec![next, 0];
        match kind {
            44 => header.extend(random.pick(&[0x0000_u16, 0x0001, 0x00b8, 0xfff9]).to_be_bytes()),
            _ => header.extend([1, 4]),
        }
        header.extend([0; 4]);
        header.extend(body);
        body = header;
        next = kind;
    }
    let word: u32 = 6 << 28 | (random.next() as u32 & 0x0fff_ffff);
    let mut packet = word.to_be_bytes().to_vec();
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(random.v6());
    packet.extend(random.v6());
    packet.extend(body);
    packet
}

fn l4(random: &mut Random, protocol: u8) -> Vec<u8> {
    let mut header = Vec::new();
    if matches!(protocol, 6 | 17 | 132) {
        header.extend(random.pick(&PORTS).to_be_bytes());
        header.extend(random.pick(&PORTS).to_be_bytes());
    }
    match protocol {
        6 => {
            header.extend(random.bytes(8));
            header.extend([0x50, random.pick(&[0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x00])]);
            header.extend(random.bytes(6));
        }
        17 => {
            header.extend(8_u16.to_be_bytes());
            header.extend(random.bytes(2));
        }
        1 => header.extend([random.pick(&[0, 3, 8, 11]), random.pick(&[0, 1, 4])]),
        58 => header.extend([random.pick(&[128, 129, 133, 135]), 0]),
        _ => header.extend(random.bytes(8)),
    }
    let payload = random.below(20);
    header.extend(random.bytes(payload));
    header
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, random.pick(&[1, 2, 3, 4])];
    arp.extend(random.mac());
    arp.extend(random.v4());
    arp.extend(random.mac());
    arp.extend(random.v4());
    arp
}

fn llc(random: &mut Random) -> Vec<u8> {
    let mut llc: Vec<u8> = match random.below(10) {
        0 => vec![0x42, 0x42, 3],
        1 => vec![0xfe, 0xfe, 3],
        2 => vec![0xe0, 0xe0, 3],
        3 => vec![0xff, 0xff],
        4 => vec![0xf0, 0xf0, 3],
        5 => vec![0x06, 0x06, 3],
        6 => vec![0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b],
        7 => vec![0xaa, 0xaa, 3, 0, 0, 0, 0x80, 0xf3],
        8 => vec![0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37],
        _ => vec![0xfe, 0x42, 3],
    };
    llc.extend(random.bytes(35));
    llc
}

/// Cuts the frame short, overwrites bytes, or both.
pub(crate) fn damage(random: &mut Random, frame: &mut Vec<u8>) {
    let kind = random.below(4);
    if kind != 0 {
        for _ in 0..=random.below(3) {
            let reach = if random.one_in(3) {
                frame.len()
            } else {
                frame.len().min(64)
            };
            let at = random.below(reach);
            frame[at] = match random.below(4) {
                0 => random.next() as u8,
                1 => frame[at] ^ (1 << random.below(8)),
                2 => random.pick(&PROTOCOLS),
                _ => random.pick(&[0, 0x08, 0x45, 0x46, 0x4f, 0x60, 0x81, 0x86, 0xdd, 0xff]),
            };
        }
        if random.one_in(6) && frame.len() > 14 {
            let at = [12, 16, 20][random.below(3)];
            if let Some(bytes) = frame.get_mut(at..at + 2) {
                bytes.copy_from_slice(&random.pick(&ETHER_TYPES).to_be_bytes());
            }
        }
    }
    if kind != 1 {
        let keep = random.below(frame.len() + 1);
        frame.truncate(keep);
    }
}

/// `n` frames of which half are damaged.
pub(crate) fn frames(seed: u64, n: usize) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..n)
        .map(|i| {
            let mut frame = frame(&mut random);
            if i % 2 == 1 {
                damage(&mut random, &mut frame);
            }
            frame
        })
        .collect()
}
