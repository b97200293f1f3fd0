//! What the rewriting of header fields can change of what filters read.
//!
//! Where a header field stands depends on the packet: on its tags, on the length of its IPv4 header, on its protocol. So the
//! space of packets is split into *shapes* of which that is known, and which no rewriting leaves: what moves other fields
//! (`vlan`, `ip.protocol`, `ip.options`, lengths, the payload, headers that this crate does not know) counts as a rewriting of
//! everything. In each shape a field of the algebra is *touched* if any of its bytes may have been rewritten, or if where it
//! stands may have changed.
//!
//! Fields are where [`Headers`] finds them. A packet without a sound header has none of its fields, so that an NF which declares
//! these cannot have rewritten anything of it.

use std::ops::Range;

use nflib::headers::{Headers, L3, L4};
use onvm_bundle::{Effects, Payload};

use super::{
    cube::Cube,
    field::{Bytes, Field, Fields},
    frame::Frame,
    primitive::{IP, IP6, VLAN},
    values::Values,
};
use crate::fields::KNOWN;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const AUTHENTICATION: u8 = 51;
/// Bytes of the shortest authentication header.
const SHORTEST_AUTHENTICATION: u16 = 8;
/// Bytes of the shortest extension header.
const SHORTEST_EXTENSION: u16 = 8;
/// Bytes of the addresses of a link header.
const LINK: usize = 12;
/// Tags that are looked behind one by one.
const MAX_TAGS: u16 = 2;

/// The header fields that NFs may have rewritten: a bit for each of [`KNOWN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Written(u64);

/// Bytes from the beginning of a header.
type Part = (u16, u16);

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Link(Part),
    /// In the fixed headers of IPv4 and IPv6, and whether it can stand in extension headers.
    Ip {
        v4: Option<Part>,
        v6: Option<Part>,
        extension: bool,
    },
    Tcp(Part),
    Udp(Part),
    Sctp(Part),
    Icmp(Part),
    /// It says where others stand, or is not known.
    Moves,
}

fn place(field: &str) -> Place {
    let ip = |v4: Part, v6: Part| Place::Ip {
        v4: Some(v4),
        v6: Some(v6),
        extension: false,
    };
    let extension = |v4: Part| Place::Ip {
        v4: Some(v4),
        v6: None,
        extension: true,
    };
    match field {
        "ether.dst" => Place::Link((0, 6)),
        "ether.src" => Place::Link((6, 12)),
        "ip.src" => ip((12, 16), (8, 24)),
        "ip.dst" => ip((16, 20), (24, 40)),
        "ip.ttl" => ip((8, 9), (7, 8)),
        "ip.dscp" => ip((1, 2), (0, 2)),
        "ip.ecn" => ip((1, 2), (1, 2)),
        "ip.id" => extension((4, 6)),
        "ip.fragment" => extension((6, 8)),
        "ip.checksum" => Place::Ip {
            v4: Some((10, 12)),
            v6: None,
            extension: false,
        },
        "ip.flow_label" => Place::Ip {
            v4: None,
            v6: Some((1, 4)),
            extension: false,
        },
        "tcp.src_port" => Place::Tcp((0, 2)),
        "tcp.dst_port" => Place::Tcp((2, 4)),
        "tcp.seq" => Place::Tcp((4, 8)),
        "tcp.ack" => Place::Tcp((8, 12)),
        // The first of these bytes holds the header's length, too.
        "tcp.flags" => Place::Tcp((12, 14)),
        "tcp.window" => Place::Tcp((14, 16)),
        "tcp.checksum" => Place::Tcp((16, 18)),
        "udp.src_port" => Place::Udp((0, 2)),
        "udp.dst_port" => Place::Udp((2, 4)),
        "udp.checksum" => Place::Udp((6, 8)),
        "sctp.src_port" => Place::Sctp((0, 2)),
        "sctp.dst_port" => Place::Sctp((2, 4)),
        "sctp.checksum" => Place::Sctp((8, 12)),
        "icmp.type" => Place::Icmp((0, 1)),
        "icmp.code" => Place::Icmp((1, 2)),
        "icmp.checksum" => Place::Icmp((2, 4)),
        _ => Place::Moves,
    }
}

