//! A point of the space of fields: one value for each, nearly always those of a real frame.

use super::{
    agree::{Agreement, Bits, agreement},
    cube::Cube,
    field::{FieldId, Fields},
    frame::Frame,
};

/// Steps that are taken at most to find bits for one point.
const AGREEMENT: u64 = 100_000;
const STEPS_PER_LOOK: u64 = 4;

#[derive(Debug)]
pub(crate) struct Point<'f> {
    fields: &'f Fields,
    pub(crate) frame: Frame,
    /// Values that the frame does not have: no frame may have all of them together.
    pub(super) forced: Vec<(FieldId, u128)>,
    /// Values already read, each with the round in which it was.
    known: Vec<(u32, u128)>,
    round: u32,
    /// Room for the index's lookups.
    pub(super) open: Vec<u32>,
}

impl<'f> Point<'f> {
    pub(crate) fn new(fields: &'f Fields) -> Self {
        Self {
            fields,
            frame: Frame::default(),
            forced: Vec::new(),
            known: vec![(0, 0); fields.len()],
            round: 0,
            open: Vec::new(),
        }
    }

    /// The point of a frame.
    pub(crate) fn of(fields: &'f Fields, frame: &Frame) -> Self {
        Self {
            frame: frame.clone(),
            round: 1,
            ..Self::new(fields)
        }
    }

    /// Moves to a point of `cube`; false if there is none, since fields that share bytes exclude each other. Counts the looks
    /// that it takes.
    pub(crate) fn enter(&mut self, cube: &Cube, looks: &mut u64) -> bool {
        self.build(cube, &Bits::default());
        if self.is_real() {
            return true;
        }
        let mut work = AGREEMENT;
        let agreement = agreement(self.fields, cube, &self.frame.bytes, &mut work);
        *looks += (AGREEMENT - work) / STEPS_PER_LOOK;
        match agreement {
            Agreement::Never => return false,
            Agreement::With(bits) if !bits.is_empty() => self.build(cube, &bits),
            Agreement::With(_) | Agreement::Unknown => {}
        }
        true
    }

    fn build(&mut self, cube: &Cube, bits: &Bits) {
        self.forced.clear();
        self.frame.build(self.fields, cube, bits, &mut self.forced);
        self.round += 1;
    }

    /// Whether the frame has all of the point's values.
    pub(crate) fn is_real(&self) -> bool {
        self.forced.is_empty()
    }

    pub(crate) fn value(&mut self, field: FieldId) -> u128 {
        let round = self.round;
        let known = &mut self.known[field.index()];
        if known.0 != round {
            let forced = self.forced.iter().find(|(f, _)| *f == field);
            let read = || {
                self.fields
                    .get(field)
                    .read(&self.frame.bytes, self.frame.wire_len)
            };
            *known = (round, forced.map_or_else(read, |(_, value)| *value));
        }
        known.1
    }

    pub(crate) fn is_in(&mut self, cube: &Cube) -> bool {
        // The fields named last distinguish cubes best: every filter begins with the EtherType.
        cube.terms()
            .iter()
            .rev()
            .all(|(field, values)| values.contains(self.value(*field)))
    }
}
