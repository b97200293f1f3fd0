//! The header fields of a frame, bit by bit, under the names that manifests give them.

use std::collections::BTreeMap;

use crate::headers::{Headers, L3, L4, protocol};

/// What stands outside the headers that [`Headers`] reads, and in headers that are malformed or cut.
pub(super) const PAYLOAD: &str = "payload";

/// Bits from the start of a header, and the field that they are. What says where other fields stand belongs to the options.
type Layout = &'static [(usize, &'static str)];

const ETHERNET: Layout = &[(48, "ether.dst"), (48, "ether.src"), (16, "ether.type")];
const TAG: Layout = &[(4, "vlan.priority"), (12, "vlan.id"), (16, "ether.type")];
const IPV4: Layout = &[
    (8, "ip.options"),
    (6, "ip.dscp"),
    (2, "ip.ecn"),
    (16, "ip.length"),
    (16, "ip.id"),
    (16, "ip.fragment"),
    (8, "ip.ttl"),
    (8, "ip.protocol"),
    (16, "ip.checksum"),
    (32, "ip.src"),
    (32, "ip.dst"),
];
const IPV6: Layout = &[
    (4, "ip.options"),
    (6, "ip.dscp"),
    (2, "ip.ecn"),
    (20, "ip.flow_label"),
    (16, "ip.length"),
    (8, "ip.protocol"),
    (8, "ip.ttl"),
    (128, "ip.src"),
    (128, "ip.dst"),
];
const FRAGMENT: Layout = &[
    (8, "ip.protocol"),
    (8, "ip.options"),
    (16, "ip.fragment"),
    (32, "ip.id"),
];
const EXTENSION: Layout = &[(8, "ip.protocol")];
const TCP: Layout = &[
    (16, "tcp.src_port"),
    (16, "tcp.dst_port"),
    (32, "tcp.seq"),
    (32, "tcp.ack"),
    (4, "tcp.options"),
    (12, "tcp.flags"),
    (16, "tcp.window"),
    (16, "tcp.checksum"),
    (16, "tcp.urgent_pointer"),
];
const UDP: Layout = &[
    (16, "udp.src_port"),
    (16, "udp.dst_port"),
    (16, "udp.length"),
    (16, "udp.checksum"),
];
const SCTP: Layout = &[
    (16, "sctp.src_port"),
    (16, "sctp.dst_port"),
    (32, "sctp.verification_tag"),
    (32, "sctp.checksum"),
];
const ICMP: Layout = &[(8, "icmp.type"), (8, "icmp.code"), (16, "icmp.checksum")];
const ICMP_QUERY: Layout = &[(16, "icmp.id"), (16, "icmp.sequence")];

/// The fields of one frame. A field's name may stand at several places.
pub(super) struct Fields {
    /// The name of each bit's field, from the first bit of the frame; none: payload.
    of_bits: Vec<Option<&'static str>>,
}

impl Fields {
    pub(super) fn of(frame: &[u8]) -> Self {
        let headers = Headers::parse(frame);
        let mut fields = Self {
            of_bits: vec![None; 8 * frame.len()],
        };
        if headers.ethertype.is_some() {
            fields.lay(0, ETHERNET);
            fields.tags(&headers);
        }
        let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
        match headers.l3 {
            L3::Ipv4 { .. } => {
                fields.rest(l3 + 20, l3 + length_of_ipv4(frame, l3), "ip.options");
                fields.lay(l3, IPV4);
            }
            L3::Ipv6 { .. } => fields.lay(l3, IPV6),
            L3::Arp | L3::Other => {}
        }
        for (kind, bytes) in headers.extensions(frame) {
            fields.rest(bytes.start, bytes.end, "ip.options");
            let layout = if kind == protocol::FRAGMENT {
                FRAGMENT
            } else {
                EXTENSION
            };
            fields.lay(bytes.start, layout);
        }
        fields.transport(frame, &headers, l4);
        fields
    }

