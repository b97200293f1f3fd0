//! The least that a filter requires of a few fields: cubes, ranges of values for each field, of which any frame that
//! the filter takes is in one. The converse does not hold, so the index only finds candidates by them.
//!
//! A test that reads what is not there never holds, whatever stands around it. So the field of a frame that is cut off may count
//! as any value, and [`Fields::read`] needs no care for damaged frames.

use crate::{
    Direction, Expr, Primitive, Test, Transport, Version, Within,
    eval::{Frame, LINK_HEADER, LINK_TYPE, TAG},
    sets::v6_range,
};

/// From the smallest to the largest value.
pub(crate) type Range = (u32, u32);
const ALL: Range = (0, u32::MAX);

/// Which fields a frame has. Each frame is of one family at each number of tags.
pub(crate) const V4: u8 = 1;
pub(crate) const V6: u8 = 1 << 1;
pub(crate) const ARP: u8 = 1 << 2;
pub(crate) const OTHER: u8 = 1 << 3;
const EVERY: u8 = V4 | V6 | ARP | OTHER;

// The fields. IPv6 addresses are four each: a prefix is a range in each word.
const KIND: usize = 0;
const VLAN: usize = 1;
const PROTOCOL: usize = 2;
const SOURCE_PORT: usize = 3;
const PORT: usize = 4;
const SOURCE: usize = 5;
const ADDRESS: usize = 6;
const SOURCE6: usize = 7;
const ADDRESS6: usize = 11;
const FIELDS: usize = 15;

/// The fields of IPv4.
pub(crate) const OF_V4: [usize; 5] = [SOURCE, ADDRESS, SOURCE_PORT, PORT, PROTOCOL];
/// The fields of IPv6.
pub(crate) const OF_V6: [usize; 11] = [7, 8, 9, 10, 11, 12, 13, 14, SOURCE_PORT, PORT, PROTOCOL];
/// The fields of ARP and RARP.
pub(crate) const OF_ARP: [usize; 3] = [KIND, SOURCE, ADDRESS];
/// The fields of all else.
pub(crate) const OF_OTHER: [usize; 2] = [KIND, VLAN];

/// The families that have each field.
const HAVE: [u8; FIELDS] = [
    ARP | OTHER,
    OTHER,
    V4 | V6,
    V4 | V6,
    V4 | V6,
    V4 | ARP,
    V4 | ARP,
    V6,
    V6,
    V6,
    V6,
    V6,
    V6,
    V6,
    V6,
];

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const FRAGMENT: u8 = 44;
/// Stands for a port or a number that a frame does not have.
const NONE: u32 = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cube {
    pub(crate) families: u8,
    ranges: [Range; FIELDS],
}

impl Cube {
    const ANY: Self = Self {
        families: EVERY,
        ranges: [ALL; FIELDS],
    };

    fn of(families: u8) -> Self {
        Self {
            families,
            ranges: [ALL; FIELDS],
        }
    }

    fn with(mut self, field: usize, range: Range) -> Self {
        self.ranges[field] = range;
        self
    }

    /// The ranges of these fields.
    pub(crate) fn ranges<const N: usize>(&self, of: &[usize; N]) -> [Range; N] {
        of.map(|field| self.ranges[field])
    }

    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = Self::of(self.families & other.families);
        for (field, have) in HAVE.iter().enumerate() {
            let ((a, b), (c, d)) = (self.ranges[field], other.ranges[field]);
            both.ranges[field] = (a.max(c), b.min(d));
            if both.ranges[field].0 > both.ranges[field].1 {
                both.families &= !have;
            }
        }
        (both.families != 0).then_some(both)
    }

    /// The smallest cube that holds both.
    fn around(&self, other: &Self) -> Self {
        let mut both = Self::of(self.families | other.families);
        for (field, have) in HAVE.iter().enumerate() {
            // A condition on a field that the cube's families do not have is void.
            both.ranges[field] = match (self.families & have, other.families & have) {
                (0, 0) => ALL,
                (0, _) => other.ranges[field],
                (_, 0) => self.ranges[field],
                _ => {
                    let ((a, b), (c, d)) = (self.ranges[field], other.ranges[field]);
                    (a.min(c), b.max(d))
                }
            };
        }
        both
    }

    /// The part of all frames that is in the cube, roughly: each family counts as much as each other.
    fn size(&self) -> f64 {
        let of = |family: u8, fields: &[usize]| {
            let part = |field: &usize| {
                let (low, high) = self.ranges[*field];
                let values = f64::from(high - low) + 1.0;
                match *field {
                    KIND | VLAN | PORT | SOURCE_PORT => (values / 65_536.0).min(1.0),
                    PROTOCOL => (values / 256.0).min(1.0),
                    _ => values / 4_294_967_296.0,
                }
            };
            if self.families & family == 0 {
                return 0.0;
            }
            fields.iter().map(part).product::<f64>()
        };
        of(V4, &OF_V4) + of(V6, &OF_V6) + of(ARP, &OF_ARP) + of(OTHER, &OF_OTHER)
    }
}

