//! Packets that an NF makes.
//!
//! Each is made in the name of a packet of the burst: it stands at the same hop of the same chain, and goes where that
//! packet might go. So it needs no way of its own, and assertions about the chain hold for it. The manager hands out
//! blank buffers by a ring of their own ([`SectionKind::Blanks`](crate::layout::SectionKind::Blanks)); a packet made goes back
//! by the ring for all packets, before the burst, with the buffer of the packet that it is in the name of in place of a
//! flow hash: by that ring's order the instance still holds that one when the manager looks.

use super::{Burst, Packet, ReadOnly};
use crate::{
    Descriptor, ShmRing,
    ring::{Consumer, RingWords},
};

/// Blanks taken from the ring at once.
const BATCH: usize = 32;

/// Why no packet is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    #[error("the NF's manifest does not declare that it makes packets (`effects.generates`)")]
    Undeclared,
    #[error("no blank buffer is left: the manager has yet to hand out more")]
    NoBlank,
    #[error("the burst has {packets} packets: expected one of them, found {found}")]
    NoPacket { packets: usize, found: usize },
    #[error("expected a packet of 1 to {longest} bytes, found {found}")]
    Length { longest: usize, found: usize },
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
}

/// Blank buffers of one worker, and the packets made of them in the burst under way.
#[derive(Debug)]
pub(crate) struct Blanks {
    /// None in a bench, which gives all of them at once.
    ring: Option<Consumer<ShmRing>>,
    free: Vec<u32>,
    made: Vec<Descriptor>,
    /// For each one made: the buffer of the packet that it is in the name of.
    parents: Vec<u32>,
}

impl Blanks {
    pub(crate) fn new(ring: Option<Consumer<ShmRing>>) -> Self {
        let all = ring.as_ref().map_or(0, |ring| ring.words().slots().len());
        Self {
            ring,
            free: Vec::with_capacity(BATCH),
            made: Vec::with_capacity(all),
            parents: Vec::with_capacity(all),
        }
    }

    /// A blank, if there is one.
    fn take(&mut self) -> Option<u32> {
        if self.free.is_empty()
            && let Some(ring) = &mut self.ring
        {
            let mut taken = [[0; 2]; BATCH];
            // The manager does not damage its own ring; another NF process cannot.
            let n = ring.pop_words(&mut taken).unwrap_or(0);
            self.free
                .extend(taken.iter().take(n).map(|words| words[0] as u32));
        }
        self.free.pop()
    }

    pub(crate) fn give(&mut self, buffers: impl Iterator<Item = u32>) {
        self.free.extend(buffers);
    }

    /// The packets made, each with the buffer of the packet that it is in the name of.
    pub(crate) fn made(&self) -> impl Iterator<Item = (&Descriptor, u32)> {
        self.made.iter().zip(self.parents.iter().copied())
    }

    /// Writes the descriptors of the packets made as they go to the manager, and gives how many; none is left then.
    pub(crate) fn hand_over(&mut self, into: &mut [Descriptor]) -> usize {
        let n = self.made.len().min(into.len());
        let made = self.made.drain(..n).zip(self.parents.drain(..n));
        for (slot, (descriptor, hash)) in into.iter_mut().zip(made) {
            *slot = Descriptor { hash, ..descriptor };
        }
        n
    }
}

impl<'a> Burst<'a> {
    pub(crate) fn with_blanks(mut self, blanks: Option<&'a mut Blanks>) -> Self {
        self.blanks = blanks;
        self
    }

