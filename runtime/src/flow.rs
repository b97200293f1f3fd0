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
    /// Symmetric Toeplitz hash; zero for what is not IP.
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
pub fn flow_of(frame: &[u8]) -> Flow {
    let mut at = ETHERTYPE_AT;
    let mut tags = [0; 2];
    let mut count = 0;
    let Some(mut ethertype) = u16_at(frame, at) else {
        return NO_FLOW;
    };
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
    let hash = symmetric_hash(fold(&header[12..20]) ^ fold32(hashed_ports));
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
    let hash = symmetric_hash(fold(&header[8..40]) ^ fold32(ports.unwrap_or(0)));
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

fn fold(bytes: &[u8]) -> u16 {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .fold(0, |sum, b| sum ^ u16::from_be_bytes(*b))
}

fn fold32(word: u32) -> u16 {
    (word >> 16) as u16 ^ word as u16
}

/// The Toeplitz hash of RSS (Microsoft, "RSS hashing types") under the key `6d5a` repeated, which gives both directions of
/// a flow the same value (S. Woo and K. Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling",
/// 2012). The key's period is 16 bits and the hash is linear, so the hash of any input is that of the exclusive or of its
/// 16-bit words.
fn symmetric_hash(folded: u16) -> u32 {
    HIGH[usize::from(folded >> 8)] ^ LOW[usize::from(folded & 0xff)]
}

const KEY: u64 = 0x6d5a_6d5a_6d5a_6d5a;
static HIGH: [u32; 256] = table(0);
static LOW: [u32; 256] = table(8);

/// The contribution of each value of the byte that begins at bit `shift` of a 16-bit word.
const fn table(shift: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            if byte & (0x80 >> bit) != 0 {
                table[byte] ^= (KEY << (shift + bit) >> 32) as u32;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, bit by bit.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], i: usize| bytes[i / 8 % bytes.len()] >> (7 - i % 8) & 1;
        let mut hash = 0;
        for i in 0..input.len() * 8 {
            if bit(input, i) == 1 {
                hash ^= (0..32).fold(0, |window, j| window << 1 | u32::from(bit(key, i + j)));
            }
        }
        hash
    }

    /// A vector from Microsoft's "Verifying the RSS hash calculation": 66.9.149.187:2794 -> 161.142.100.80:1766.
    #[test]
    fn the_reference_is_the_published_toeplitz() {
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
            0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
            0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(toeplitz(&key, &input), 0x51cc_c178);
    }

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
        fn the_fold_is_toeplitz_and_symmetric(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) {
            let input: Vec<u8> = [&src[..], &dst, &sport.to_be_bytes(), &dport.to_be_bytes()].concat();
            let there = flow_of(&frame(src, dst, sport, dport));
            prop_assert_eq!(there.hash, toeplitz(&[0x6d, 0x5a], &input));
            prop_assert_eq!(there.hash, flow_of(&frame(dst, src, dport, sport)).hash);
            prop_assert!(there.key.is_some());
        }

        #[test]
        fn any_bytes_give_some_flow(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            flow_of(&bytes);
        }
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