/// The number of tags behind which the filter says most about a frame, and the cubes that it says there, `most` of them at most. None
/// at all: it takes no frame.
pub(crate) fn cubes(filter: &Expr, most: usize) -> (u8, Vec<Cube>) {
    let mut depths = 0;
    collect_depths(filter, &mut depths);
    let size = |cubes: &[Cube]| cubes.iter().map(Cube::size).sum::<f64>();
    let mut best = (0, Reader { tags: 0, most }.cubes(filter, true));
    for tags in 1..=DEEPEST {
        if depths & 1 << tags != 0 {
            let cubes = Reader { tags, most }.cubes(filter, true);
            if size(&cubes) < size(&best.1) {
                best = (tags, cubes);
            }
        }
    }
    best
}

/// Behind more tags the index does not look.
pub(crate) const DEEPEST: u8 = 3;

fn collect_depths(filter: &Expr, depths: &mut u8) {
    match filter {
        Expr::Const(_) => {}
        Expr::And(of) | Expr::Or(of) => of.iter().for_each(|operand| collect_depths(operand, depths)),
        Expr::Not(of) => collect_depths(of, depths),
        Expr::Test(primitive) => {
            if let Some(tags @ 0..=DEEPEST) = primitive.place.tags() {
                *depths |= 1 << tags;
            }
        }
    }
}

/// Reads filters as sets of cubes over the fields behind `tags` tags.
struct Reader {
    tags: u8,
    most: usize,
}

impl Reader {
    /// Cubes with every frame for which the decision is `wanted`.
    fn cubes(&self, filter: &Expr, wanted: bool) -> Vec<Cube> {
        match (filter, wanted) {
            (Expr::Const(value), _) => (*value == wanted).then_some(Cube::ANY).into_iter().collect(),
            (Expr::Not(of), _) => self.cubes(of, !wanted),
            (Expr::And(of), true) | (Expr::Or(of), false) => {
                of.iter().fold(vec![Cube::ANY], |met, operand| {
                    self.both(met, self.cubes(operand, wanted))
                })
            }
            (Expr::And(of), false) | (Expr::Or(of), true) => {
                let cubes = of
                    .iter()
                    .flat_map(|operand| self.cubes(operand, wanted))
                    .collect();
                self.fewer(cubes)
            }
            (Expr::Test(primitive), true) if primitive.place.tags() == Some(self.tags) => {
                self.fewer(of_test(primitive))
            }
            (Expr::Test(_), _) => vec![Cube::ANY],
        }
    }

    /// Where there would be too many, the smaller of the two: what is in both is in each.
    fn both(&self, left: Vec<Cube>, right: Vec<Cube>) -> Vec<Cube> {
        let meet = |left: &[Cube], right: &[Cube]| {
            let pairs = left.iter().flat_map(|a| right.iter().filter_map(|b| a.and(b)));
            pairs.collect::<Vec<_>>()
        };
        let size = |cubes: &[Cube]| cubes.iter().map(Cube::size).sum::<f64>();
        let met = meet(&left, &right);
        if met.len() <= self.most {
            return met;
        }
        let (small, large) = if size(&left) <= size(&right) {
            (left, right)
        } else {
            (right, left)
        };
        let hull = large.into_iter().reduce(|a, b| a.around(&b));
        meet(&small, &hull.map_or(Vec::new(), |hull| vec![hull]))
    }

    /// Where there are too many, neighbours become one.
    fn fewer(&self, cubes: Vec<Cube>) -> Vec<Cube> {
        if cubes.len() <= self.most {
            return cubes;
        }
        let each = cubes.len().div_ceil(self.most);
        let one = |run: &[Cube]| run.iter().copied().reduce(|a, b| a.around(&b));
        cubes.chunks(each).filter_map(one).collect()
    }
}

