//! The packets that one test takes, and those that it does not.

use onvm_bundle::filter::{Direction, Framing, Length, Mac, NumberSet, Place, Primitive, Test, Version};

use super::{
    cube::Cube,
    ends::{Ends, Members},
    field::{Bytes, FALSE, Field, FieldId, Fields, TRUE},
    lower::TooComplex,
    relation,
    values::{Range, Values},
};

pub(super) const IP: u128 = 0x0800;
pub(super) const IP6: u128 = 0x86dd;
pub(super) const VLAN: [Range; 3] = [(0x8100, 0x8100), (0x88a8, 0x88a8), (0x9100, 0x9100)];
/// EtherTypes up to this are lengths.
const LLC: Values = Values::One(0, 1500);
const IP6_FRAGMENT: u128 = 44;
const MPLS: u128 = 0x8847;
const PPP_MPLS: u128 = 0x0281;
const PPPOES: u128 = 0x8864;

/// The version of IP that an EtherType stands for.
fn version(kind: u128) -> Option<u128> {
    match kind {
        IP => Some(4),
        IP6 => Some(6),
        _ => None,
    }
}

/// The number of a link header for an EtherType.
fn number(framing: Framing, kind: u128) -> u128 {
    u16::try_from(kind).map_or(kind, |kind| framing.number_of(kind).into())
}

pub(super) struct Tests<'f> {
    pub(super) fields: &'f mut Fields,
    place: &'f Place,
    /// The first byte of the network header, unless a tunnel has a say in it.
    pub(super) l3: u16,
    /// Further knowledge of the packets, if any.
    among: &'f [Cube],
}

impl<'f> Tests<'f> {
    /// Of the packets' headers at `place`, for those packets that lie in one of the cubes `among`; others may be left out.
    pub(super) fn new(fields: &'f mut Fields, place: &'f Place, among: &'f [Cube]) -> Self {
        let l3 = place.fixed().and_then(|l3| u16::try_from(l3).ok()).unwrap_or(0);
        Self {
            fields,
            place,
            l3,
            among,
        }
    }

    /// Whether there are such packets of an EtherType.
    pub(super) fn any_of_type(&mut self, kind: u128) -> bool {
        let (field, value) = match self.place.framing() {
            Framing::Mpls => match version(kind) {
                Some(version) => (self.nibble(), version),
                None => return false,
            },
            framing => (self.ether_type(), number(framing, kind)),
        };
        let allows = |cube: &Cube| cube.get(field).is_none_or(|v| v.contains(value));
        self.among.iter().any(allows)
    }

    /// The packets for which `test` comes out as `wanted`.
    pub(super) fn cubes(&mut self, test: &Test, wanted: bool) -> Result<Vec<Cube>, TooComplex> {
        if !self.is_spelled_out(test) {
            return Ok(self.outcome(Cube::default(), test, wanted));
        }
        Ok(match test {
            Test::ProtoChain { .. } | Test::Tunnel(..) => self.outcome(Cube::default(), test, wanted),
            Test::EtherMulticast => {
                let group = self.bytes(Bytes::masked(0, 1, 1));
                let cube = self.captured(Cube::default(), 1);
                self.split(cube, group, Some(Values::one(1)), wanted)
            }
            Test::Mpls(labels) => self.mpls(labels, wanted),
            Test::Pppoes(sessions) => self.numbered(PPPOES, 0xffff, sessions, wanted),
            Test::Mac { dir, macs } => self.mac(*dir, macs, wanted)?,
            Test::EtherProto(value) => self.ether_proto(test, *value, wanted),
            Test::Vlan(ids) => self.vlan(ids, wanted),
            Test::Proto { version, number } => self.proto(*version, u128::from(*number), wanted),
            Test::FirstFragment => {
                let fragment = self.fragment_offset();
                let cube = self.captured(Cube::default(), self.at(8));
                self.split(cube, fragment, Some(Values::one(0)), wanted)
            }
            Test::Net { within, dir, nets } => self.net(test, *within, *dir, nets.members(), wanted)?,
            Test::Port {
                transport,
                dir,
                ports,
            } => {
                let ranges = ports.members().iter();
                let ranges: Vec<Range> = ranges.map(|r| (r.low.into(), r.high.into())).collect();
                self.port(*transport, *dir, &ranges, wanted)?
            }
            Test::Length(length) => self.length(*length, wanted),
            Test::Dscp(values) => self.dscp(&values.iter().collect::<Vec<_>>(), wanted),
            Test::Relation { op, left, right } => relation::cubes(self, test, *op, left, right, wanted),
        })
    }

