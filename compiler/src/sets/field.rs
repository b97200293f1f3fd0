//! The parts of a packet that a test can look at.

use hashbrown::HashMap;
use onvm_bundle::filter::{Expr, Version};

use super::cube::Cube;

/// A part of a packet that tests look at, as a number. Two fields may overlap in the packet; the algebra treats them as
/// independent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    /// Captured bytes.
    Captured,
    /// Length on the wire, in bytes.
    Length,
    /// Captured bytes behind the IPv4 header that begins at this offset.
    CapturedBehindIp4(u16),
    /// Bytes at an offset from the frame's first.
    Bytes(Bytes),
    /// Bytes at an offset from the end of the IPv4 header that begins at `l3`.
    BehindIp4 { l3: u16, bytes: Bytes },
    /// The outcome of a test that is not a set of values of the above: [`FALSE`], [`TRUE`] or [`REJECTED`].
    Outcome(Box<Expr>),
}

pub(crate) const FALSE: u128 = 0;
pub(crate) const TRUE: u128 = 1;
pub(crate) const REJECTED: u128 = 2;

/// A big-endian number of 1 to 16 bytes under a mask, shifted down to the mask's lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bytes {
    pub(crate) at: u16,
    pub(crate) size: u8,
    pub(crate) mask: u128,
}

impl Bytes {
    pub(crate) fn new(at: u16, size: u8) -> Self {
        Self {
            at,
            size,
            mask: full(size),
        }
    }

    pub(crate) fn masked(at: u16, size: u8, mask: u128) -> Self {
        Self {
            at,
            size,
            mask: mask & full(size),
        }
    }

    pub(crate) fn end(self) -> u128 {
        u128::from(self.at) + u128::from(self.size)
    }

    /// Its value in these bytes of its own.
    pub(crate) fn value(self, bytes: &[u8]) -> u128 {
        self.at_start().read(bytes, 0)
    }

    fn at_start(self) -> Self {
        Self { at: 0, ..self }
    }

    fn shift(self) -> u32 {
        self.mask.trailing_zeros() & 127
    }

    pub(crate) fn max(self) -> u128 {
        self.mask >> self.shift()
    }

    /// Whether some of the numbers up to the largest are never its value.
    pub(super) fn has_holes(self) -> bool {
        self.max() & self.max().wrapping_add(1) != 0
    }

    /// As much of it as there is; missing bytes are 0.
    fn read(self, frame: &[u8], base: usize) -> u128 {
        let mut value = 0;
        for i in 0..usize::from(self.size) {
            let byte = frame.get(base + usize::from(self.at) + i);
            value = value << 8 | u128::from(byte.copied().unwrap_or(0));
        }
        (value & self.mask) >> self.shift()
    }

    /// Bytes beyond the frame's end are left out.
    fn write(self, frame: &mut [u8], base: usize, value: u128) {
        let (mut mask, mut value) = (self.mask, (value << self.shift()) & self.mask);
        for i in (0..usize::from(self.size)).rev() {
            if let Some(byte) = frame.get_mut(base + usize::from(self.at) + i) {
                *byte = *byte & !(mask as u8) | value as u8;
            }
            mask >>= 8;
            value >>= 8;
        }
    }
}

/// The largest value of `size` bytes.
pub(crate) fn full(size: u8) -> u128 {
    u128::MAX >> (128 - 8 * u32::from(size.clamp(1, 16)))
}

/// Where an IPv4 header at `l3` ends.
pub(crate) fn behind_ip4(frame: &[u8], l3: u16) -> Option<usize> {
    let l3 = usize::from(l3);
    Some(l3 + usize::from(frame.get(l3)? & 0x0f) * 4)
}

impl Field {
    /// The largest value.
    pub(crate) fn max(&self) -> u128 {
        match self {
            Self::Captured | Self::CapturedBehindIp4(_) | Self::Length => u128::from(u32::MAX),
            Self::Bytes(bytes) | Self::BehindIp4 { bytes, .. } => bytes.max(),
            Self::Outcome(_) => REJECTED,
        }
    }

    /// Bits of the largest value.
    pub(crate) fn width(&self) -> u32 {
        128 - self.max().leading_zeros()
    }

    pub(crate) fn is_capture(&self) -> bool {
        matches!(self, Self::Captured | Self::CapturedBehindIp4(_))
    }

    pub(crate) fn read(&self, frame: &[u8], wire_len: u32) -> u128 {
        match self {
            Self::Captured => frame.len() as u128,
            Self::Length => u128::from(wire_len),
            Self::CapturedBehindIp4(l3) => {
                behind_ip4(frame, *l3).map_or(0, |at| frame.len().saturating_sub(at) as u128)
            }
            Self::Bytes(bytes) => bytes.read(frame, 0),
            Self::BehindIp4 { l3, bytes } => behind_ip4(frame, *l3).map_or(0, |at| bytes.read(frame, at)),
            Self::Outcome(test) => match test.decide(frame, wire_len) {
                Some(false) => FALSE,
                Some(true) => TRUE,
                None => REJECTED,
            },
        }
    }

    /// Writes what can be written, which is bytes.
    pub(crate) fn write(&self, frame: &mut [u8], value: u128) {
        match self {
            Self::Bytes(bytes) => bytes.write(frame, 0, value),
            Self::BehindIp4 { l3, bytes } => {
                if let Some(at) = behind_ip4(frame, *l3) {
                    bytes.write(frame, at, value);
                }
            }
            Self::Captured | Self::Length | Self::CapturedBehindIp4(_) | Self::Outcome(_) => {}
        }
    }
}

/// Index of a field in [`Fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FieldId(u32);

impl FieldId {
    pub(super) const CAPTURED: Self = Self(0);
    pub(super) const LENGTH: Self = Self(1);

    pub(super) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every field that some filter has named. Sets and tables can be compared only when made with the same one.
#[derive(Debug, Clone)]
pub struct Fields {
    known: Vec<Field>,
    ids: HashMap<Field, FieldId>,
    /// Tests of protocols already lowered, with their tags and outcome.
    pub(super) protocols: HashMap<(u8, Version, u8, bool), Vec<Cube>>,
}

impl Default for Fields {
    fn default() -> Self {
        let mut fields = Self {
            known: Vec::new(),
            ids: HashMap::new(),
            protocols: HashMap::new(),
        };
        fields.id(Field::Captured);
        fields.id(Field::Length);
        fields
    }
}

impl Fields {
    pub(crate) fn id(&mut self, field: Field) -> FieldId {
        if let Some(id) = self.ids.get(&field) {
            return *id;
        }
        let id = FieldId::at(self.known.len());
        self.known.push(field.clone());
        self.ids.insert(field, id);
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn get(&self, id: FieldId) -> &Field {
        &self.known[id.index()]
    }
}
