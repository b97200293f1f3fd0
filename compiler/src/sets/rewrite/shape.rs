//! Shapes of packets, and what of each may have been rewritten.

use super::{
    super::{
        cube::Cube,
        field::{Bytes, Field, Fields},
        primitive::{IP, IP6, VLAN},
        values::Values,
    },
    ICMP, ICMP6, Part, Place, SCTP, TCP, UDP, Written, checksum,
};

const AUTHENTICATION: u8 = 51;
/// Bytes of the shortest authentication header.
const SHORTEST_AUTHENTICATION: u16 = 8;
/// Bytes of the shortest extension header.
const SHORTEST_EXTENSION: u16 = 8;
/// Tags that are looked behind one by one.
const MAX_TAGS: u16 = 2;

/// Packets that have their fields at the same places.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(in crate::sets) cubes: Vec<Cube>,
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

/// The parts of a shape's packets that may have been rewritten.
#[derive(Debug, Default)]
pub(in crate::sets) struct Touched {
    /// Bytes of the frame, ends left out.
    frame: Vec<(u32, u32)>,
    /// Bytes behind the IPv4 header that begins at `ip4`.
    behind: Vec<(u32, u32)>,
    ip4: Option<u16>,
}

impl Touched {
    pub(in crate::sets) fn new(shape: &Shape, written: Written) -> Self {
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

    pub(in crate::sets) fn is_nothing(&self) -> bool {
        self.frame.is_empty()
    }

    /// Whether the field can have another value than before.
    pub(in crate::sets) fn touches(&self, field: &Field) -> bool {
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
