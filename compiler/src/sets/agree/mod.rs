//! Whether fields that share bytes of a packet can have their values together.
//!
//! # Idea
//! `ether[0] & 1 = 0` and `ether dst ff:ff:ff:ff:ff:ff` are two fields, each with a value that it may have, and no frame has
//! both. The algebra does not see that, since it treats fields as independent. Here the bits of a frame decide:
//!
//! 1. Fields behind an IPv4 header stand at one of sixteen places, by the header's length. Each length that the cube allows
//!    is a case of its own, and in each case every field is a number at a fixed place ([`cases`]).
//! 2. A number is read bit by bit, the highest first, and its set of values falls apart into those that agree with the bits
//!    read so far: all values that go on so are in the set, or none, or some. Fields that share bits are read side by side
//!    ([`reading`]). A state from which no frame was found is not entered again.
//!
//! Both are exact: there is an answer unless the work exceeds what was granted.

mod cases;
mod reading;

use super::{
    cube::Cube,
    field::{Bytes, Field, Fields},
    values::Values,
};

/// Bits that a frame is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    /// Offset of a byte, which of its bits, and what they are.
    bytes: Vec<(usize, u8, u8)>,
    /// The low half of the first byte of the IPv4 headers that begin there.
    headers: Vec<(u16, u8)>,
}

/// Whether there is a frame with a value of each field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Agreement {
    /// There is none: proved.
    Never,
    /// There is one with these bits, as far as numbers at fixed places go. Other bits do not matter to fields that share any.
    With(Bits),
    /// It was too much work.
    Unknown,
}

/// A number of a frame and its values.
#[derive(Debug, Clone)]
struct Part {
    bytes: Bytes,
    /// Of the bytes, in the frame.
    at: usize,
    values: Values,
}

/// Work for cubes that no search has looked at yet.
pub(super) const GLANCE: u64 = 1 << 18;

impl Bits {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.headers.is_empty()
    }

    /// The length of the IPv4 header that begins there, in words.
    pub(super) fn header_words(&self, l3: usize) -> Option<u8> {
        let mut headers = self.headers.iter();
        headers
            .find(|(at, _)| usize::from(*at) == l3)
            .map(|(_, words)| *words)
    }

    /// The number at these bytes, if every bit of it is settled.
    pub(super) fn number(&self, at: usize, size: usize) -> Option<u128> {
        (at..at + size).try_fold(0, |number, at| {
            let settled = self
                .bytes
                .iter()
                .find(|(own, mask, _)| *own == at && *mask == 0xff);
            settled.map(|(_, _, value)| number << 8 | u128::from(*value))
        })
    }

    /// Bytes beyond the frame's end are left out.
    pub(super) fn write(&self, frame: &mut [u8]) {
        for (at, mask, value) in &self.bytes {
            if let Some(byte) = frame.get_mut(*at) {
                *byte = *byte & !mask | value;
            }
        }
    }
}

/// Looks for bits that give each field of `cube` one of its values, near those of `present`.
pub(super) fn agreement(fields: &Fields, cube: &Cube, present: &[u8], work: &mut u64) -> Agreement {
    cases::agreement(fields, cube, present, work)
}

/// Whether fields of the cube share bits so that no frame can have their values. False also where that takes long to find out.
pub(super) fn is_contradictory(fields: &Fields, cube: &Cube, work: &mut u64) -> bool {
    *work > 0 && !is_apart(fields, cube) && agreement(fields, cube, &[], work) == Agreement::Never
}

/// Nearly every cube: with an IPv4 header of the ordinary length no two of its fields share a byte, and each can have all
/// numbers for its value. False also where that is not known.
fn is_apart(fields: &Fields, cube: &Cube) -> bool {
    const ORDINARY: u32 = 20;
    let place = |field: &Field| match field {
        Field::Bytes(bytes) => Some((u32::from(bytes.at), bytes.size)),
        Field::BehindIp4 { l3, bytes } => Some((u32::from(*l3) + ORDINARY + u32::from(bytes.at), bytes.size)),
        _ => None,
    };
    let has_holes = |field: &Field| match field {
        Field::Bytes(bytes) | Field::BehindIp4 { bytes, .. } => bytes.has_holes(),
        _ => false,
    };
    let terms = cube.terms();
    for (n, (field, _)) in terms.iter().enumerate() {
        let field = fields.get(*field);
        let Some((at, size)) = place(field) else { continue };
        let meets = |(other, _): &(_, _)| {
            let other = place(fields.get(*other));
            other.is_some_and(|(from, len)| at < from + u32::from(len) && from < at + u32::from(size))
        };
        if has_holes(field) || terms[n + 1..].iter().any(meets) {
            return false;
        }
        let header = match field {
            Field::BehindIp4 { l3, .. } => *l3,
            _ => continue,
        };
        let says_length = |(other, _): &(_, _)| match fields.get(*other) {
            Field::Bytes(bytes) => bytes.at <= header && u128::from(header) < bytes.end(),
            _ => false,
        };
        if terms.iter().any(says_length) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
