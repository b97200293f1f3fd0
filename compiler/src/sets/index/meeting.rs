//! Which cubes have a packet in common with this one? As a lookup of a point, but with a set of values at each node: every
//! child is visited whose prefix holds one of them. Little is visited in vain where the nodes distinguish cubes by the
//! fields that also keep them from meeting; so for lists of rules it stays near the number of cubes that do meet.

use hashbrown::HashMap;

use super::{Index, Node, Prefix};
use crate::sets::{cube::Cube, values::Values};

/// The children of each node, for looking through.
#[derive(Debug)]
pub(crate) struct Siblings {
    of: HashMap<u32, Children>,
}

#[derive(Debug, Default)]
struct Children {
    /// With their lowest values, in that order.
    list: Vec<(u128, u32)>,
    hull: Option<Hull>,
}

/// The common part of some cubes.
#[derive(Debug, Clone)]
struct Hull {
    /// Holds all of them. A cube that does not meet it, an ARP packet in a node for IPv4 addresses, meets none of them.
    cube: Cube,
    /// The first of their rules.
    first: u32,
}

impl Hull {
    fn around(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        match (left, right) {
            (Some(mut left), Some(right)) => {
                left.cube.widen(&right.cube);
                left.first = left.first.min(right.first);
                Some(left)
            }
            (left, right) => left.or(right),
        }
    }
}

impl Index {
    pub(crate) fn siblings(&self) -> Siblings {
        let mut of: HashMap<u32, Children> = HashMap::new();
        for ((node, prefix), child) in &self.children {
            if let Node::Split { width, .. } = &self.nodes[*node as usize] {
                let low = prefix.bits << (width - u32::from(prefix.length));
                of.entry(*node).or_default().list.push((low, *child));
            }
        }
        of.values_mut().for_each(|children| children.list.sort_unstable());
        let mut siblings = Siblings { of };
        self.hull(0, &mut siblings);
        siblings
    }

    /// The hull of all cubes below a node. Nodes lie no deeper than there are fields.
    fn hull(&self, at: u32, siblings: &mut Siblings) -> Option<Hull> {
        match &self.nodes[at as usize] {
            Node::Leaf { cubes, .. } => {
                let one = |id: &u32| Hull {
                    cube: self.cubes[*id as usize].clone(),
                    first: self.rules[*id as usize],
                };
                cubes.iter().map(|id| Some(one(id))).fold(None, Hull::around)
            }
            Node::Split { any, .. } => {
                let list = siblings.of.get(&at).map(|children| &children.list);
                let below: Vec<u32> = list.into_iter().flatten().map(|(_, child)| *child).collect();
                let hulls = below.into_iter().map(|child| self.hull(child, siblings));
                let hull = hulls.fold(None, Hull::around);
                if let Some(children) = siblings.of.get_mut(&at) {
                    children.hull.clone_from(&hull);
                }
                Hull::around(hull, self.hull(*any, siblings))
            }
        }
    }

    /// Reports the cubes, by number, of rules before `limit` that meet this one, some of them more than once. Counts
    /// the looks that it takes.
    pub(crate) fn meeting(
        &self,
        siblings: &Siblings,
        cube: &Cube,
        limit: u32,
        looks: &mut u64,
        mut found: impl FnMut(u32),
    ) {
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            *looks += 1;
            match &self.nodes[at as usize] {
                Node::Leaf { cubes, .. } => {
                    let early = cubes.iter().take_while(|id| self.rules[**id as usize] < limit);
                    for id in early {
                        *looks += 1;
                        if self.cubes[*id as usize].meets(cube) {
                            found(*id);
                        }
                    }
                }
                Node::Split {
                    field,
                    width,
                    lengths,
                    any,
                } => {
                    open.push(*any);
                    let may = |hull: &Hull| hull.first < limit && hull.cube.meets(cube);
                    let children = siblings.of.get(&at);
                    let Some(children) = children.filter(|c| c.hull.as_ref().is_some_and(may)) else {
                        continue;
                    };
                    match cube.get(*field) {
                        None => open.extend(children.list.iter().map(|(_, child)| *child)),
                        Some(values) => {
                            open.extend(children.within(values));
                            self.above(at, *width, *lengths, values, &mut open);
                        }
                    }
                }
            }
        }
    }

    /// The children whose prefix holds the lowest value of a range.
    fn above(&self, at: u32, width: u32, lengths: u128, values: &Values, open: &mut Vec<u32>) {
        let first = open.len();
        for (low, _) in values.ranges() {
            let mut lengths = lengths;
            while lengths != 0 {
                let length = 128 - lengths.leading_zeros();
                lengths &= !(1 << (length - 1));
                let prefix = Prefix {
                    length: length as u8,
                    bits: low >> (width - length),
                };
                let child = self.children.get(&(at, prefix));
                // A short prefix can hold several ranges.
                open.extend(child.filter(|child| !open[first..].contains(child)).copied());
            }
        }
    }
}

impl Children {
    /// Those whose prefix begins within a range, behind its lowest value.
    fn within(&self, values: &Values) -> impl Iterator<Item = u32> {
        values.ranges().flat_map(|(low, high)| {
            let from = self.list.partition_point(|(begin, _)| *begin <= low);
            let to = self.list.partition_point(|(begin, _)| *begin <= high);
            self.list
                .get(from..to)
                .unwrap_or(&[])
                .iter()
                .map(|(_, child)| *child)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::Index;
    use crate::sets::{
        cube::Cube,
        field::{Bytes, Field, Fields},
        values::Values,
    };

    /// One field or two, of few values, so that cubes meet; prefixes, ranges and wildcards.
    fn cubes() -> impl Strategy<Value = Vec<[Option<(u128, u128)>; 2]>> {
        let prefix = (0_u32..=8, 0_u128..256).prop_map(|(bits, low)| {
            let low = low >> bits << bits;
            Some((low, low + (1 << bits) - 1))
        });
        let range = (0_u128..256, 0_u128..40).prop_map(|(low, size)| Some((low, (low + size).min(255))));
        let values = prop_oneof![5 => prefix, 2 => range, 1 => Just(None)];
        prop::collection::vec([values.clone(), values], 1..120)
    }

    proptest! {
        #[test]
        fn those_that_meet_are_found(cubes in cubes()) {
            let mut fields = Fields::default();
            let ids = [20, 30].map(|at| fields.id(Field::Bytes(Bytes::new(at, 1))));
            let cube = |of: &[Option<(u128, u128)>; 2]| {
                let terms = ids.iter().zip(of).filter_map(|(id, values)| Some((*id, (*values)?)));
                let with = |cube: Cube, (id, (low, high))| cube.with(id, &Values::One(low, high)).unwrap();
                terms.fold(Cube::default(), with)
            };
            let cubes: Vec<Cube> = cubes.iter().map(cube).collect();
            let mut index = Index::default();
            for (rule, cube) in (0..).zip(&cubes) {
                index.add(&fields, rule, cube.clone());
            }
            let siblings = index.siblings();
            for (rule, cube) in (0..).zip(&cubes) {
                let mut found = BTreeSet::new();
                index.meeting(&siblings, cube, rule, &mut 0, |other| {
                    found.insert(index.rule(other));
                });
                let wanted: BTreeSet<u32> = (0..rule).filter(|other| cubes[*other as usize].meets(cube)).collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
