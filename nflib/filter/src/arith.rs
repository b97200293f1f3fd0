//! Arithmetic over packet bytes: 32-bit, unsigned, wrapping, as the BPF machine computes it.

use crate::eval::{Frame, Rejected};
use crate::place::Headers;

/// An arithmetic expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Arith {
    /// A number.
    Const(u32),
    /// The length on the wire, in bytes.
    Len,
    /// Bytes of the packet, big-endian.
    Load {
        /// From where `at` counts.
        base: Base,
        /// In bytes.
        at: Box<Self>,
        /// How many bytes.
        size: Size,
    },
    /// Two's complement.
    Neg(Box<Self>),
    /// `left op right`
    Binary {
        /// The operator.
        op: ArithOp,
        /// Left side.
        left: Box<Self>,
        /// Right side.
        right: Box<Self>,
    },
}

/// The place from which a load counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Base {
    /// The first byte of the link header.
    Frame,
    /// The byte behind the EtherType.
    L3,
    /// The first byte behind an IPv4 header, by its header length field.
    Ip4Payload,
    /// The first byte behind the fixed IPv6 header.
    Ip6Payload,
}

/// The width of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
}

/// Operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArithOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`; by zero rejects the packet.
    Div,
    /// `%`; by zero rejects the packet.
    Mod,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `<<`; 0 when shifted by more than 31.
    Shl,
    /// `>>`; 0 when shifted by more than 31.
    Shr,
}

/// Comparisons, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Arith {
    /// Levels of nesting; a number is 1.
    pub fn depth(&self) -> usize {
        match self {
            Self::Const(_) | Self::Len => 1,
            Self::Load { at, .. } => 1 + at.depth(),
            Self::Neg(of) => 1 + of.depth(),
            Self::Binary { left, right, .. } => 1 + left.depth().max(right.depth()),
        }
    }

    /// True when a load counts from behind the EtherType, and so from behind any VLAN tags.
    pub fn reads_beyond_link(&self) -> bool {
        match self {
            Self::Const(_) | Self::Len => false,
            Self::Load { base, at, .. } => *base != Base::Frame || at.reads_beyond_link(),
            Self::Neg(of) => of.reads_beyond_link(),
            Self::Binary { left, right, .. } => left.reads_beyond_link() || right.reads_beyond_link(),
        }
    }

    /// True when a load counts from the link header.
    pub fn reads_link(&self) -> bool {
        match self {
            Self::Const(_) | Self::Len => false,
            Self::Load { base, at, .. } => *base == Base::Frame || at.reads_link(),
            Self::Neg(of) => of.reads_link(),
            Self::Binary { left, right, .. } => left.reads_link() || right.reads_link(),
        }
    }

    /// The value for one packet.
    pub(crate) fn value(&self, frame: &Frame<'_>, headers: &Headers) -> Result<u32, Rejected> {
        match self {
            Self::Const(value) => Ok(*value),
            Self::Len => Ok(frame.wire_len()),
            Self::Load { base, at, size } => {
                let l3 = headers.l3;
                let index = at.value(frame, headers)?;
                // The index register wraps at 32 bits; the constant part of the address does not.
                let (index, constant) = match base {
                    Base::Frame => (index, headers.link),
                    Base::L3 => (index, l3),
                    Base::Ip4Payload => (index.wrapping_add(frame.ip4_header_len(l3)?), l3),
                    Base::Ip6Payload => (index, l3 + 40),
                };
                let at = (index as usize).checked_add(constant).ok_or(Rejected)?;
                match size {
                    Size::Byte => frame.u8(at).map(u32::from),
                    Size::Half => frame.u16(at).map(u32::from),
                    Size::Word => frame.u32(at),
                }
            }
            Self::Neg(of) => Ok(of.value(frame, headers)?.wrapping_neg()),
            Self::Binary { op, left, right } => op
                .apply(left.value(frame, headers)?, right.value(frame, headers)?)
                .ok_or(Rejected),
        }
    }
}

impl Size {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }
}

impl ArithOp {
    /// The result; none for a division by zero.
    pub fn apply(self, left: u32, right: u32) -> Option<u32> {
        match self {
            Self::Add => Some(left.wrapping_add(right)),
            Self::Sub => Some(left.wrapping_sub(right)),
            Self::Mul => Some(left.wrapping_mul(right)),
            Self::Div => left.checked_div(right),
            Self::Mod => left.checked_rem(right),
            Self::And => Some(left & right),
            Self::Or => Some(left | right),
            Self::Xor => Some(left ^ right),
            Self::Shl => Some(left.checked_shl(right).unwrap_or(0)),
            Self::Shr => Some(left.checked_shr(right).unwrap_or(0)),
        }
    }
}

impl Comparison {
    /// Whether `left` and `right` stand in this relation.
    pub fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }
}
