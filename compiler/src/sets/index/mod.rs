//! Which cube holds this point? The packet-classification problem, answered by tries over hashed prefixes (as in tuple
//! space search, Srinivasan, Suri and Varghese 1999) that choose their own dimensions.
//!
//! A leaf is a short list. When it grows too long it becomes a node for the field that distinguishes its cubes best:
//! cubes with a prefix of that field go to the child of that prefix, and the others to the child `any`. A lookup
//! visits `any` and, for each prefix length that the node has, at most one child more. Every cube is in one leaf, or
//! in a few where its values are not a single prefix; so the index is linear in the cubes, wildcards and nested
//! prefixes included.

mod meeting;

pub(crate) use meeting::Siblings;

use hashbrown::HashMap;

use super::{
    cube::Cube,
    field::{FieldId, Fields},
    point::Point,
    search::Cover,
    values::Values,
};

/// Cubes in a leaf before it is looked at for splitting.
const LEAF: usize = 12;
/// Prefixes that stand for a set of values before it counts as any value.
const MAX_PREFIXES: usize = 8;

/// Cubes in the order of their rules.
#[derive(Debug)]
pub(crate) struct Index {
    cubes: Vec<Cube>,
    /// The rule of each cube.
    rules: Vec<u32>,
    nodes: Vec<Node>,
    children: HashMap<(u32, Prefix), u32>,
}

#[derive(Debug)]
enum Node {
    Leaf {
        cubes: Vec<u32>,
        limit: usize,
    },
    Split {
        field: FieldId,
        width: u32,
        lengths: u128,
        any: u32,
    },
}

/// The upper `length` bits of a value, 1 to 128 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix {
    length: u8,
    bits: u128,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            cubes: Vec::new(),
            rules: Vec::new(),
            nodes: vec![Node::leaf(Vec::new(), LEAF)],
            children: HashMap::new(),
        }
    }
}

impl Index {
    /// Adds a cube of a rule that is not before any added so far.
    pub(crate) fn add(&mut self, fields: &Fields, rule: u32, cube: Cube) {
        let id = number(self.cubes.len());
        self.cubes.push(cube);
        self.rules.push(rule);
        self.insert(fields, 0, id, &mut Vec::new());
    }

    /// All cubes, in the order in which they were added.
    pub(crate) fn cubes(&self) -> &[Cube] {
        &self.cubes
    }

    /// Some cube of the cover's rules that holds the point; wide ones are tried first. Counts the looks that it takes.
    pub(crate) fn find(
        &self,
        point: &mut Point<'_>,
        cover: &Cover<'_>,
        looks: &mut u64,
    ) -> Option<(u32, &Cube)> {
        if let Some(only) = cover.only {
            return self.find_among(point, only, looks);
        }
        let mut found = None;
        self.visit(point, |cubes, point| {
            *looks += 1;
            for id in cubes {
                let rule = self.rules[*id as usize];
                if rule >= cover.limit {
                    break;
                }
                let cube = &self.cubes[*id as usize];
                *looks += 1;
                if point.is_in(cube) && cover.counts(cube) {
                    found = Some((rule, cube));
                    return true;
                }
            }
            false
        });
        found
    }

    /// The first rule that has the point, and a cube of it that does, by its number. Counts the looks that it takes.
    pub(crate) fn first(&self, point: &mut Point<'_>, looks: &mut u64) -> Option<(u32, u32)> {
        let mut first: Option<(u32, u32)> = None;
        self.visit(point, |cubes, point| {
            *looks += 1;
            for id in cubes {
                let rule = self.rules[*id as usize];
                if first.is_some_and(|(best, _)| rule >= best) {
                    break;
                }
                *looks += 1;
                if point.is_in(&self.cubes[*id as usize]) {
                    first = Some((rule, *id));
                    break;
                }
            }
            false
        });
        first
    }

    /// The rule of a cube.
    pub(crate) fn rule(&self, cube: u32) -> u32 {
        self.rules[cube as usize]
    }

    /// As [`Self::find`], among the cubes of a few rules.
    fn find_among(&self, point: &mut Point<'_>, rules: &[u32], looks: &mut u64) -> Option<(u32, &Cube)> {
        rules.iter().find_map(|rule| {
            let first = self.rules.partition_point(|r| r < rule);
            let own = self.rules[first..].iter().take_while(|r| *r == rule).count();
            let mut cubes = self.cubes[first..first + own].iter();
            let cube = cubes.find(|cube| {
                *looks += 1;
                point.is_in(cube)
            })?;
            Some((*rule, cube))
        })
    }

