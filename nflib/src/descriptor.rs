//! The 16 bytes that stand for a packet in a ring: four to a cache line, no pointer in it.

pub const VERDICT_NEXT: u8 = 0;
pub const VERDICT_OUTPUT: u8 = 1;
pub const VERDICT_DROP: u8 = 2;
pub const VERDICT_STEER: u8 = 3;
pub const VERDICT_OUT: u8 = 4;
pub const VERDICT_LOOKUP: u8 = 5;

/// In [`Descriptor::flags`]: filters see the packet without its VLAN tags, as its port says.
pub const IGNORE_TAGS: u8 = 1;

/// A packet by value. Both sides read and write it as two 64-bit words, so a slot has no torn field wider than that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Descriptor {
    /// Index of the buffer in the packet file.
    pub buffer: u32,
    /// First byte of the packet, from the start of the buffer.
    pub offset: u16,
    /// Bytes of the packet.
    pub length: u16,
    /// Symmetric flow hash: both directions of a flow have the same.
    pub hash: u32,
    /// One of the `VERDICT_*` numbers. On its way to fused NFs, with `destination`, their [`Run`].
    pub verdict: u8,
    /// [`IGNORE_TAGS`] or zero. Fused NFs hand back the step of the run whose NF gave the verdict, from 0 on; what others hand back
    /// is ignored.
    pub flags: u8,
    /// Argument of the verdict: an output's index, a service id or a port id.
    pub destination: u16,
}

const _: () = {
    assert!(size_of::<Descriptor>() == 16 && align_of::<Descriptor>() == 4);
    assert!(std::mem::offset_of!(Descriptor, offset) == 4 && std::mem::offset_of!(Descriptor, length) == 6);
    assert!(std::mem::offset_of!(Descriptor, hash) == 8 && std::mem::offset_of!(Descriptor, verdict) == 12);
    assert!(
        std::mem::offset_of!(Descriptor, flags) == 13 && std::mem::offset_of!(Descriptor, destination) == 14
    );
};

impl Descriptor {
    /// The two words of a ring slot; on a little-endian machine the memory image of the struct.
    #[inline(always)]
    pub fn to_words(self) -> [u64; 2] {
        [
            u64::from(self.buffer) | u64::from(self.offset) << 32 | u64::from(self.length) << 48,
            u64::from(self.hash)
                | u64::from(self.verdict) << 32
                | u64::from(self.flags) << 40
                | u64::from(self.destination) << 48,
        ]
    }

    #[inline(always)]
    pub fn from_words([a, b]: [u64; 2]) -> Self {
        Self {
            buffer: a as u32,
            offset: (a >> 32) as u16,
            length: (a >> 48) as u16,
            hash: b as u32,
            verdict: (b >> 32) as u8,
            flags: (b >> 40) as u8,
            destination: (b >> 48) as u16,
        }
    }
}

/// An NF's decision about a packet. The manager performs it, or overrules it where the bundle does not permit it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Follow the chain.
    #[default]
    Next,
    /// Leave by an output of the manifest, by its index there.
    Output(u16),
    Drop,
    /// Visit the service of this id; needs `allow NF to steer`.
    Steer(u16),
    /// Leave by the port of this id; needs `allow NF to steer`.
    Out(u16),
    /// Classify again by the packet's present headers.
    Lookup,
}

impl Verdict {
    /// The verdict's number and argument in a descriptor.
    #[inline(always)]
    pub fn encode(self) -> (u8, u16) {
        match self {
            Self::Next => (VERDICT_NEXT, 0),
            Self::Output(n) => (VERDICT_OUTPUT, n),
            Self::Drop => (VERDICT_DROP, 0),
            Self::Steer(id) => (VERDICT_STEER, id),
            Self::Out(id) => (VERDICT_OUT, id),
            Self::Lookup => (VERDICT_LOOKUP, 0),
        }
    }