impl Place {
    /// Within the transport header, if that is of this protocol; none: of any protocol.
    fn transport(self, protocol: Option<u8>) -> Option<Part> {
        let is = |own: &[u8]| protocol.is_none_or(|p| own.contains(&p));
        match self {
            Self::Tcp(part) if is(&[TCP]) => Some(part),
            Self::Udp(part) if is(&[UDP]) => Some(part),
            Self::Sctp(part) if is(&[SCTP]) => Some(part),
            Self::Icmp(part) if is(&[ICMP, ICMP6]) => Some(part),
            _ => None,
        }
    }
}

/// Whoever rewrites a header mends its checksum, whether the manifest says so or not.
fn checksum(protocol: u8) -> Option<Part> {
    Some(match protocol {
        TCP => (16, 18),
        UDP => (6, 8),
        SCTP => (8, 12),
        ICMP | ICMP6 => (2, 4),
        _ => return None,
    })
}

impl Written {
    pub(crate) const NOTHING: Self = Self(0);
    /// Every byte, and the length.
    pub(crate) const ANYTHING: Self = Self(u64::MAX);

    /// What an NF of these effects may rewrite.
    pub(crate) fn by(effects: &Effects) -> Self {
        if effects.payload == Payload::Write || effects.generates {
            return Self::ANYTHING;
        }
        let written = effects.writes.iter().map(|name| Self::field(name));
        written.fold(Self::NOTHING, Self::and)
    }

    fn field(name: &str) -> Self {
        let meant = KNOWN.iter().enumerate();
        let mut meant = meant
            .filter(|(_, known)| crate::fields::overlap(name, known))
            .peekable();
        if meant.peek().is_none() {
            return Self::ANYTHING;
        }
        let bit = |(n, known): (usize, &&str)| match place(known) {
            Place::Moves => Self::ANYTHING,
            _ => Self(1 << n),
        };
        meant.map(bit).fold(Self::NOTHING, Self::and)
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    pub(crate) fn is_anything(self) -> bool {
        self == Self::ANYTHING
    }

    /// Whether that is all that the other one holds, or more.
    pub(crate) fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn places(self) -> impl Iterator<Item = Place> {
        let named = KNOWN
            .iter()
            .enumerate()
            .filter(move |(n, _)| self.0 >> n & 1 == 1);
        named.map(|(_, known)| place(known))
    }

    /// The frame with the rewritten bytes of another one.
    pub(crate) fn applied(self, frame: &Frame, other: &Frame) -> Frame {
        if self.is_anything() {
            return other.clone();
        }
        let mut made = frame.clone();
        for range in self.bytes(&frame.bytes) {
            if let (Some(to), Some(from)) = (made.bytes.get_mut(range.clone()), other.bytes.get(range)) {
                to.copy_from_slice(from);
            }
        }
        made
    }

    /// The bytes of a frame that may have been rewritten, of fields that stand in it.
    fn bytes(self, frame: &[u8]) -> Vec<Range<usize>> {
        let headers = Headers::parse(frame);
        let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
        let ip = |v4: Option<Part>, v6: Option<Part>| match headers.l3 {
            L3::Ipv4 { .. } => v4,
            L3::Ipv6 { .. } => v6,
            L3::Arp | L3::Other => None,
        };
        let protocol = headers.protocol.filter(|_| headers.l4 != L4::None);
        let at = |from: usize, (low, high): Part| from + usize::from(low)..from + usize::from(high);
        let stands = |place: Place| match place {
            Place::Link(part) => Some(at(0, part)),
            Place::Ip { v4, v6, .. } => ip(v4, v6).map(|part| at(l3, part)),
            other => other.transport(Some(protocol?)).map(|part| at(l4, part)),
        };
        let mut ranges: Vec<Range<usize>> = self.places().filter_map(stands).collect();
        if ranges.iter().any(|range| range.start >= LINK) {
            ranges.extend(ip(Some((10, 12)), None).map(|part| at(l3, part)));
            ranges.extend(protocol.and_then(checksum).map(|part| at(l4, part)));
        }
        ranges.retain(|range| range.end <= frame.len());
        ranges
    }
}

/// Packets that have their fields at the same places.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(super) cubes: Vec<Cube>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// IPv4 with a sound header's length that is followed by this protocol.
    Ip4 {
        l3: u16,
        protocol: u8,
    },
    /// As before, followed by an authentication header.
    Ip4Authenticated {
        l3: u16,
    },
    Ip6 {
        l3: u16,
        protocol: u8,
    },
    /// Followed by extension headers, or by what has no fields.
    Ip6Extended {
        l3: u16,
    },
    /// More tags than are looked behind; what stands there begins here or later.
    Deep {
        from: u16,
    },
    /// Nothing but a link header, as far as fields go.
    Plain,
}

