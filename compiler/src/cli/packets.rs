//! The packets of a capture, one after the other, in memory that does not grow with it.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use pcap_file::{
    DataLink, PcapError,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};

/// An open pcap or pcapng file.
pub(super) struct Packets {
    path: PathBuf,
    format: Format,
    /// Packets that have been read.
    count: u64,
}

enum Format {
    Pcap(PcapReader<BufReader<File>>),
    PcapNg(Box<PcapNgReader<BufReader<File>>>),
}

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// From 1, as in Wireshark.
    pub(super) number: u64,
    pub(super) data: &'a [u8],
    /// Bytes that it had on the wire.
    pub(super) wire_length: u32,
}

impl Packets {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = || {
            let opened = File::open(path).map(BufReader::new);
            opened.map_err(|e| format!("cannot read {}: {e}", path.display()))
        };
        let format = match PcapReader::new(file()?) {
            Ok(reader) => {
                check_link(path, reader.header().datalink)?;
                Format::Pcap(reader)
            }
            Err(_) => match PcapNgReader::new(file()?) {
                Ok(reader) => Format::PcapNg(Box::new(reader)),
                Err(e) => {
                    return Err(format!(
                        "{}: this is neither a pcap nor a pcapng file ({e}). Name a capture, as `tcpdump -w` writes it.",
                        path.display()
                    ));
                }
            },
        };
        Ok(Self {
            path: path.to_path_buf(),
            format,
            count: 0,
        })
    }

    /// Calls `each` for every packet to the capture's end; returns how many there were.
    pub(super) fn for_each(mut self, mut each: impl FnMut(Packet<'_>)) -> Result<u64, String> {
        while self.step(&mut each)? {}
        Ok(self.count)
    }

    /// Reads one packet or one block without a packet; false at the end.
    fn step(&mut self, each: &mut impl FnMut(Packet<'_>)) -> Result<bool, String> {
        let Self { path, format, count } = self;
        let damaged = |e: PcapError, after: u64| {
            format!(
                "{}: the capture is damaged after packet {after}: {e}. Repair it (for example with `editcap IN OUT`) or \
                 take another.",
                path.display()
            )
        };
        let after = *count;
        let mut give = |data: &[u8], wire_length: u32| {
            *count += 1;
            each(Packet {
                number: *count,
                data,
                wire_length,
            });
        };
        match format {
            Format::Pcap(reader) => match reader.next_packet() {
                None => return Ok(false),
                Some(Err(e)) => return Err(damaged(e, after)),
                Some(Ok(packet)) => give(&packet.data, packet.orig_len),
            },
            Format::PcapNg(reader) => match reader.next_block() {
                None => return Ok(false),
                Some(Err(e)) => return Err(damaged(e, after)),
                Some(Ok(Block::InterfaceDescription(interface))) => check_link(path, interface.linktype)?,
                Some(Ok(Block::EnhancedPacket(packet))) => give(&packet.data, packet.original_len),
                Some(Ok(Block::SimplePacket(packet))) => give(&packet.data, packet.original_len),
                Some(Ok(Block::Packet(packet))) => give(&packet.data, packet.original_len),
                Some(Ok(_)) => {}
            },
        }
        Ok(true)
    }
}

fn check_link(path: &Path, link: DataLink) -> Result<(), String> {
    match link {
        DataLink::ETHERNET => Ok(()),
        other => Err(format!(
            "{}: its link type is {other:?}, and a port reads Ethernet. Capture on an Ethernet interface (not on `any`).",
            path.display()
        )),
    }
}
