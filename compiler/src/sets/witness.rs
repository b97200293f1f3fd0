//! Packets that are shown.

use std::{
    fmt::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
};

use super::frame::Frame;

/// A packet that shows something: bytes that a port can receive, and how an operator would write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub frame: Frame,
}

impl Witness {
    /// Mends lengths and checksums, unless the packet then no longer shows what it is to show.
    pub(crate) fn new(frame: Frame, confirm: &dyn Fn(&Frame) -> bool) -> Self {
        let mut mended = frame.clone();
        mend(&mut mended.bytes);
        Self {
            frame: if confirm(&mended) { mended } else { frame },
        }
    }
}

impl Frame {
    /// The same headers before another payload, lengths and checksums mended. None: there is no place for a payload.
    pub(crate) fn with_payload(&self, payload: &[u8]) -> Option<Self> {
        let mut bytes = self.bytes.clone();
        let Layers {
            kind,
            l3,
            l4,
            fragment,
            ..
        } = layers(&bytes)?;
        let (protocol, l4) = l4?;
        let header = match protocol {
            _ if fragment.is_some() => 0,
            6 => usize::from(bytes.get(l4 + 12)? >> 4) * 4,
            17 | 1 | 58 => 8,
            132 => 12,
            _ => 0,
        };
        let end = l4 + header + payload.len();
        let stated = |from: usize| u16::try_from(end - from).ok();
        match kind {
            0x0800 => put(&mut bytes, l3 + 2, stated(l3)?),
            _ => put(&mut bytes, l3 + 4, stated(l3 + 40)?),
        }
        bytes.resize(l4 + header, 0);
        bytes.extend(payload);
        bytes.resize(end.max(60), 0);
        mend(&mut bytes);
        Some(Self {
            wire_len: u32::try_from(bytes.len()).ok()?,
            bytes,
        })
    }
}

/// As a `send` of the language would have it, with what that does not say in words behind it.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match describe(&self.frame) {
            Some(text) => f.write_str(&text),
            None => raw(&self.frame, f),
        }
    }
}

/// Where the layers of a frame begin.
struct Layers {
    tags: Vec<(u16, u16)>,
    kind: u16,
    l3: usize,
    /// Protocol and begin of the transport header; none for all but the first fragment.
    l4: Option<(u8, usize)>,
    fragment: Option<u16>,
}

fn layers(bytes: &[u8]) -> Option<Layers> {
    let mut at = 12;
    let mut tags = Vec::new();
    let mut kind = u16_at(bytes, at)?;
    while matches!(kind, 0x8100 | 0x88a8 | 0x9100) {
        tags.push((kind, u16_at(bytes, at + 2)?));
        at += 4;
        kind = u16_at(bytes, at)?;
    }
    let l3 = at + 2;
    let mut layers = Layers {
        tags,
        kind,
        l3,
        l4: None,
        fragment: None,
    };
    match kind {
        0x0800 => {
            let header = usize::from(bytes.get(l3)? & 0x0f) * 4;
            let offset = u16_at(bytes, l3 + 6)? & 0x1fff;
            layers.fragment = (offset != 0).then_some(offset * 8);
            let sound = bytes.get(l3)? >> 4 == 4 && header >= 20 && bytes.len() >= l3 + header;
            if !sound {
                return None;
            }
            layers.l4 = Some((*bytes.get(l3 + 9)?, l3 + header));
        }
        0x86dd => {
            (bytes.get(l3)? >> 4 == 6 && bytes.len() >= l3 + 40).then_some(())?;
            layers.l4 = match bytes.get(l3 + 6)? {
                44 => {
                    layers.fragment = Some(u16_at(bytes, l3 + 42)? & 0xfff8);
                    Some((*bytes.get(l3 + 40)?, l3 + 48))
                }
                next => Some((*next, l3 + 40)),
            };
        }
        _ => {}
    }
    Some(layers)
}

fn describe(frame: &Frame) -> Option<String> {
    let bytes = &frame.bytes;
    let layers = layers(bytes)?;
    let mut fields = Vec::new();
    let mut beside = Vec::new();
    for (kind, tag) in &layers.tags {
        match kind {
            0x8100 => fields.push(format!("vlan = {}", tag & 0x0fff)),
            other => beside.push(format!("behind a tag {other:#06x} of VLAN {}", tag & 0x0fff)),
        }
    }
    let proto = match layers.kind {
        0x0800 | 0x86dd => ip(bytes, &layers, &mut fields, &mut beside)?,
        0x0806 | 0x8035 => {
            let at = layers.l3;
            fields.push(format!("src = {}", v4(bytes, at + 14)?));
            fields.push(format!("dst = {}", v4(bytes, at + 24)?));
            if layers.kind == 0x8035 {
                beside.push("as RARP".to_owned());
            }
            "arp"
        }
        kind => {
            fields.push(format!("type = {kind:#06x}"));
            "ether"
        }
    };
    let macs = [("to", 0, [2, 0, 0, 0, 0, 2]), ("from", 6, [2, 0, 0, 0, 0, 1])];
    for (word, at, usual) in macs {
        let mac = bytes.get(at..at + 6)?;
        if mac != usual {
            let text: Vec<String> = mac.iter().map(|b| format!("{b:02x}")).collect();
            beside.push(format!("{word} {}", text.join(":")));
        }
    }
    let length = frame.wire_len as usize;
    if !(60..=66).contains(&length) && length != shortest(&layers) {
        beside.push(format!("{length} bytes long"));
    }
    if bytes.len() < length {
        beside.push(format!("captured only up to byte {}", bytes.len()));
    }
    let mut text = format!("{proto} {{ {} }}", fields.join(", "));
    for (n, what) in beside.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{} {what}", if n == 0 { "" } else { "," });
    }
    Some(text)
}

