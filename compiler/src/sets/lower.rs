//! From filters to unions of cubes.

use onvm_bundle::filter::{Expr, Primitive, Test};

use super::{cube::Cube, field::Fields, primitive::Tests};

/// The most cubes that one filter, or a part of it, may become.
pub(crate) const MAX_CUBES: usize = 1024;
/// The most pairs of cubes that are looked at for one filter.
const MAX_PAIRS: usize = 200_000;

/// A filter with too many cases to be spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooComplex;

type Cubes = Result<Vec<Cube>, TooComplex>;

/// The packets that a filter takes. The cubes may overlap. Every packet of the filter is in one of them; a packet that is
/// in one is one of the filter's.
pub(crate) fn lower(fields: &mut Fields, filter: &Expr) -> Cubes {
    Lowering { fields, pairs: 0 }.cubes(filter, true)
}

struct Lowering<'f> {
    fields: &'f mut Fields,
    pairs: usize,
}

impl Lowering<'_> {
    /// The packets for which `expr` comes out as `wanted`. Those that a load rejects are in neither.
    fn cubes(&mut self, expr: &Expr, wanted: bool) -> Cubes {
        match expr {
            Expr::Const(value) if *value == wanted => Ok(vec![Cube::default()]),
            Expr::Const(_) => Ok(Vec::new()),
            Expr::Not(of) => self.cubes(of, !wanted),
            Expr::And(of) if wanted => self.each(of, true),
            Expr::And(of) => self.first(of, false),
            Expr::Or(of) if wanted => self.first(of, true),
            Expr::Or(of) => self.each(of, false),
            Expr::Test(primitive) => self.test(primitive, wanted, &[Cube::default()]),
        }
    }

    /// Tests of protocols stand in nearly every filter and are kept.
    fn test(&mut self, primitive: &Primitive, wanted: bool, among: &[Cube]) -> Cubes {
        let key = match primitive.test {
            Test::Proto { version, number } => {
                let tags = primitive.place.tags();
                tags.map(|tags| (tags, version, number, wanted))
            }
            _ => None,
        };
        if let Some(known) = key.and_then(|key| self.fields.protocols.get(&key)) {
            return Ok(known.clone());
        }
        let cubes = Tests::new(self.fields, &primitive.place, among).cubes(&primitive.test, wanted)?;
        let cubes = limited(cubes)?;
        if let Some(key) = key {
            self.fields.protocols.insert(key, cubes.clone());
        }
        Ok(cubes)
    }

    /// Every operand comes out as `wanted`.
    fn each(&mut self, of: &[Expr], wanted: bool) -> Cubes {
        let mut all = vec![Cube::default()];
        for operand in of {
            if all.is_empty() {
                break;
            }
            let next = match operand {
                Expr::Test(primitive) => self.test(primitive, wanted, &all)?,
                other => self.cubes(other, wanted)?,
            };
            all = self.product(&all, next)?;
        }
        Ok(all)
    }

    /// One operand comes out as `wanted`, and all before it the other way: so none of them rejected the packet.
    fn first(&mut self, of: &[Expr], wanted: bool) -> Cubes {
        let mut before = vec![Cube::default()];
        let mut all = Vec::new();
        for (n, operand) in of.iter().enumerate() {
            let here = self.cubes(operand, wanted)?;
            all.extend(self.product(&before, here)?);
            if n + 1 < of.len() {
                let other = self.cubes(operand, !wanted)?;
                before = self.product(&before, other)?;
            }
            all = limited(all)?;
            if before.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    fn product(&mut self, left: &[Cube], right: Vec<Cube>) -> Cubes {
        if matches!(left, [all] if all.terms().is_empty()) {
            return Ok(right);
        }
        self.pairs += left.len() * right.len();
        if self.pairs > MAX_PAIRS {
            return Err(TooComplex);
        }
        let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
        limited(pairs.filter_map(|(a, b)| a.and(b)).collect())
    }
}

fn limited(cubes: Vec<Cube>) -> Cubes {
    if cubes.len() > MAX_CUBES {
        Err(TooComplex)
    } else {
        Ok(cubes)
    }
}
