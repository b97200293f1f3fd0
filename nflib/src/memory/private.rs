//! Copies of packets that nobody else can write.

use std::sync::atomic::{AtomicU64, Ordering};

use super::PacketFile;

/// Bytes copied at once; a buffer begins and ends at a multiple.
const LINE: usize = 64;

/// Room of one's own for the bytes of a packet, to be used again for each.
///
/// An NF that may write can change any packet at any time, so that two looks at one byte may see two values. A
/// decision that is kept must be made on a copy.
#[derive(Debug)]
pub struct PrivateCopy {
    lines: Box<[[u64; LINE / 8]]>,
}

impl PrivateCopy {
    /// Room for a packet of the file.
    pub fn new(file: &PacketFile) -> Self {
        let lines = file.geometry.stride as usize / LINE;
        Self {
            lines: vec![[0; LINE / 8]; lines].into_boxed_slice(),
        }
    }

    /// Copies these bytes of a buffer of `file`, each read once; empty when they lie outside the buffer.
    #[inline(always)]
    pub fn take(&mut self, file: &PacketFile, buffer: u32, offset: u16, length: u16) -> &[u8] {
        if !file.contains(buffer, offset, length) {
            return &[];
        }
        let skew = usize::from(offset) % LINE;
        let lines = (skew + usize::from(length)).div_ceil(LINE);
        let Some(to) = self.lines.get_mut(..lines) else {
            return &[];
        };
        let first = file.address(buffer, usize::from(offset) - skew);
        // SAFETY: `contains` puts the packet inside a buffer of the mapping, which lives as long as `file`; the buffer begins and
        // ends at a multiple of a line (`PacketFile::new`), so the whole lines around the packet lie inside it, too; the mapping
        // begins at a page, so the words are aligned. They are read as atomics, which any bits are a value of, however others
        // write them meanwhile.
        let from = unsafe { std::slice::from_raw_parts(first.cast::<[AtomicU64; LINE / 8]>(), lines) };
        for (to, from) in to.iter_mut().zip(from) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from.load(Ordering::Relaxed);
            }
        }
        // SAFETY: `skew + length` bytes lie within the lines just written, and any byte of a `u64` is a `u8`.
        unsafe { std::slice::from_raw_parts(to.as_ptr().cast::<u8>().add(skew), usize::from(length)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Geometry, Mapping, create_file};

    fn file() -> PacketFile {
        let geometry = Geometry {
            first: 0,
            buffers: 4,
            stride: 256,
            headroom: 128,
        };
        let fd = create_file("private-copy", geometry.bytes(), false).unwrap();
        PacketFile::new(Mapping::new(&fd, true).unwrap(), geometry).unwrap()
    }

    #[test]
    fn any_part_of_any_buffer_is_copied_as_it_is() {
        let file = file();
        for buffer in 0..4 {
            // SAFETY: the test is alone with the file.
            let all = unsafe { file.bytes_mut(buffer, 0, 256) }.unwrap();
            for (i, byte) in all.iter_mut().enumerate() {
                *byte = (i as u8) ^ (buffer as u8).wrapping_mul(77);
            }
        }
        let mut copy = PrivateCopy::new(&file);
        for buffer in 0..4 {
            for offset in 0..=256 {
                for length in [0, 1, 14, 60, 63, 64, 65, 128, 200, 256] {
                    let expected = file.bytes(buffer, offset, length);
                    assert_eq!(copy.take(&file, buffer, offset, length), expected);
                }
            }
        }
    }

    #[test]
    fn outside_of_a_buffer_there_is_nothing() {
        let file = file();
        let mut copy = PrivateCopy::new(&file);
        assert!(copy.take(&file, 4, 0, 64).is_empty());
        assert!(copy.take(&file, 3, 200, 57).is_empty());
        assert!(copy.take(&file, u32::MAX, u16::MAX, u16::MAX).is_empty());
    }

    #[test]
    fn a_copy_stays_what_it_was() {
        let file = file();
        let mut copy = PrivateCopy::new(&file);
        let taken = copy.take(&file, 1, 128, 64);
        // SAFETY: the test is alone with the file; the copy is not in it.
        unsafe { file.bytes_mut(1, 128, 64) }.unwrap().fill(0xff);
        assert_eq!(taken, [0; 64]);
    }
}
