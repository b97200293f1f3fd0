//! Conjunctions of sets of values, one for each field.

use super::{
    field::{FieldId, Fields},
    values::Values,
};

/// The packets whose every listed field has one of its values; with nothing listed, every packet. Never empty as far as
/// single fields go.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Cube {
    /// In the order of the ids.
    terms: Vec<(FieldId, Values)>,
}

impl Cube {
    pub(crate) const EVERYTHING: Self = Self { terms: Vec::new() };

    /// Of terms that each have a field of their own.
    pub(crate) fn of(mut terms: Vec<(FieldId, Values)>) -> Self {
        terms.sort_unstable_by_key(|(field, _)| *field);
        Self { terms }
    }

    pub(crate) fn terms(&self) -> &[(FieldId, Values)] {
        &self.terms
    }

    pub(crate) fn get(&self, field: FieldId) -> Option<&Values> {
        let at = self.terms.binary_search_by_key(&field, |t| t.0).ok()?;
        Some(&self.terms[at].1)
    }

    /// Narrows one field; none when nothing is left.
    pub(crate) fn with(mut self, field: FieldId, values: &Values) -> Option<Self> {
        match self.terms.binary_search_by_key(&field, |t| t.0) {
            Ok(at) => self.terms[at].1 = self.terms[at].1.and(values)?,
            Err(at) => self.terms.insert(at, (field, values.clone())),
        }
        Some(self)
    }

    /// As [`Self::with`], in place of what was said of that field.
    pub(crate) fn set(&mut self, field: FieldId, values: Values) {
        match self.terms.binary_search_by_key(&field, |t| t.0) {
            Ok(at) => self.terms[at].1 = values,
            Err(at) => self.terms.insert(at, (field, values)),
        }
    }

    /// Forgets what is said of all other fields.
    pub(crate) fn retain(&mut self, keep: impl Fn(FieldId) -> bool) {
        self.terms.retain(|(field, _)| keep(*field));
    }

    /// The packets in both; none when there are none.
    pub(crate) fn and(&self, other: &Self) -> Option<Self> {
        if other.terms.is_empty() || self.terms.is_empty() {
            return Some(if self.terms.is_empty() {
                other.clone()
            } else {
                self.clone()
            });
        }
        if !self.meets(other) {
            return None;
        }
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            match (left.peek(), right.peek()) {
                (None, None) => return Some(Self { terms }),
                (Some(a), Some(b)) if a.0 == b.0 => {
                    terms.push((a.0, a.1.and(&b.1)?));
                    left.next();
                    right.next();
                }
                (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                    terms.push((*a).clone());
                    left.next();
                }
                _ => terms.extend(right.next().cloned()),
            }
        }
    }

    /// Whether no field of the two excludes a packet in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let mut right = other.terms.iter();
        let mut next = right.next();
        for (field, values) in &self.terms {
            while next.is_some_and(|(f, _)| f < field) {
                next = right.next();
            }
            match next {
                None => return true,
                Some((f, other)) if f == field => match (values, other) {
                    (Values::One(a, b), Values::One(c, d)) if a > d || c > b => return false,
                    (Values::One(..), Values::One(..)) => {}
                    _ if values.and(other).is_none() => return false,
                    _ => {}
                },
                _ => {}
            }
        }
        true
    }

    /// Makes it hold `other` too, and perhaps more.
    pub(crate) fn widen(&mut self, other: &Self) {
        self.terms.retain_mut(|(field, values)| match other.get(*field) {
            None => false,
            Some(more) => {
                if !more.is_within(values) {
                    *values = values.around(more);
                }
                true
            }
        });
    }

    /// Whether every packet of this is in `other`, field by field.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let holds =
            |(field, values): &(FieldId, Values)| self.get(*field).is_some_and(|own| own.is_within(values));
        other.terms.iter().all(holds)
    }

    /// Hands out this cube without `other`, in disjoint pieces, each with the field along which it was cut off.
    pub(crate) fn cut(mut self, other: &Self, fields: &Fields, mut piece: impl FnMut(FieldId, Self)) {
        for (field, taken) in &other.terms {
            let whole = Values::One(0, fields.get(*field).max());
            let mine = self.get(*field).unwrap_or(&whole);
            let Some(both) = mine.and(taken) else {
                return piece(*field, self);
            };
            if let Some(rest) = mine.minus(taken) {
                let mut outside = self.clone();
                outside.set(*field, rest);
                piece(*field, outside);
                self.set(*field, both);
            }
        }
    }
}