    /// The fields that differ in another frame of the same length, each with its first byte that does.
    pub(super) fn changed(&self, frame: &[u8], other: &[u8]) -> Vec<(&'static str, usize)> {
        let mut changed: Vec<(&'static str, usize)> = Vec::new();
        for (at, (a, b)) in frame.iter().zip(other).enumerate() {
            let bits = (0..8).filter(|bit| (a ^ b) << bit & 0x80 != 0);
            for bit in bits {
                let name = self.name_at(8 * at + bit);
                if changed.iter().all(|(known, _)| *known != name) {
                    changed.push((name, at));
                }
            }
        }
        changed
    }

    /// The fields that differ between a frame and one of another length: those that only one of them has, and those of
    /// another value, wherever they stand. Each with the first byte that it has in one of them.
    pub(super) fn resized(before: &[u8], after: &[u8]) -> Vec<(&'static str, usize)> {
        let (before, after) = (Self::of(before).values(before), Self::of(after).values(after));
        let mut changed: Vec<(&'static str, usize)> = Vec::new();
        for (name, (at, value)) in before.iter().chain(&after) {
            let same = [&before, &after].map(|values| values.get(name).is_some_and(|(_, v)| v == value));
            if same != [true, true] && changed.iter().all(|(known, _)| known != name) {
                changed.push((name, *at));
            }
        }
        changed.sort_by_key(|&(_, at)| at);
        changed
    }

    /// By field: its first byte, and all bits that it has in the frame.
    fn values(&self, frame: &[u8]) -> BTreeMap<&'static str, (usize, Vec<bool>)> {
        let mut values = BTreeMap::new();
        for (at, byte) in frame.iter().enumerate() {
            for bit in 0..8 {
                let name = self.name_at(8 * at + bit);
                let (_, value) = values.entry(name).or_insert((at, Vec::new()));
                value.push(byte << bit & 0x80 != 0);
            }
        }
        values
    }

    fn name_at(&self, bit: usize) -> &'static str {
        self.of_bits.get(bit).copied().flatten().unwrap_or(PAYLOAD)
    }

    fn tags(&mut self, headers: &Headers) {
        let tags = [headers.vlan, headers.inner_vlan].into_iter().flatten();
        for (n, _) in tags.enumerate() {
            self.lay(14 + 4 * n, TAG);
        }
    }

    fn transport(&mut self, frame: &[u8], headers: &Headers, l4: usize) {
        match headers.l4 {
            L4::Tcp { .. } => {
                let words = frame.get(l4 + 12).map_or(0, |byte| usize::from(byte >> 4));
                self.rest(l4 + 20, l4 + 4 * words, "tcp.options");
                self.lay(l4, TCP);
            }
            L4::Udp { .. } => self.lay(l4, UDP),
            L4::Sctp { .. } => self.lay(l4, SCTP),
            L4::Icmp { .. } | L4::Icmpv6 { .. } => {
                self.lay(l4, ICMP);
                if headers.icmp_id(frame).is_some() {
                    self.lay(l4 + 4, ICMP_QUERY);
                }
            }
            L4::None => {}
        }
    }

    /// Names the fields of the header that begins at a byte.
    fn lay(&mut self, at: usize, layout: Layout) {
        let mut from = 8 * at;
        for &(bits, name) in layout {
            self.name(from, from + bits, name);
            from += bits;
        }
    }

    /// Names a range of bytes.
    fn rest(&mut self, from: usize, to: usize, name: &'static str) {
        self.name(8 * from, 8 * to, name);
    }

    fn name(&mut self, from: usize, to: usize, name: &'static str) {
        let to = to.min(self.of_bits.len());
        if let Some(bits) = self.of_bits.get_mut(from..to) {
            bits.fill(Some(name));
        }
    }
}

fn length_of_ipv4(frame: &[u8], l3: usize) -> usize {
    frame.get(l3).map_or(0, |byte| usize::from(byte & 0xf) * 4)
}