    pub(super) fn bytes(&mut self, bytes: Bytes) -> FieldId {
        self.fields.id(Field::Bytes(bytes))
    }

    /// Offset in the frame of an offset from the network header.
    pub(super) fn at(&self, offset: u16) -> u16 {
        self.l3 + offset
    }

    pub(super) fn ether_type(&mut self) -> FieldId {
        self.bytes(Bytes::new(self.l3 - 2, 2))
    }

    pub(super) fn fragment_offset(&mut self) -> FieldId {
        self.bytes(Bytes::masked(self.at(6), 2, 0x1fff))
    }

    /// At least `bytes` are captured.
    pub(super) fn captured(&mut self, cube: Cube, bytes: u16) -> Cube {
        let field = self.fields.id(Field::Captured);
        self.at_least(cube, field, u128::from(bytes))
    }

    pub(super) fn at_least(&mut self, cube: Cube, field: FieldId, bytes: u128) -> Cube {
        let max = self.fields.get(field).max();
        // A lower bound alone leaves nothing empty.
        cube.with(field, &Values::One(bytes, max)).unwrap_or_default()
    }

    /// The packets of `cube` whose field has one of the values, or none of them.
    pub(super) fn split(
        &mut self,
        cube: Cube,
        field: FieldId,
        values: Option<Values>,
        wanted: bool,
    ) -> Vec<Cube> {
        let values = if wanted {
            values
        } else {
            self.others(field, values)
        };
        values.and_then(|v| cube.with(field, &v)).into_iter().collect()
    }

    fn others(&self, field: FieldId, values: Option<Values>) -> Option<Values> {
        let all = Values::One(0, self.fields.get(field).max());
        match values {
            None => Some(all),
            Some(values) => all.minus(&values),
        }
    }

    /// True for tests that are sets of values of fields that always stand at the same place.
    fn is_spelled_out(&self, test: &Test) -> bool {
        match test {
            Test::Length(_) => true,
            Test::Mac { .. } | Test::EtherMulticast => !self.place.begins_link(),
            Test::Relation { left, right, .. } if left.reads_link() || right.reads_link() => {
                !self.place.begins_link()
            }
            // The type of the frame stands before the labels.
            Test::Vlan(_) | Test::Pppoes(_) if self.place.framing() == Framing::Mpls => false,
            _ => self.l3 > 0,
        }
    }

    /// The version of IP behind a label.
    fn nibble(&mut self) -> FieldId {
        self.bytes(Bytes::masked(self.l3, 1, 0xf0))
    }

    /// The bottom-of-stack bit of the label before the network header.
    fn bottom(&mut self) -> FieldId {
        self.bytes(Bytes::masked(self.l3 - 2, 1, 1))
    }

    /// As [`Tests::link`], behind a label.
    fn labelled(&mut self, types: &Values, wanted: bool) -> Vec<Cube> {
        let versions = types.ranges().filter_map(|(kind, _)| version(kind));
        let versions = Values::new(versions.map(|v| (v, v)).collect());
        let (bottom, nibble) = (self.bottom(), self.nibble());
        let cube = self.captured(Cube::default(), self.l3 - 1);
        let mut cubes = if wanted {
            Vec::new()
        } else {
            self.split(cube.clone(), bottom, Some(Values::one(1)), false)
        };
        for cube in self.split(cube, bottom, Some(Values::one(1)), true) {
            let cube = self.captured(cube, self.at(1));
            cubes.extend(self.split(cube, nibble, versions.clone(), wanted));
        }
        cubes
    }

    fn mpls(&mut self, labels: &NumberSet, wanted: bool) -> Vec<Cube> {
        match self.place.framing() {
            Framing::Ethernet => self.numbered(MPLS, 0xffff_f000, labels, wanted),
            Framing::Ppp => self.numbered(PPP_MPLS, 0xffff_f000, labels, wanted),
            Framing::Mpls => {
                let bottom = self.bottom();
                let cube = self.captured(Cube::default(), self.l3 - 1);
                let no = self.split(cube.clone(), bottom, Some(Values::one(1)), true);
                let yes = self.split(cube, bottom, Some(Values::one(0)), true);
                self.either(yes, no, 0xffff_f000, labels, wanted)
            }
        }
    }