/// Length of a packet without payload.
fn shortest(layers: &Layers) -> usize {
    let transport = match layers.l4 {
        Some((6, at)) => at + 20,
        Some((132, at)) => at + 12,
        Some((_, at)) => at + 8,
        None => layers.l3,
    };
    transport.max(60)
}

fn ip(
    bytes: &[u8],
    layers: &Layers,
    fields: &mut Vec<String>,
    beside: &mut Vec<String>,
) -> Option<&'static str> {
    let l3 = layers.l3;
    let v6 = layers.kind == 0x86dd;
    let (protocol, l4) = layers.l4?;
    let (src, dst, class) = if v6 {
        let class = (u16_at(bytes, l3)? >> 4) as u8;
        (
            v6_at(bytes, l3 + 8)?.to_string(),
            v6_at(bytes, l3 + 24)?.to_string(),
            class,
        )
    } else {
        (
            v4(bytes, l3 + 12)?.to_string(),
            v4(bytes, l3 + 16)?.to_string(),
            *bytes.get(l3 + 1)?,
        )
    };
    let name = match (protocol, v6) {
        (6, _) => "tcp",
        (17, _) => "udp",
        (1, false) => "icmp",
        (58, true) => "icmp6",
        (_, false) => "ip",
        (_, true) => "ip6",
    };
    let has_ports = matches!(protocol, 6 | 17 | 132) && layers.fragment.is_none_or(|at| v6 && at == 0);
    let ports = (u16_at(bytes, l4), u16_at(bytes, l4 + 2));
    match (has_ports, ports) {
        (true, (Some(from), Some(to))) if v6 => {
            fields.extend([format!("src = [{src}]:{from}"), format!("dst = [{dst}]:{to}")]);
        }
        (true, (Some(from), Some(to))) => {
            fields.extend([format!("src = {src}:{from}"), format!("dst = {dst}:{to}")]);
        }
        (true, _) => return None,
        (false, _) => fields.extend([format!("src = {src}"), format!("dst = {dst}")]),
    }
    if matches!(name, "ip" | "ip6") {
        fields.push(format!("proto = {protocol}"));
    }
    if class >> 2 != 0 {
        fields.push(format!("dscp = {}", class >> 2));
    }
    if name == "tcp" && has_ports {
        let flags = *bytes.get(l4 + 13)?;
        if flags != 0x02 {
            beside.push(format!("with TCP flags {flags:#04x}"));
        }
    }
    if let Some(at) = layers.fragment {
        beside.push(format!("as a fragment at offset {at}"));
    }
    if !v6 && l4 - l3 > 20 {
        beside.push(format!("with an IP header of {} bytes", l4 - l3));
    }
    Some(name)
}

/// `a frame of 10 bytes: 0200 0000 0002 ...`
fn raw(frame: &Frame, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 48;
    write!(f, "a frame of {} bytes", frame.wire_len)?;
    if frame.bytes.len() < frame.wire_len as usize {
        write!(f, ", captured up to byte {}", frame.bytes.len())?;
    }
    f.write_str(":")?;
    for pair in frame.bytes.chunks(2).take(SHOWN / 2) {
        f.write_char(' ')?;
        for byte in pair {
            write!(f, "{byte:02x}")?;
        }
    }
    if frame.bytes.len() > SHOWN {
        f.write_str(" ...")
    } else {
        Ok(())
    }
}

