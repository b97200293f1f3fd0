//! The pcap format: a header and records, in either byte order.

use pcap_parser::parse_pcap_header;

use crate::{MAX_PACKET, Raw, error::Fault, input::Input, link::Link};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// In a file of the "modified" magic, as Kuznetzov's libpcap wrote it, more follows in a record's header: an interface, a
/// protocol and a packet type.
const MODIFIED_HEADER: usize = 24;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

pub(crate) struct Records {
    big_endian: bool,
    header: usize,
    /// Nanoseconds of one unit of a time's fraction.
    unit: u64,
    link: Link,
    /// The two lengths of a record stand in the other order in files of some old versions.
    swapped: Swapped,
}

#[derive(PartialEq)]
enum Swapped {
    Never,
    /// Where the first would be the larger one.
    Sometimes,
    Always,
}

impl Records {
    /// Takes the file's header; none when this is another format.
    pub(crate) fn begin(input: &mut Input) -> Result<Option<Self>, Fault> {
        input.have(FILE_HEADER, &mut || {})?;
        let Some(magic) = input.ready().first_chunk::<4>() else {
            return Ok(None);
        };
        let known = |magic: &u32| [MICROSECONDS, NANOSECONDS, MODIFIED].contains(magic);
        let (little, big) = (u32::from_le_bytes(*magic), u32::from_be_bytes(*magic));
        let Some(magic) = [little, big].into_iter().find(known) else {
            return Ok(None);
        };
        let big_endian = !known(&little);
        let mut header = [0; FILE_HEADER];
        let there = input.take(FILE_HEADER);
        if there.len() < FILE_HEADER {
            let found = format!(
                "{} bytes of the {FILE_HEADER} of its header are there",
                there.len()
            );
            return Err(Fault::CutShort(found));
        }
        header.copy_from_slice(there);
        // The parser does not know each magic in each byte order, and the rest of the header is the same with all.
        let plain = if big_endian {
            MICROSECONDS.to_be_bytes()
        } else {
            MICROSECONDS.to_le_bytes()
        };
        header[..4].copy_from_slice(&plain);
        let (_, parsed) = parse_pcap_header(&header)
            .map_err(|e| Fault::Damaged(format!("its header does not parse: {e}")))?;
        let swapped = match (parsed.version_major, parsed.version_minor) {
            (2, 0..=2) => Swapped::Always,
            (2, 3) | (543, 0) => Swapped::Sometimes,
            (2, _) => Swapped::Never,
            (major, minor) => {
                return Err(Fault::Damaged(format!(
                    "expected format version 2.4, found {major}.{minor}"
                )));
            }
        };
        let link = Link::of_file(parsed.network.0 as u32);
        link.check()?;
        Ok(Some(Self {
            big_endian,
            header: if magic == MODIFIED {
                MODIFIED_HEADER
            } else {
                RECORD_HEADER
            },
            unit: if magic == NANOSECONDS { 1 } else { 1000 },
            link,
            swapped,
        }))
    }

    pub(crate) fn next(
        &mut self,
        input: &mut Input,
        before_reading: &mut dyn FnMut(),
    ) -> Result<Option<Raw>, Fault> {
        if !input.have(self.header, before_reading)? {
            return match input.ready().len() {
                0 => Ok(None),
                there => Err(Fault::CutShort(format!(
                    "{there} bytes of the {} before the next packet are there",
                    self.header
                ))),
            };
        }
        let [seconds, fraction, first, second] = self.record_header(input.ready());
        let swap = match self.swapped {
            Swapped::Never => false,
            Swapped::Sometimes => first > second,
            Swapped::Always => true,
        };
        let (length, wire_length) = if swap { (second, first) } else { (first, second) };
        if length > MAX_PACKET {
            return Err(Fault::Damaged(format!(
                "expected at most {MAX_PACKET} bytes of the next packet, found {length}"
            )));
        }
        let whole = self.header + length as usize;
        if !input.have(whole, before_reading)? {
            return Err(Fault::CutShort(format!(
                "{} bytes of the {length} of the next packet are there",
                input.ready().len() - self.header
            )));
        }
        Ok(Some(Raw {
            start: self.header,
            length: length as usize,
            whole,
            wire_length,
            time: Some(u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit),
            link: self.link,
        }))
    }

    /// Seconds, their fraction, and two lengths.
    fn record_header(&self, ready: &[u8]) -> [u32; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(ready.as_chunks().0) {
            *word = match self.big_endian {
                true => u32::from_be_bytes(*bytes),
                false => u32::from_le_bytes(*bytes),
            };
        }
        words
    }
}