/// Cubes with every frame for which the test holds.
fn of_test(primitive: &Primitive) -> Vec<Cube> {
    match &primitive.test {
        Test::EtherProto(number) => vec![of_kind(*number)],
        Test::Vlan(ids) => of_vlan(ids),
        Test::Pppoes(_) => vec![Cube::of(OTHER).with(KIND, one(0x8864_u16))],
        Test::Mpls(_) => vec![Cube::of(OTHER).with(KIND, one(0x8847_u16))],
        Test::Tunnel(tunnel, _) => vec![of_protocol(UDP).with(PORT, one(tunnel.port()))],
        Test::ProtoChain { version, .. } => vec![Cube::of(of_version(*version))],
        Test::Proto { version, number } => {
            let mut cubes = vec![of_protocol(*number)];
            cubes[0].families &= of_version(*version);
            // What stands behind a fragment header counts as the protocol.
            if *number == FRAGMENT && of_version(*version) & V6 != 0 {
                cubes.push(Cube::of(V6));
            }
            cubes
        }
        Test::Net { within, dir, nets } => {
            let v4 = nets.ranges_v4().iter().map(|range| End::V4(*range));
            let v6 = nets.members().iter().filter_map(v6_range).map(End::V6);
            let mut v6: Vec<End> = v6.filter(|_| *within == Within::Any).collect();
            v6.sort_unstable();
            ends(*dir, v4.chain(v6).collect(), |end, source| match end {
                End::V4(range) => of_within(*within).with(if source { SOURCE } else { ADDRESS }, range),
                End::V6(range) => of_prefix(range, if source { SOURCE6 } else { ADDRESS6 }),
            })
        }
        Test::Port {
            transport,
            dir,
            ports,
        } => {
            let protocols: &[u8] = match transport {
                Transport::Any => &[TCP, UDP, SCTP],
                Transport::Tcp => &[TCP],
                Transport::Udp => &[UDP],
                Transport::Sctp => &[SCTP],
            };
            let low = protocols.iter().min().map_or(0, |number| u32::from(*number));
            let high = protocols.iter().max().map_or(0, |number| u32::from(*number));
            let cube = Cube::of(V4 | V6).with(PROTOCOL, (low, high));
            ends(*dir, ports.ranges().to_vec(), |(low, high), source| {
                cube.with(if source { SOURCE_PORT } else { PORT }, (low.into(), high.into()))
            })
        }
        Test::Dscp(_) => vec![Cube::of(V4 | V6)],
        Test::Mac { .. }
        | Test::EtherMulticast
        | Test::FirstFragment
        | Test::Length(_)
        | Test::Relation { .. } => vec![Cube::ANY],
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    V4((u32, u32)),
    V6((u128, u128)),
}

/// Cubes of the values at the ends that a direction names. `true`: the source.
fn ends<T: Copy>(dir: Direction, values: Vec<T>, cube: impl Fn(T, bool) -> Cube) -> Vec<Cube> {
    let of = |source: bool| {
        let cubes = values.iter().map(|value| cube(*value, source));
        cubes.collect::<Vec<_>>()
    };
    match dir {
        // Both ends are in one of the members, so the source alone is.
        Direction::Src => of(true),
        Direction::Dst => of(false),
        Direction::Either => [of(true), of(false)].concat(),
        Direction::Both => match values.as_slice() {
            [only] => cube(*only, true).and(&cube(*only, false)).into_iter().collect(),
            _ => of(true),
        },
    }
}

fn one(value: impl Into<u32>) -> Range {
    let value = value.into();
    (value, value)
}

fn of_kind(number: u16) -> Cube {
    let kinds = |low: u16, high: u16| Cube::of(OTHER).with(KIND, (low.into(), high.into()));
    match number {
        0x0800 => Cube::of(V4),
        0x86dd => Cube::of(V6),
        0x0806 | 0x8035 => Cube::of(ARP).with(KIND, one(number)),
        // The encapsulations that count as these begin with a length.
        0xe0 => kinds(0, 0x8137),
        0x809b | 0x80f3 => kinds(0, number),
        0..=1500 => kinds(0, 1500),
        _ => kinds(number, number),
    }
}

fn of_vlan(ids: &[u16]) -> Vec<Cube> {
    let tagged = Cube::of(OTHER).with(KIND, (0x8100, 0x9100));
    if ids.is_empty() {
        return vec![tagged];
    }
    let runs = ids.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let range = |run: &[u16]| Some((u32::from(*run.first()?), u32::from(*run.last()?)));
    runs.filter_map(range).map(|ids| tagged.with(VLAN, ids)).collect()
}

fn of_protocol(number: u8) -> Cube {
    Cube::of(V4 | V6).with(PROTOCOL, one(number))
}

fn of_version(version: Version) -> u8 {
    match version {
        Version::V4 => V4,
        Version::V6 => V6,
        Version::Any => V4 | V6,
    }
}

fn of_within(within: Within) -> Cube {
    match within {
        Within::Any => Cube::of(V4 | ARP),
        Within::Ip => Cube::of(V4),
        Within::Arp => of_kind(0x0806),
        Within::Rarp => of_kind(0x8035),
    }
}

/// The range is one of a prefix.
fn of_prefix((low, high): (u128, u128), field: usize) -> Cube {
    let mut cube = Cube::of(V6);
    for word in 0..4 {
        let shift = 96 - 32 * word;
        cube.ranges[field + word] = ((low >> shift) as u32, (high >> shift) as u32);
    }
    cube
}

/// The fields of one frame behind so many tags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) family: u8,
    values: [u32; FIELDS],
}

