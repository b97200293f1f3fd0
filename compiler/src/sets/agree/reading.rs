//! Numbers at fixed places that share bits, read side by side.

use hashbrown::HashSet;

use super::{
    super::values::{Share, Values},
    Bits, Part,
    cases::Reason,
};

/// Bits that give each part one of its values in a frame of which so much may be captured. Bytes that are not
/// captured count as 0.
pub(super) fn read(
    parts: &[Part],
    captured: &Values,
    present: &[u8],
    work: &mut u64,
) -> Result<Bits, Reason> {
    // More captured bytes allow all that fewer do.
    let end = usize::try_from(captured.max()).unwrap_or(usize::MAX);
    let mut left: Vec<&Part> = parts.iter().collect();
    let mut bits = Bits::default();
    while let Some(first) = left.pop() {
        let mut group = vec![first];
        let mut done = 0;
        while done < group.len() {
            let member = group[done];
            let (meet, others): (Vec<&Part>, Vec<&Part>) =
                left.into_iter().partition(|part| part.shares_bits(member));
            left = others;
            group.extend(meet);
            done += 1;
        }
        let is_whole = first.at + usize::from(first.bytes.size) <= end;
        if group.len() > 1 || !is_whole || first.bytes.has_holes() {
            Reading::new(&group, end).run(present, work, &mut bits)?;
        }
    }
    Ok(bits)
}

impl Part {
    fn shares_bits(&self, other: &Self) -> bool {
        let end = |part: &Self| part.at + usize::from(part.bytes.size);
        let (from, to) = (self.at.max(other.at), end(self).min(end(other)));
        (from..to).any(|at| self.mask(at) & other.mask(at) != 0)
    }

    /// Which bits of a byte of the frame belong to it.
    fn mask(&self, at: usize) -> u8 {
        let behind = at
            .checked_sub(self.at)
            .and_then(|n| usize::from(self.bytes.size).checked_sub(n + 1));
        behind.map_or(0, |n| (self.bytes.mask >> (8 * n)) as u8)
    }

    /// The first of its bits, counted from the frame's beginning, and the end of them.
    fn span(&self) -> (usize, usize) {
        let width = 8 * usize::from(self.bytes.size);
        let (high, low) = (
            128 - self.bytes.mask.leading_zeros(),
            self.bytes.mask.trailing_zeros(),
        );
        let end = 8 * self.at + width;
        match self.bytes.mask {
            0 => (end, end),
            _ => (end - high as usize, end - low as usize),
        }
    }

    /// The values that go on from `prefix` with `more` bits: how many of them it may have.
    fn share(&self, prefix: u128, more: usize) -> Share {
        let rest = 1_u128
            .checked_shl(u32::try_from(more).unwrap_or(u32::MAX))
            .map_or(u128::MAX, |n| n - 1);
        let low = prefix.checked_shl(more as u32).unwrap_or(0);
        self.values.share(low, low | rest)
    }
}

/// What is known of each part: the bits read so far, or none where those that follow do not matter.
type State = Vec<Option<u128>>;

struct Reading<'p> {
    parts: &'p [&'p Part],
    spans: Vec<(usize, usize)>,
    /// Of the captured bytes.
    end: usize,
}

/// A bit that has been chosen, and what was known before.
struct Choice {
    before: State,
    bit: u8,
    /// The other value has been tried as well, or need not be.
    last: bool,
}

impl<'p> Reading<'p> {
    fn new(parts: &'p [&'p Part], end: usize) -> Self {
        Self {
            parts,
            spans: parts.iter().map(|part| part.span()).collect(),
            end,
        }
    }

    fn run(&self, present: &[u8], work: &mut u64, bits: &mut Bits) -> Result<(), Reason> {
        let from = self.spans.iter().map(|s| s.0).min().unwrap_or(0);
        let to = self.spans.iter().map(|s| s.1).max().unwrap_or(0);
        let mut state = self.start().ok_or(Reason::Contradiction)?;
        let mut path: Vec<Choice> = Vec::with_capacity(to - from);
        // A state that is met again led nowhere before, or it would not be met.
        let mut met: HashSet<(usize, State)> = HashSet::new();
        while path.len() < to - from {
            let at = from + path.len();
            *work = work.checked_sub(1).ok_or(Reason::Work)?;
            let fixed = at / 8 >= self.end || self.is_idle(at, &state);
            let is_new = fixed || met.insert((at, state.clone()));
            let bit = match present.get(at / 8) {
                Some(byte) if at / 8 < self.end => byte >> (7 - at % 8) & 1,
                _ => 0,
            };
            let next = is_new.then(|| self.step(at, bit, &state)).flatten();
            let choice = Choice {
                before: state.clone(),
                bit,
                last: fixed || !is_new,
            };
            path.push(choice);
            match next {
                Some(next) => state = next,
                None => state = self.turn(from, &mut path).ok_or(Reason::Contradiction)?,
            }
        }
        self.note(from, &path, bits);
        Ok(())
    }

    /// The other way at the last bit that has one.
    fn turn(&self, from: usize, path: &mut Vec<Choice>) -> Option<State> {
        while let Some(mut choice) = path.pop() {
            if choice.last {
                continue;
            }
            choice.bit ^= 1;
            choice.last = true;
            let next = self.step(from + path.len(), choice.bit, &choice.before);
            if next.is_some() {
                path.push(choice);
                return next;
            }
        }
        None
    }

    fn start(&self) -> Option<State> {
        let parts = self.parts.iter().zip(&self.spans);
        parts
            .map(|(part, (from, to))| match part.share(0, to - from) {
                Share::None => None,
                Share::Some => Some(Some(0)),
                Share::All => Some(None),
            })
            .collect()
    }

    /// None: a part has no value that goes on so.
    fn step(&self, at: usize, bit: u8, state: &State) -> Option<State> {
        let mut next = state.clone();
        for ((part, (from, to)), known) in self.parts.iter().zip(&self.spans).zip(&mut next) {
            let Some(prefix) = known else { continue };
            if at < *from || at >= *to {
                continue;
            }
            let own = part.mask(at / 8) >> (7 - at % 8) & 1;
            let prefix = *prefix << 1 | u128::from(bit & own);
            *known = match part.share(prefix, to - at - 1) {
                Share::None => return None,
                Share::Some => Some(prefix),
                Share::All => None,
            };
        }
        Some(next)
    }

    /// Whether the bit matters to no part.
    fn is_idle(&self, at: usize, state: &State) -> bool {
        let mut parts = self.parts.iter().zip(state);
        !parts.any(|(part, known)| known.is_some() && part.mask(at / 8) >> (7 - at % 8) & 1 == 1)
    }

    fn note(&self, from: usize, path: &[Choice], bits: &mut Bits) {
        for (n, choice) in path.iter().enumerate() {
            let at = from + n;
            let shift = 7 - at % 8;
            if !self.parts.iter().any(|part| part.mask(at / 8) >> shift & 1 == 1) {
                continue;
            }
            match bits.bytes.last_mut() {
                Some((byte, mask, value)) if *byte == at / 8 => {
                    *mask |= 1 << shift;
                    *value |= choice.bit << shift;
                }
                _ => bits.bytes.push((at / 8, 1 << shift, choice.bit << shift)),
            }
        }
    }
}
