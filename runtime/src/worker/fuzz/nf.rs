//! An NF that does what it should, and one that writes what it likes into its own region.

use std::{os::fd::OwnedFd, sync::atomic::Ordering};

use nflib::{
    Descriptor, Region, ShmRing,
    layout::{LINE, Layout, SectionKind},
    memory::Mapping,
    ring::{Consumer, Producer},
};

use super::Bytes;

/// Descriptors that it remembers.
const MEMORY: usize = 64;

pub(super) struct Nf {
    to: Consumer<ShmRing>,
    from: Producer<ShmRing>,
    raw: Mapping,
    layout: Layout,
    pub(super) seen: Vec<[u64; 2]>,
    /// Of one that makes packets: the ring of blanks, and those that it has.
    blanks: Option<Consumer<ShmRing>>,
    pub(super) blank: Vec<u32>,
}

impl Nf {
    pub(super) fn new(fd: &OwnedFd, layout: Layout) -> Self {
        let region = Region::open(fd).unwrap();
        Self {
            to: region.to_nf_consumer(0),
            from: region.from_nf_producer(0),
            raw: Mapping::new(fd, true).unwrap(),
            layout,
            seen: Vec::new(),
            blanks: region.blanks_consumer(0),
            blank: Vec::new(),
        }
    }

    /// Takes all that it was given.
    #[cfg(test)]
    pub(super) fn pop(&mut self) -> Vec<[u64; 2]> {
        let mut taken = vec![[0; 2]; MEMORY];
        let n = self.to.pop_words(&mut taken).unwrap_or(0);
        taken.truncate(n);
        taken
    }

    /// Hands packets back as an NF should, all with one verdict; some it keeps.
    pub(super) fn handle(&mut self, input: &mut Bytes<'_>) {
        let (take, said, destination) = (1 + input.below(64), input.u8(), u16::from(input.u8() % 5));
        // The step, where NFs are fused.
        let (verdict, flags) = (said % 8, said >> 6);
        let keep = input.u8() & 3 == 3;
        let mut taken = vec![[0; 2]; take];
        let n = self.to.pop_words(&mut taken).unwrap_or(0);
        taken.truncate(n);
        self.seen.extend(&taken);
        let beyond = self.seen.len().saturating_sub(MEMORY);
        self.seen.drain(..beyond);
        if keep {
            return;
        }
        for words in &mut taken {
            let mut descriptor = Descriptor::from_words(*words);
            (descriptor.verdict, descriptor.destination) = (verdict, destination);
            descriptor.flags = flags;
            *words = descriptor.to_words();
        }
        self.push(&taken);
    }

    /// Takes the blanks that it was given.
    pub(super) fn take_blanks(&mut self) {
        let mut words = [[0; 2]; 64];
        let taken = self.blanks.as_mut().map(|ring| ring.pop_words(&mut words));
        if let Some(Ok(n)) = taken {
            self.blank.extend(words[..n].iter().map(|words| words[0] as u32));
        }
    }

    /// Makes packets in the names of some that it hands back, as an NF should: or late, twice, of any buffer, in any name.
    pub(super) fn make(&mut self, input: &mut Bytes<'_>) {
        let (take, how) = (1 + input.below(16), input.u8());
        let (verdict, destination) = (input.u8() % 8, u16::from(input.u8() % 5));
        let mut taken = vec![[0; 2]; take];
        let n = self.to.pop_words(&mut taken).unwrap_or(0);
        taken.truncate(n);
        self.seen.extend(&taken);
        self.take_blanks();
        let mut made = Vec::new();
        for words in &taken {
            let buffer = self.blank.pop().filter(|_| how & 3 != 3);
            let (offset, length) = match how & 12 {
                12 => (input.u16(), input.u16()),
                _ => (128, 64),
            };
            let descriptor = Descriptor {
                buffer: buffer.unwrap_or_else(|| input.buffer()),
                offset,
                length,
                hash: if how & 16 == 0 {
                    words[0] as u32
                } else {
                    input.buffer()
                },
                verdict,
                destination,
                ..Descriptor::default()
            };
            made.push(descriptor.to_words());
        }
        match how >> 6 {
            0 | 1 => self.push(&[made, taken].concat()),
            2 => self.push(&[taken, made].concat()),
            _ => self.push(&[made.clone(), made].concat()),
        }
    }

    /// Pushes descriptors of anything: of buffers that exist, or of any.
    pub(super) fn forge(&mut self, input: &mut Bytes<'_>) {
        let words = match input.u8() {
            how @ ..200 => {
                let run = 1 + u32::from(how % 32);
                let first = input.buffer();
                let (offset, length) = (128 + u16::from(input.u8() % 8) * 64, u16::from(input.u8()) * 2);
                let (verdict, destination) = (input.u8() % 8, u16::from(input.u8() % 5));
                // The step of a run, also one that it does not have.
                let flags = input.u8();
                let forged = |buffer| Descriptor {
                    flags,
                    buffer,
                    offset,
                    length,
                    verdict,
                    destination,
                    ..Descriptor::default()
                };
                (first..first + run).map(|b| forged(b).to_words()).collect()
            }
            _ => vec![[input.u64(), input.u64()]],
        };
        self.push(&words);
    }

    /// Hands back again, or late, what it has seen, perhaps with another place and length.
    pub(super) fn repeat(&mut self, input: &mut Bytes<'_>) {
        let (how, times) = (input.u8(), 1 + input.below(8));
        let mut words = self.seen.clone();
        if how & 1 != 0 {
            let (offset, length) = (input.u16(), input.u16());
            for words in &mut words {
                let mut descriptor = Descriptor::from_words(*words);
                (descriptor.offset, descriptor.length) = (offset, length);
                *words = descriptor.to_words();
            }
        }
        for _ in 0..times {
            self.push(&words);
        }
    }

    /// Moves one of its rings' indices: a little, so that all seems well, or anywhere.
    pub(super) fn turn_index(&mut self, input: &mut Bytes<'_>) {
        let which = input.u8();
        let kind = match which >> 3 & 3 {
            0 => SectionKind::Blanks,
            _ => [SectionKind::ToNf, SectionKind::FromNf][usize::from(which & 1)],
        };
        let Some(section) = self.layout.find(kind, 0) else {
            return;
        };
        let index = self
            .raw
            .u32_at(section.offset + LINE * usize::from(which >> 1 & 1))
            .unwrap();
        let value = match which & 4 {
            0 => index
                .load(Ordering::Relaxed)
                .wrapping_add_signed(i32::from(input.u8() as i8)),
            _ => input.u32(),
        };
        index.store(value, Ordering::Release);
    }

    /// Writes any word of its region: header, doorbells, rings, counters.
    pub(super) fn scribble(&mut self, input: &mut Bytes<'_>) {
        let (at, value) = (usize::from(input.u16()) * 4, input.u32());
        if let Some(word) = self.raw.u32_at(at % self.raw.len()) {
            word.store(value, Ordering::Release);
        }
    }

    pub(super) fn push(&mut self, words: &[[u64; 2]]) {
        // One that has spoilt its own ring may fail to.
        let _ = self.from.push_words(words);
    }
}
