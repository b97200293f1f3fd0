//! Relations: those over one field as sets of its values, the others as outcomes that only a packet decides.

use onvm_bundle::filter::{Arith, ArithOp, Base, Comparison, Size, Test};

use super::{
    cube::Cube,
    field::{Bytes, Field, FieldId, full},
    primitive::Tests,
    values::{Range, Values},
};

/// Loads at larger offsets are left to the packet.
const MAX_OFFSET: u32 = 60_000;

/// The packets for which `left op right`, which is `test`, comes out as wanted.
pub(super) fn cubes(
    tests: &mut Tests<'_>,
    test: &Test,
    op: Comparison,
    left: &Arith,
    right: &Arith,
    wanted: bool,
) -> Vec<Cube> {
    if let Some(cubes) = of_constants(op, left, right, wanted)
        .or_else(|| of_byte(tests, op, left, right, wanted))
        .or_else(|| of_field(tests, op, left, right, wanted))
        .or_else(|| of_field(tests, mirrored(op), right, left, wanted))
    {
        return cubes;
    }
    tests.outcome(Cube::default(), test, wanted)
}

fn of_constants(op: Comparison, left: &Arith, right: &Arith, wanted: bool) -> Option<Vec<Cube>> {
    if variable(left).is_some() || variable(right).is_some() {
        return None;
    }
    let holds = evaluate(left, 0)
        .zip(evaluate(right, 0))
        .map(|(l, r)| op.holds(l, r));
    Some(if holds == Some(wanted) {
        vec![Cube::default()]
    } else {
        Vec::new()
    })
}

/// Arithmetic of any kind over a single byte: every value is tried.
fn of_byte(
    tests: &mut Tests<'_>,
    op: Comparison,
    left: &Arith,
    right: &Arith,
    wanted: bool,
) -> Option<Vec<Cube>> {
    let load = match (variable(left), variable(right)) {
        (Some(a), Some(b)) if a != b => return None,
        (Some(load), _) | (None, Some(load)) => load,
        (None, None) => return None,
    };
    let Arith::Load { size: Size::Byte, .. } = load else {
        return None;
    };
    if !is_single(left, load) || !is_single(right, load) {
        return None;
    }
    let (field, cube) = place(tests, load, |bytes| bytes)?;
    let taken = (0..=255_u32).filter(|value| {
        let sides = evaluate(left, *value).zip(evaluate(right, *value));
        sides.map(|(l, r)| op.holds(l, r)) == Some(wanted)
    });
    let values = Values::new(taken.map(|v| (v.into(), v.into())).collect());
    Some(values.and_then(|v| cube.with(field, &v)).into_iter().collect())
}

/// A load, masked and shifted or not, or the length, against a constant.
fn of_field(
    tests: &mut Tests<'_>,
    op: Comparison,
    field: &Arith,
    constant: &Arith,
    wanted: bool,
) -> Option<Vec<Cube>> {
    if variable(constant).is_some() {
        return None;
    }
    let constant = u128::from(evaluate(constant, 0)?);
    if *field == Arith::Len {
        let field = tests.fields.id(Field::Length);
        let values = taken(op, constant, 0, u128::from(u32::MAX));
        return Some(tests.split(Cube::default(), field, values, wanted));
    }
    let Masked { load, mask, down } = Masked::of(field)?;
    let Arith::Load { size, .. } = load else {
        return None;
    };
    let whole = full(bytes_of(*size));
    let mask = u128::from(mask) & whole;
    let shift = if mask == 0 { 0 } else { mask.trailing_zeros() };
    let up = if mask == 0 {
        0
    } else {
        shift.checked_add_signed(-down)?
    };
    let values = taken(op, constant, up, mask >> shift);
    // A mask that reaches the top bit and has no holes cuts off low bits only: that is a range of the whole field.
    let prefix = mask | ((1 << shift) - 1) == whole;
    let widened = |(low, high): Range| (low << shift, high << shift | ((1 << shift) - 1));
    let (values, mask) = match values {
        Some(values) if prefix => (Values::new(values.ranges().map(widened).collect()), whole),
        None if prefix => (None, whole),
        values => (values, mask),
    };
    let (field, cube) = place(tests, load, |bytes| Bytes::masked(bytes.at, bytes.size, mask))?;
    Some(tests.split(cube, field, values, wanted))
}

/// The values `v` of 0 to `max` for which `v << shift` stands in relation to `constant`.
fn taken(op: Comparison, constant: u128, shift: u32, max: u128) -> Option<Values> {
    let floor = constant >> shift;
    let exact = floor << shift == constant;
    let ceiling = if exact { floor } else { floor + 1 };
    let to = |high: Option<u128>| high.map(|h| Values::One(0, h.min(max)));
    let from = |low: u128| (low <= max).then_some(Values::One(low, max));
    match op {
        Comparison::Eq => (exact && floor <= max).then_some(Values::one(floor)),
        Comparison::Ne if exact && floor <= max => Values::One(0, max).minus(&Values::one(floor)),
        Comparison::Ne => Some(Values::One(0, max)),
        Comparison::Lt => to(ceiling.checked_sub(1)),
        Comparison::Le => to(Some(floor)),
        Comparison::Gt => from(floor + 1),
        Comparison::Ge => from(ceiling),
    }
}

