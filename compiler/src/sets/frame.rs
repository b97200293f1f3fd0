//! Frames made to order: bytes that lie in a cube, as close to ordinary traffic as the cube lets them be.

use super::{
    agree::Bits,
    cube::Cube,
    field::{Bytes, Field, FieldId, Fields, TRUE, behind_ip4},
    solve,
    values::Values,
};

const IP: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// In the order in which they are tried. The last is for local experiments.
const LINK_TYPES: [u16; 9] = [IP, IP6, ARP, 0x8100, 0x88a8, 0x9100, RARP, 0x88b5, 0x88b6];
/// TCP, UDP, ICMP, ICMPv6, SCTP, then what has no ports.
const PROTOCOLS: [u8; 8] = [6, 17, 1, 58, 132, 47, 50, 253];
const NEXT_HEADERS: [u8; 8] = [6, 17, 58, 132, 47, 50, 59, 253];
/// Addresses set aside for documentation.
const V4: [[u8; 4]; 2] = [[198, 51, 100, 7], [203, 0, 113, 9]];
const V6: [u128; 2] = [0x2001_0db8_0001_u128 << 80 | 7, 0x2001_0db8_0002_u128 << 80 | 9];
const PORTS: [u16; 2] = [4000, 80];
const FRAGMENT_OFFSET: u128 = 0x1fff;
/// Of whole packets, and what a link of 1500 bytes leaves over: a fragment that begins within a TCP header is malformed.
const OFFSETS: [u128; 2] = [0, 1480 / 8];
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]];

/// The shortest frame on the wire, without the frame check sequence.
const MIN_FRAME: usize = 60;
/// No frame is made longer than this; one that is to be longer is shown as captured in part.
pub(super) const MAX_FRAME: u128 = 9216 + 18;

/// A packet as a filter sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The captured bytes, from the destination MAC address on.
    pub bytes: Vec<u8>,
    /// Length on the wire.
    pub wire_len: u32,
}

impl Frame {
    /// Becomes a frame of `cube` with the bits given; values of fields that it could not be given go to `forced`.
    pub(super) fn build(
        &mut self,
        fields: &Fields,
        cube: &Cube,
        bits: &Bits,
        forced: &mut Vec<(FieldId, u128)>,
    ) {
        self.bytes.clear();
        self.bytes.extend(MACS[0]);
        self.bytes.extend(MACS[1]);
        let wanted = Wanted { fields, cube, bits };
        let (kind, l3) = self.link_types(&wanted);
        match kind {
            IP => self.ip4(&wanted, l3),
            IP6 => self.ip6(&wanted, l3),
            ARP | RARP => self.arp(kind == RARP),
            _ => {}
        }
        let least = self.least(&wanted).max(self.bytes.len()).max(MIN_FRAME);
        self.bytes.resize(least, 0);
        bits.write(&mut self.bytes);
        self.write(&wanted);
        if wanted.has_outcomes() {
            // One of them may have overwritten another's value.
            self.write(&wanted);
        }
        self.measure(&wanted);
        self.wire_len = self.wire_length(&wanted);
        for (field, values) in cube.terms() {
            let read = fields.get(*field).read(&self.bytes, self.wire_len);
            if !values.contains(read) {
                forced.push((*field, values.min()));
            }
        }
    }

    /// Tags and the EtherType; returns the latter and what stands behind it.
    fn link_types(&mut self, wanted: &Wanted<'_>) -> (u16, usize) {
        loop {
            let at = self.bytes.len();
            let kind = wanted.choose16(at, &LINK_TYPES);
            self.bytes.extend(kind.to_be_bytes());
            if !TAGS.contains(&kind) || at > 1000 {
                return (kind, at + 2);
            }
            self.bytes.extend([0, 1]);
        }
    }