/// Every packet is in one of them, and what rewriting makes of it is in the same.
pub(crate) fn shapes(fields: &mut Fields) -> Vec<Shape> {
    let mut make = Make {
        fields,
        found: Vec::new(),
    };
    let mut tagged = Cube::EVERYTHING;
    for tags in 0..=MAX_TAGS {
        let l3 = 14 + 4 * tags;
        let types = Bytes::new(l3 - 2, 2);
        make.ip4(&tagged, types, l3);
        make.ip6(&tagged, types, l3);
        let others = [VLAN.as_slice(), &[(IP, IP), (IP6, IP6)]].concat();
        let plain = make.without(&tagged, types, others);
        make.add(Kind::Plain, plain);
        match Values::new(VLAN.to_vec()).and_then(|vlan| make.with(&tagged, types, &vlan)) {
            Some(more) => tagged = more,
            None => return make.found,
        }
    }
    let from = 14 + 4 * (MAX_TAGS + 1);
    make.add(Kind::Deep { from }, Some(tagged));
    make.found
}

struct Make<'f> {
    fields: &'f mut Fields,
    found: Vec<Shape>,
}

impl Make<'_> {
    fn add(&mut self, kind: Kind, cube: Option<Cube>) {
        let cubes: Vec<Cube> = cube.into_iter().collect();
        if !cubes.is_empty() {
            self.found.push(Shape { cubes, kind });
        }
    }

    fn with(&mut self, cube: &Cube, bytes: Bytes, values: &Values) -> Option<Cube> {
        let field = self.fields.id(Field::Bytes(bytes));
        cube.clone().with(field, values)
    }

    fn without(&mut self, cube: &Cube, bytes: Bytes, values: Vec<(u128, u128)>) -> Option<Cube> {
        let others = Values::One(0, bytes.max()).minus(&Values::new(values)?)?;
        self.with(cube, bytes, &others)
    }

    fn ip4(&mut self, tagged: &Cube, types: Bytes, l3: u16) {
        let Some(ip) = self.with(tagged, types, &Values::one(IP)) else {
            return;
        };
        let length = Bytes::masked(l3, 1, 0x0f);
        let protocol = Bytes::new(l3 + 9, 1);
        let unsound = self.with(&ip, length, &Values::One(0, 4));
        self.add(Kind::Plain, unsound);
        let Some(sound) = self.with(&ip, length, &Values::One(5, 15)) else {
            return;
        };
        let own = [TCP, UDP, ICMP, SCTP];
        for number in own {
            let cube = self.with(&sound, protocol, &Values::one(number.into()));
            self.add(Kind::Ip4 { l3, protocol: number }, cube);
        }
        let cube = self.with(&sound, protocol, &Values::one(AUTHENTICATION.into()));
        self.add(Kind::Ip4Authenticated { l3 }, cube);
        let others = own.into_iter().chain([AUTHENTICATION]);
        let others = others.map(|n| (u128::from(n), u128::from(n))).collect();
        let cube = self.without(&sound, protocol, others);
        self.add(Kind::Ip4 { l3, protocol: 0 }, cube);
    }

    fn ip6(&mut self, tagged: &Cube, types: Bytes, l3: u16) {
        let Some(ip) = self.with(tagged, types, &Values::one(IP6)) else {
            return;
        };
        let next = Bytes::new(l3 + 6, 1);
        let own = [TCP, UDP, ICMP6, SCTP];
        for number in own {
            let cube = self.with(&ip, next, &Values::one(number.into()));
            self.add(Kind::Ip6 { l3, protocol: number }, cube);
        }
        let others = own.map(|n| (u128::from(n), u128::from(n))).to_vec();
        let cube = self.without(&ip, next, others);
        self.add(Kind::Ip6Extended { l3 }, cube);
    }
}

/// What of a shape's packets may have been rewritten.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Bytes of the frame, ends left out.
    frame: Vec<(u32, u32)>,
    /// Bytes behind the IPv4 header that begins at `ip4`.
    behind: Vec<(u32, u32)>,
    ip4: Option<u16>,
}

