//! What identifies a flow: the key of the flow cache, and the symmetric hash that replicas are chosen by.

/// The fields that [`onvm_bundle::filter::Fields::flow_key_only`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    source: [u8; 16],
    destination: [u8; 16],
    /// Source and destination port as they stand in the packet, zero where there are none.
    ports: u32,
    /// VLAN types and ids, outermost first.
    tags: [u32; 2],
    ethertype: u16,
    protocol: u8,
    first_fragment: bool,
}

/// What a look at the headers gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// None for packets that are classified one by one: not IP, truncated, IPv6 fragments, more than two VLAN tags.
    pub key: Option<FlowKey>,
    /// Both directions of a flow have the same; zero for what is not IP.
    pub hash: u32,
}

const NO_FLOW: Flow = Flow { key: None, hash: 0 };
const ETHERTYPE_AT: usize = 12;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const IPV6_FRAGMENT: u8 = 44;

/// Reads the headers of a frame.
#[inline]
pub fn flow_of(frame: &[u8]) -> Flow {
    match u16_at(frame, ETHERTYPE_AT) {
        Some(ethertype @ (IPV4 | IPV6 | 0x8100 | 0x88a8 | 0x9100)) => flow_of_known(frame, ethertype),
        _ => NO_FLOW,
    }
}

fn flow_of_known(frame: &[u8], mut ethertype: u16) -> Flow {
    let mut at = ETHERTYPE_AT;
    let mut tags = [0; 2];
    let mut count = 0;
    while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
        let (Some(tci), Some(inner)) = (u16_at(frame, at + 2), u16_at(frame, at + 4)) else {
            return NO_FLOW;
        };
        if let Some(tag) = tags.get_mut(count) {
            *tag = u32::from(ethertype) << 16 | u32::from(tci & 0x0fff);
        }
        count += 1;
        at += 4;
        ethertype = inner;
        if count > 8 {
            return NO_FLOW;
        }
    }
    let flow = match ethertype {
        IPV4 => ipv4(frame, at + 2),
        IPV6 => ipv6(frame, at + 2),
        _ => None,
    };
    let Some((mut key, hash, cacheable)) = flow else {
        return NO_FLOW;
    };
    key.tags = tags;
    key.ethertype = ethertype;
    Flow {
        key: (cacheable && count <= tags.len()).then_some(key),
        hash,
    }
}

fn ipv4(frame: &[u8], at: usize) -> Option<(FlowKey, u32, bool)> {
    let header = frame.get(at..at + 20)?;
    let fragment = u16_at(header, 6)?;
    let (first, whole) = (fragment & 0x1fff == 0, fragment & 0x3fff == 0);
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source[..4].copy_from_slice(&header[12..16]);
    destination[..4].copy_from_slice(&header[16..20]);
    let protocol = header[9];
    let ports = ports(frame, at + 4 * usize::from(header[0] & 15), protocol, first);
    // All fragments of a datagram must meet the same replica, and only the first has ports: hash without them.
    let hashed_ports = if whole { ports.unwrap_or(0) } else { 0 };
    let address = |at: usize| u64::from(u32_at(header, at).unwrap_or(0));
    let (near, far) = ends(hashed_ports);
    let hash = symmetric_hash(address(12) << 16 | near, address(16) << 16 | far);
    let key = FlowKey {
        source,
        destination,
        ports: ports.unwrap_or(0),
        tags: [0; 2],
        ethertype: 0,
        protocol,
        first_fragment: first,
    };
    Some((key, hash, ports.is_some()))
}

fn ipv6(frame: &[u8], at: usize) -> Option<(FlowKey, u32, bool)> {
    let header = frame.get(at..at + 40)?;
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source.copy_from_slice(&header[8..24]);
    destination.copy_from_slice(&header[24..40]);
    let protocol = header[6];
    let ports = ports(frame, at + 40, protocol, true);
    let (near, far) = ends(ports.unwrap_or(0));
    let hash = symmetric_hash(fold128(&source) ^ near, fold128(&destination) ^ far);
    let key = FlowKey {
        source,
        destination,
        ports: ports.unwrap_or(0),
        tags: [0; 2],
        ethertype: 0,
        protocol,
        first_fragment: true,
    };
    Some((key, hash, ports.is_some() && protocol != IPV6_FRAGMENT))
}

