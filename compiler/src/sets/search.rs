//! Covering by witness search.

use super::{
    agree,
    cube::Cube,
    field::{FieldId, Fields},
    frame::Frame,
    index::Index,
    point::Point,
};

/// How much a search may look at: a unit is about one cube held against one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    left: u64,
}

/// Making a point costs about as much as this many cubes.
pub(super) const POINT: u64 = 16;

impl Budget {
    pub fn new(units: u64) -> Self {
        Self { left: units }
    }

    /// Runs one search with at most `units` of what is left.
    pub(crate) fn part<T>(&mut self, units: u64, search: impl FnOnce(&mut Self) -> T) -> T {
        let given = units.min(self.left);
        let mut part = Self { left: given };
        let result = search(&mut part);
        self.left -= given - part.left;
        result
    }

    /// One of so many equal parts of what is left.
    pub(crate) fn share(&self, of: u64) -> u64 {
        self.left / of
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn spend(&mut self, units: u64) -> bool {
        let enough = self.left >= units;
        self.left = self.left.saturating_sub(units);
        enough
    }
}

/// The rules before `limit` of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cover<'t> {
    pub(crate) index: &'t Index,
    pub(crate) limit: u32,
    /// Of those, these; none for all.
    pub(crate) only: Option<&'t [u32]>,
    /// Fields of which a packet has other values now, by field: cubes that speak of one are passed over.
    pub(crate) forgotten: Option<&'t [bool]>,
}

impl Cover<'_> {
    pub(crate) fn counts(&self, cube: &Cube) -> bool {
        let forgotten = |fields: &[bool]| cube.terms().iter().any(|(field, _)| fields[field.index()]);
        !self.forgotten.is_some_and(forgotten)
    }
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No packet is left over, but perhaps some that end within their headers.
    Covered {
        /// The rules of the first cover that it took, as they were met.
        by: Vec<u32>,
        /// None at all is left over.
        wholly: bool,
    },
    /// This packet is left over.
    Left(Frame),
    /// Neither was found: the budget is spent, or no frame could be made of what is left over.
    Unknown,
}

/// The goal of a search.
pub(crate) struct Search<'s> {
    /// A packet in one of these is not.
    pub(crate) covers: &'s [Cover<'s>],
    /// The last word on whether a packet is.
    pub(crate) confirm: &'s dyn Fn(&Frame) -> bool,
    /// Anything left over that is not a matter of frames cut short ends the search; which packet it is does not matter.
    pub(crate) yes_or_no: bool,
    /// Frames that are cut off within their headers are not looked for.
    pub(crate) whole_only: bool,
}

impl Search<'_> {
    /// Looks for a packet of `start` outside of all covers.
    pub(crate) fn run(
        &self,
        fields: &Fields,
        start: &[Cube],
        point: &mut Point<'_>,
        budget: &mut Budget,
    ) -> Outcome {
        // The first cube is on top: filters name IPv4 before IPv6.
        let (cut_off, whole) = start
            .iter()
            .cloned()
            .rev()
            .partition(|cube| is_cut_off(fields, cube));
        let mut progress = Progress {
            search: self,
            fields,
            cut_off,
            by: Vec::new(),
            doubtful: false,
        };
        if let Some(outcome) = progress.exhaust(whole, false, point, budget) {
            return outcome;
        }
        if progress.doubtful {
            return Outcome::Unknown;
        }
        if self.whole_only {
            let wholly = progress.cut_off.is_empty();
            return Outcome::Covered {
                by: progress.by,
                wholly,
            };
        }
        let cut_off = std::mem::take(&mut progress.cut_off);
        let found = progress.exhaust(cut_off, true, point, budget);
        match found {
            Some(Outcome::Left(frame)) if !self.yes_or_no => Outcome::Left(frame),
            found => Outcome::Covered {
                by: progress.by,
                wholly: found.is_none() && !progress.doubtful,
            },
        }
    }
}

struct Progress<'s> {
    search: &'s Search<'s>,
    fields: &'s Fields,
    /// What differs from a cover in how much is captured. It is looked at last, so that a whole packet is shown where there is
    /// one.
    cut_off: Vec<Cube>,
    by: Vec<u32>,
    /// Something is left over of which no frame could be made.
    doubtful: bool,
}

impl Progress<'_> {
    /// Takes all cubes apart; none when nothing is left of them.
    fn exhaust(
        &mut self,
        mut open: Vec<Cube>,
        last: bool,
        point: &mut Point<'_>,
        budget: &mut Budget,
    ) -> Option<Outcome> {
        while let Some(cube) = open.pop() {
            if is_impossible(&cube) {
                continue;
            }
            let mut looks = POINT + ranges(&cube);
            if !point.enter(&cube, &mut looks) {
                if !budget.spend(looks) {
                    return Some(Outcome::Unknown);
                }
                continue;
            }
            let covers = self.search.covers.iter().enumerate();
            let cover = covers
                .filter_map(|(n, cover)| Some((n, cover.index.find(point, cover, &mut looks)?)))
                .next();
            if !budget.spend(looks) {
                return Some(Outcome::Unknown);
            }
            let Some((n, (rule, by))) = cover else {
                if self.search.yes_or_no || point.is_real() && (self.search.confirm)(&point.frame) {
                    return Some(Outcome::Left(point.frame.clone()));
                }
                self.doubtful = true;
                continue;
            };
            if n == 0 && self.by.last() != Some(&rule) {
                self.by.push(rule);
            }
            cube.cut(by, self.fields, |field, piece| {
                if self.fields.get(field).is_capture() && !last {
                    self.cut_off.push(piece);
                } else {
                    open.push(piece);
                }
            });
        }
        None
    }
}

/// Cutting costs as much as there are ranges.
pub(super) fn ranges(cube: &Cube) -> u64 {
    cube.terms().iter().map(|(_, values)| values.count() as u64).sum()
}

/// No more than so much of its packets is captured.
pub(super) fn is_cut_off(fields: &Fields, cube: &Cube) -> bool {
    let mut terms = cube.terms().iter();
    terms.any(|(field, values)| {
        let field = fields.get(*field);
        field.is_capture() && values.max() < field.max()
    })
}

/// More bytes would be captured than there are.
pub(super) fn is_impossible(cube: &Cube) -> bool {
    let captured = cube.get(FieldId::CAPTURED).map_or(0, |v| v.min());
    cube.get(FieldId::LENGTH).is_some_and(|v| v.max() < captured)
}

/// Leaves out what can hold no packet for that reason, or because its fields share bytes.
pub(super) fn possible(fields: &Fields, mut cubes: Vec<Cube>) -> Vec<Cube> {
    let mut work = agree::GLANCE;
    cubes.retain(|cube| !is_impossible(cube) && !agree::is_contradictory(fields, cube, &mut work));
    cubes
}
