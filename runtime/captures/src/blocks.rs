//! The pcapng format: sections of blocks, each section in its own byte order and with its own interfaces.

use pcap_parser::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapError, parse_enhancedpacketblock_be,
    parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
    parse_sectionheaderblock,
};

use crate::{MAX_PACKET, Raw, error::Fault, input::Input, link::Link};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// Written before there were enhanced ones.
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type and length stand before a block's content, the length once more behind it.
const FRONT: usize = 8;
const AROUND: usize = 12;
/// As for libpcap; a longer block is taken for damage.
const MAX_BLOCK: usize = 16 << 20;
const NANOSECONDS: u128 = 1_000_000_000;

/// State from earlier blocks that later ones depend on.
#[derive(Default)]
pub(crate) struct Blocks {
    big_endian: bool,
    /// Of the section.
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Link,
    /// The most bytes of a packet; 0: any number.
    snap_length: u32,
    /// Units of a time stamp in a second.
    resolution: u128,
    /// Seconds to add to a time stamp.
    offset: i64,
}

/// Where a packet's bytes are in its block, and what the block says of it.
struct Found {
    interface: usize,
    start: usize,
    length: u32,
    wire_length: u32,
    stamp: Option<u64>,
}

impl Blocks {
    /// Whether the file begins with a section.
    pub(crate) fn begin(input: &mut Input) -> Result<bool, Fault> {
        let there = input.have(AROUND, &mut || {})?;
        Ok(there && input.ready().starts_with(&SECTION.to_be_bytes()))
    }

    pub(crate) fn next(
        &mut self,
        input: &mut Input,
        before_reading: &mut dyn FnMut(),
    ) -> Result<Option<Raw>, Fault> {
        loop {
            let Some((kind, whole)) = self.next_block(input, before_reading)? else {
                return Ok(None);
            };
            let block = &input.ready()[..whole];
            let found = match kind {
                SECTION => {
                    self.begin_section(block)?;
                    None
                }
                INTERFACE => {
                    self.interfaces.push(self.interface(block)?);
                    None
                }
                ENHANCED_PACKET => Some(self.enhanced_packet(block)?),
                SIMPLE_PACKET => Some(self.simple_packet(block)?),
                OLD_PACKET => Some(self.old_packet(block)?),
                _ => None,
            };
            match found {
                Some(found) => return self.packet(whole, &found).map(Some),
                None => _ = input.take(whole),
            }
        }
    }

    /// Reads one block; gives its type and its length.
    fn next_block(
        &mut self,
        input: &mut Input,
        before_reading: &mut dyn FnMut(),
    ) -> Result<Option<(u32, usize)>, Fault> {
        if !input.have(AROUND, before_reading)? {
            return match input.ready().len() {
                0 => Ok(None),
                there => Err(Fault::CutShort(format!(
                    "the next block ends after {there} bytes"
                ))),
            };
        }
        let ready = input.ready();
        // The type of a section's block reads the same in both orders, and its first field says which it is.
        if ready.starts_with(&SECTION.to_be_bytes()) {
            self.big_endian = match ready[FRONT..AROUND] {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => {
                    return Err(Fault::Damaged(
                        "the next section does not say its byte order".to_owned(),
                    ));
                }
            };
        }
        let (kind, length) = (self.word(ready, 0), self.word(ready, 4) as usize);
        if !(AROUND..=MAX_BLOCK).contains(&length) || !length.is_multiple_of(4) {
            return Err(Fault::Damaged(format!(
                "expected the length of the next block as a multiple of 4 from {AROUND} to {MAX_BLOCK}, found {length}"
            )));
        }
        if !input.have(length, before_reading)? {
            let there = input.ready().len();
            return Err(Fault::CutShort(format!(
                "expected {length} bytes of the next block, found {there}"
            )));
        }
        let again = self.word(input.ready(), length - 4) as usize;
        match again == length {
            true => Ok(Some((kind, length))),
            false => Err(Fault::Damaged(format!(
                "the next block has {length} bytes by its start and {again} by its end"
            ))),
        }
    }

    fn begin_section(&mut self, block: &[u8]) -> Result<(), Fault> {
        let (_, section) = parse_sectionheaderblock(block).map_err(does_not_parse)?;
        self.interfaces.clear();
        match section.major_version {
            1 => Ok(()),
            major => Err(Fault::Damaged(format!(
                "expected version 1.0 of the next section, found {major}.{}",
                section.minor_version
            ))),
        }
    }

