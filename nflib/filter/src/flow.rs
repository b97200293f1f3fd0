//! The identity of a flow: the key of the flow cache, and the symmetric hash that replicas are chosen by.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// Words of a [`FlowKey`].
pub const KEY_WORDS: usize = 6;

/// The fields that [`Fields::flow_key_only`](crate::Fields::flow_key_only) speaks of: two words each of the source and the destination;
/// the ports as they stand in the packet, zero where there are none, and the type and id of the outer VLAN tag; those of the inner
/// one, `EtherType`, protocol, and whether it is a first fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowKey(pub [u64; KEY_WORDS]);

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As words: an array would be hashed as bytes, which is slower.
        self.0.iter().for_each(|word| state.write_u64(*word));
    }
}

impl FlowKey {
    /// The same key for both directions of a flow: that of the end with the smaller address and port as the source. And
    /// whether this one is the other.
    #[inline]
    pub fn undirected(&self) -> (Self, bool) {
        let [s0, s1, d0, d1, ports, _] = self.0;
        let (near, far) = ends((ports >> 32) as u32);
        match (s0, s1, near) > (d0, d1, far) {
            true => (self.reversed(), true),
            false => (*self, false),
        }
    }

    /// The key of the packets in the other direction, with the same VLAN tags.
    #[inline]
    pub fn reversed(&self) -> Self {
        let [s0, s1, d0, d1, ports, rest] = self.0;
        let swapped = u64::from(((ports >> 32) as u32).rotate_left(16));
        Self([d0, d1, s0, s1, swapped << 32 | ports & 0xffff_ffff, rest])
    }

    /// Source and destination.
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        let [s0, s1, d0, d1, _, kind] = self.0;
        let v4 = (kind >> 16) as u16 == IPV4;
        let address = |high: u64, low: u64| match v4 {
            true => IpAddr::from(Ipv4Addr::from_bits(low as u32)),
            false => IpAddr::from(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))),
        };
        (address(s0, s1), address(d0, d1))
    }

    /// Source and destination port; zero for protocols without them, and for later fragments.
    pub fn ports(&self) -> (u16, u16) {
        let ports = (self.0[4] >> 32) as u32;
        ((ports >> 16) as u16, ports as u16)
    }

    /// IP protocol, of IPv6 what follows the fixed header.
    pub fn protocol(&self) -> u8 {
        (self.0[5] >> 8) as u8
    }

    /// VLAN numbers of the outer and the inner tag.
    pub fn vlans(&self) -> [Option<u16>; 2] {
        self.tags().map(|tag| (tag != 0).then_some(tag as u16))
    }

    /// Type and number of the outer and the inner VLAN tag, zero where there is none.
    pub(crate) fn tags(&self) -> [u32; 2] {
        [self.0[4] as u32, (self.0[5] >> 32) as u32]
    }

    /// Whether it is that of later fragments.
    pub(crate) fn is_later(&self) -> bool {
        self.0[5] & 0xff == 0
    }
}

/// The fields of a key behind the VLAN tags.
pub(crate) struct Ends {
    pub(crate) source: u128,
    pub(crate) destination: u128,
    pub(crate) ports: u32,
    pub(crate) protocol: u8,
    pub(crate) first_fragment: bool,
}

impl Ends {
    pub(crate) fn key(&self, ethertype: u16, tags: [u32; 2]) -> FlowKey {
        let kind =
            u64::from(ethertype) << 16 | u64::from(self.protocol) << 8 | u64::from(self.first_fragment);
        FlowKey([
            (self.source >> 64) as u64,
            self.source as u64,
            (self.destination >> 64) as u64,
            self.destination as u64,
            u64::from(self.ports) << 32 | u64::from(tags[0]),
            u64::from(tags[1]) << 32 | kind,
        ])
    }
}

/// What a look at the headers gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// None for packets that are classified one by one: not IP, truncated, an impossible IPv4 header length, IPv6 fragments, more
    /// than two VLAN tags.
    pub key: Option<FlowKey>,
    /// Both directions of a flow have the same; zero for packets that are not IP.
    pub hash: u32,
}

/// Bytes of a frame that [`flow_of`] may read: Ethernet header, eight tags, the longest IPv4 header, ports.
pub const REACH: u16 = 14 + 4 * MOST_TAGS as u16 + 60 + 4;

const NO_FLOW: Flow = Flow { key: None, hash: 0 };
const ETHERTYPE_AT: usize = 12;
/// A frame with more is of no flow.
const MOST_TAGS: usize = 8;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;
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
        if count > MOST_TAGS {
            return NO_FLOW;
        }
    }
    let flow = match ethertype {
        IPV4 => ipv4(frame, at + 2),
        IPV6 => ipv6(frame, at + 2),
        _ => None,
    };
    let Some((ends, hash, cacheable)) = flow else {
        return NO_FLOW;
    };
    Flow {
        key: (cacheable && count <= tags.len()).then(|| ends.key(ethertype, tags)),
        hash,
    }
}