    fn ip4(&mut self, wanted: &Wanted<'_>, l3: usize) {
        let first = wanted.choose8(l3, &[0x40 | wanted.bits.header_words(l3).unwrap_or(5)]);
        let header = usize::from(first & 0x0f).max(5) * 4;
        let protocol = wanted.choose8(l3 + 9, &PROTOCOLS);
        let offset = Bytes::masked((l3 + 6) as u16, 2, FRAGMENT_OFFSET);
        let [high, low] = (wanted.choose_of(offset, OFFSETS.into_iter()) as u16).to_be_bytes();
        self.bytes
            .extend([first, 0, 0, 0, 0, 1, high, low, 64, protocol, 0, 0]);
        self.bytes.extend(V4[0]);
        self.bytes.extend(V4[1]);
        self.bytes.resize(l3 + header, 0);
        self.transport(protocol, 1);
        let length = (self.bytes.len() - l3) as u16;
        self.bytes[l3 + 2..l3 + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn ip6(&mut self, wanted: &Wanted<'_>, l3: usize) {
        let next = wanted.choose8(l3 + 6, &NEXT_HEADERS);
        self.bytes.extend([0x60, 0, 0, 0, 0, 0, next, 64]);
        self.bytes.extend(V6[0].to_be_bytes());
        self.bytes.extend(V6[1].to_be_bytes());
        let mut last = next;
        if next == 44 {
            last = wanted.choose8(l3 + 40, &NEXT_HEADERS);
            self.bytes.extend([last, 0, 0, 0, 0, 0, 0, 1]);
        }
        self.transport(last, 128);
        let length = (self.bytes.len() - l3 - 40) as u16;
        self.bytes[l3 + 4..l3 + 6].copy_from_slice(&length.to_be_bytes());
    }

    fn transport(&mut self, protocol: u8, echo: u8) {
        let [src, dst] = PORTS.map(u16::to_be_bytes);
        match protocol {
            6 => {
                self.bytes.extend([src, dst].concat());
                self.bytes
                    .extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
            }
            17 => {
                self.bytes.extend([src, dst].concat());
                self.bytes.extend([0, 8, 0, 0]);
            }
            132 => {
                self.bytes.extend([src, dst].concat());
                self.bytes.extend([0; 8]);
            }
            1 => self.bytes.extend([8, 0, 0, 0, 0, 1, 0, 1]),
            58 => self.bytes.extend([echo, 0, 0, 0, 0, 1, 0, 1]),
            _ => self.bytes.extend([0; 8]),
        }
    }

    fn arp(&mut self, reverse: bool) {
        self.bytes
            .extend([0, 1, 8, 0, 6, 4, 0, if reverse { 3 } else { 1 }]);
        self.bytes.extend(MACS[1]);
        self.bytes.extend(V4[0]);
        self.bytes.extend([0; 6]);
        self.bytes.extend(V4[1]);
    }

    /// Gives every field of the cube one of its values, its present one if that will do.
    pub(super) fn write(&mut self, wanted: &Wanted<'_>) {
        for (field, values) in wanted.cube.terms() {
            let field = wanted.fields.get(*field);
            let present = field.read(&self.bytes, u32::MAX);
            match field {
                Field::Outcome(test) if values.contains(TRUE) => solve::make_true(test, &mut self.bytes),
                Field::Bytes(_) | Field::BehindIp4 { .. } if !values.contains(present) => {
                    field.write(&mut self.bytes, pick(field, values, present));
                }
                _ => {}
            }
        }
    }

    /// Bytes that must be captured.
    fn least(&self, wanted: &Wanted<'_>) -> usize {
        let mut least = 0;
        for (field, values) in wanted.cube.terms() {
            let before = match wanted.fields.get(*field) {
                Field::Captured => 0,
                Field::CapturedBehindIp4(l3) => behind_ip4(&self.bytes, *l3).unwrap_or(0),
                _ => continue,
            };
            least = least.max(before + values.min().min(MAX_FRAME) as usize);
        }
        least
    }

    /// Cuts or extends to a length that the cube allows.
    fn measure(&mut self, wanted: &Wanted<'_>) {
        for (field, values) in wanted.cube.terms() {
            let before = match wanted.fields.get(*field) {
                Field::Captured | Field::Length => 0,
                Field::CapturedBehindIp4(l3) => behind_ip4(&self.bytes, *l3).unwrap_or(0),
                _ => continue,
            };
            let now = self.bytes.len().saturating_sub(before) as u128;
            if !values.contains(now) {
                let above = values.ranges().find(|(low, _)| *low >= now).map(|(low, _)| low);
                let length = above
                    .filter(|l| *l <= MAX_FRAME)
                    .unwrap_or_else(|| values.max().min(now));
                self.bytes.resize(before + length as usize, 0);
            }
        }
    }

    /// The captured length where the cube allows it, as everywhere but in a capture cut short.
    fn wire_length(&self, wanted: &Wanted<'_>) -> u32 {
        let captured = self.bytes.len() as u128;
        let length = wanted.values(&Field::Length).and_then(|values| {
            let mut ranges = values.ranges();
            ranges
                .find(|(_, high)| *high >= captured)
                .map(|(low, _)| low.max(captured))
        });
        length.unwrap_or(captured) as u32
    }
}

/// The demands of a cube on a frame.
pub(super) struct Wanted<'c> {
    pub(super) fields: &'c Fields,
    pub(super) cube: &'c Cube,
    /// As far as they are known before.
    pub(super) bits: &'c Bits,
}

impl<'c> Wanted<'c> {
    fn values(&self, field: &Field) -> Option<&'c Values> {
        let mut terms = self.cube.terms().iter();
        terms
            .find(|(f, _)| self.fields.get(*f) == field)
            .map(|(_, values)| values)
    }

    fn has_outcomes(&self) -> bool {
        let mut terms = self.cube.terms().iter();
        terms.any(|(field, _)| matches!(self.fields.get(*field), Field::Outcome(_)))
    }

    fn choose16(&self, at: usize, preferred: &[u16]) -> u16 {
        let preferred = preferred.iter().map(|v| u128::from(*v));
        self.choose(at, 2, preferred) as u16
    }

    fn choose8(&self, at: usize, preferred: &[u8]) -> u8 {
        let preferred = preferred.iter().map(|v| u128::from(*v));
        self.choose(at, 1, preferred) as u8
    }

    /// The first of `preferred` that may stand there, or else the largest value that may.
    fn choose(&self, at: usize, size: u8, preferred: impl Iterator<Item = u128>) -> u128 {
        match self.bits.number(at, size.into()) {
            Some(settled) => settled,
            None => self.choose_of(Bytes::new(at as u16, size), preferred),
        }
    }

    /// The same, whatever is settled.
    fn choose_of(&self, bytes: Bytes, mut preferred: impl Iterator<Item = u128>) -> u128 {
        let field = Field::Bytes(bytes);
        let Some(values) = self.values(&field) else {
            return preferred.next().unwrap_or(0);
        };
        preferred
            .find(|v| values.contains(*v))
            .unwrap_or_else(|| values.max())
    }
}

/// A value near the present one, or one that looks like an address within a network.
fn pick(field: &Field, values: &Values, present: u128) -> u128 {
    let (low, high) = match values.ranges().find(|(_, high)| *high > present) {
        Some(range) => range,
        None => values.ranges().last().unwrap_or((0, 0)),
    };
    let wide = field.width() >= 32 && high - low >= 15;
    match (low, high) {
        (low, high) if low <= present && present <= high => present,
        (low, _) if wide => low + present % 16,
        (0, high) => high.min(1),
        (low, _) => low,
    }
}
