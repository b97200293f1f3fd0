//! Which rules packets come to when they are classified again, after header fields of them have been rewritten.
//!
//! A packet before and one after agree on all fields that are not touched. So what the packets before say of touched fields is
//! forgotten, the rules that would have taken them first included, and what is left is held against the rule that is asked of.
//! That there is nothing is a proof. Where there is something, a packet before is looked for that agrees with it.

use std::cell::Cell;

use super::{
    super::{
        cube::Cube,
        field::{FieldId, Fields},
        frame::Frame,
        point::Point,
        rewrite::{Shape, Touched, Written},
        search::{Budget, Cover, Outcome, Search, possible},
        values::Values,
        witness::Witness,
    },
    Answer, EVERYTHING, Effective, RuleTable, Set, both,
};

/// For finding what one packet was before.
const ORIGIN_BUDGET: u64 = 20_000;
/// Cubes in which it is looked for.
const MAX_ORIGINS: usize = 16;
/// Pairs of cubes that cost as much as one cube held against a point.
const PAIRS_PER_UNIT: usize = 4;
/// Of more cubes, none is left out for lying in another.
const MAX_COMPARED: usize = 512;

/// Whether a packet can come to a rule by being rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// No packet can: proved.
    No,
    /// This one can.
    Yes(Box<Rewriting>),
    /// Neither could be shown.
    Unknown,
}

/// A packet, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewriting {
    pub before: Witness,
    pub after: Witness,
}

impl Rewritten {
    fn yes(before: Witness, after: Witness) -> Self {
        Self::Yes(Box::new(Rewriting { before, after }))
    }
}

impl RuleTable<'_> {
    /// Whether a rule may ask for what has been rewritten: if none does, a packet has the rule that it had. `shapes` are
    /// [all](super::super::rewrite::shapes).
    pub(crate) fn is_touched(&self, written: Written, (fields, shapes): (&Fields, &[Shape])) -> bool {
        let spelled_out = self.rules.iter().all(|rule| rule.cubes.is_some());
        if written.is_nothing() || written.is_anything() || !spelled_out {
            return !written.is_nothing();
        }
        shapes.iter().any(|shape| {
            let touched = Touched::new(shape, written);
            let asks = |cube: &&Cube| {
                let mut terms = cube.terms().iter();
                terms.any(|(field, _)| touched.touches(fields.get(*field)))
            };
            // No rewriting leaves a shape: other cubes have nothing to do with its packets.
            let mut asking = self.index.cubes().iter().filter(asks);
            asking.any(|cube| shape.cubes.iter().any(|own| cube.meets(own)))
        })
    }
}

impl<'a> Effective<'_, 'a> {
    /// Whether a packet of this one and of `set` can be one of `to`, once the fields of `written` have any values. `shapes` are
    /// [all](super::super::rewrite::shapes).
    pub(crate) fn becomes(
        &self,
        to: &Self,
        set: &Set<'a>,
        written: Written,
        (fields, shapes): (&Fields, &[Shape]),
        budget: &mut Budget,
    ) -> Rewritten {
        if written.is_anything() || self.taker == to.taker {
            let before = self.meets(fields, Some(set), budget);
            let after = match self.taker == to.taker {
                true => before.clone(),
                false => to.meets(fields, None, budget),
            };
            return match (before, after) {
                (Answer::No, _) | (_, Answer::No) => Rewritten::No,
                (Answer::Yes(before), Answer::Yes(after)) => Rewritten::yes(before, after),
                _ => Rewritten::Unknown,
            };
        }
        if !budget.spend(1) {
            return Rewritten::Unknown;
        }
        let (Some(from), Some(taken), Ok(set_cubes)) = (self.start(), to.start(), &set.cubes) else {
            return Rewritten::Unknown;
        };
        let Some(from) = both(from, set_cubes) else {
            return Rewritten::Unknown;
        };
        let mut doubtful = false;
        for shape in shapes {
            let touched = Touched::new(shape, written);
            if touched.is_nothing() {
                continue;
            }
            let question = Question {
                from: *self,
                to: *to,
                set,
                written,
                fields,
                touched: (0..fields.len())
                    .map(|id| touched.touches(fields.get(FieldId::at(id))))
                    .collect(),
            };
            match question.answer(&from, taken, shape, budget) {
                Rewritten::No => {}
                Rewritten::Unknown => doubtful = true,
                yes => return yes,
            }
        }
        match doubtful {
            true => Rewritten::Unknown,
            false => Rewritten::No,
        }
    }
}

struct Question<'q, 't, 'a> {
    from: Effective<'t, 'a>,
    to: Effective<'t, 'a>,
    set: &'q Set<'a>,
    written: Written,
    fields: &'q Fields,
    /// By field.
    touched: Vec<bool>,
}

