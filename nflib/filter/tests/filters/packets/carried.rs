//! Frames in which labels, sessions and tunnels carry others, whole and damaged.

use super::frames::{Random, damage, frame, ip4, ip6};

/// Labels, sessions and networks.
pub(crate) const NUMBERS: [u32; 4] = [0, 5, 100, 65535];
pub(crate) const GENEVE: u16 = 6081;
pub(crate) const VXLAN: u16 = 4789;
const ETHERNET: u16 = 0x6558;

/// `n` frames of which a third are damaged.
pub(crate) fn carried(seed: u64, n: usize) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..n)
        .map(|i| {
            let mut frame = one(&mut random, 0);
            if i % 3 == 2 {
                damage(&mut random, &mut frame);
            }
            frame
        })
        .collect()
}

/// VXLAN over whole frames.
pub(crate) fn vxlan(seed: u64, n: usize) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..n)
        .map(|_| {
            let inner = one(&mut random, 1);
            let payload = vxlan_header(&mut random, &inner);
            let mut frame = macs(&mut random);
            network(&mut frame, &mut random, |random| udp(random, VXLAN, &payload));
            frame
        })
        .collect()
}

fn one(random: &mut Random, depth: usize) -> Vec<u8> {
    let mut frame = macs(random);
    if random.one_in(3) {
        frame.extend([0x81, 0, 0, 5]);
    }
    match random.below(if depth > 1 { 5 } else { 9 }) {
        0 | 1 => {
            frame.extend([0x88, 0x47]);
            labels(&mut frame, random);
        }
        2 | 3 => session(&mut frame, random),
        4 => return super::frames::frame(random),
        5 | 6 => {
            let payload = geneve_payload(random, depth);
            network(&mut frame, random, |random| udp(random, GENEVE, &payload));
        }
        7 => {
            let inner = one(random, depth + 1);
            let payload = vxlan_header(random, &inner);
            network(&mut frame, random, |random| udp(random, VXLAN, &payload));
        }
        _ => {
            frame.extend([0x88, 0x63]);
            frame.extend([0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]);
        }
    }
    frame
}

fn macs(random: &mut Random) -> Vec<u8> {
    let mut bytes = frame(random);
    bytes.truncate(12);
    bytes
}

/// Behind the type.
fn labels(frame: &mut Vec<u8>, random: &mut Random) {
    let count = 1 + random.below(3);
    for n in 1..=count {
        let bottom = u32::from(n == count || random.one_in(8));
        let label = random.pick(&NUMBERS) << 12 | bottom << 8 | 64;
        frame.extend(label.to_be_bytes());
    }
    let packet = if random.one_in(2) {
        ip4(random)
    } else {
        ip6(random)
    };
    frame.extend(packet);
}

fn session(frame: &mut Vec<u8>, random: &mut Random) {
    frame.extend([0x88, 0x64, 0x11, 0]);
    frame.extend((random.pick(&NUMBERS) as u16).to_be_bytes());
    frame.extend([0, 40]);
    match random.below(5) {
        0 | 1 => {
            frame.extend([0, 0x21]);
            frame.extend(ip4(random));
        }
        2 => {
            frame.extend([0, 0x57]);
            frame.extend(ip6(random));
        }
        3 => {
            frame.extend([0x02, 0x81]);
            labels(frame, random);
        }
        _ => {
            // Link control, and EtherTypes where PPP has no use for them.
            let kind: u16 = random.pick(&[0xc021, 0x0800, 0x0806, 0x8864, 0x0029, 0x8847]);
            frame.extend(kind.to_be_bytes());
            frame.extend(ip4(random));
        }
    }
}

fn geneve_payload(random: &mut Random, depth: usize) -> Vec<u8> {
    let options = random.pick(&[0_u8, 0, 1, 3, 0x3f, 0x40]);
    let ethernet = random.one_in(2);
    let kind = match ethernet {
        true => ETHERNET,
        false => random.pick(&[0x0800, 0x86dd, 0x8847, 0x8864]),
    };
    let mut header = vec![options, 0];
    header.extend(kind.to_be_bytes());
    header.extend((random.pick(&NUMBERS) << 8).to_be_bytes());
    header.extend(std::iter::repeat_n(7, usize::from(options & 0x3f) * 4));
    match kind {
        ETHERNET => header.extend(one(random, depth + 1)),
        0x86dd => header.extend(ip6(random)),
        0x8847 => labels(&mut header, random),
        _ => header.extend(ip4(random)),
    }
    header
}

fn vxlan_header(random: &mut Random, inner: &[u8]) -> Vec<u8> {
    let flags = random.pick(&[0x08_u8, 0x08, 0x08, 0x88, 0]);
    let mut header = vec![flags, 0, 0, 0];
    header.extend((random.pick(&NUMBERS) << 8).to_be_bytes());
    header.extend(inner);
    header
}

fn udp(random: &mut Random, port: u16, payload: &[u8]) -> Vec<u8> {
    let port = if random.one_in(8) { 53 } else { port };
    let mut datagram = vec![0xc0, 0];
    datagram.extend(port.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// A network header around a datagram.
fn network(frame: &mut Vec<u8>, random: &mut Random, datagram: impl Fn(&mut Random) -> Vec<u8>) {
    if random.one_in(3) {
        frame.extend([0x86, 0xdd]);
        let mut header = ip6(random);
        header.truncate(40);
        header[6] = 17;
        frame.extend(header);
    } else {
        frame.extend([0x08, 0]);
        let mut header = ip4(random);
        header.truncate(usize::from(header[0] & 0x0f) * 4);
        header[9] = 17;
        if !random.one_in(8) {
            header[6..8].fill(0);
        }
        frame.extend(header);
    }
    frame.extend(datagram(random));
}

/// IPv4 and IPv6 whose chain of headers has authentication headers in it.
pub(crate) fn chained(seed: u64, n: usize) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..n)
        .map(|i| {
            let mut frame = macs(&mut random);
            let tail = random.pick(&[6_u8, 17, 58, 59, 50]);
            let length = random.pick(&[4_u8, 8, 8, 3]);
            let mut header = vec![tail, length];
            header.resize((usize::from(length) + 2) * 4, 9);
            let mut packet = if random.one_in(2) {
                frame.extend([0x08, 0]);
                let mut packet = ip4(&mut random);
                packet.truncate(usize::from(packet[0] & 0x0f) * 4);
                packet[9] = 51;
                packet
            } else {
                frame.extend([0x86, 0xdd]);
                let mut packet = ip6(&mut random);
                packet.truncate(40);
                packet[6] = random.pick(&[51, 51, 60, 44]);
                if packet[6] != 51 {
                    packet.extend([51, 0, 1, 4, 0, 0, 0, 0]);
                }
                packet
            };
            packet.extend(header);
            packet.extend([tail, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
            frame.extend(packet);
            if i % 3 == 2 {
                damage(&mut random, &mut frame);
            }
            frame
        })
        .collect()
}
