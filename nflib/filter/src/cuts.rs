//! A tree of cuts over boxes in `N` dimensions: the first box that holds a point and is confirmed.
//!
//! As in HyperSplit (Qi et al., INFOCOM 2009) an inner node cuts the space at one value of one field. Boxes on both sides of the cut
//! are copied to both while that is cheap. Where it is not, as with wildcards, they become a third child, which every search visits
//! besides: so the tree stays linear in the number of boxes, which is what cutting trees lack for wildcards (EffiCuts, Vamanan et
//! al., SIGCOMM 2010). A search leaves out each child whose first box comes after the best that was confirmed.

use crate::cubes::Range;

#[derive(Debug, Default)]
pub(crate) struct Tree<const N: usize> {
    boxes: Vec<Entry<N>>,
    nodes: Vec<Node>,
    /// Boxes of the leaves, by their place in `boxes`.
    leaves: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Entry<const N: usize> {
    ranges: [Range; N],
    rule: u32,
}

#[derive(Debug)]
struct Node {
    /// The first rule beneath.
    first: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A part of `leaves`.
    Leaf { from: u32, to: u32 },
    Cut {
        field: u8,
        /// The smallest value of the high side.
        at: u32,
        low: u32,
        high: u32,
        /// What is on both sides; the tree's root: nothing.
        across: u32,
    },
}

/// So many boxes are looked at one after the other.
const LEAF: usize = 8;
/// The deepest nesting; a leaf there is as long as it is.
const DEEPEST: usize = 64;
/// Copies of a box that a tree may have on average, beside the box.
const COPIES: usize = 3;
/// Boxes by which a node's cut is chosen.
const SAMPLE: usize = 256;
const ROOT: u32 = 0;

impl<const N: usize> Tree<N> {
    /// The tree of boxes in the order of their rules.
    pub(crate) fn new(boxes: impl IntoIterator<Item = ([Range; N], u32)>) -> Self {
        let boxes = boxes.into_iter().map(|(ranges, rule)| Entry { ranges, rule });
        let mut tree = Self {
            boxes: boxes.collect(),
            nodes: Vec::new(),
            leaves: Vec::new(),
        };
        let all: Vec<u32> = (0..tree.boxes.len() as u32).collect();
        if !all.is_empty() {
            let copies = all.len() * COPIES;
            tree.grow(all, copies, 0);
        }
        tree.nodes.shrink_to_fit();
        tree.leaves.shrink_to_fit();
        tree
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.boxes.as_slice())
            + size_of_val(self.nodes.as_slice())
            + size_of_val(self.leaves.as_slice())
    }

    /// Lowers `best` to the first rule before it of which a box holds the point and that `takes` confirms.
    #[inline]
    pub(crate) fn search(&self, point: &[u32; N], best: &mut u32, takes: &mut impl FnMut(u32) -> bool) {
        self.search_at(ROOT, point, best, takes);
    }

    fn search_at(&self, mut at: u32, point: &[u32; N], best: &mut u32, takes: &mut impl FnMut(u32) -> bool) {
        while let Some(node) = self.nodes.get(at as usize).filter(|node| node.first < *best) {
            match node.kind {
                Kind::Leaf { from, to } => return self.search_leaf(from..to, point, best, takes),
                Kind::Cut {
                    field,
                    at: cut,
                    low,
                    high,
                    across,
                } => {
                    let value = point.get(usize::from(field)).copied().unwrap_or(0);
                    let side = if value < cut { low } else { high };
                    at = side;
                    if across != ROOT {
                        let first = |node: u32| self.nodes.get(node as usize).map(|node| node.first);
                        let (soon, late) = if first(across) < first(side) {
                            (across, side)
                        } else {
                            (side, across)
                        };
                        self.search_at(soon, point, best, takes);
                        at = late;
                    }
                }
            }
        }
    }

    fn search_leaf(
        &self,
        part: std::ops::Range<u32>,
        point: &[u32; N],
        best: &mut u32,
        takes: &mut impl FnMut(u32) -> bool,
    ) {
        let part = self.leaves.get(part.start as usize..part.end as usize);
        for entry in part.unwrap_or_default() {
            let Some(entry) = self.boxes.get(*entry as usize).filter(|e| e.rule < *best) else {
                return;
            };
            if entry.holds(point) && takes(entry.rule) {
                *best = entry.rule;
                return;
            }
        }
    }

