//! Bytes that make a relation true where no set of values says which: `tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420`
//! comes true by writing the number where the rest of the frame says that it is looked for.

use onvm_bundle::filter::{Arith, ArithOp, Base, Comparison, Expr, Size, Test};

use super::field::behind_ip4;

/// Tries to make `test` true by writing into the frame. The caller checks the result.
pub(super) fn make_true(test: &Expr, frame: &mut [u8]) {
    let Expr::Test(primitive) = test else { return };
    let Test::Relation { op, left, right } = &primitive.test else {
        return;
    };
    let place = &primitive.place;
    let Some(l3) = place.fixed().filter(|_| !place.begins_link()) else {
        return;
    };
    let sides = value(left, frame, l3).zip(value(right, frame, l3));
    if sides.is_none_or(|(l, r)| op.holds(l, r)) {
        return;
    }
    let _ = assign(left, value(right, frame, l3), *op, frame, l3)
        .or_else(|| assign(right, value(left, frame, l3), mirrored(*op), frame, l3));
}

fn assign(side: &Arith, other: Option<u32>, op: Comparison, frame: &mut [u8], l3: usize) -> Option<()> {
    let wanted = match op {
        Comparison::Eq | Comparison::Le | Comparison::Ge => other?,
        Comparison::Ne => other? ^ 1,
        Comparison::Lt => other?.checked_sub(1)?,
        Comparison::Gt => other?.checked_add(1)?,
    };
    let (load, mask) = match side {
        Arith::Load { .. } => (side, u32::MAX),
        Arith::Binary {
            op: ArithOp::And,
            left,
            right,
        } if matches!(**left, Arith::Load { .. }) => (&**left, value(right, frame, l3)?),
        _ => return None,
    };
    let Arith::Load { base, at, size } = load else {
        return None;
    };
    let at = address(*base, value(at, frame, l3)?, frame, l3)?;
    let bits = 8 * u32::from(width(*size));
    let old = read(frame, at, *size)?;
    let new = old & !mask | wanted & mask;
    for (n, byte) in frame
        .get_mut(at..at + width(*size) as usize)?
        .iter_mut()
        .enumerate()
    {
        *byte = (new >> (bits - 8 - 8 * n as u32)) as u8;
    }
    Some(())
}

fn value(arith: &Arith, frame: &[u8], l3: usize) -> Option<u32> {
    match arith {
        Arith::Const(value) => Some(*value),
        Arith::Len => u32::try_from(frame.len()).ok(),
        Arith::Load { base, at, size } => {
            read(frame, address(*base, value(at, frame, l3)?, frame, l3)?, *size)
        }
        Arith::Neg(of) => value(of, frame, l3).map(u32::wrapping_neg),
        Arith::Binary { op, left, right } => op.apply(value(left, frame, l3)?, value(right, frame, l3)?),
    }
}

fn address(base: Base, index: u32, frame: &[u8], l3: usize) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    let start = match base {
        Base::Frame => 0,
        Base::L3 => l3,
        Base::Ip4Payload => behind_ip4(frame, u16::try_from(l3).ok()?)?,
        Base::Ip6Payload => l3 + 40,
    };
    start.checked_add(index)
}

fn read(frame: &[u8], at: usize, size: Size) -> Option<u32> {
    let bytes = frame.get(at..at.checked_add(width(size) as usize)?)?;
    Some(bytes.iter().fold(0, |v, b| v << 8 | u32::from(*b)))
}

fn width(size: Size) -> u8 {
    match size {
        Size::Byte => 1,
        Size::Half => 2,
        Size::Word => 4,
    }
}

fn mirrored(op: Comparison) -> Comparison {
    match op {
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
        same => same,
    }
}