fn ipv4(frame: &[u8], at: usize) -> Option<(Ends, u32, bool)> {
    let header = frame.get(at..at + 20)?;
    let fragment = u16_at(header, 6)?;
    let (first, whole) = (fragment & 0x1fff == 0, fragment & 0x3fff == 0);
    let protocol = header[9];
    let words = usize::from(header[0] & 15);
    let ports = ports(frame, at + 4 * words, protocol, first);
    // All fragments of a datagram must meet the same replica, and only the first has ports: hash without them.
    let hashed_ports = if whole { ports.unwrap_or(0) } else { 0 };
    let (source, destination) = (u32_at(header, 12)?, u32_at(header, 16)?);
    let (near, far) = ends(hashed_ports);
    let hash = symmetric_hash(u64::from(source) << 16 | near, u64::from(destination) << 16 | far);
    let ends = Ends {
        source: source.into(),
        destination: destination.into(),
        ports: ports.unwrap_or(0),
        protocol,
        first_fragment: first,
    };
    Some((ends, hash, ports.is_some() && words >= 5))
}

fn ipv6(frame: &[u8], at: usize) -> Option<(Ends, u32, bool)> {
    let header = frame.get(at..at + 40)?;
    let (source, destination) = (u128_at(header, 8)?, u128_at(header, 24)?);
    let protocol = header[6];
    let ports = ports(frame, at + 40, protocol, true);
    let (near, far) = ends(ports.unwrap_or(0));
    let hash = symmetric_hash(fold128(source) ^ near, fold128(destination) ^ far);
    let ends = Ends {
        source,
        destination,
        ports: ports.unwrap_or(0),
        protocol,
        first_fragment: true,
    };
    Some((ends, hash, ports.is_some() && protocol != IPV6_FRAGMENT))
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

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_be_bytes(bytes.get(at..at + 16)?.try_into().ok()?))
}

/// Source and destination port.
fn ends(ports: u32) -> (u64, u64) {
    (u64::from(ports >> 16), u64::from(ports & 0xffff))
}

/// An IPv6 address as 64 bits that leave the lowest 16 to the port.
fn fold128(address: u128) -> u64 {
    multiply(address as u64 ^ MIX[2], (address >> 64) as u64 ^ MIX[3]) << 16
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

    proptest! {
        #[test]
        fn a_key_is_the_packet_and_its_direction(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16, vlan in 1..4096u16) {
            let key = |src, dst, sport, dport| flow_of(&frame(src, dst, sport, dport)).key.unwrap();
            let (there, back) = (key(src, dst, sport, dport), key(dst, src, dport, sport));
            prop_assert_eq!(there.addresses(), (IpAddr::from(src), IpAddr::from(dst)));
            prop_assert_eq!((there.ports(), there.protocol()), ((sport, dport), TCP));
            prop_assert_eq!(there.reversed(), back);
            prop_assert_eq!(there.undirected().0, back.undirected().0);
            prop_assert!(there == back || there.undirected().1 != back.undirected().1);
            prop_assert_eq!(there.vlans(), [None, None]);
            let mut tagged = frame(src, dst, sport, dport);
            tagged.splice(12..12, [0x81, 0x00, (vlan >> 8) as u8, vlan as u8]);
            let tagged = flow_of(&tagged).key.unwrap();
            prop_assert_eq!((tagged.vlans(), tagged.reversed().vlans()), ([Some(vlan), None], [Some(vlan), None]));
        }
    }

    #[test]
    fn nothing_beyond_its_reach_is_read() {
        let mut longest = vec![0; 12];
        for tag in 0..MOST_TAGS as u8 {
            longest.extend([0x81, 0x00, 0, tag]);
        }
        longest.extend([0x08, 0x00, 0x4f, 0, 0, 200, 0, 0, 0, 0, 64, TCP, 0, 0]);
        longest.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        longest.resize(usize::from(REACH), 7);
        let flow = flow_of(&longest);
        assert_ne!(flow.hash, flow_of(&longest[..usize::from(REACH) - 1]).hash);
        let mut longer = longest.clone();
        longer.extend([9; 100]);
        assert_eq!(flow, flow_of(&longer));
        // One tag more is one too many.
        longest.splice(12..12, [0x81, 0x00, 0, 9]);
        assert_eq!(flow_of(&longest), NO_FLOW);
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
        let (source, destination) = flow_of(&frame(3, 4)).key.unwrap().addresses();
        assert_eq!(
            (source, destination),
            ("2001:db8::3".parse().unwrap(), "2001:db8::63".parse().unwrap())
        );
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
    fn damaged_headers_and_arp_are_classified_one_by_one() {
        let mut f = frame([10, 0, 0, 1], [10, 0, 0, 2], 1000, 80);
        f[14] = 0x44;
        assert_eq!(flow_of(&f).key, None);
        f[14] = 0x45;
        assert!(flow_of(&f).key.is_some());
        f.truncate(36);
        assert_eq!(flow_of(&f).key, None);
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(flow_of(&arp), NO_FLOW);
    }
}
