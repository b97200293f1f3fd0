//! Packets that grow and shrink within their buffer, at both ends.

use super::{Packet, ReadOnly};

/// Why a packet keeps its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResizeError {
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    #[error("the buffer has room for {room} more bytes {end} the packet, expected {wanted}")]
    NoRoom {
        wanted: usize,
        room: usize,
        end: &'static str,
    },
    #[error("the packet has {has} bytes: removing {unwanted} would leave none")]
    TooShort { unwanted: usize, has: usize },
}

impl Packet<'_> {
    /// Bytes that [`Self::push`] has room for: at least 128 in a packet that no NF has changed.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.descriptor.offset)
    }

    /// Bytes that [`Self::extend`] has room for.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let end = usize::from(self.descriptor.offset) + self.len();
        let buffer = self.file.geometry().stride as usize;
        buffer.saturating_sub(end).min(usize::from(u16::MAX) - self.len())
    }

    /// Adds `n` bytes of zero in front; gives them.
    pub fn push(&mut self, n: usize) -> Result<&mut [u8], ResizeError> {
        self.writable()?;
        let longest = usize::from(u16::MAX) - self.len();
        let added = room(n, self.headroom().min(longest), "before")?;
        self.descriptor.offset -= added;
        self.descriptor.length += added;
        Ok(zeroed(self.data_mut()?, 0, n))
    }

    /// Removes the first `n` bytes. At least one must stay.
    pub fn pull(&mut self, n: usize) -> Result<(), ResizeError> {
        self.writable()?;
        let removed = self.removable(n)?;
        self.descriptor.offset += removed;
        self.descriptor.length -= removed;
        Ok(())
    }

    /// Adds `n` bytes of zero at the end; gives them.
    pub fn extend(&mut self, n: usize) -> Result<&mut [u8], ResizeError> {
        self.writable()?;
        let (before, added) = (self.len(), room(n, self.tailroom(), "behind")?);
        self.descriptor.length += added;
        Ok(zeroed(self.data_mut()?, before, n))
    }

    /// Removes what stands behind the first `length` bytes, 1 or more; a packet that is not longer stays as it is.
    pub fn truncate(&mut self, length: usize) -> Result<(), ResizeError> {
        self.writable()?;
        let removed = self.removable(self.len().saturating_sub(length))?;
        self.descriptor.length -= removed;
        Ok(())
    }

    /// The manager takes no new size from an NF that may not write.
    fn writable(&self) -> Result<(), ReadOnly> {
        self.file.is_writable().then_some(()).ok_or(ReadOnly)
    }

    fn removable(&self, unwanted: usize) -> Result<u16, ResizeError> {
        let has = self.len();
        u16::try_from(unwanted)
            .ok()
            .filter(|_| unwanted < has)
            .ok_or(ResizeError::TooShort { unwanted, has })
    }
}

fn room(wanted: usize, room: usize, end: &'static str) -> Result<u16, ResizeError> {
    u16::try_from(wanted)
        .ok()
        .filter(|_| wanted <= room)
        .ok_or(ResizeError::NoRoom { wanted, room, end })
}