impl Question<'_, '_, '_> {
    /// For the packets of one shape.
    fn answer(&self, from: &[Cube], taken: &[Cube], shape: &Shape, budget: &mut Budget) -> Rewritten {
        let Some(from) = both(from, &shape.cubes) else {
            return Rewritten::Unknown;
        };
        let from = possible(self.fields, from.into_owned());
        let projected = distinct(from.iter().map(|cube| self.forget(cube)).collect());
        if !budget.spend((projected.len() * taken.len() / PAIRS_PER_UNIT) as u64) {
            return Rewritten::Unknown;
        }
        let Some(start) = both(&projected, taken).map(|start| possible(self.fields, start.into_owned()))
        else {
            return Rewritten::Unknown;
        };
        if start.is_empty() {
            return Rewritten::No;
        }
        let covers = [
            self.to.cover(),
            Cover {
                forgotten: Some(&self.touched),
                ..self.from.cover()
            },
        ];
        let left = Cell::new(*budget);
        let confirm = |after: &Frame| {
            let mut budget = left.get();
            let found = self.to.holds(after) && self.origin(&from, after, &mut budget).is_some();
            left.set(budget);
            found
        };
        let search = Search {
            covers: &covers,
            confirm: &confirm,
            yes_or_no: false,
            whole_only: false,
        };
        match search.run(self.fields, &start, &mut Point::new(self.fields), budget) {
            Outcome::Covered { wholly: true, .. } => Rewritten::No,
            Outcome::Left(after) => match self.origin(&from, &after, budget) {
                Some(before) => self.show(before, &after),
                None => Rewritten::Unknown,
            },
            Outcome::Covered { .. } | Outcome::Unknown => Rewritten::Unknown,
        }
    }

    /// Without what is said of touched fields.
    fn forget(&self, cube: &Cube) -> Cube {
        let mut kept = cube.clone();
        kept.retain(|field| !self.touched[field.index()]);
        kept
    }

    fn holds_before(&self, frame: &Frame) -> bool {
        self.from.holds(frame) && self.set.holds(frame)
    }

    /// A packet that can have become `after`.
    fn origin(&self, from: &[Cube], after: &Frame, budget: &mut Budget) -> Option<Frame> {
        let start: Vec<Cube> = from
            .iter()
            .filter_map(|cube| self.pinned(cube, after))
            .take(MAX_ORIGINS)
            .collect();
        let covers = [self.from.cover()];
        let confirm = |frame: &Frame| self.holds_before(&self.written.applied(after, frame));
        let search = Search {
            covers: &covers,
            confirm: &confirm,
            yes_or_no: false,
            whole_only: false,
        };
        let found = budget.part(ORIGIN_BUDGET, |budget| {
            search.run(self.fields, &start, &mut Point::new(self.fields), budget)
        });
        match found {
            Outcome::Left(frame) => Some(self.written.applied(after, &frame)),
            _ => None,
        }
    }

    /// The packets of a cube that agree with `frame` on all that is not touched.
    fn pinned(&self, cube: &Cube, frame: &Frame) -> Option<Cube> {
        let fields = (0..self.fields.len()).map(FieldId::at);
        let mut kept = fields.filter(|field| !self.touched[field.index()]);
        kept.try_fold(cube.clone(), |cube, field| {
            let value = self.fields.get(field).read(&frame.bytes, frame.wire_len);
            cube.with(field, &Values::one(value))
        })
    }

    fn show(&self, before: Frame, after: &Frame) -> Rewritten {
        let rewritten = |frame: &Frame| self.written.applied(frame, after);
        let before = Witness::new(before, &|frame| {
            self.holds_before(frame) && self.to.holds(&rewritten(frame))
        });
        let after = rewritten(&before.frame);
        let mended = after.mended();
        let sound = self.to.holds(&mended) && self.written.applied(&before.frame, &mended) == mended;
        let after = Witness {
            frame: if sound { mended } else { after },
        };
        match self.holds_before(&before.frame) && self.to.holds(&after.frame) {
            true => Rewritten::yes(before, after),
            false => Rewritten::Unknown,
        }
    }
}

/// Each cube once, and none that lies in another.
fn distinct(mut cubes: Vec<Cube>) -> Vec<Cube> {
    if cubes.contains(&Cube::EVERYTHING) {
        return EVERYTHING.to_vec();
    }
    if cubes.len() > MAX_COMPARED {
        cubes.dedup();
        return cubes;
    }
    let mut kept: Vec<Cube> = Vec::with_capacity(cubes.len());
    for cube in cubes {
        if !kept.iter().any(|other| cube.is_within(other)) {
            kept.retain(|other| !other.is_within(&cube));
            kept.push(cube);
        }
    }
    kept
}