    /// Shows the leaves that may hold the point, until asked to stop.
    fn visit(&self, point: &mut Point<'_>, mut leaf: impl FnMut(&[u32], &mut Point<'_>) -> bool) {
        let mut open = std::mem::take(&mut point.open);
        open.clear();
        open.push(0);
        while let Some(at) = open.pop() {
            match &self.nodes[at as usize] {
                Node::Leaf { cubes, .. } => {
                    if leaf(cubes, point) {
                        break;
                    }
                }
                Node::Split {
                    field,
                    width,
                    lengths,
                    any,
                } => {
                    let value = point.value(*field);
                    let mut lengths = *lengths;
                    while lengths != 0 {
                        // The longest first: what is pushed last is visited first.
                        let length = 128 - lengths.leading_zeros();
                        lengths &= !(1 << (length - 1));
                        let bits = value >> (width - length);
                        let prefix = Prefix {
                            length: length as u8,
                            bits,
                        };
                        open.extend(self.children.get(&(at, prefix)));
                    }
                    open.push(*any);
                }
            }
        }
        point.open = open;
    }

    fn insert(&mut self, fields: &Fields, at: u32, id: u32, above: &mut Vec<FieldId>) {
        match &mut self.nodes[at as usize] {
            Node::Leaf { cubes, limit } => {
                cubes.push(id);
                if cubes.len() > *limit {
                    self.split(fields, at, above);
                }
            }
            Node::Split {
                field, width, any, ..
            } => {
                let (field, width, any) = (*field, *width, *any);
                let prefixes = self.cubes[id as usize]
                    .get(field)
                    .and_then(|v| prefixes(v, width));
                above.push(field);
                match prefixes {
                    None => self.insert(fields, any, id, above),
                    Some(prefixes) => {
                        for prefix in prefixes {
                            let child = self.child(at, prefix);
                            self.insert(fields, child, id, above);
                        }
                    }
                }
                above.pop();
            }
        }
    }

    fn child(&mut self, at: u32, prefix: Prefix) -> u32 {
        if let Some(child) = self.children.get(&(at, prefix)) {
            return *child;
        }
        let child = number(self.nodes.len());
        self.nodes.push(Node::leaf(Vec::new(), LEAF));
        self.children.insert((at, prefix), child);
        if let Node::Split { lengths, .. } = &mut self.nodes[at as usize] {
            *lengths |= 1 << (prefix.length - 1);
        }
        child
    }

    /// Turns a leaf into a node, unless no field distinguishes its cubes.
    fn split(&mut self, fields: &Fields, at: u32, above: &mut Vec<FieldId>) {
        let Node::Leaf { cubes, limit } = &mut self.nodes[at as usize] else {
            return;
        };
        let Some(field) = best_field(fields, cubes.iter().map(|id| &self.cubes[*id as usize]), above) else {
            *limit *= 2;
            return;
        };
        let cubes = std::mem::take(cubes);
        let any = number(self.nodes.len());
        self.nodes.push(Node::leaf(Vec::new(), LEAF));
        let width = fields.get(field).width();
        self.nodes[at as usize] = Node::Split {
            field,
            width,
            lengths: 0,
            any,
        };
        for id in cubes {
            self.insert(fields, at, id, above);
        }
    }
}

impl Node {
    fn leaf(cubes: Vec<u32>, limit: usize) -> Self {
        Self::Leaf { cubes, limit }
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The field with the most different prefixes, if it has enough of them.
fn best_field<'c>(
    fields: &Fields,
    cubes: impl Iterator<Item = &'c Cube> + Clone,
    above: &[FieldId],
) -> Option<FieldId> {
    let count = cubes.clone().count();
    let mut seen: Vec<(FieldId, Prefix)> = Vec::new();
    for (field, values) in cubes.flat_map(Cube::terms) {
        if !above.contains(field) && !fields.get(*field).is_capture() {
            let first = prefixes(values, fields.get(*field).width()).and_then(|p| p.into_iter().next());
            seen.extend(first.map(|p| (*field, p)));
        }
    }
    seen.sort_unstable_by_key(|(field, p)| (*field, p.length, p.bits));
    seen.dedup();
    let mut best = None;
    for group in seen.chunk_by(|a, b| a.0 == b.0) {
        if best.is_none_or(|(most, _)| group.len() > most) {
            best = group.first().map(|(field, _)| (group.len(), *field));
        }
    }
    best.filter(|(different, _)| *different >= (count / 6).max(2))
        .map(|(_, field)| field)
}

/// Few prefixes that hold all of the values, and perhaps more. None: any value.
fn prefixes(values: &Values, width: u32) -> Option<Vec<Prefix>> {
    let mut found = Vec::with_capacity(1);
    for (low, high) in values.ranges() {
        let differing = low ^ high;
        let aligned = differing & differing.wrapping_add(1) == 0 && low & differing == 0;
        let mut bits = 128 - differing.leading_zeros();
        if !aligned {
            bits = (0..bits).find(|k| (high >> k) - (low >> k) < 4)?;
        }
        if bits >= width {
            return None;
        }
        let length = (width - bits) as u8;
        found.extend((low >> bits..=high >> bits).map(|bits| Prefix { length, bits }));
        if found.len() > MAX_PREFIXES {
            return None;
        }
    }
    found.dedup();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_their_ranges() {
        for (low, high) in [
            (0, 65535),
            (1024, 65535),
            (5, 5),
            (6000, 6063),
            (5000, 5100),
            (0, 65534),
        ] {
            let Some(found) = prefixes(&Values::One(low, high), 16) else {
                assert!(high - low > 40_000);
                continue;
            };
            assert!(found.len() <= 4);
            for value in 0..=65535_u128 {
                let held = found.iter().any(|p| value >> (16 - p.length) == p.bits);
                assert!(held || !(low..=high).contains(&value), "{value} of {low}-{high}");
            }
        }
    }
}
