//! Pairs of rules that match some packets in common, while each also matches packets that the other does not.
//!
//! A rule within another is not such a pair: a narrow rule before a wide one is how exceptions are written, and a narrow rule
//! behind a wide one is never reached, which [`RuleTable::verdicts`] reports. The [`Index`](super::Index) finds the pairs
//! whose cubes meet; each of them then takes three searches, for a packet of both that the earlier rule takes and for
//! one of either rule alone. A pair is reported only with all three found as frames.

use super::{Frame, Point, RuleTable, both, number, possible};
use crate::sets::{
    cube::Cube,
    field::Fields,
    search::{Budget, Cover, Outcome, Search},
    witness::Witness,
};

/// Two rules of one table that overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    pub earlier: usize,
    pub later: usize,
    /// The earlier rule takes it, and the later matches it too.
    pub packet: Witness,
}

/// The overlaps of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlaps {
    /// By the later rule, then by the earlier.
    pub shown: Vec<Overlap>,
    /// How many there are beyond those.
    pub more: usize,
    /// Every pair was decided. Otherwise there may be others.
    pub complete: bool,
}

/// For one pair of rules.
const PAIR_BUDGET: u64 = 50_000;

/// Whether a pair overlaps.
enum Found {
    No,
    Yes(Frame),
    Unknown,
}

impl RuleTable<'_> {
    /// The overlaps among those pairs, an earlier rule and a later, that are `asked` for; the first `most` of them with a
    /// packet.
    pub fn overlaps(
        &self,
        fields: &Fields,
        most: usize,
        asked: &dyn Fn(usize, usize) -> bool,
        budget: &mut Budget,
    ) -> Overlaps {
        let siblings = self.index.siblings();
        let mut progress = Progress {
            table: self,
            fields,
            point: Point::new(fields),
            unread: (0..self.rules.len())
                .filter(|rule| self.cubes(*rule).is_none())
                .collect(),
        };
        let mut overlaps = Overlaps {
            shown: Vec::new(),
            more: 0,
            complete: progress.unread.is_empty(),
        };
        for later in 0..self.rules.len() {
            let (mut early, mut looks) = (Vec::new(), 0);
            for cube in self.cubes(later).unwrap_or(&[]) {
                self.index
                    .meeting(&siblings, cube, number(later), &mut looks, |cube| {
                        early.push(self.index.rule(cube) as usize);
                    });
            }
            early.sort_unstable();
            early.dedup();
            early.retain(|earlier| asked(*earlier, later));
            for earlier in early {
                if budget.is_spent() {
                    break;
                }
                let found = budget.part(PAIR_BUDGET, |budget| progress.pair(earlier, later, budget));
                overlaps.note(self, earlier, later, found, most);
            }
            if !budget.spend(looks) {
                overlaps.complete = false;
                break;
            }
        }
        overlaps
    }
}

impl Overlaps {
    fn note(&mut self, table: &RuleTable<'_>, earlier: usize, later: usize, found: Found, most: usize) {
        match found {
            Found::No => {}
            Found::Unknown => self.complete = false,
            Found::Yes(_) if self.shown.len() >= most => self.more += 1,
            Found::Yes(frame) => {
                let takes =
                    |frame: &Frame| table.taker(frame) == Some(earlier) && table.matches(later, frame);
                if takes(&frame) {
                    let packet = Witness::new(frame, &takes);
                    self.shown.push(Overlap {
                        earlier,
                        later,
                        packet,
                    });
                } else {
                    self.complete = false;
                }
            }
        }
    }
}

struct Progress<'t, 'a> {
    table: &'t RuleTable<'a>,
    fields: &'t Fields,
    point: Point<'t>,
    /// Rules too complex for the index.
    unread: Vec<usize>,
}

impl Progress<'_, '_> {
    fn pair(&mut self, earlier: usize, later: usize, budget: &mut Budget) -> Found {
        let table = self.table;
        let (Some(early), Some(late)) = (table.cubes(earlier), table.cubes(later)) else {
            return Found::Unknown;
        };
        if !budget.spend((early.len() * late.len()) as u64) {
            return Found::Unknown;
        }
        if within(early, late) || within(late, early) {
            return Found::No;
        }
        for (one, cubes, other) in [(earlier, early, later), (later, late, earlier)] {
            let alone = |frame: &Frame| table.matches(one, frame) && !table.matches(other, frame);
            let other = [number(other)];
            let found = self.search(cubes, u32::MAX, Some(&other), &alone, budget);
            if !matches!(found, Found::Yes(_)) {
                return found;
            }
        }
        let Some(common) = both(early, late) else {
            return Found::Unknown;
        };
        let unread: Vec<usize> = self
            .unread
            .iter()
            .copied()
            .filter(|rule| *rule < earlier)
            .collect();
        // That no rule of the index takes it before is what is searched for; the whole table is asked for what is shown.
        let taken = |frame: &Frame| {
            let first = !unread.iter().any(|rule| table.matches(*rule, frame));
            first && table.matches(earlier, frame) && table.matches(later, frame)
        };
        self.search(
            &possible(self.fields, common.into_owned()),
            number(earlier),
            None,
            &taken,
            budget,
        )
    }

    /// A frame, not cut off within its headers, of the cubes and of no rule before `limit`, or of none of `only`.
    fn search(
        &mut self,
        cubes: &[Cube],
        limit: u32,
        only: Option<&[u32]>,
        confirm: &dyn Fn(&Frame) -> bool,
        budget: &mut Budget,
    ) -> Found {
        let covers = [Cover {
            index: &self.table.index,
            limit,
            only,
            forgotten: None,
        }];
        let search = Search {
            covers: &covers,
            confirm,
            yes_or_no: false,
            whole_only: true,
        };
        match search.run(self.fields, cubes, &mut self.point, budget) {
            Outcome::Left(frame) => Found::Yes(frame),
            Outcome::Covered { .. } => Found::No,
            Outcome::Unknown => Found::Unknown,
        }
    }
}

/// Each of these lies in one of those: for most pairs of a narrow rule and a wide one that settles it.
fn within(these: &[Cube], those: &[Cube]) -> bool {
    these
        .iter()
        .all(|cube| those.iter().any(|wide| cube.is_within(wide)))
}
