//! Which column each step stands in, and which steps are one box.

use std::collections::{BTreeSet, HashMap};

use super::lanes::{Lane, Start, at};
use crate::graph::{At, Graph};

/// With more hops than this, each is a box of its own: looking for shared columns takes time by the square.
const MOST_MERGED: usize = 3000;
/// Attempts to keep apart what stands in one column and reaches around each other.
const MOST_REPAIRS: usize = 16;

/// Steps of one service that share a column, or of one port at the right edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) at: At,
    pub(super) column: usize,
    /// The lanes that have a step here, begin here or lead here.
    pub(super) rows: BTreeSet<usize>,
    before: BTreeSet<usize>,
}

/// A lane with everything in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) lane: Lane,
    /// The group that it branches off.
    pub(super) from: Option<usize>,
    /// The groups that it visits, from left to right, the one that it joins included.
    pub(super) stops: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rows: Vec<Row>,
    pub(super) groups: Vec<Group>,
    /// Columns, the last one for what packets leave by.
    pub(super) columns: usize,
}

impl Plan {
    pub(super) fn new(graph: &Graph, lanes: Vec<Lane>) -> Self {
        let mut placer = Placer {
            merge: lanes.iter().map(|l| l.hops.len()).sum::<usize>() <= MOST_MERGED,
            groups: Vec::new(),
            known: HashMap::new(),
            of_hop: HashMap::new(),
        };
        let rows = lanes
            .into_iter()
            .enumerate()
            .map(|(n, lane)| placer.row(graph, n, lane))
            .collect();
        let mut plan = Self {
            rows,
            groups: placer.groups,
            columns: 0,
        };
        plan.assign();
        for _ in 0..MOST_REPAIRS {
            let Some((left, right)) = plan.entangled() else {
                break;
            };
            plan.groups[right].before.insert(left);
            plan.assign();
        }
        plan
    }

    /// Longest path: each group as far to the left as what comes before it allows, ends in the last column.
    fn assign(&mut self) {
        let count = self.groups.len();
        let mut after = vec![Vec::new(); count];
        let mut missing: Vec<usize> = self.groups.iter().map(|g| g.before.len()).collect();
        for (n, group) in self.groups.iter().enumerate() {
            group.before.iter().for_each(|b| after[*b].push(n));
        }
        let mut ready: Vec<usize> = (0..count).filter(|n| missing[*n] == 0).collect();
        self.groups.iter_mut().for_each(|g| g.column = 0);
        while let Some(n) = ready.pop() {
            for &m in &after[n] {
                self.groups[m].column = self.groups[m].column.max(self.groups[n].column + 1);
                missing[m] -= 1;
                if missing[m] == 0 {
                    ready.push(m);
                }
            }
        }
        let inner = self.groups.iter().filter(|g| !g.is_end());
        let last = inner.map(|g| g.column + 1).max().unwrap_or(0);
        self.groups
            .iter_mut()
            .filter(|g| g.is_end())
            .for_each(|g| g.column = last);
        self.columns = last + 1;
    }

    /// Two groups of one column of which one has rows on both sides of the other's: a box across would hide it.
    fn entangled(&self) -> Option<(usize, usize)> {
        let mut inner: Vec<usize> = (0..self.groups.len())
            .filter(|n| !self.groups[*n].is_end())
            .collect();
        inner.sort_by_key(|n| (self.groups[*n].column, self.groups[*n].rows.first().copied(), *n));
        let mut seen: Option<(usize, usize)> = None;
        for n in inner {
            let group = &self.groups[n];
            let (Some(first), Some(last)) = (group.rows.first(), group.rows.last()) else {
                continue;
            };
            match seen {
                Some((m, end)) if self.groups[m].column == group.column => {
                    if *first < end {
                        return Some((m, n));
                    }
                    if *last > end {
                        seen = Some((n, *last));
                    }
                }
                _ => seen = Some((n, *last)),
            }
        }
        None
    }

    /// Whether a lane passes a column without a stop in it.
    pub(super) fn passes(&self, row: usize, column: usize) -> bool {
        let row = &self.rows[row];
        let begin = row.from.map(|g| self.groups[g].column);
        let end = row.stops.last().map_or(0, |g| self.groups[*g].column);
        begin.is_none_or(|b| b < column) && column < end
    }
}

impl Group {
    /// Packets do not go on from here.
    pub(super) fn is_end(&self) -> bool {
        !matches!(self.at, At::Nf(_))
    }
}

struct Placer<'a> {
    merge: bool,
    groups: Vec<Group>,
    known: HashMap<&'a At, Vec<usize>>,
    /// By chain and hop.
    of_hop: HashMap<(usize, usize), usize>,
}

impl<'a> Placer<'a> {
    fn row(&mut self, graph: &'a Graph, number: usize, lane: Lane) -> Row {
        let from = match &lane.start {
            Start::Entry => None,
            Start::Branch { from, .. } => self.of_hop.get(&(lane.chain, *from)).copied(),
        };
        let join = lane
            .join
            .and_then(|hop| self.of_hop.get(&(lane.chain, hop)).copied());
        let mut before = from;
        let mut stops = Vec::with_capacity(lane.hops.len() + 1);
        for &hop in &lane.hops {
            let group = self.group(at(graph, &lane, hop), before, join);
            self.of_hop.insert((lane.chain, hop), group);
            stops.push(group);
            before = Some(group);
        }
        if let Some(hop) = lane.join {
            // Leading back to the left would cross what stands between: the target is drawn once more instead.
            let forward = join.filter(|join| !self.circular(before, *join));
            let group = forward.unwrap_or_else(|| self.new_group(at(graph, &lane, hop)));
            if let Some(before) = before {
                self.groups[group].before.insert(before);
            }
            stops.push(group);
        }
        for group in from.iter().chain(&stops) {
            self.groups[*group].rows.insert(number);
        }
        Row { lane, from, stops }
    }

    /// The group for a step between two others: one that is there if that makes no circle.
    fn group(&mut self, at: &'a At, before: Option<usize>, join: Option<usize>) -> usize {
        let known = self.known.get(at).map(Vec::as_slice).unwrap_or_default();
        let fits =
            |g: &usize| !self.circular(before, *g) && join.is_none_or(|join| !self.circular(Some(*g), join));
        let fitting = known.iter().copied().find(|g| self.merge && fits(g));
        let group = fitting.unwrap_or_else(|| self.new_group(at));
        if let Some(before) = before {
            self.groups[group].before.insert(before);
        }
        group
    }

    fn new_group(&mut self, at: &'a At) -> usize {
        let group = self.groups.len();
        self.groups.push(Group {
            at: at.clone(),
            column: 0,
            rows: BTreeSet::new(),
            before: BTreeSet::new(),
        });
        self.known.entry(at).or_default().push(group);
        group
    }

    /// Whether `to` is `from` or must stand to the left of it.
    fn circular(&self, from: Option<usize>, to: usize) -> bool {
        let Some(from) = from.filter(|_| self.merge) else {
            return false;
        };
        let mut seen = vec![false; self.groups.len()];
        let mut open = vec![from];
        while let Some(group) = open.pop() {
            if group == to {
                return true;
            }
            if !std::mem::replace(&mut seen[group], true) {
                open.extend(&self.groups[group].before);
            }
        }
        false
    }
}
