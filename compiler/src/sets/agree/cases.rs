//! Where the fields of a cube stand, case by case.

use super::{
    super::{
        cube::Cube,
        field::{Bytes, Field, FieldId, Fields},
        values::Values,
    },
    Agreement, Bits, Part,
    reading::read,
};

/// Lengths of an IPv4 header in words of four bytes, ordinary ones first.
const LENGTHS: [u8; 16] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4];

pub(super) fn agreement(fields: &Fields, cube: &Cube, present: &[u8], work: &mut u64) -> Agreement {
    let terms = Terms::of(fields, cube);
    let captured = match terms.captured.and(&Values::One(0, terms.longest)) {
        Some(captured) => captured,
        None => return Agreement::Never,
    };
    if terms.headers.is_empty() {
        return read(&terms.fixed, &captured, present, work).map_or_else(Agreement::from, Agreement::With);
    }
    // What stands at fixed places does not depend on the case.
    if let Err(Reason::Contradiction) = read(&terms.fixed, &captured, present, work) {
        return Agreement::Never;
    }
    let mut case = Case {
        terms: &terms,
        chosen: Vec::new(),
        doubtful: false,
    };
    match case.next(captured, present, work) {
        Some(bits) => Agreement::With(bits),
        None if case.doubtful => Agreement::Unknown,
        None => Agreement::Never,
    }
}

/// Why no bits were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Contradiction,
    Work,
}

impl From<Reason> for Agreement {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Contradiction => Self::Never,
            Reason::Work => Self::Unknown,
        }
    }
}

/// What a cube says, by where it stands.
struct Terms {
    /// How much may be captured, and the length on the wire, which is not less.
    captured: Values,
    longest: u128,
    fixed: Vec<Part>,
    /// Where IPv4 headers begin behind which something stands.
    headers: Vec<u16>,
    /// The header, the bytes from its end, and their values.
    behind: Vec<(u16, Bytes, Values)>,
    /// The header, and how much may be captured behind it.
    captured_behind: Vec<(u16, Values)>,
}

impl Terms {
    fn of(fields: &Fields, cube: &Cube) -> Self {
        let mut terms = Self {
            captured: Values::One(0, fields.get(FieldId::CAPTURED).max()),
            longest: fields.get(FieldId::LENGTH).max(),
            fixed: Vec::new(),
            headers: Vec::new(),
            behind: Vec::new(),
            captured_behind: Vec::new(),
        };
        for (field, values) in cube.terms() {
            match fields.get(*field) {
                Field::Captured => terms.captured = values.clone(),
                Field::Length => terms.longest = values.max(),
                Field::Bytes(bytes) => terms.fixed.push(Part::new(*bytes, 0, values.clone())),
                Field::BehindIp4 { l3, bytes } => terms.behind.push((*l3, *bytes, values.clone())),
                Field::CapturedBehindIp4(l3) => terms.captured_behind.push((*l3, values.clone())),
                Field::Outcome(_) => {}
            }
        }
        let behind = terms.behind.iter().map(|(l3, _, _)| *l3);
        terms.headers = behind
            .chain(terms.captured_behind.iter().map(|(l3, _)| *l3))
            .collect();
        terms.headers.sort_unstable();
        terms.headers.dedup();
        terms
    }
}

impl Part {
    pub(super) fn new(bytes: Bytes, base: usize, values: Values) -> Self {
        Self {
            bytes,
            at: base + usize::from(bytes.at),
            values,
        }
    }
}

/// A length for some of the headers; none: the frame ends before the header.
struct Case<'t> {
    terms: &'t Terms,
    chosen: Vec<Option<u8>>,
    doubtful: bool,
}

impl Case<'_> {
    /// Tries every length of the next header, while `captured` bytes may be captured.
    fn next(&mut self, captured: Values, present: &[u8], work: &mut u64) -> Option<Bits> {
        let Some(l3) = self.terms.headers.get(self.chosen.len()).copied() else {
            return self.read(&captured, present, work);
        };
        for words in LENGTHS.map(Some).into_iter().chain([None]) {
            if *work == 0 {
                self.doubtful = true;
                return None;
            }
            *work -= 1;
            let Some(captured) = self.captured(l3, words).and_then(|own| own.and(&captured)) else {
                continue;
            };
            self.chosen.push(words);
            let found = self.next(captured, present, work);
            self.chosen.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// How much may be captured with a header of this length.
    fn captured(&self, l3: u16, words: Option<u8>) -> Option<Values> {
        let l3 = u128::from(l3);
        let end = words.map(|words| l3 + 4 * u128::from(words));
        let here = match words {
            Some(_) => Values::One(l3 + 1, u128::from(u32::MAX)),
            None => Values::One(0, l3),
        };
        let own = self
            .terms
            .captured_behind
            .iter()
            .filter(|(at, _)| u128::from(*at) == l3);
        own.map(|(_, values)| match end {
            None => values.contains(0).then(|| here.clone()),
            Some(end) => {
                let nothing = values.contains(0).then_some((0, end));
                let ranges = values.ranges().map(|(low, high)| (end + low, end + high));
                Values::new(ranges.chain(nothing).collect())
            }
        })
        .try_fold(here.clone(), |here, own| here.and(&own?))
    }

    /// With a length chosen for every header.
    fn read(&mut self, captured: &Values, present: &[u8], work: &mut u64) -> Option<Bits> {
        let headers = || self.terms.headers.iter().zip(&self.chosen);
        let mut parts = self.terms.fixed.clone();
        for (l3, words) in headers() {
            let Some(words) = words else { continue };
            let value = Values::one(u128::from(*words));
            parts.push(Part::new(Bytes::masked(*l3, 1, 0x0f), 0, value));
        }
        for (l3, bytes, values) in &self.terms.behind {
            let chosen = headers().find(|(at, _)| *at == l3);
            match chosen.and_then(|(_, words)| *words) {
                Some(words) => {
                    let base = usize::from(*l3) + 4 * usize::from(words);
                    parts.push(Part::new(*bytes, base, values.clone()));
                }
                None if values.contains(0) => {}
                None => return None,
            }
        }
        match read(&parts, captured, present, work) {
            Ok(mut bits) => {
                bits.headers = headers()
                    .filter_map(|(l3, words)| Some((*l3, (*words)?)))
                    .collect();
                Some(bits)
            }
            Err(reason) => {
                self.doubtful |= reason == Reason::Work;
                None
            }
        }
    }
}
