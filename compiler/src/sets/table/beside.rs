//! The rules of a table as they take one packet of a pair, said of the other one: the same packet with a tag, say.
//!
//! A pair differs in where fields stand and in the values of a few, so that a cube of the one becomes a cube of the other term by
//! term. That takes much less time than lowering each filter again.

use std::borrow::Cow;

use onvm_bundle::filter::Expr;

use super::{
    super::{
        cube::Cube,
        field::{Field, FieldId, Fields},
        lower::{TooComplex, lower},
        search::possible,
        values::Values,
    },
    RuleTable,
};

/// A field of one packet of a pair, as the other one shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// By this field, whose value is larger by so much.
    As(Field, u8),
    /// It has this value in every pair.
    Fixed(u128),
    /// That cannot be said by a field.
    Unknown,
}

/// [`Seen`], of a field that is known.
#[derive(Debug, Clone, Copy)]
enum Term {
    As(FieldId, u8, u128),
    Fixed(u128),
    Unknown,
}

/// A cube of the other packets.
enum Other {
    Cube(Cube),
    /// No pair has one in the cube.
    Gone,
    Unknown,
}

impl RuleTable<'_> {
    /// The rules of the same number that take a packet of a pair if these take the other one. `seen` says it of fields, `filter` of
    /// the few rules of which `seen` does not say it.
    pub(crate) fn beside<'b>(
        &self,
        fields: &mut Fields,
        seen: &dyn Fn(&Field) -> Seen,
        filter: &dyn Fn(&Expr) -> Expr,
    ) -> RuleTable<'b> {
        let mut all = RuleTable::default();
        let mut terms = Vec::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let other = filter(&rule.filter);
            let moved = self.cubes(n).map(|cubes| moved(fields, cubes, seen, &mut terms));
            let cubes = match moved {
                None => Err(TooComplex),
                Some(Some(cubes)) => Ok(cubes),
                Some(None) => lower(fields, &other).map(|cubes| possible(fields, cubes)),
            };
            all.add_lowered(fields, Cow::Owned(other), cubes);
        }
        all
    }
}

/// The cubes of the other packets. None: `seen` does not say it of some field.
fn moved(
    fields: &mut Fields,
    cubes: &[Cube],
    seen: &dyn Fn(&Field) -> Seen,
    terms: &mut Vec<Option<Term>>,
) -> Option<Vec<Cube>> {
    let mut all = Vec::with_capacity(cubes.len());
    for cube in cubes {
        match other(cube, &mut |field| term(fields, field, seen, terms)) {
            Other::Cube(cube) => all.push(cube),
            Other::Gone => {}
            Other::Unknown => return None,
        }
    }
    Some(all)
}

fn other(cube: &Cube, term: &mut dyn FnMut(FieldId) -> Term) -> Other {
    let mut moved: Vec<(FieldId, Values)> = Vec::with_capacity(cube.terms().len());
    for (field, values) in cube.terms() {
        match term(*field) {
            Term::As(field, 0, _) => moved.push((field, values.clone())),
            Term::As(field, by, max) => match values.raised(by.into(), max) {
                Some(values) => moved.push((field, values)),
                None => return Other::Gone,
            },
            Term::Fixed(value) if values.contains(value) => {}
            Term::Fixed(_) => return Other::Gone,
            Term::Unknown => return Other::Unknown,
        }
    }
    Other::Cube(Cube::of(moved))
}

/// Each field is looked up once.
fn term(
    fields: &mut Fields,
    field: FieldId,
    seen: &dyn Fn(&Field) -> Seen,
    known: &mut Vec<Option<Term>>,
) -> Term {
    if let Some(Some(term)) = known.get(field.index()) {
        return *term;
    }
    let term = match seen(fields.get(field)) {
        Seen::As(other, by) => {
            let max = other.max();
            Term::As(fields.id(other), by, max)
        }
        Seen::Fixed(value) => Term::Fixed(value),
        Seen::Unknown => Term::Unknown,
    };
    known.resize(known.len().max(fields.len()), None);
    if let Some(place) = known.get_mut(field.index()) {
        *place = Some(term);
    }
    term
}