/// Sets lengths and checksums of IP and what it carries.
fn mend(bytes: &mut [u8]) {
    let Some(layers) = layers(bytes) else { return };
    let (l3, Some((protocol, l4))) = (layers.l3, layers.l4) else {
        return;
    };
    let padded = bytes.len() <= 60;
    let stated = if layers.kind == 0x0800 {
        u16_at(bytes, l3 + 2)
    } else {
        u16_at(bytes, l3 + 4)
    };
    let stated = stated.map_or(0, usize::from) + if layers.kind == 0x0800 { l3 } else { l3 + 40 };
    let end = if padded {
        stated.clamp(l4.min(bytes.len()), bytes.len())
    } else {
        bytes.len()
    };
    if end < l4 || end - l3 > usize::from(u16::MAX) {
        return;
    }
    let mut pseudo = u32::from(protocol) + (end - l4) as u32;
    if layers.kind == 0x0800 {
        put(bytes, l3 + 2, (end - l3) as u16);
        put(bytes, l3 + 10, 0);
        let sum = !fold(sum(&bytes[l3..l4]));
        put(bytes, l3 + 10, sum);
        pseudo += sum_of(bytes, l3 + 12, l3 + 20);
    } else {
        put(bytes, l3 + 4, (end - l3 - 40) as u16);
        pseudo += sum_of(bytes, l3 + 8, l3 + 40);
    }
    if layers.fragment.is_some() {
        return;
    }
    if protocol == 17 && end >= l4 + 8 {
        put(bytes, l4 + 4, (end - l4) as u16);
    }
    let (at, pseudo) = match protocol {
        6 if end >= l4 + 20 => (16, pseudo),
        17 if end >= l4 + 8 => (6, pseudo),
        1 if end >= l4 + 4 => (2, 0),
        58 if end >= l4 + 4 => (2, pseudo),
        _ => return,
    };
    put(bytes, l4 + at, 0);
    let sum = !fold(pseudo + sum_of(bytes, l4, end));
    put(
        bytes,
        l4 + at,
        if sum == 0 && protocol == 17 { 0xffff } else { sum },
    );
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn sum_of(bytes: &[u8], from: usize, to: usize) -> u32 {
    bytes.get(from..to).map_or(0, sum)
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0)));
    words.sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

fn v6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::{Answer, Budget, Fields, Set, common};
    use super::*;

    fn witness(filter: &str) -> Witness {
        let (filter, all) = (filter.parse().unwrap(), "(all)".parse().unwrap());
        let mut fields = Fields::default();
        let (set, all) = (Set::new(&mut fields, &filter), Set::new(&mut fields, &all));
        match common(&fields, &[], &[&set, &all], &mut Budget::new(100_000)) {
            Answer::Yes(witness) => witness,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn shown(filter: &str, text: &str) {
        assert_eq!(witness(filter).to_string(), text);
    }

    #[test]
    fn packets_are_shown_as_a_test_would_send_them() {
        shown("(tcp)", "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }");
        shown(
            "(and (udp-port dst 53) (net src 10.0.0.0/8))",
            "udp { src = 10.0.0.7:4000, dst = 203.0.113.9:53 }",
        );
        shown(
            "(and (tcp) (ip6))",
            "tcp { src = [2001:db8:1::7]:4000, dst = [2001:db8:2::9]:80 }",
        );
        shown("(arp)", "arp { src = 198.51.100.7, dst = 203.0.113.9 }");
        shown("(ether-proto 35020)", "ether { type = 0x88cc }");
        shown(
            "(and (vlan 7) (ip@1))",
            "tcp { vlan = 7, src = 198.51.100.7:4000, dst = 203.0.113.9:80 }",
        );
    }

    #[test]
    fn what_a_test_cannot_send_is_said_beside_it() {
        shown(
            "(and (tcp) (greater 1000))",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 } 1000 bytes long",
        );
        shown(
            "(and (ip) (not (first-fragment)))",
            "tcp { src = 198.51.100.7, dst = 203.0.113.9 } as a fragment at offset 8",
        );
        shown(
            "(less 20)",
            "a frame of 20 bytes: 0200 0000 0002 0200 0000 0001 0800 4500 0028 0001",
        );
    }

    #[test]
    fn lengths_and_checksums_are_right() {
        for filter in ["(tcp)", "(proto 17)", "(ip-proto 1)", "(and (ip) (greater 400))"] {
            let Frame { bytes, .. } = witness(filter).frame;
            let total = usize::from(u16_at(&bytes, 16).unwrap());
            assert_eq!(fold(sum(&bytes[14..34])), 0xffff, "{filter}");
            let mut check = sum(&bytes[34..14 + total]);
            if bytes[23] != 1 {
                check += sum(&bytes[26..34]) + u32::from(bytes[23]) + (total - 20) as u32;
            }
            assert_eq!(fold(check), 0xffff, "{filter}");
            assert!(bytes.len() == 60 || bytes.len() == 14 + total);
        }
    }

    #[test]
    fn relations_between_bytes_are_solved_where_that_is_easy() {
        // `tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420`, the beginning of an HTTP request.
        let get = witness(
            "(and (ip) (tcp) (first-fragment) (= (ip4-payload (>> (& (ip4-payload 12 1) 240) 2) 4) 1195725856) (greater 100))",
        );
        assert!(get.frame.bytes.windows(4).any(|w| w == b"GET "));
    }
}