impl Touched {
    pub(super) fn new(shape: &Shape, written: Written) -> Self {
        let mut touched = Self::default();
        for place in written.places() {
            if let Place::Link(part) = place {
                touched.part(0, part);
            }
        }
        let (v4, l3) = match shape.kind {
            Kind::Ip4 { l3, .. } | Kind::Ip4Authenticated { l3 } => (true, l3),
            Kind::Ip6 { l3, .. } | Kind::Ip6Extended { l3 } => (false, l3),
            Kind::Deep { from } => {
                if written.places().any(|place| !matches!(place, Place::Link(_))) {
                    touched.from(from);
                }
                return touched;
            }
            Kind::Plain => return touched,
        };
        touched.ip4 = v4.then_some(l3);
        let link = touched.frame.len();
        for place in written.places() {
            match place {
                Place::Ip {
                    v4: four,
                    v6: six,
                    extension,
                } => {
                    let part = if v4 { four } else { six };
                    part.into_iter().for_each(|part| touched.part(l3, part));
                    if let (Kind::Ip6Extended { .. }, true) = (shape.kind, extension) {
                        touched.from(l3 + 40);
                    }
                }
                other => touched.transport(shape.kind, |protocol| other.transport(protocol)),
            }
        }
        if touched.frame.len() > link {
            if v4 {
                touched.part(l3, (10, 12));
            }
            touched.transport(shape.kind, |protocol| match protocol {
                Some(protocol) => checksum(protocol),
                None => Some((0, 2)),
            });
        }
        touched
    }

    fn part(&mut self, from: u16, (low, high): Part) {
        let at = |offset: u16| u32::from(from) + u32::from(offset);
        self.frame.push((at(low), at(high)));
    }

    fn from(&mut self, from: u16) {
        self.frame.push((from.into(), u32::MAX));
    }

    /// A part of the transport header, which `of` knows by its protocol.
    fn transport(&mut self, kind: Kind, of: impl Fn(Option<u8>) -> Option<Part>) {
        match kind {
            Kind::Ip4 { l3, protocol } => {
                if let Some((low, high)) = of(Some(protocol)) {
                    self.behind.push((low.into(), high.into()));
                    // The header has 20 bytes or more.
                    self.from(l3 + 20 + low);
                }
            }
            Kind::Ip4Authenticated { l3 } => {
                if let Some((low, _)) = of(None) {
                    let low = SHORTEST_AUTHENTICATION + low;
                    self.behind.push((low.into(), u32::MAX));
                    self.from(l3 + 20 + low);
                }
            }
            Kind::Ip6 { l3, protocol } => {
                if let Some(part) = of(Some(protocol)) {
                    self.part(l3 + 40, part);
                }
            }
            Kind::Ip6Extended { l3 } => {
                if let Some((low, _)) = of(None) {
                    self.from(l3 + 40 + SHORTEST_EXTENSION + low);
                }
            }
            Kind::Deep { .. } | Kind::Plain => {}
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.frame.is_empty()
    }

    /// Whether the field can have another value than before.
    pub(super) fn touches(&self, field: &Field) -> bool {
        let meet = |parts: &[(u32, u32)], low: u32, high: u32| {
            parts.iter().any(|(from, to)| low < *to && *from < high)
        };
        let within = |bytes: &Bytes| (u32::from(bytes.at), u32::from(bytes.at) + u32::from(bytes.size));
        let byte = |at: u16| meet(&self.frame, at.into(), u32::from(at) + 1);
        match field {
            Field::Captured | Field::Length => false,
            Field::CapturedBehindIp4(l3) => byte(*l3),
            Field::Bytes(bytes) => {
                let (low, high) = within(bytes);
                meet(&self.frame, low, high)
            }
            Field::BehindIp4 { l3, bytes } if self.ip4 == Some(*l3) => {
                let (low, high) = within(bytes);
                byte(*l3) || meet(&self.behind, low, high)
            }
            // What is taken for a header there can have any length.
            Field::BehindIp4 { l3, bytes } => {
                let (low, high) = within(bytes);
                byte(*l3) || meet(&self.frame, u32::from(*l3) + low, u32::from(*l3) + 60 + high)
            }
            Field::Outcome(_) => !self.is_nothing(),
        }
    }
}