    /// Adds the tree of some boxes, which are in order, and returns its root. `copies`: how many may be made.
    fn grow(&mut self, boxes: Vec<u32>, copies: usize, depth: usize) -> u32 {
        let node = self.nodes.len() as u32;
        let from = self.leaves.len() as u32;
        let rule = |first: &u32| self.boxes.get(*first as usize).map_or(u32::MAX, |e| e.rule);
        let first = boxes.first().map_or(u32::MAX, rule);
        let kind = Kind::Leaf { from, to: from };
        self.nodes.push(Node { first, kind });
        let cut = (boxes.len() > LEAF && depth < DEEPEST)
            .then(|| self.best_cut(&boxes))
            .flatten();
        let parts = cut.and_then(|(field, at)| {
            let parts = self.split(&boxes, field, at, copies)?;
            Some((field, at, parts))
        });
        let kind = match parts {
            None => {
                self.leaves.extend(boxes);
                let to = self.leaves.len() as u32;
                Kind::Leaf { from, to }
            }
            Some((field, at, [low, high, across])) => {
                let made = (low.len() + high.len() + across.len()).saturating_sub(boxes.len());
                let (left, all) = (copies.saturating_sub(made), low.len() + high.len() + across.len());
                drop(boxes);
                let share = |part: &[u32]| (left as u64 * part.len() as u64 / all.max(1) as u64) as usize;
                let shares = [share(&low), share(&high), share(&across)];
                Kind::Cut {
                    field: field as u8,
                    at,
                    low: self.grow(low, shares[0], depth + 1),
                    high: self.grow(high, shares[1], depth + 1),
                    across: if across.is_empty() {
                        ROOT
                    } else {
                        self.grow(across, shares[2], depth + 1)
                    },
                }
            }
        };
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.kind = kind;
        }
        node
    }

    /// The boxes on the low side, on the high side, and on both if these are not copied. None when nothing is gained.
    fn split(&self, boxes: &[u32], field: usize, at: u32, copies: usize) -> Option<[Vec<u32>; 3]> {
        let range = |entry: &u32| {
            self.boxes
                .get(*entry as usize)
                .map_or((0, 0), |e| e.ranges[field])
        };
        let (mut low, mut high, mut across) = (Vec::new(), Vec::new(), Vec::new());
        for entry in boxes {
            let (from, to) = range(entry);
            let part = match (from < at, to >= at) {
                (true, false) => &mut low,
                (false, _) => &mut high,
                (true, true) => &mut across,
            };
            part.push(*entry);
        }
        let sizes = Sizes {
            low: low.len() + across.len(),
            high: high.len() + across.len(),
            across: across.len(),
        };
        if across.len() <= copies && sizes.copied() <= sizes.apart() {
            low = boxes
                .iter()
                .copied()
                .filter(|entry| range(entry).0 < at)
                .collect();
            high = boxes
                .iter()
                .copied()
                .filter(|entry| range(entry).1 >= at)
                .collect();
            across.clear();
        }
        let largest = low.len().max(high.len()).max(across.len());
        (largest < boxes.len()).then_some([low, high, across])
    }

    /// The field and value of the best cut, by a part of the boxes where there are many.
    fn best_cut(&self, boxes: &[u32]) -> Option<(usize, u32)> {
        let step = boxes.len().div_ceil(SAMPLE);
        let sample: Vec<&Entry<N>> = boxes
            .iter()
            .step_by(step)
            .filter_map(|entry| self.boxes.get(*entry as usize))
            .collect();
        let mut best = None;
        let mut least = (sample.len() * sample.len()) as f64 * WORTH;
        for field in 0..N {
            let mut lows: Vec<u32> = sample.iter().map(|e| e.ranges[field].0).collect();
            let mut highs: Vec<u32> = sample.iter().map(|e| e.ranges[field].1).collect();
            lows.sort_unstable();
            highs.sort_unstable();
            let ends = highs.iter().filter_map(|high| high.checked_add(1));
            for at in lows.iter().copied().chain(ends) {
                let low = lows.partition_point(|low| *low < at);
                let high = sample.len() - highs.partition_point(|high| *high < at);
                let across = (low + high).saturating_sub(sample.len());
                let sizes = Sizes { low, high, across };
                let cost = sizes.copied().min(sizes.apart());
                if cost < least {
                    (best, least) = (Some((field, at)), cost);
                }
            }
        }
        best
    }
}

/// A cut must save this part of the boxes that a search has before it.
const WORTH: f64 = 0.95;
/// A third child is one more way for each search.
const EXTRA_WAY: f64 = 2.0;

/// How many boxes reach to the low side, to the high side, and to both.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    low: usize,
    high: usize,
    across: usize,
}

impl Sizes {
    /// What a search has before it on average, times the number of boxes, where those on both sides are copied.
    fn copied(self) -> f64 {
        square(self.low) + square(self.high)
    }

    /// The same where those on both sides are a child of their own.
    fn apart(self) -> f64 {
        EXTRA_WAY * (square(self.low - self.across) + square(self.high - self.across) + square(self.across))
    }
}

fn square(n: usize) -> f64 {
    (n * n) as f64
}

impl<const N: usize> Entry<N> {
    #[inline]
    fn holds(&self, point: &[u32; N]) -> bool {
        let mut ranges = self.ranges.iter().zip(point);
        ranges.all(|((low, high), value)| low <= value && value <= high)
    }
}
