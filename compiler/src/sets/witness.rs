//! Packets that are shown.

use std::fmt::{self, Write as _};

use super::frame::{Frame, MAX_FRAME};
use crate::packet::Send;

/// A packet that shows something: bytes that a port can receive, and how an operator would write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub frame: Frame,
}

impl Witness {
    /// Takes the packet of a `send` in place of the frame where it shows the same, so that an operator can repeat it. Else
    /// fixes lengths and checksums, unless the packet then no longer shows what it is to show.
    pub(crate) fn new(frame: Frame, confirm: &dyn Fn(&Frame) -> bool) -> Self {
        let sent = Send::like(&frame.bytes)
            .into_iter()
            .filter_map(|s| whole(s.frame()?));
        if let Some(frame) = sent.into_iter().find(|sent| confirm(sent)) {
            return Self { frame };
        }
        let mended = frame.mended();
        Self {
            frame: if confirm(&mended) { mended } else { frame },
        }
    }
}

impl Frame {
    /// With lengths and checksums as they should be.
    pub(crate) fn mended(&self) -> Self {
        let mut mended = self.clone();
        mend(&mut mended.bytes);
        mended
    }

    /// The frame with all that it had on the wire. None: it was longer than frames are.
    pub(crate) fn whole(&self) -> Option<Self> {
        let length = (self.wire_len as usize).max(self.bytes.len());
        if length > MAX_FRAME as usize {
            return None;
        }
        let mut bytes = self.bytes.clone();
        bytes.resize(length, 0);
        Some(Self {
            wire_len: u32::try_from(length).ok()?,
            bytes,
        })
    }

    /// Its payload, also where its header does not say so; without zeros at the end.
    pub(crate) fn payload(&self) -> &[u8] {
        let begin = layers(&self.bytes).and_then(|layers| layers.payload_at(&self.bytes));
        let payload = begin
            .and_then(|begin| self.bytes.get(begin..))
            .unwrap_or_default();
        let end = payload
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        &payload[..end]
    }

    /// The same headers before another payload, lengths and checksums fixed; a long frame does not become shorter.
    /// None: there is no place for a payload.
    pub(crate) fn with_payload(&self, payload: &[u8]) -> Option<Self> {
        let mut bytes = self.bytes.clone();
        let layers = layers(&bytes)?;
        let Layers { kind, l3, .. } = layers;
        let begin = layers.payload_at(&bytes)?;
        let long = if bytes.len() > 60 { bytes.len() } else { 0 };
        let end = (begin + payload.len()).max(long);
        let stated = |from: usize| u16::try_from(end - from).ok();
        match kind {
            0x0800 => put(&mut bytes, l3 + 2, stated(l3)?),
            _ => put(&mut bytes, l3 + 4, stated(l3 + 40)?),
        }
        bytes.resize(begin, 0);
        bytes.extend(payload);
        bytes.resize(end.max(60), 0);
        mend(&mut bytes);
        Some(Self {
            wire_len: u32::try_from(bytes.len()).ok()?,
            bytes,
        })
    }
}

/// As a `send` of the language; one that no `send` makes, by its bytes.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { bytes, wire_len } = &self.frame;
        if bytes.len() == *wire_len as usize
            && let Some(send) = Send::exactly(bytes)
        {
            return send.fmt(f);
        }
        raw(&self.frame, f)
    }
}

/// A frame of which all has been captured.
fn whole(bytes: Vec<u8>) -> Option<Frame> {
    let wire_len = u32::try_from(bytes.len()).ok()?;
    Some(Frame { bytes, wire_len })
}

/// Where the layers of a frame begin, behind all tags.
struct Layers {
    kind: u16,
    l3: usize,
    /// Protocol and begin of the transport header; none for all but the first fragment.
    l4: Option<(u8, usize)>,
    fragment: Option<u16>,
}

impl Layers {
    /// Where what a packet of IP carries begins; in all but the first fragment, behind the IP header.
    fn payload_at(&self, bytes: &[u8]) -> Option<usize> {
        let (protocol, l4) = self.l4?;
        let header = match protocol {
            _ if self.fragment.is_some_and(|offset| offset > 0) => 0,
            6 => usize::from(bytes.get(l4 + 12)? >> 4) * 4,
            17 | 1 | 58 => 8,
            132 => 12,
            _ => 0,
        };
        Some(l4 + header)
    }
}

fn layers(bytes: &[u8]) -> Option<Layers> {
    let mut at = 12;
    let mut kind = u16_at(bytes, at)?;
    while matches!(kind, 0x8100 | 0x88a8 | 0x9100) {
        at += 4;
        kind = u16_at(bytes, at)?;
    }
    let l3 = at + 2;
    let mut layers = Layers {
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

/// `a frame of 10 bytes: 0200 0000 0002 ...`
fn raw(frame: &Frame, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 96;
    write!(f, "a frame of {} bytes", frame.wire_len)?;
    if frame.bytes.len() < frame.wire_len as usize {
        write!(f, ", captured up to byte {}", frame.bytes.len())?;
    }
    if let Some(send) = Send::like(&frame.bytes).last().filter(|_| frame.bytes.len() > 14) {
        write!(f, ", much like {send}")?;
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
    if layers.fragment.is_some_and(|offset| offset > 0) {
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
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, size = 1000 }",
        );
        shown(
            "(and (ip) (not (first-fragment)))",
            "ip { src = 198.51.100.7, dst = 203.0.113.9, proto = 6, fragment = 1480 }",
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