impl Fields {
    #[inline]
    pub(crate) fn read(frame: &Frame<'_>, tags: u8) -> Self {
        let shift = usize::from(tags) * TAG;
        let l3 = LINK_HEADER + shift;
        let kind = frame.u16(LINK_TYPE + shift);
        let mut fields = Self {
            family: OTHER,
            values: [NONE; FIELDS],
        };
        match kind {
            Ok(0x0800) => fields.read_v4(frame, l3),
            Ok(0x86dd) => fields.read_v6(frame, l3),
            Ok(kind @ (0x0806 | 0x8035)) => {
                fields.family = ARP;
                fields.values[KIND] = kind.into();
                fields.values[SOURCE] = frame.u32(l3 + 14).unwrap_or(u32::MAX);
                fields.values[ADDRESS] = frame.u32(l3 + 24).unwrap_or(u32::MAX);
            }
            Ok(kind) => {
                fields.values[KIND] = kind.into();
                if matches!(kind, 0x8100 | 0x88a8 | 0x9100) {
                    fields.values[VLAN] = frame.u16(l3).map_or(NONE, |tag| u32::from(tag & 0x0fff));
                }
            }
            Err(_) => {}
        }
        fields
    }

    fn read_v4(&mut self, frame: &Frame<'_>, l3: usize) {
        self.family = V4;
        self.values[SOURCE] = frame.u32(l3 + 12).unwrap_or(u32::MAX);
        self.values[ADDRESS] = frame.u32(l3 + 16).unwrap_or(u32::MAX);
        let Ok(protocol) = frame.u8(l3 + 9) else { return };
        self.values[PROTOCOL] = protocol.into();
        let first = frame.u16(l3 + 6).is_ok_and(|fragment| fragment & 0x1fff == 0);
        if let (true, Ok(header)) = (first, frame.ip4_header_len(l3)) {
            self.read_ports(frame, l3 + header as usize, protocol);
        }
    }

    fn read_v6(&mut self, frame: &Frame<'_>, l3: usize) {
        self.family = V6;
        for word in 0..4 {
            self.values[SOURCE6 + word] = frame.u32(l3 + 8 + 4 * word).unwrap_or(u32::MAX);
            self.values[ADDRESS6 + word] = frame.u32(l3 + 24 + 4 * word).unwrap_or(u32::MAX);
        }
        let Ok(next) = frame.u8(l3 + 6) else { return };
        if next == FRAGMENT {
            self.values[PROTOCOL] = frame.u8(l3 + 40).map_or(NONE, u32::from);
        } else {
            self.values[PROTOCOL] = next.into();
            self.read_ports(frame, l3 + 40, next);
        }
    }

    fn read_ports(&mut self, frame: &Frame<'_>, l4: usize, protocol: u8) {
        if matches!(protocol, TCP | UDP | SCTP) {
            self.values[SOURCE_PORT] = frame.u16(l4).map_or(NONE, u32::from);
            self.values[PORT] = frame.u16(l4 + 2).map_or(NONE, u32::from);
        }
    }

    pub(crate) fn values<const N: usize>(&self, of: &[usize; N]) -> [u32; N] {
        of.map(|field| self.values[field])
    }
}