/// Both ports; zero for protocols or fragments without; none when they should be there and are cut off.
fn ports(frame: &[u8], at: usize, protocol: u8, first_fragment: bool) -> Option<u32> {
    if !first_fragment || !matches!(protocol, TCP | UDP | SCTP) {
        return Some(0);
    }
    frame
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_be_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Source and destination port.
fn ends(ports: u32) -> (u64, u64) {
    (u64::from(ports >> 16), u64::from(ports & 0xffff))
}

/// An IPv6 address as 64 bits that leave the lowest 16 to the port.
fn fold128(address: &[u8; 16]) -> u64 {
    let word = u128::from_be_bytes(*address);
    multiply(word as u64 ^ MIX[2], (word >> 64) as u64 ^ MIX[3]) << 16
}

/// Hashes two endpoints, whichever of them sends: the smaller comes first, and both go through the multiply-and-fold step
/// of wyhash (Wang Yi, 2019).
///
/// Not Toeplitz under the symmetric key `6d5a` repeated, which NICs are given: it depends on the exclusive or of the
/// packet's 16-bit words alone, so that addresses and ports that rise together cancel out.
fn symmetric_hash(one: u64, other: u64) -> u32 {
    let mixed = multiply(one.min(other) ^ MIX[0], one.max(other) ^ MIX[1]);
    (mixed >> 32) as u32 ^ mixed as u32
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Odd numbers without a pattern: the secret of wyhash.
const MIX: [u64; 4] = [
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> Vec<u8> {
        let mut f = vec![0; 12];
        f.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, TCP, 0, 0]);
        f.extend(src);
        f.extend(dst);
        f.extend(sport.to_be_bytes());
        f.extend(dport.to_be_bytes());
        f
    }

    proptest! {
        #[test]
        fn both_directions_hash_alike(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) {
            let there = flow_of(&frame(src, dst, sport, dport));
            prop_assert_eq!(there.hash, flow_of(&frame(dst, src, dport, sport)).hash);
            prop_assert!(there.key.is_some());
        }

        #[test]
        fn any_bytes_give_some_flow(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            flow_of(&bytes);
        }
    }

    #[test]
    fn clients_whose_address_and_port_rise_together_spread() {
        let mut quarters = [0; 4];
        for i in 0..=255u8 {
            let flow = flow_of(&frame(
                [198, 51, 0, i],
                [203, 0, 113, 9],
                10_000 + u16::from(i),
                53,
            ));
            quarters[(flow.hash >> 30) as usize] += 1;
        }
        assert!(
            quarters.iter().all(|n| (32..=96).contains(n)),
            "{quarters:?} of 256"
        );
    }

    #[test]
    fn ipv6_flows_hash_by_address_and_port() {
        let frame = |host: u8, port: u16| {
            let mut f = vec![0; 12];
            f.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, UDP, 64]);
            f.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
            f.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99]);
            f.extend(port.to_be_bytes());
            f.extend([0, 53]);
            f
        };
        let hashes: std::collections::HashSet<u32> = (0..64)
            .flat_map(|h| (0..16).map(move |p| flow_of(&frame(h, p)).hash))
            .collect();
        assert!(hashes.len() > 1000, "{} of 1024", hashes.len());
    }

    #[test]
    fn fragments_of_a_datagram_hash_alike_and_differ_in_key() {
        let whole = frame([10, 0, 0, 1], [10, 0, 0, 2], 1000, 80);
        let (mut first, mut last) = (whole.clone(), whole);
        first[20] = 0x20;
        last[21] = 0x10;
        assert_eq!(flow_of(&first).hash, flow_of(&last).hash);
        assert_ne!(flow_of(&first).key, flow_of(&last).key);
    }

    #[test]
    fn cut_ports_and_arp_are_classified_one_by_one() {
        let mut f = frame([10, 0, 0, 1], [10, 0, 0, 2], 1000, 80);
        f.truncate(36);
        assert_eq!(flow_of(&f).key, None);
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(flow_of(&arp), NO_FLOW);
    }
}