    /// A link type and, if there are any, one of these numbers in the word behind it.
    fn numbered(&mut self, kind: u128, mask: u128, numbers: &NumberSet, wanted: bool) -> Vec<Cube> {
        let kind = Values::one(kind);
        let (yes, no) = (
            self.link_number(kind.clone(), true),
            self.link_number(kind, false),
        );
        self.either(yes, no, mask, numbers, wanted)
    }

    fn either(
        &mut self,
        yes: Vec<Cube>,
        no: Vec<Cube>,
        mask: u128,
        numbers: &NumberSet,
        wanted: bool,
    ) -> Vec<Cube> {
        let mut cubes = if wanted { Vec::new() } else { no };
        match Values::new(
            numbers
                .ranges()
                .iter()
                .map(|(l, h)| (u128::from(*l), u128::from(*h)))
                .collect(),
        ) {
            None if wanted => cubes.extend(yes),
            None => {}
            some => {
                let number = self.bytes(Bytes::masked(self.l3, 4, mask));
                for cube in yes {
                    let cube = self.captured(cube, self.at(4));
                    cubes.extend(self.split(cube, number, some.clone(), wanted));
                }
            }
        }
        cubes
    }

    /// The packets of one of these EtherTypes, or of none of them.
    pub(super) fn link(&mut self, types: Values, wanted: bool) -> Vec<Cube> {
        let types = match self.place.framing() {
            Framing::Ethernet => types,
            Framing::Mpls => return self.labelled(&types, wanted),
            framing @ Framing::Ppp => {
                let numbers = types.ranges().map(|(kind, _)| number(framing, kind));
                match Values::new(numbers.map(|n| (n, n)).collect()) {
                    Some(numbers) => numbers,
                    None => types,
                }
            }
        };
        self.link_number(types, wanted)
    }

    /// The packets whose link header says one of these numbers, or none of them.
    fn link_number(&mut self, types: Values, wanted: bool) -> Vec<Cube> {
        let field = self.ether_type();
        let cube = self.captured(Cube::default(), self.l3);
        self.split(cube, field, Some(types), wanted)
    }

    pub(super) fn of_type(&mut self, types: Values) -> Cube {
        self.link(types, true).pop().unwrap_or_default()
    }

    fn mac(&mut self, dir: Direction, macs: &[Mac], wanted: bool) -> Result<Vec<Cube>, TooComplex> {
        let (dst, src) = (self.bytes(Bytes::new(0, 6)), self.bytes(Bytes::new(6, 6)));
        let value = |mac: &Mac| mac.0.iter().fold(0, |v, b| v << 8 | u128::from(*b));
        let members = Members::new(macs.iter().map(|m| (value(m), value(m))).collect());
        // A frame that ends within the source address is rejected before the destination is looked at.
        let cap = if dir == Direction::Dst { 6 } else { 12 };
        let base = self.captured(Cube::default(), cap);
        let captured = self.fields.id(Field::Captured);
        let ends = Ends {
            src,
            dst,
            captured,
            src_end: cap.into(),
            dst_end: cap.into(),
        };
        match members {
            Some(members) => ends.cubes(self, &base, dir, &members, wanted),
            None => Ok(if wanted { Vec::new() } else { vec![base] }),
        }
    }

    fn ether_proto(&mut self, test: &Test, value: u16, wanted: bool) -> Vec<Cube> {
        let sap = |tests: &mut Self, size: u8, sap: u128| {
            let llc = tests.of_type(LLC);
            let llc = tests.captured(llc, tests.l3 + u16::from(size));
            let field = tests.bytes(Bytes::new(tests.l3, size));
            let mut cubes = tests.split(llc, field, Some(Values::one(sap)), wanted);
            if !wanted {
                cubes.extend(tests.link(LLC, false));
            }
            cubes
        };
        let value128 = u128::from(value);
        if self.place.framing() != Framing::Ethernet {
            return self.link(Values::one(value128), wanted);
        }
        match value {
            0x06 | 0xf0 | 0xfe => sap(self, 2, value128 << 8 | value128),
            0xe0 | 0x809b | 0x80f3 => {
                let framed = if value == 0xe0 { 0x8137 } else { value128 };
                // What these look like behind LLC is left to the test itself.
                let llc = self.of_type(LLC);
                let mut cubes = self.outcome(llc, test, wanted);
                let neither = Values::new(vec![(0, 1500), (framed, framed)]);
                match neither.filter(|_| !wanted) {
                    Some(types) => cubes.extend(self.link(types, false)),
                    None => cubes.extend(self.link(Values::one(framed), true)),
                }
                cubes
            }
            0..=1500 => sap(self, 1, value128),
            _ => self.link(Values::one(value128), wanted),
        }
    }

