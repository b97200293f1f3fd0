//! An index over filters: the first that takes a frame, without asking each.
//!
//! From each filter come the values that it asks of a few fields at least (`cubes`): EtherType, VLAN id, protocol, addresses, ports.
//! For each family of frames a tree of cuts (`cuts`) finds the filters whose values a frame has, in order, and each is asked
//! itself. So the answer is that of the walk over all filters for any frame, and a filter of which nothing is understood only costs
//! time.
//!
//! Compared with the walk alone, on lists in the manner of ClassBench (access lists, firewalls, mixed; `onvm-bench rules` makes
//! such), nanoseconds for a packet in a release build on a busy machine, so in orders of magnitude:
//!
//! | rules | index | walk | building | memory |
//! |---|---|---|---|---|
//! | 100 | 130-380 | 2,700-5,400 | 0.3 ms | 8 KiB |
//! | 1,000 | 180-740 | 21,000-82,000 | 4-19 ms | 92 KiB |
//! | 10,000 | 700-1,060 | 370,000-2,000,000 | 36-91 ms | 0.9 MiB |
//! | 100,000 | 2,700-10,900 | 11-21 million | 0.3-0.7 s | 9.4 MiB |
//!
//! Eight rules take as long as a walk, because they are walked.

use crate::{
    Expr,
    cubes::{ARP, Cube, DEEPEST, Fields, OF_ARP, OF_OTHER, OF_V4, OF_V6, OTHER, Range, V4, V6, cubes},
    cuts::Tree,
    eval::Frame,
};

/// So many filters are asked one after the other.
const FEW: usize = 8;
/// Cubes of one filter, and where there are many filters.
const MOST_CUBES: usize = 16;
const MOST_CUBES_OF_MANY: usize = 4;
const MANY: usize = 20_000;

/// An index over filters: see [`Classifier::first`].
#[derive(Debug, Default)]
pub struct Classifier {
    /// None for few filters.
    indexes: Vec<Index>,
    filters: usize,
}

/// Over the filters that are best distinguished behind so many tags.
#[derive(Debug)]
struct Index {
    tags: u8,
    v4: Tree<5>,
    v6: Tree<11>,
    arp: Tree<3>,
    other: Tree<2>,
}

impl Classifier {
    /// The index over these filters, of which there are fewer than 2^32.
    #[must_use]
    pub fn new<'a>(filters: impl IntoIterator<Item = &'a Expr, IntoIter: ExactSizeIterator>) -> Self {
        let filters = filters.into_iter();
        let count = filters.len();
        if count <= FEW {
            return Self {
                indexes: Vec::new(),
                filters: count,
            };
        }
        let most = if count > MANY {
            MOST_CUBES_OF_MANY
        } else {
            MOST_CUBES
        };
        let mut found: Vec<(u8, u32, Cube)> = Vec::with_capacity(count);
        for (rule, filter) in filters.enumerate() {
            let (tags, cubes) = cubes(filter, most);
            found.extend(cubes.into_iter().map(|cube| (tags, rule as u32, cube)));
        }
        // One at least: an index of nothing finds nothing.
        let indexes =
            (0..=DEEPEST).filter(|tags| *tags == 0 || found.iter().any(|(behind, ..)| behind == tags));
        Self {
            indexes: indexes.map(|tags| Index::new(tags, &found)).collect(),
            filters: count,
        }
    }

    /// The first filter that takes the frame, by its captured bytes and its length on the wire in bytes: as [`Expr::matches`] says
    /// of one after the other. `filter` gives by number those that the index was made of.
    #[inline]
    pub fn first<'a>(
        &self,
        filter: impl Fn(usize) -> Option<&'a Expr>,
        packet: &[u8],
        wire_len: u32,
    ) -> Option<usize> {
        self.first_by(
            |rule| filter(rule).is_some_and(|filter| filter.matches(packet, wire_len)),
            packet,
            wire_len,
        )
    }

    /// The first by number that `takes` the frame, which is asked of those alone whose filter may.
    #[inline]
    pub fn first_by(&self, takes: impl Fn(usize) -> bool, packet: &[u8], wire_len: u32) -> Option<usize> {
        if self.indexes.is_empty() {
            return (0..self.filters).find(|rule| takes(*rule));
        }
        let frame = Frame { packet, wire_len };
        let mut best = u32::MAX;
        for index in &self.indexes {
            index.search(&frame, &mut best, &mut |rule| takes(rule as usize));
        }
        (best != u32::MAX).then_some(best as usize)
    }

    /// Bytes of memory that the index takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of =
            |index: &Index| index.v4.bytes() + index.v6.bytes() + index.arp.bytes() + index.other.bytes();
        self.indexes.iter().map(of).sum()
    }
}

impl Index {
    fn new(tags: u8, cubes: &[(u8, u32, Cube)]) -> Self {
        Self {
            tags,
            v4: Tree::new(boxes(tags, cubes, V4, &OF_V4)),
            v6: Tree::new(boxes(tags, cubes, V6, &OF_V6)),
            arp: Tree::new(boxes(tags, cubes, ARP, &OF_ARP)),
            other: Tree::new(boxes(tags, cubes, OTHER, &OF_OTHER)),
        }
    }

    #[inline]
    fn search(&self, frame: &Frame<'_>, best: &mut u32, takes: &mut impl FnMut(u32) -> bool) {
        let fields = Fields::read(frame, self.tags);
        match fields.family {
            V4 => self.v4.search(&fields.values(&OF_V4), best, takes),
            V6 => self.v6.search(&fields.values(&OF_V6), best, takes),
            ARP => self.arp.search(&fields.values(&OF_ARP), best, takes),
            _ => self.other.search(&fields.values(&OF_OTHER), best, takes),
        }
    }
}

/// The conditions of the cubes of one family on its fields, equal ones of a rule once.
fn boxes<'a, const N: usize>(
    tags: u8,
    cubes: &'a [(u8, u32, Cube)],
    family: u8,
    of: &'a [usize; N],
) -> impl Iterator<Item = ([Range; N], u32)> + 'a {
    let mut last = None;
    cubes
        .iter()
        .filter(move |(behind, _, cube)| *behind == tags && cube.families & family != 0)
        .map(move |(_, rule, cube)| (cube.ranges(of), *rule))
        .filter(move |next| last.replace(*next).as_ref() != Some(next))
}