/// The field that a load reads, and the packets that it does not reject.
fn place(tests: &mut Tests<'_>, load: &Arith, masked: impl Fn(Bytes) -> Bytes) -> Option<(FieldId, Cube)> {
    let Arith::Load { base, at, size } = load else {
        return None;
    };
    let offset = evaluate(at, 0).filter(|at| *at <= MAX_OFFSET)?;
    let offset = u16::try_from(offset).ok()?;
    let bytes = |at| masked(Bytes::new(at, bytes_of(*size)));
    let (field, behind) = match base {
        Base::Frame => (bytes(offset), None),
        Base::L3 => (bytes(tests.at(offset)), None),
        Base::Ip6Payload => (bytes(tests.at(offset.checked_add(40)?)), None),
        Base::Ip4Payload => (bytes(offset), Some(tests.l3)),
    };
    let Some(l3) = behind else {
        let cube = tests.captured(Cube::default(), u16::try_from(field.end()).ok()?);
        return Some((tests.bytes(field), cube));
    };
    let captured = tests.fields.id(Field::CapturedBehindIp4(l3));
    let cube = tests.captured(Cube::default(), l3 + 1);
    let cube = tests.at_least(cube, captured, field.end());
    Some((tests.fields.id(Field::BehindIp4 { l3, bytes: field }), cube))
}

/// A load at a constant offset of which bits are masked and shifted, and nothing else.
struct Masked<'a> {
    load: &'a Arith,
    /// Of the loaded number, none of which is shifted out.
    mask: u32,
    /// By how many bits what is left is shifted down, or up where it is negative.
    down: i32,
}

impl<'a> Masked<'a> {
    fn of(arith: &'a Arith) -> Option<Self> {
        match arith {
            Arith::Load { at, .. } => variable(at).is_none().then_some(Self {
                load: arith,
                mask: u32::MAX,
                down: 0,
            }),
            Arith::Binary { op, left, right } => {
                let is_first = variable(right).is_none();
                let (of, constant) = if is_first { (left, right) } else { (right, left) };
                let constant = evaluate(constant, 0)?;
                let bits = i32::try_from(constant.trailing_zeros()).ok()?;
                let power = constant.is_power_of_two();
                match op {
                    ArithOp::And => Some(Self::of(of)?.and(constant)),
                    ArithOp::Mod if is_first && power => Some(Self::of(of)?.and(constant - 1)),
                    ArithOp::Mul if power => Self::of(of)?.shifted(-bits),
                    ArithOp::Div if is_first && power => Self::of(of)?.shifted(bits),
                    ArithOp::Shl if is_first => Self::of(of)?.shifted(-i32::try_from(constant).ok()?),
                    ArithOp::Shr if is_first => Self::of(of)?.shifted(i32::try_from(constant).ok()?),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The loaded number's bits that stand where these are.
    fn before(&self, bits: u32) -> u32 {
        let bits = u64::from(bits);
        match self.down {
            up @ ..0 => (bits >> up.unsigned_abs()) as u32,
            down => (bits << down) as u32,
        }
    }

    fn and(self, bits: u32) -> Self {
        Self {
            mask: self.mask & self.before(bits),
            ..self
        }
    }

    fn shifted(mut self, down: i32) -> Option<Self> {
        (-31..=31).contains(&(self.down + down)).then_some(())?;
        self.down += down;
        let kept = self.before(u32::MAX);
        Some(Self {
            mask: self.mask & kept,
            ..self
        })
    }
}

/// The first thing in it that depends on the packet.
fn variable(arith: &Arith) -> Option<&Arith> {
    match arith {
        Arith::Const(_) => None,
        Arith::Len | Arith::Load { .. } => Some(arith),
        Arith::Neg(of) => variable(of),
        Arith::Binary { left, right, .. } => variable(left).or_else(|| variable(right)),
    }
}

/// Whether nothing but `load` depends on the packet, nor does the load's own offset.
fn is_single(arith: &Arith, load: &Arith) -> bool {
    match arith {
        Arith::Const(_) => true,
        Arith::Len => false,
        Arith::Load { at, .. } => arith == load && variable(at).is_none(),
        Arith::Neg(of) => is_single(of, load),
        Arith::Binary { left, right, .. } => is_single(left, load) && is_single(right, load),
    }
}

/// The value with every load standing for `loaded`; none for a division by zero.
fn evaluate(arith: &Arith, loaded: u32) -> Option<u32> {
    match arith {
        Arith::Const(value) => Some(*value),
        Arith::Len | Arith::Load { .. } => Some(loaded),
        Arith::Neg(of) => evaluate(of, loaded).map(u32::wrapping_neg),
        Arith::Binary { op, left, right } => op.apply(evaluate(left, loaded)?, evaluate(right, loaded)?),
    }
}

fn bytes_of(size: Size) -> u8 {
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