    /// The packets of `cube` for which the test itself comes out as wanted.
    pub(super) fn outcome(&mut self, cube: Cube, test: &Test, wanted: bool) -> Vec<Cube> {
        let test = onvm_bundle::filter::Expr::Test(Primitive {
            place: self.place.clone(),
            test: test.clone(),
        });
        let field = self.fields.id(Field::Outcome(Box::new(test)));
        let outcome = Values::one(if wanted { TRUE } else { FALSE });
        self.split(cube, field, Some(outcome), true)
    }

    fn vlan(&mut self, ids: &[u16], wanted: bool) -> Vec<Cube> {
        let Some(types) = Values::new(VLAN.to_vec()) else {
            return Vec::new();
        };
        let mut cubes = if wanted {
            Vec::new()
        } else {
            self.link_number(types.clone(), false)
        };
        let tagged = self.link_number(types, true).pop().unwrap_or_default();
        match Values::new(ids.iter().map(|id| (u128::from(*id), u128::from(*id))).collect()) {
            None if wanted => cubes.push(tagged),
            None => {}
            some => {
                let tagged = self.captured(tagged, self.at(2));
                let id = self.bytes(Bytes::masked(self.l3, 2, 0x0fff));
                cubes.extend(self.split(tagged, id, some, wanted));
            }
        }
        cubes
    }

    fn proto(&mut self, version: Version, number: u128, wanted: bool) -> Vec<Cube> {
        let mut cubes = Vec::new();
        let mut types = Vec::new();
        if version != Version::V6 {
            types.push((IP, IP));
            let ip = self.of_type(Values::one(IP));
            let ip = self.captured(ip, self.at(10));
            let field = self.bytes(Bytes::new(self.at(9), 1));
            cubes.extend(self.split(ip, field, Some(Values::one(number)), wanted));
        }
        if version != Version::V4 {
            types.push((IP6, IP6));
            let ip6 = self.of_type(Values::one(IP6));
            let ip6 = self.captured(ip6, self.at(7));
            let next = self.bytes(Bytes::new(self.at(6), 1));
            let decided = if wanted {
                Values::new(vec![(number, number)])
            } else {
                Values::new(vec![(number, number), (IP6_FRAGMENT, IP6_FRAGMENT)])
            };
            cubes.extend(self.split(ip6.clone(), next, decided, wanted));
            if number != IP6_FRAGMENT {
                let behind = self.bytes(Bytes::new(self.at(40), 1));
                let fragment = self.split(ip6, next, Some(Values::one(IP6_FRAGMENT)), true);
                for cube in fragment {
                    let cube = self.captured(cube, self.at(41));
                    cubes.extend(self.split(cube, behind, Some(Values::one(number)), wanted));
                }
            }
        }
        if let Some(types) = Values::new(types).filter(|_| !wanted) {
            cubes.extend(self.link(types, false));
        }
        cubes
    }

    fn length(&mut self, length: Length, wanted: bool) -> Vec<Cube> {
        let field = self.fields.id(Field::Length);
        let values = match length {
            Length::AtMost(bytes) => Values::One(0, bytes.into()),
            Length::AtLeast(bytes) => Values::One(bytes.into(), u32::MAX.into()),
        };
        self.split(Cube::default(), field, Some(values), wanted)
    }

    fn dscp(&mut self, values: &[u8], wanted: bool) -> Vec<Cube> {
        let points = values.iter().map(|v| u128::from(*v));
        let in_tos = Values::new(points.clone().map(|v| (v << 2, v << 2 | 3)).collect());
        let in_class = Values::new(points.map(|v| (v, v)).collect());
        let tos = self.bytes(Bytes::new(self.at(1), 1));
        let class = self.bytes(Bytes::masked(self.l3, 2, 0x0fc0));
        let mut cubes = Vec::new();
        for (kind, field, values) in [(IP, tos, in_tos), (IP6, class, in_class)] {
            let cube = self.of_type(Values::one(kind));
            let cube = self.captured(cube, self.at(2));
            cubes.extend(self.split(cube, field, values, wanted));
        }
        if let Some(types) = Values::new(vec![(IP, IP), (IP6, IP6)]).filter(|_| !wanted) {
            cubes.extend(self.link(types, false));
        }
        cubes
    }
}
