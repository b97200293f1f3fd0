//! Packets that each of several tables decides in a wanted way.
//!
//! The rules of a port and those of the firewalls on a path are such tables. For each it is said which rules are to take the
//! packet, `else` perhaps among them: a *choice*. As everywhere, no rules are subtracted from each other:
//!
//! ```text
//! port:      1: tcp -> fw    2: else -> drop             wanted: 1
//! firewall:  1: drop src 10.0.0.0/8    2: accept dst port 80    3: drop everything     wanted: 2
//! asked of:  dst port 80 or dst port 22
//! point      tcp, 10.0.0.1 to port 80      the firewall's rule 1 takes it: cut that out
//! point      tcp, 11.0.0.1 to port 80      port 1, firewall 2: here is one
//! ```
//!
//! Where a rule that is not wanted takes a point, what its cube holds is looked at only as far as wanted rules before it reach
//! into it; where `else` does, only as far as wanted rules reach at all. So each step goes to earlier rules of one of the tables, or
//! to what is left outside of a cube, and what is looked at is what the packets in question meet.

use super::{
    super::{
        cube::Cube,
        field::Fields,
        frame::Frame,
        point::Point,
        search::{Budget, POINT, is_cut_off, is_impossible, possible, ranges},
        witness::Witness,
    },
    Answer, EVERYTHING, RuleTable, Set, Taker, both, number,
};

/// Of so few wanted cubes, each is looked at by itself.
const FEW: usize = 16;
/// Of more, those that meet a cube are looked up.
const MANY: usize = 128;
/// Rules that a packet is tried on for a unit of the budget.
const RULES_PER_LOOK: u64 = 8;

/// The rules of a table of which one is to take a packet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// In order; `else`, if wanted, apart.
    rules: Vec<usize>,
    otherwise: bool,
    /// The cubes of these rules, by number.
    cubes: Vec<u32>,
    /// Among the rules is one that is too complex to be spelled out.
    complex: bool,
}

impl Choice {
    /// `takers` of the table, in order.
    pub(crate) fn new(table: &RuleTable<'_>, takers: &[Taker]) -> Self {
        let rules: Vec<usize> = takers.iter().copied().flatten().collect();
        let cubes = rules.iter().filter_map(|rule| table.rules[*rule].cubes.clone());
        Self {
            cubes: cubes.flatten().map(number).collect(),
            complex: rules.iter().any(|rule| table.rules[*rule].cubes.is_none()),
            otherwise: takers.contains(&None),
            rules,
        }
    }

    fn wants(&self, taker: Taker) -> bool {
        match taker {
            Some(rule) => self.rules.binary_search(&rule).is_ok(),
            None => self.otherwise,
        }
    }
}

/// A table and what it is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decided<'t, 'a> {
    pub(crate) table: &'t RuleTable<'a>,
    pub(crate) choice: &'t Choice,
}

impl Decided<'_, '_> {
    pub(crate) fn holds(&self, frame: &Frame) -> bool {
        self.choice.wants(self.table.taker(frame))
    }

    /// The wanted cubes of rules before a rule.
    fn before(&self, rule: u32) -> &[u32] {
        let cubes = &self.choice.cubes;
        &cubes[..cubes.partition_point(|cube| self.table.index.rule(*cube) < rule)]
    }

    /// Those of them that meet a cube.
    fn meeting(&self, cube: &Cube, limit: u32, looks: &mut u64) -> Vec<u32> {
        let (index, before) = (&self.table.index, self.before(limit));
        if before.len() <= MANY {
            *looks += before.len() as u64;
            let meet = |id: &&u32| index.cubes()[**id as usize].meets(cube);
            return before.iter().filter(meet).copied().collect();
        }
        let siblings = self.table.siblings.get_or_init(|| index.siblings());
        let mut met = Vec::new();
        index.meeting(siblings, cube, limit, looks, |id| met.push(id));
        met.sort_unstable();
        met.dedup();
        met.retain(|id| before.binary_search(id).is_ok());
        met
    }
}

/// Whether there is a packet that all of these decide as wanted, that is in all of the sets, and to which `also` says yes.
/// That there is none is a proof whatever `also` says.
pub(crate) fn decided<'a>(
    fields: &Fields,
    decided: &[Decided<'_, 'a>],
    sets: &[&Set<'a>],
    also: &dyn Fn(&Frame) -> bool,
    budget: &mut Budget,
) -> Answer {
    let confirm = |frame: &Frame| {
        sets.iter().all(|s| s.holds(frame)) && decided.iter().all(|d| d.holds(frame)) && also(frame)
    };
    match find(fields, decided, sets, &confirm, budget) {
        Found::No => Answer::No,
        Found::Frame(frame) => Answer::Yes(Witness::new(frame, &confirm)),
        Found::Unknown => Answer::Unknown,
    }
}

/// A search's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is no such packet: proved.
    No,
    /// The first one that was met.
    Frame(Frame),
    /// Neither could be shown.
    Unknown,
}

/// As [`decided`], where only `confirm` has the last word on a packet, and the first one will do.
pub(crate) fn find<'a>(
    fields: &Fields,
    decided: &[Decided<'_, 'a>],
    sets: &[&Set<'a>],
    confirm: &dyn Fn(&Frame) -> bool,
    budget: &mut Budget,
) -> Found {
    let Some(start) = start(fields, decided, sets, budget) else {
        return Found::Unknown;
    };
    let (cut_off, whole) = start.into_iter().rev().partition(|cube| is_cut_off(fields, cube));
    let mut progress = Progress {
        decided,
        fields,
        confirm,
        cut_off,
        doubtful: decided.iter().any(|d| d.choice.complex),
        point: Point::new(fields),
    };
    match progress.all(whole, budget) {
        Ok(None) if progress.doubtful => Found::Unknown,
        Ok(None) => Found::No,
        Ok(Some(frame)) => Found::Frame(frame),
        Err(Spent) => Found::Unknown,
    }
}