    fn interface(&self, block: &[u8]) -> Result<Interface, Fault> {
        let parse = match self.big_endian {
            true => parse_interfacedescriptionblock_be,
            false => parse_interfacedescriptionblock_le,
        };
        let (_, description) = parse(block).map_err(does_not_parse)?;
        let InterfaceDescriptionBlock {
            linktype,
            snaplen,
            if_tsresol,
            ..
        } = &description;
        // The parser reads it as little-endian in each section.
        let offset = description
            .options
            .iter()
            .find(|o| o.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|o| o.value().first_chunk::<8>());
        Ok(Interface {
            link: Link::of_interface(linktype.0 as u32),
            snap_length: *snaplen,
            resolution: resolution(*if_tsresol)?,
            offset: offset.map_or(0, |bytes| match self.big_endian {
                true => i64::from_be_bytes(*bytes),
                false => i64::from_le_bytes(*bytes),
            }),
        })
    }

    fn enhanced_packet(&self, block: &[u8]) -> Result<Found, Fault> {
        let parse = match self.big_endian {
            true => parse_enhancedpacketblock_be,
            false => parse_enhancedpacketblock_le,
        };
        let (_, packet) = parse(block).map_err(does_not_parse)?;
        let EnhancedPacketBlock {
            if_id,
            ts_high,
            ts_low,
            caplen,
            origlen,
            ..
        } = packet;
        Ok(Found {
            interface: if_id as usize,
            start: FRONT + 20,
            length: caplen,
            wire_length: origlen,
            stamp: Some(u64::from(ts_high) << 32 | u64::from(ts_low)),
        })
    }

    /// It says neither a time nor how much of the packet is there.
    fn simple_packet(&self, block: &[u8]) -> Result<Found, Fault> {
        let start = FRONT + 4;
        if block.len() < AROUND + 4 {
            return Err(too_short());
        }
        let wire_length = self.word(block, FRONT);
        let most = match self.interfaces.first().map(|i| i.snap_length) {
            None | Some(0) => u32::MAX,
            Some(most) => most,
        };
        Ok(Found {
            interface: 0,
            start,
            length: wire_length.min(most).min((block.len() - AROUND - 4) as u32),
            wire_length,
            stamp: None,
        })
    }

    fn old_packet(&self, block: &[u8]) -> Result<Found, Fault> {
        if block.len() < AROUND + 20 {
            return Err(too_short());
        }
        let id = [block[FRONT], block[FRONT + 1]];
        let id = if self.big_endian {
            u16::from_be_bytes(id)
        } else {
            u16::from_le_bytes(id)
        };
        let [high, low, length, wire_length] = [4, 8, 12, 16].map(|at| self.word(block, FRONT + at));
        Ok(Found {
            interface: id.into(),
            start: FRONT + 20,
            length,
            wire_length,
            stamp: Some(u64::from(high) << 32 | u64::from(low)),
        })
    }

    fn packet(&self, whole: usize, found: &Found) -> Result<Raw, Fault> {
        let Found {
            interface,
            start,
            length,
            wire_length,
            stamp,
        } = *found;
        let Some(Interface {
            link,
            resolution,
            offset,
            ..
        }) = self.interfaces.get(interface)
        else {
            return Err(Fault::Damaged(format!(
                "the next packet is of interface {interface}, and its section has {} interfaces",
                self.interfaces.len()
            )));
        };
        if length > MAX_PACKET || start + length as usize + 4 > whole {
            return Err(Fault::Damaged(format!(
                "the next packet claims {length} bytes in a block of {whole}; a packet of a capture has \
                 {MAX_PACKET} at most"
            )));
        }
        let time = |stamp: u64| {
            let nanoseconds = u128::from(stamp) * NANOSECONDS / resolution;
            let shifted = nanoseconds as i128 + i128::from(*offset) * NANOSECONDS as i128;
            u64::try_from(shifted).unwrap_or(0)
        };
        Ok(Raw {
            start,
            length: length as usize,
            whole,
            wire_length,
            time: stamp.map(time),
            link: *link,
        })
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at..at + 4]);
        match self.big_endian {
            true => u32::from_be_bytes(word),
            false => u32::from_le_bytes(word),
        }
    }
}

/// Units in a second: a power of ten, or of two where the highest bit is set.
fn resolution(option: u8) -> Result<u128, Fault> {
    let power = u32::from(option & 0x7f);
    let (base, most) = if option & 0x80 == 0 {
        (10_u128, 19)
    } else {
        (2, 63)
    };
    match power <= most {
        true => Ok(base.pow(power)),
        false => Err(Fault::Damaged(format!(
            "the times of the next interface have a resolution of {base} to the power of -{power}, expected {most} at most"
        ))),
    }
}

fn too_short() -> Fault {
    Fault::Damaged("the next block is too short for a packet".to_owned())
}

fn does_not_parse(_: pcap_parser::nom::Err<PcapError<&[u8]>>) -> Fault {
    Fault::Damaged("the next block contradicts itself".to_owned())
}