    /// Makes a packet of these bytes in the name of the burst's packet `of`, counted from 0. It goes where the verdict on it
    /// says, at first `Next`, from the hop at which that packet is, and leaves the NF before it.
    pub fn generate(&mut self, of: usize, bytes: &[u8]) -> Result<Packet<'_>, GenerateError> {
        let parent = *self.descriptors.get(of).ok_or(GenerateError::NoPacket {
            packets: self.descriptors.len(),
            found: of,
        })?;
        let blanks = self.blanks.as_deref_mut().ok_or(GenerateError::Undeclared)?;
        if !self.file.is_writable() {
            return Err(ReadOnly.into());
        }
        let geometry = self.file.geometry();
        let longest = (geometry.stride - geometry.headroom).min(u32::from(u16::MAX)) as usize;
        if bytes.is_empty() || bytes.len() > longest {
            let found = bytes.len();
            return Err(GenerateError::Length { longest, found });
        }
        let buffer = blanks.take().ok_or(GenerateError::NoBlank)?;
        blanks.made.push(Descriptor {
            buffer,
            offset: geometry.headroom as u16,
            length: bytes.len() as u16,
            hash: parent.hash,
            flags: parent.flags,
            ..Descriptor::default()
        });
        blanks.parents.push(parent.buffer);
        let descriptor = blanks.made.last_mut().ok_or(GenerateError::NoBlank)?;
        let mut packet = Packet {
            descriptor,
            file: self.file,
        };
        packet.data_mut()?.copy_from_slice(bytes);
        Ok(packet)
    }

    /// One of the packets made of this burst, counted from 0, for a caller that has not kept what made it.
    pub fn made(&mut self, n: usize) -> Option<Packet<'_>> {
        let descriptor = self.blanks.as_deref_mut()?.made.get_mut(n)?;
        let file = self.file;
        Some(Packet { descriptor, file })
    }

    /// Packets made of this burst so far.
    pub fn made_count(&self) -> usize {
        self.blanks.as_deref().map_or(0, |blanks| blanks.made.len())
    }

    /// Makes a copy of the burst's packet `of`, as it is by now, in its name: see [`Self::generate`].
    pub fn copy(&mut self, of: usize) -> Result<Packet<'_>, GenerateError> {
        let (buffer, offset, length) = match self.descriptors.get(of) {
            Some(d) => (d.buffer, d.offset, d.length),
            None => (0, 0, 0),
        };
        // The new packet lies in a buffer of its own, so that nothing writes these bytes meanwhile.
        let bytes = self.file.bytes(buffer, offset, length);
        self.generate(of, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Verdict,
        memory::{Geometry, Mapping, PacketFile, create_file},
        time::{Clock, Time},
    };

    fn file(writable: bool) -> PacketFile {
        let geometry = Geometry {
            first: 0,
            buffers: 8,
            stride: 256,
            headroom: 128,
        };
        let fd = create_file("generate", geometry.bytes(), false).unwrap();
        PacketFile::new(Mapping::new(&fd, writable).unwrap(), geometry).unwrap()
    }

    fn packet(buffer: u32) -> Descriptor {
        Descriptor {
            buffer,
            offset: 128,
            length: 60,
            hash: 7,
            flags: 1,
            ..Descriptor::default()
        }
    }

    const CLOCK: Clock = Clock::Standing(Time::from_nanos(0));

    #[test]
    fn a_packet_is_made_in_the_name_of_another() {
        let (file, mut held) = (file(true), [packet(3), packet(5)]);
        let mut blanks = Blanks::new(None);
        blanks.give([1, 2].into_iter());
        let mut burst = Burst::new(&mut held, &file, CLOCK).with_blanks(Some(&mut blanks));
        burst.packets().last().unwrap().data_mut().unwrap().fill(9);
        let mut made = burst.generate(0, b"an answer").unwrap();
        assert_eq!((made.data(), made.hash()), (&b"an answer"[..], 7));
        made.output(4_u16);
        assert_eq!(burst.copy(1).unwrap().data(), [9; 60]);
        assert_eq!(burst.generate(1, b"more").unwrap_err(), GenerateError::NoBlank);
        let mut over = [Descriptor::default(); 8];
        assert_eq!((blanks.made().count(), blanks.hand_over(&mut over)), (2, 2));
        assert_eq!(blanks.made().count(), 0);
        let of = |d: &Descriptor| (d.buffer, d.offset, d.length, d.hash);
        assert_eq!([of(&over[0]), of(&over[1])], [(2, 128, 9, 3), (1, 128, 60, 5)]);
        assert_eq!(
            (over[0].verdict, over[0].destination),
            Verdict::Output(4).encode()
        );
    }

    #[test]
    fn what_cannot_be_made_takes_no_blank() {
        let (file, mut held) = (file(true), [packet(3)]);
        let mut blanks = Blanks::new(None);
        blanks.give([1].into_iter());
        let mut burst = Burst::new(&mut held, &file, CLOCK);
        assert_eq!(burst.generate(0, b"x").unwrap_err(), GenerateError::Undeclared);
        let mut burst = Burst::new(&mut held, &file, CLOCK).with_blanks(Some(&mut blanks));
        let (packets, found) = (1, 1);
        let no_packet = GenerateError::NoPacket { packets, found };
        assert_eq!(burst.generate(1, b"x").unwrap_err(), no_packet);
        assert_eq!(burst.copy(1).unwrap_err(), no_packet);
        for (found, longest) in [(0, 128), (129, 128)] {
            let error = burst.generate(0, &vec![0; found]).unwrap_err();
            assert_eq!(error, GenerateError::Length { longest, found });
        }
        assert_eq!(burst.generate(0, &[1; 128]).unwrap().len(), 128);
    }

    #[test]
    fn packets_that_may_only_be_read_are_not_made() {
        let (file, mut held) = (file(false), [packet(3)]);
        let mut blanks = Blanks::new(None);
        blanks.give([1].into_iter());
        let mut burst = Burst::new(&mut held, &file, CLOCK).with_blanks(Some(&mut blanks));
        let error = burst.generate(0, b"x").unwrap_err();
        assert_eq!(error, GenerateError::ReadOnly(ReadOnly));
    }
}