/// The intersection of all sets. None: too much.
fn start(
    fields: &Fields,
    decided: &[Decided<'_, '_>],
    sets: &[&Set<'_>],
    budget: &mut Budget,
) -> Option<Vec<Cube>> {
    let mut start = EVERYTHING.to_vec();
    for set in sets {
        start = both(&start, set.cubes.as_deref().ok()?)?.into_owned();
    }
    let few = |d: &&Decided<'_, '_>| {
        let choice = d.choice;
        !choice.otherwise && !choice.complex && choice.cubes.len() <= FEW
    };
    for d in decided.iter().filter(few) {
        let cubes = d.choice.cubes.iter();
        let cubes: Vec<Cube> = cubes
            .map(|id| d.table.index.cubes()[*id as usize].clone())
            .collect();
        start = both(&start, &cubes)?.into_owned();
    }
    budget
        .spend(1 + start.len() as u64)
        .then(|| possible(fields, start))
}

/// The budget is.
struct Spent;

struct Progress<'r, 't, 'a> {
    decided: &'r [Decided<'t, 'a>],
    fields: &'r Fields,
    confirm: &'r dyn Fn(&Frame) -> bool,
    /// What differs from a rule in how much is captured; looked at last, so that a whole packet is shown where there is one.
    cut_off: Vec<Cube>,
    /// Something was left over of which no packet could be made.
    doubtful: bool,
    point: Point<'r>,
}

impl Progress<'_, '_, '_> {
    fn all(&mut self, whole: Vec<Cube>, budget: &mut Budget) -> Result<Option<Frame>, Spent> {
        if let Some(frame) = self.exhaust(whole, false, budget)? {
            return Ok(Some(frame));
        }
        let cut_off = std::mem::take(&mut self.cut_off);
        self.exhaust(cut_off, true, budget)
    }

    fn exhaust(
        &mut self,
        mut open: Vec<Cube>,
        last: bool,
        budget: &mut Budget,
    ) -> Result<Option<Frame>, Spent> {
        while let Some(cube) = open.pop() {
            if is_impossible(&cube) {
                continue;
            }
            let mut looks = POINT + ranges(&cube);
            if self.point.enter(&cube, &mut looks) {
                let found = self.look(cube, &mut looks, |cube, cut_off, later: &mut Vec<Cube>| {
                    if cut_off && !last {
                        later.push(cube);
                    } else {
                        open.push(cube);
                    }
                });
                if found.is_some() {
                    return Ok(found);
                }
            }
            if !budget.spend(looks) {
                return Err(Spent);
            }
        }
        Ok(None)
    }

    /// Whether the point in the cube is a packet that is looked for; if not, hands out what is left to be looked at of the cube.
    fn look(
        &mut self,
        cube: Cube,
        looks: &mut u64,
        mut rest: impl FnMut(Cube, bool, &mut Vec<Cube>),
    ) -> Option<Frame> {
        let decided = self.decided;
        let takers: Vec<Option<(u32, u32)>> = decided
            .iter()
            .map(|d| d.table.index.first(&mut self.point, looks))
            .collect();
        let unwanted = |(d, taker): &(&Decided<'_, '_>, &Option<(u32, u32)>)| {
            !d.choice.wants(taker.map(|(rule, _)| rule as usize))
        };
        let limit = |taker: &Option<(u32, u32)>| taker.map_or(u32::MAX, |(rule, _)| rule);
        let against = decided.iter().zip(&takers).filter(unwanted);
        if let Some((d, taker)) = against.min_by_key(|(d, taker)| d.before(limit(taker)).len()) {
            let inside = match taker {
                None => cube,
                Some((_, id)) => {
                    let taken = &d.table.index.cubes()[*id as usize];
                    let inside = cube.and(taken);
                    self.without(cube, taken, &mut rest);
                    inside?
                }
            };
            let earlier = d.meeting(&inside, limit(taker), looks);
            *looks += earlier.len() as u64;
            for id in earlier.iter().rev() {
                if let Some(piece) = inside.and(&d.table.index.cubes()[*id as usize]) {
                    let cut_off = is_cut_off(self.fields, &piece);
                    rest(piece, cut_off, &mut self.cut_off);
                }
            }
            return None;
        }
        *looks += decided
            .iter()
            .map(|d| d.table.rules.len() as u64 / RULES_PER_LOOK)
            .sum::<u64>();
        if self.point.is_real() && (self.confirm)(&self.point.frame) {
            return Some(self.point.frame.clone());
        }
        self.doubtful = true;
        // Another packet of the cube may do, if other rules take it.
        let mut inside = cube;
        for (d, taker) in decided.iter().zip(&takers) {
            if let Some((_, id)) = taker {
                let taken = &d.table.index.cubes()[*id as usize];
                let both = inside.and(taken)?;
                self.without(std::mem::replace(&mut inside, both), taken, &mut rest);
            }
        }
        None
    }

    fn without(&mut self, cube: Cube, taken: &Cube, rest: &mut impl FnMut(Cube, bool, &mut Vec<Cube>)) {
        cube.cut(taken, self.fields, |field, piece| {
            rest(piece, self.fields.get(field).is_capture(), &mut self.cut_off);
        });
    }
}
