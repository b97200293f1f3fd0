//! IPv6 addresses that a frame holds in part. They are compared in words of four bytes, and one that differs decides before a
//! missing one is looked for.

use onvm_bundle::filter::{Direction, Test};

use super::{
    cube::Cube,
    ends::{Ends, Members},
    field::{Bytes, Field},
    lower::TooComplex,
    primitive::Tests,
    values::{Range, Values},
};

/// Offset of the source address in an IPv6 header, and of the destination.
const SRC: u16 = 8;
const DST: u16 = 24;
/// Bytes of a word.
const WORD: u8 = 4;
/// Words that can be there without all of them being there.
const PARTS: std::ops::Range<u8> = 1..4;
/// Cubes that say which member has been met, for each number of words.
const MAX_SPELLED: usize = 16;

/// The members of a set of IPv6 networks, by their first words.
pub(super) struct Words {
    /// In the order written.
    members: Vec<Range>,
}

impl Words {
    pub(super) fn new(members: &[Range]) -> Self {
        Self {
            members: members.to_vec(),
        }
    }

    /// The first words of the members.
    fn first(words: u8, members: &[Range]) -> Option<Values> {
        let rest = 128 - 32 * u32::from(words);
        Values::new(
            members
                .iter()
                .map(|(low, high)| (low >> rest, high >> rest))
                .collect(),
        )
    }

    /// The packets of `base` that are decided as `wanted` by the first words of an address. Some of them hold more.
    pub(super) fn cubes(
        &self,
        tests: &mut Tests<'_>,
        test: &Test,
        base: &Cube,
        dir: Direction,
        (ends, members): (&Ends, &Members),
        wanted: bool,
    ) -> Result<Vec<Cube>, TooComplex> {
        let mut cubes = Vec::new();
        for words in PARTS {
            let all = Self::first(words, &self.members);
            match (dir, wanted) {
                (Direction::Src, false) => {
                    cubes.extend(outside(tests, base.clone(), SRC, words, all));
                }
                (Direction::Dst, false) => {
                    cubes.extend(outside(tests, base.clone(), DST, words, all));
                }
                (Direction::Either, false) => {
                    for cube in tests.split(base.clone(), ends.src, Some(members.all.clone()), false) {
                        cubes.extend(outside(tests, cube, DST, words, all.clone()));
                    }
                }
                (Direction::Both, false) => {
                    cubes.extend(outside(tests, base.clone(), SRC, words, all));
                    for (piece, holders) in members.pieces()? {
                        let holders: Vec<Range> = holders.ranges().collect();
                        let holders = Self::first(words, &holders);
                        for cube in tests.split(base.clone(), ends.src, Some(piece), true) {
                            cubes.extend(outside(tests, cube, DST, words, holders.clone()));
                        }
                    }
                }
                (Direction::Either, true) => cubes.extend(self.met(tests, test, base, ends, words)),
                (Direction::Src | Direction::Dst | Direction::Both, true) => {}
            }
        }
        Ok(cubes)
    }

    /// The source is in a member, and the first words of the destination keep it out of all members before.
    fn met(&self, tests: &mut Tests<'_>, test: &Test, base: &Cube, ends: &Ends, words: u8) -> Vec<Cube> {
        let mut cubes = Vec::new();
        // The members that come behind the same first words.
        let mut groups: Vec<(Values, Vec<Range>)> = Vec::new();
        let mut known: Option<Values> = None;
        for member in &self.members {
            if let Some(known) = &known {
                match groups.last_mut() {
                    Some((before, group)) if before == known => group.push(*member),
                    _ => groups.push((known.clone(), vec![*member])),
                }
            }
            let own = Self::first(words, &[*member]);
            known = match (known, own) {
                (Some(known), Some(own)) if own.is_within(&known) => Some(known),
                (Some(known), Some(own)) => Values::new(known.ranges().chain(own.ranges()).collect()),
                (known, own) => known.or(own),
            };
        }
        let spelled = groups.len().min(MAX_SPELLED);
        let rest = groups.split_off(spelled);
        for (before, group) in groups {
            for cube in tests.split(base.clone(), ends.src, Values::new(group), true) {
                cubes.extend(outside(tests, cube, DST, words, Some(before.clone())));
            }
        }
        let rest = Values::new(rest.into_iter().flat_map(|(_, group)| group).collect());
        for cube in rest.map_or_else(Vec::new, |rest| {
            tests.split(base.clone(), ends.src, Some(rest), true)
        }) {
            let cube = captured(tests, cube, DST, words);
            cubes.extend(tests.outcome(cube, test, true));
        }
        cubes
    }
}

/// So many words of the address that begins there are captured.
fn captured(tests: &mut Tests<'_>, cube: Cube, at: u16, words: u8) -> Cube {
    let end = tests.at(at) + u16::from(WORD * words);
    tests.captured(cube, end)
}

/// And they are none of these.
fn outside(tests: &mut Tests<'_>, cube: Cube, at: u16, words: u8, these: Option<Values>) -> Vec<Cube> {
    let cube = captured(tests, cube, at, words);
    let field = Bytes::new(tests.at(at), WORD * words);
    let field = tests.fields.id(Field::Bytes(field));
    tests.split(cube, field, these, false)
}