/// The buffer's new bytes hold what an earlier packet left there: it must not leave with this one.
fn zeroed(packet: &mut [u8], from: usize, n: usize) -> &mut [u8] {
    let new = packet.get_mut(from..from + n).unwrap_or_default();
    new.fill(0);
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Burst, Descriptor,
        memory::{Geometry, Mapping, PacketFile, create_file},
        time::{Clock, Time},
    };

    /// A buffer of 256 bytes that counts up, with a packet of 100 at 128.
    fn with_packet(writable: bool, test: impl FnOnce(&mut Packet<'_>)) -> Descriptor {
        let geometry = Geometry {
            first: 0,
            buffers: 3,
            stride: 256,
            headroom: 128,
        };
        let fd = create_file("resize", geometry.bytes(), false).unwrap();
        let file = PacketFile::new(Mapping::new(&fd, true).unwrap(), geometry).unwrap();
        let fill = |buffer| {
            // SAFETY: the test is alone with the file, and each reference ends within the statement.
            let bytes = unsafe { file.bytes_mut(buffer, 0, 256) }.unwrap();
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
        };
        (0..3).for_each(fill);
        let seen = PacketFile::new(Mapping::new(&fd, writable).unwrap(), geometry).unwrap();
        let mut descriptors = [Descriptor {
            buffer: 1,
            offset: 128,
            length: 100,
            ..Descriptor::default()
        }];
        let mut burst = Burst::new(&mut descriptors, &seen, Clock::Standing(Time::from_nanos(0)));
        test(&mut burst.packets().next().unwrap());
        let counts_up: Vec<u8> = (0..=255).collect();
        assert_eq!(file.bytes(0, 0, 256), counts_up, "the buffer before");
        assert_eq!(file.bytes(2, 0, 256), counts_up, "the buffer behind");
        descriptors[0]
    }

    #[test]
    fn bytes_are_added_and_removed_at_both_ends() {
        let after = with_packet(true, |packet| {
            let whole: Vec<u8> = (128..228).collect();
            assert_eq!((packet.headroom(), packet.tailroom()), (128, 28));
            assert_eq!(packet.push(4).unwrap(), [0; 4]);
            packet.data_mut().unwrap()[3] = 7;
            assert_eq!(packet.extend(2).unwrap(), [0; 2]);
            let expected = [&[0, 0, 0, 7], whole.as_slice(), &[0, 0]].concat();
            assert_eq!(packet.data(), expected);
            assert_eq!((packet.headroom(), packet.tailroom()), (124, 26));
            packet.pull(6).unwrap();
            packet.truncate(98).unwrap();
            assert_eq!(packet.data(), &whole[2..]);
            packet.truncate(1000).unwrap();
            packet.pull(0).unwrap();
            assert_eq!(packet.len(), 98);
        });
        assert_eq!((after.offset, after.length), (130, 98));
    }

    #[test]
    fn a_packet_stays_in_its_buffer() {
        let whole = with_packet(true, |packet| {
            let error = packet.push(129).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the buffer has room for 128 more bytes before the packet, expected 129"
            );
            packet.push(128).unwrap();
            packet.push(1).unwrap_err();
            let (wanted, room, end) = (29, 28, "behind");
            assert_eq!(packet.extend(29), Err(ResizeError::NoRoom { wanted, room, end }));
            packet.extend(28).unwrap();
            packet.extend(1).unwrap_err();
            for much in [256, 65_536, usize::MAX] {
                packet.push(much).unwrap_err();
                packet.extend(much).unwrap_err();
                packet.pull(much).unwrap_err();
            }
        });
        assert_eq!((whole.offset, whole.length), (0, 256));
    }

    #[test]
    fn no_packet_becomes_empty() {
        let after = with_packet(true, |packet| {
            let error = packet.pull(100).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the packet has 100 bytes: removing 100 would leave none"
            );
            packet.truncate(0).unwrap_err();
            packet.pull(99).unwrap();
            packet.truncate(1).unwrap();
            packet.pull(1).unwrap_err();
        });
        assert_eq!((after.offset, after.length), (227, 1));
    }

    #[test]
    fn a_packet_that_may_only_be_read_keeps_its_size() {
        let after = with_packet(false, |packet| {
            assert_eq!(packet.push(1), Err(ResizeError::ReadOnly(ReadOnly)));
            assert_eq!(packet.pull(1), Err(ResizeError::ReadOnly(ReadOnly)));
            assert_eq!(packet.extend(1), Err(ResizeError::ReadOnly(ReadOnly)));
            assert_eq!(packet.truncate(1), Err(ResizeError::ReadOnly(ReadOnly)));
        });
        assert_eq!((after.offset, after.length), (128, 100));
    }
}