    /// None for a number that stands for no verdict.
    #[inline(always)]
    pub fn decode(verdict: u8, destination: u16) -> Option<Self> {
        Some(match verdict {
            VERDICT_NEXT => Self::Next,
            VERDICT_OUTPUT => Self::Output(destination),
            VERDICT_DROP => Self::Drop,
            VERDICT_STEER => Self::Steer(destination),
            VERDICT_OUT => Self::Out(destination),
            VERDICT_LOOKUP => Self::Lookup,
            _ => return None,
        })
    }
}

/// The NFs of one process that are to handle a packet, one after the other, by their places in it: what stands in a descriptor on
/// its way to fused NFs, four bits for each, the first ones lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Run(u32);

impl Run {
    /// NFs that one process may hold.
    pub const MEMBERS: usize = 15;
    /// NFs that one run may have. Those behind them are another run.
    pub const LONGEST: usize = 6;
    const BITS: usize = 4;

    /// As many of the members, by their places from 0 on, as one run may have.
    pub fn new(members: &[u8]) -> Self {
        let members = members.iter().take(Self::LONGEST).enumerate();
        Self(members.fold(0, |run, (step, member)| {
            run | u32::from((member + 1) & 0xf) << (Self::BITS * step)
        }))
    }

    /// NFs in it; 0 where NFs are not fused.
    pub fn steps(self) -> u8 {
        (u32::BITS - self.0.leading_zeros()).div_ceil(Self::BITS as u32) as u8
    }

    /// The first ones of it.
    #[must_use]
    pub fn first(self, steps: u8) -> Self {
        match usize::from(steps) {
            steps @ 0..Self::LONGEST => Self(self.0 & ((1 << (Self::BITS * steps)) - 1)),
            _ => self,
        }
    }

    /// The place of the NF at a step.
    pub(crate) fn member(self, step: u8) -> Option<usize> {
        let member = self.0.checked_shr(Self::BITS as u32 * u32::from(step))? & 0xf;
        (member as usize).checked_sub(1)
    }

    /// Where it stands in a slot's second word.
    pub fn word(self) -> u64 {
        u64::from(self.0 as u8) << 32 | u64::from(self.0 >> 8) << 48
    }

    pub(crate) fn of(descriptor: &Descriptor) -> Self {
        Self(u32::from(descriptor.verdict) | u32::from(descriptor.destination) << 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_run_holds_its_members_in_order() {
        for n in 0..=7_u8 {
            let members: Vec<u8> = (0..n).map(|i| 14 - 2 * i).collect();
            let run = Run::new(&members);
            let kept = members.len().min(Run::LONGEST);
            assert_eq!(usize::from(run.steps()), kept);
            let descriptor = Descriptor::from_words([0, run.word()]);
            assert_eq!(Run::of(&descriptor), run);
            assert_eq!((descriptor.hash, descriptor.flags), (0, 0));
            let read: Vec<_> = (0..8).map_while(|step| run.member(step)).collect();
            assert_eq!(
                read,
                members[..kept]
                    .iter()
                    .map(|m| usize::from(*m))
                    .collect::<Vec<_>>()
            );
            for first in 0..=8 {
                let shorter = run.first(first);
                assert_eq!(shorter, Run::new(&members[..kept.min(usize::from(first))]));
            }
        }
    }

    proptest! {
        #[test]
        fn words_keep_every_field(a: u64, b: u64) {
            prop_assert_eq!(Descriptor::from_words([a, b]).to_words(), [a, b]);
        }

        #[test]
        fn verdicts_survive_the_slot(n: u8, dest: u16) {
            if let Some(v) = Verdict::decode(n, dest) {
                let (number, argument) = v.encode();
                prop_assert_eq!(number, n);
                prop_assert_eq!(Verdict::decode(number, argument), Some(v));
            } else {
                prop_assert!(n > VERDICT_LOOKUP);
            }
        }
    }
}
