//! Captures: any pcap or pcapng file, compressed or not, read as Ethernet frames one after the other, and pcap written.
//!
//! Everything that reads a capture reads it by [`Capture`], so that what is counted in one place is what is received in
//! another. What tcpdump reads is read: records longer than the header's snap length, frame-check-sequence bits in the link
//! type, pcapng options without an end mark, text that is not UTF-8, sections and interfaces that differ. Link types
//! from which an Ethernet frame can be made are converted ([`link`]); any other is an error that names a tool.
//!
//! Memory does not grow with the capture.

#![forbid(unsafe_code)]

mod blocks;
mod error;
mod input;
mod link;
mod records;
mod write;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

pub use error::CaptureError;
pub use write::{file_header, push_record};

use self::{blocks::Blocks, error::Fault, input::Input, records::Records};

/// The most bytes of one packet that a capture can hold, as for libpcap: a larger number is taken for damage.
pub const MAX_PACKET: u32 = 262_144;

/// An open capture.
pub struct Capture {
    path: PathBuf,
    input: Input,
    format: Format,
    /// Packets that have been read.
    count: u64,
    /// A frame that was made of a packet of another link type.
    converted: Vec<u8>,
}

enum Format {
    Pcap(Records),
    PcapNg(Blocks),
}

/// One packet, as an Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// From 1, as in Wireshark.
    pub number: u64,
    /// Nanoseconds since 1970; none where the capture says no time.
    pub time: Option<u64>,
    /// The bytes that were captured.
    pub data: &'a [u8],
    /// Bytes that it had on the wire: as many as `data` or more.
    pub wire_length: u32,
}

/// A packet as its format says it, before its link type is looked at.
struct Raw {
    /// Where its bytes are in what the input has ready.
    start: usize,
    length: usize,
    /// Bytes to consume with it.
    whole: usize,
    wire_length: u32,
    time: Option<u64>,
    link: link::Link,
}

impl Capture {
    /// Opens a file, or anything else that has a path. Opening a FIFO waits for its writer.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let file = std::fs::File::open(path).map_err(|source| CaptureError::Open {
            path: path.to_path_buf(),
            source,
        })?;
        Self::of(path, Box::new(file))
    }

    /// Reads a capture from `from`; `path` is its name in errors.
    pub fn of(path: &Path, from: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        let at = |fault: Fault| fault.at(path, 0);
        let mut input = Input::new(from).map_err(at)?;
        let format = match Records::begin(&mut input).map_err(at)? {
            Some(records) => Format::Pcap(records),
            None if Blocks::begin(&mut input).map_err(at)? => Format::PcapNg(Blocks::default()),
            None => {
                return Err(CaptureError::NotACapture {
                    path: path.to_path_buf(),
                });
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            input,
            format,
            count: 0,
            converted: Vec::new(),
        })
    }

    /// The next packet; none at the end. After an error there are no more.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        self.next_after(&mut || {})
    }

    /// As [`Self::next_packet`], and calls `before_reading` whenever it is about to read, which may wait: for another
    /// program where the capture is a FIFO, else for a disk.
    pub fn next_after(
        &mut self,
        before_reading: &mut dyn FnMut(),
    ) -> Result<Option<Packet<'_>>, CaptureError> {
        let Self {
            path,
            input,
            format,
            count,
            converted,
        } = self;
        let read = match format {
            Format::Pcap(records) => records.next(input, before_reading),
            Format::PcapNg(blocks) => blocks.next(input, before_reading),
        };
        let Some(raw) = read.map_err(|fault| fault.at(path, *count))? else {
            return Ok(None);
        };
        let bytes = input.take(raw.whole);
        let bytes = &bytes[raw.start..raw.start + raw.length];
        let (data, wire_length) = raw
            .link
            .to_ethernet(bytes, raw.wire_length.max(raw.length as u32), converted)
            .map_err(|fault| fault.at(path, *count))?;
        *count += 1;
        Ok(Some(Packet {
            number: *count,
            time: raw.time,
            data,
            wire_length,
        }))
    }

    /// Calls `each` for every packet to the capture's end; returns how many there were.
    pub fn for_each(mut self, mut each: impl FnMut(Packet<'_>)) -> Result<u64, CaptureError> {
        while let Some(packet) = self.next_packet()? {
            each(packet);
        }
        Ok(self.count)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("path", &self.path)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
